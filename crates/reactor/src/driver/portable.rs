//! The driver for every other platform: `polling`, in the best mode that it has there.
//!
//! If `polling` supports edges, they are used. Otherwise it reports each event once, and the
//! reactor arms the source again for the directions that are waited for.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::process;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use polling::{Event, PollMode, Poller};
#[cfg(unix)]
use rustix::fs::FileType;

use super::{Driver, Events, Key};
use crate::pollable::{BorrowedIo, raw};
use crate::ready::Readiness;

/// The maximum number of events per wait, if the backend has a limit. The rest is for the next
/// wait.
const EVENTS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The driver on top of `polling`, for every platform that it supports.
///
/// ```
/// use picot_reactor::{Reactor, driver::Portable};
///
/// let reactor = Reactor::with_driver(Portable::new()?);
/// # std::io::Result::Ok(())
/// ```
pub struct Portable {
    notifier: Arc<Notifier>,
    mode: PollMode,
    /// The buffer. A wait takes it out: the allocator is foreign code, and may wait itself.
    events: Cell<Option<polling::Events>>,
}

impl Portable {
    /// Makes a driver with its own poller.
    ///
    /// # Errors
    /// If the operating system has no descriptors left, or offers no way to poll.
    ///
    /// ```
    /// println!("{:?}", picot_reactor::driver::Portable::new()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Portable> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        Ok(Portable {
            notifier: Arc::new(Notifier { poller: ManuallyDrop::new(poller), process: process::id() }),
            mode,
            events: Cell::new(None),
        })
    }

    fn poller(&self) -> &Poller {
        &self.notifier.poller
    }
}

fn event(key: Key, interest: Readiness) -> Event {
    let mut event =
        Event::new(key.bits(), interest.contains(Readiness::READABLE), interest.contains(Readiness::WRITABLE));
    event.set_priority(interest.contains(Readiness::PRIORITY));
    event
}

impl Driver for Portable {
    fn is_edge(&self) -> bool {
        self.mode == PollMode::Edge
    }

    fn trusts_partial_transfers(&self) -> bool {
        // Levels are reported at each request, also behind an urgent mark. The edges of `polling`
        // do not report the end of a stream as an event of its own.
        !self.is_edge()
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        // epoll refuses regular files. kqueue accepts them, but reports none at its end.
        #[cfg(unix)]
        if FileType::from_raw_mode(rustix::fs::fstat(io)?.st_mode) == FileType::RegularFile {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // SAFETY: The caller promises that the object stays open, with the same descriptor, until
        // it is deleted.
        unsafe { self.poller().add_with_mode(raw(io), event(key, interest), self.mode) }
    }

    fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        self.poller().modify_with_mode(io, event(key, interest), self.mode)
    }

    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
        self.poller().delete(io)
    }

    fn wait(&self, timeout: Option<Duration>, _: Option<u64>, events: &mut Events) -> io::Result<()> {
        let mut polled = self.events.take().unwrap_or_else(|| polling::Events::with_capacity(EVENTS));
        polled.clear();
        match self.poller().wait(&mut polled, timeout) {
            Ok(_) => {}
            // The poll(2) backend of `polling` sets its notified flag before it writes to its pipe,
            // so it may find nothing to read there. The notification has ended this wait anyway.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        for event in polled.iter() {
            // A hang-up or an error makes all directions ready, so that each waiter tries and gets
            // it.
            let (hung_up, error) = (event.is_interrupt(), event.is_err() == Some(true));
            let readiness = Readiness::READABLE.when(event.readable || hung_up || error)
                | Readiness::WRITABLE.when(event.writable || hung_up || error)
                | Readiness::PRIORITY.when(event.is_priority() || hung_up || error)
                | (Readiness::HUNG_UP | Readiness::READ_CLOSED).when(hung_up)
                | Readiness::ERROR.when(error);
            events.push(Key::from_bits(event.key), readiness);
        }
        // Outside of the cell: freeing the buffer of a nested wait is foreign code.
        let other = self.events.replace(Some(polled));
        drop(other);
        Ok(())
    }

    fn unclaimed(&self, _: Key) {}

    fn waker(&self) -> Waker {
        self.notifier.clone().into()
    }
}

impl fmt::Debug for Portable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portable").field("poller", self.poller()).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Ends a wait by `polling`'s own notification. Keeps the poller alive for late wakes.
struct Notifier {
    poller: ManuallyDrop<Poller>,
    /// The id of the process that made the poller.
    process: u32,
}

impl Drop for Notifier {
    fn drop(&mut self) {
        // With epoll, dropping a poller removes its descriptors from the set, which a forked child
        // shares with its parent. So a child leaks the poller.
        if process::id() == self.process {
            // SAFETY: Dropped only here, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.poller) };
        }
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The error is ignored: a waker cannot return it. `polling` itself ignores the errors of
        // the systems on which this can fail.
        let _ = self.poller.notify();
    }
}
