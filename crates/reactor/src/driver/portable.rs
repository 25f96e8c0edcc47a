//! The driver for everything else: `polling` alone, in whichever mode it has on the platform.
//!
//! Where `polling` knows edges, they are used. Where it does not, events are told once each, and the reactor arms a source
//! again for the directions that somebody asks for.

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

/// Events a turn, where the backend has a limit. A flood of more waits for the next turn.
const EVENTS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// `polling`, on every platform that it knows.
pub struct Portable {
    alarm: Arc<Alarm>,
    mode: PollMode,
    /// Taken out while they are filled and read, as the allocator may be foreign code that waits, too.
    events: Cell<Option<polling::Events>>,
}

impl Portable {
    /// A driver with a poller of its own.
    ///
    /// # Errors
    /// If the operating system has no more descriptors, or offers no way to poll.
    pub fn new() -> io::Result<Portable> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        Ok(Portable {
            alarm: Arc::new(Alarm { poller: ManuallyDrop::new(poller), process: process::id() }),
            mode,
            events: Cell::new(None),
        })
    }

    fn poller(&self) -> &Poller {
        &self.alarm.poller
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
        // Levels are told whenever they are asked for, also past an urgent mark. The edges of
        // `polling` do not tell the end of a stream apart.
        !self.is_edge()
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        // epoll refuses regular files. kqueue takes them, and tells none that is at its end.
        #[cfg(unix)]
        if FileType::from_raw_mode(rustix::fs::fstat(io)?.st_mode) == FileType::RegularFile {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // SAFETY: Our caller promises that the object stays open, and the same, until it is deleted.
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
            // Where `polling` has nothing but poll(2), it knows of a wake-up before that is written, and finds nothing to read. The
            // wake-up has ended this wait all the same.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        for event in polled.iter() {
            let (hung_up, error) = (event.is_interrupt(), event.is_err() == Some(true));
            let readiness = Readiness::READABLE.when(event.readable || hung_up || error)
                | Readiness::WRITABLE.when(event.writable || hung_up || error)
                | Readiness::PRIORITY.when(event.is_priority() || hung_up || error)
                | (Readiness::HUNG_UP | Readiness::READ_CLOSED).when(hung_up)
                | Readiness::ERROR.when(error);
            events.push(Key::from_bits(event.key), readiness);
        }
        let other = self.events.replace(Some(polled));
        drop(other);
        Ok(())
    }

    fn unclaimed(&self, _: Key) {}

    fn waker(&self) -> Waker {
        self.alarm.clone().into()
    }
}

impl fmt::Debug for Portable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portable").field("poller", self.poller()).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Ends a wait by `polling`'s own notification. It keeps the poller alive for whoever wakes late.
struct Alarm {
    poller: ManuallyDrop<Poller>,
    /// The id of the process that made it.
    process: u32,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // With epoll, a poller takes its own descriptors out of the set that a forked child shares with its parent. So a child
        // leaves it as it is, until it ends or becomes another program.
        if process::id() == self.process {
            // SAFETY: It is dropped here and nowhere else, and not used again.
            unsafe { ManuallyDrop::drop(&mut self.poller) };
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // There is nobody to tell if this fails: `polling` itself passes no error on from the systems on which it could.
        let _ = self.poller.notify();
    }
}
