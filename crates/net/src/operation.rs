//! One operation on a source: tried at once, and again whenever the direction becomes ready.
//!
//! Any number of tasks may wait like this. Streams poll their source directly instead, which needs
//! no state in the future.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use picot_context::budget;
use picot_reactor::{Direction, Source};

/// Runs `operation` until it does not block. Dropping the future removes its waiter.
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

/// Completes an operation that has nothing to do. It spends the task's budget like every other, so
/// that a loop around it lets other tasks run.
#[cold]
pub fn poll_nothing<T>(cx: &mut Context<'_>, result: T) -> Poll<T> {
    ready!(budget::poll_left(cx));
    budget::spend();
    Poll::Ready(result)
}

/// Makes a system call that never waits. It spends the budget; see [`poll_nothing`].
pub fn poll_call<T>(cx: &mut Context<'_>, call: impl FnOnce() -> T) -> Poll<T> {
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
