//! What ends a guest's wait: the loop's descriptor, and an alarm for its timers.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::Context;
use std::time::Duration;

use picot_loop::EventLoop;

use crate::alarm::Alarm;
use crate::error::GuestError;
use crate::readable::Readable;

pub(crate) struct Waits<'a> {
    descriptor: Readable<BorrowedFd<'a>>,
    alarm: Alarm,
}

impl<'a> Waits<'a> {
    /// Must be called inside of the runtime.
    pub(crate) fn new(event_loop: &'a EventLoop) -> Result<Waits<'a>, GuestError> {
        let descriptor = event_loop.backend_fd().ok_or(GuestError::NoDescriptor)?;
        Ok(Waits { descriptor: Readable::new(descriptor)?, alarm: Alarm::new(event_loop.handle())? })
    }

    /// Clears what has ended the last wait. From then on, news wakes the caller.
    pub(crate) fn clear(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.descriptor.clear(cx)?;
        self.alarm.clear(cx)
    }

    /// Has the caller woken in time; `None` if no timer is set. It may be woken earlier.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, cx: &mut Context<'_>) -> io::Result<()> {
        timeout.map_or(Ok(()), |timeout| self.alarm.set(timeout, cx))
    }
}
