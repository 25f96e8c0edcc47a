//! The driver for Linux: one `epoll_pwait` a turn, on the epoll instance that `polling` owns.
//!
//! `polling`'s own wait performs five system calls where one does: it sets and re-arms a timerfd, waits, reads an eventfd
//! and re-arms that. So the wait is done here, on the same set. Sources are registered here, too, because `polling` has no
//! word for `EPOLLRDHUP`. Its own two descriptors in the set stay silent, as nobody calls its `notify`.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use polling::Poller;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::{Driver, Interest};
use crate::key::Key;
use crate::pollable::BorrowedIo;
use crate::ready::Readiness;

/// Events a turn. A flood of more waits for the next turn, so that it cannot keep ready tasks from running.
const EVENTS: usize = 256;

/// The key of the wake-up fd, which no source has.
const WAKE: u64 = usize::MAX as u64 - 1;

pub(crate) struct Direct {
    poller: Poller,
    alarm: Arc<Alarm>,
    events: RefCell<Vec<epoll::Event>>,
}

/// The number of the object in the epoll set; what cannot be polled is not in it.
pub(crate) struct Registration(Option<RawFd>);

impl Driver for Direct {
    type Registration = Registration;

    fn new() -> io::Result<Direct> {
        let poller = Poller::new()?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&poller, &fd, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
        Ok(Direct { poller, alarm: Arc::new(Alarm(fd)), events: RefCell::new(Vec::with_capacity(EVENTS)) })
    }

    fn register(&self, io: BorrowedIo<'_>, key: Key) -> io::Result<Registration> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        match epoll::add(&self.poller, io, EventData::new_u64(key.bits() as u64), flags) {
            Ok(()) => Ok(Registration(Some(io.as_raw_fd()))),
            // A regular file, or another object that knows no readiness.
            Err(Errno::PERM) => Ok(Registration(None)),
            Err(error) => Err(error.into()),
        }
    }

    fn deregister(&self, registration: &Registration) {
        if let Some(fd) = registration.0 {
            // SAFETY: The source that owns the object calls this before the object is closed, and `Pollable` promises that
            // it has been open and the same since it was registered.
            let fd = unsafe { BorrowedIo::borrow_raw(fd) };
            // Explicitly, as closing is not enough where a duplicate of the descriptor lives on. It can only fail if the
            // object was taken out behind our back; then there is nothing to do.
            let _ = epoll::delete(&self.poller, fd);
        }
    }

    fn is_edge(&self) -> bool {
        true
    }

    fn set_interest(&self, _: &Registration, _: Key, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn told(&self, _: &Registration, _: Readiness) {}

    fn is_always_ready(registration: &Registration) -> bool {
        registration.0.is_none()
    }

    fn trusts_partial_transfers(&self) -> bool {
        // With RDHUP, the end of a stream is an edge of its own.
        true
    }

    fn wait(&self, timeout: Option<Duration>, mut each: impl FnMut(Key, Readiness)) -> io::Result<()> {
        // A timeout too long for the kernel's type was cut by the reactor long before. rustix rounds up to milliseconds.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = self.events.borrow_mut();
        events.clear();
        match epoll::wait(&self.poller, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            let (data, flags) = (event.data, event.flags);
            each(Key::from_bits(data.u64() as usize), readiness(flags));
        }
        Ok(())
    }

    fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }
}

fn readiness(flags: EventFlags) -> Readiness {
    // A hang-up or an error is for both directions to find out, by trying. RDHUP is for the reader, who will read the end.
    let both = EventFlags::HUP | EventFlags::ERR;
    Readiness::READABLE.when(flags.intersects(EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP | both))
        | Readiness::WRITABLE.when(flags.intersects(EventFlags::OUT | both))
        | Readiness::HANGUP.when(flags.intersects(EventFlags::RDHUP | both))
}

/// An eventfd that is registered for edges and never read: each write is an event, and there is nothing to reset.
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn ring(&self) {
        while let Err(Errno::AGAIN) = rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            // The counter is full, after 2^64 writes. Reading empties it, and the next write is an edge again.
            let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
        }
    }
}
