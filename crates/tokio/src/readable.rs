//! A descriptor in tokio's driver, of which only edges matter.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is never read: each time that it becomes readable wakes the guest once.
pub(crate) struct Readable<T: AsRawFd>(AsyncFd<T>);

impl<T: AsRawFd> Readable<T> {
    #[expect(deprecated, reason = "its successor needs a promise that `AsFd` makes by its type")]
    pub(crate) fn new(descriptor: T) -> io::Result<Readable<T>>
    where
        T: AsFd,
    {
        Ok(Readable(AsyncFd::with_interest(descriptor, Interest::READABLE)?))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn get(&self) -> &T {
        self.0.get_ref()
    }

    /// Clears the readiness, and has the next edge wake the caller. Returns whether there was any.
    pub(crate) fn clear(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut was_ready = false;
        // Pending after at most one round: only tokio's driver sets the readiness, and that does
        // not run meanwhile. Only a pending poll registers the waker.
        while let Poll::Ready(ready) = self.0.poll_read_ready(cx) {
            ready?.clear_ready();
            was_ready = true;
        }
        Ok(was_ready)
    }
}
