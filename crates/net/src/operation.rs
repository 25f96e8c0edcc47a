//! One operation on a source: tried at once, and again whenever the direction becomes ready.
//!
//! Any number of tasks may wait like this. The traits that poll do it their own way, with one waiter a direction.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

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

/// An operation that has nothing to do: it completes at once, and spends the task's budget as every other, so that a loop
/// around it lets other tasks run.
#[cold]
pub(crate) fn poll_nothing<T>(cx: &mut Context<'_>, result: T) -> Poll<T> {
    ready!(budget::poll_left(cx));
    budget::spend();
    Poll::Ready(result)
}

/// A call of the operating system that never waits; see [`poll_nothing`] on the budget.
pub(crate) fn poll_call<T>(cx: &mut Context<'_>, call: impl FnOnce() -> T) -> Poll<T> {
    ready!(budget::poll_left(cx));
    let result = call();
    budget::spend_call();
    Poll::Ready(result)
}

/// [`poll_call`] as a future.
pub(crate) async fn call<T>(call: impl FnOnce() -> T) -> T {
    poll_fn(budget::poll_left).await;
    let result = call();
    budget::spend_call();
    result
}
