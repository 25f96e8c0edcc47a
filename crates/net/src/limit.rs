//! A time limit on an operation whose errors are those of I/O.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use picot_loop::sleep;

/// Awaits `future` for at most `limit`. After that the error names `what` and the limit.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    what: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let Some(limit) = limit else { return future.await };
    let (mut future, mut alarm) = (pin!(future), None);
    poll_fn(|cx| {
        // Polled before the alarm, so that a result that is ready at the deadline is returned.
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        Pin::new(alarm.get_or_insert_with(|| sleep(limit)))
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what} timed out after {limit:?}"))))
    })
    .await
}
