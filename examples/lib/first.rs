//! Waiting for whichever of two tasks is done first.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use picot::Task;
use picot::task::JoinError;

/// What `task` gives if it is done before `other`; `None` if `other` is. Both run on.
pub async fn first<T, U>(mut task: &mut Task<T>, mut other: &mut Task<U>) -> Option<Result<T, JoinError>> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut task).poll(cx) {
            return Poll::Ready(Some(result));
        }
        Pin::new(&mut other).poll(cx).map(|_| None)
    })
    .await
}
