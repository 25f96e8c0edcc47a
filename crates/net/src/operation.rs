//! One operation on a source: tried at once, and again whenever the direction becomes ready.
//!
//! Any number of tasks may wait like this. The traits that poll do it their own way, with one waiter a direction.

use std::future::poll_fn;
use std::io;

use picot_context::budget;
use picot_reactor::{Direction, Source};

/// Does `operation` as soon as it does not block. Dropping the future leaves nothing behind.
pub(crate) async fn operate<T, R>(
    source: &Source<T>,
    direction: Direction,
    mut operation: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    poll_fn(budget::poll_left).await;
    loop {
        match source.try_io(direction, &mut operation) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.ready(direction).await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => {
                budget::spend_call();
                return result;
            }
        }
    }
}
