//! The driver for everything else: `polling` alone.
//!
//! Where `polling` knows edges, a source is registered once, for both directions. Where it does not, events are told once
//! each, and the source is armed again for the directions that somebody asks for. A level that stays (a hang-up) would
//! be told in every wait by some backends even while nobody asks, so a source that was hung up is taken out until somebody
//! asks for it again.

use std::cell::{Cell, RefCell};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use super::{Driver, Interest};
use crate::key::Key;
use crate::pollable::BorrowedIo;
use crate::ready::Readiness;

#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd as RawIo};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, RawSocket as RawIo};

/// Events a turn. A flood of more waits for the next turn, so that it cannot keep ready tasks from running.
const EVENTS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

pub(crate) struct Portable {
    alarm: Arc<Alarm>,
    mode: PollMode,
    events: RefCell<Events>,
}

/// What is registered with `polling`, and for what.
pub(crate) struct Registration {
    raw: RawIo,
    state: Cell<Armed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    /// Cannot be polled at all.
    Never,
    /// Not in the set.
    Out,
    /// In the set, with this interest.
    In(Interest),
}

const NOTHING: Interest = Interest { read: false, write: false };
const BOTH: Interest = Interest { read: true, write: true };

fn raw(io: BorrowedIo<'_>) -> RawIo {
    #[cfg(unix)]
    return io.as_raw_fd();
    #[cfg(windows)]
    return io.as_raw_socket();
}

impl Portable {
    fn poller(&self) -> &Poller {
        &self.alarm.0
    }

    fn add(&self, registration: &Registration, key: Key, interest: Interest) -> io::Result<()> {
        let event = Event::new(key.bits(), interest.read, interest.write);
        // SAFETY: The source that owns the object takes it out in `deregister` before the object is closed, and `Pollable`
        // promises that it stays open and the same until then. A source that is leaked leaks its object, too.
        unsafe { self.poller().add_with_mode(registration.raw, event, self.mode)? };
        registration.state.set(Armed::In(interest));
        Ok(())
    }

    /// The object of a registration that is alive.
    fn borrow(registration: &Registration) -> BorrowedIo<'_> {
        // SAFETY: A registration lives in the state of a source, whose object is open until it is deregistered; after that
        // nobody calls this.
        unsafe { BorrowedIo::borrow_raw(registration.raw) }
    }
}

impl Driver for Portable {
    type Registration = Registration;

    fn new() -> io::Result<Portable> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        Ok(Portable { alarm: Arc::new(Alarm(poller)), mode, events: RefCell::new(Events::with_capacity(EVENTS)) })
    }

    fn register(&self, io: BorrowedIo<'_>, key: Key) -> io::Result<Registration> {
        let registration = Registration { raw: raw(io), state: Cell::new(Armed::Out) };
        let interest = if self.is_edge() { BOTH } else { NOTHING };
        match self.add(&registration, key, interest) {
            Ok(()) => Ok(registration),
            // A regular file, or another object that knows no readiness.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                registration.state.set(Armed::Never);
                Ok(registration)
            }
            Err(error) => Err(error),
        }
    }

    fn deregister(&self, registration: &Registration) {
        if let Armed::In(_) = registration.state.replace(Armed::Out) {
            // It can only fail if the object was taken out behind our back; then there is nothing to do.
            let _ = self.poller().delete(Self::borrow(registration));
        }
    }

    fn is_edge(&self) -> bool {
        self.mode == PollMode::Edge
    }

    fn set_interest(&self, registration: &Registration, key: Key, interest: Interest) -> io::Result<()> {
        match registration.state.get() {
            Armed::Never => Ok(()),
            Armed::In(armed) if armed == interest => Ok(()),
            Armed::In(_) => {
                let event = Event::new(key.bits(), interest.read, interest.write);
                self.poller().modify_with_mode(Self::borrow(registration), event, self.mode)?;
                registration.state.set(Armed::In(interest));
                Ok(())
            }
            Armed::Out => self.add(registration, key, interest),
        }
    }

    fn told(&self, registration: &Registration, readiness: Readiness) {
        if self.is_edge() {
            return;
        }
        // In one-shot mode the event has disarmed the source. If it was a hang-up, the source leaves the set.
        if readiness.contains(Readiness::HANGUP) {
            self.deregister(registration);
        } else {
            registration.state.set(Armed::In(NOTHING));
        }
    }

    fn is_always_ready(registration: &Registration) -> bool {
        registration.state.get() == Armed::Never
    }

    fn trusts_partial_transfers(&self) -> bool {
        // Levels are told whenever they are asked for. The edges of `polling` do not tell the end of a stream apart.
        !self.is_edge()
    }

    fn wait(&self, timeout: Option<Duration>, mut each: impl FnMut(Key, Readiness)) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        events.clear();
        self.poller().wait(&mut events, timeout)?;
        for event in events.iter() {
            let hangup = event.is_interrupt() || event.is_err() == Some(true);
            let readiness = Readiness::READABLE.when(event.readable || hangup)
                | Readiness::WRITABLE.when(event.writable || hangup)
                | Readiness::HANGUP.when(hangup);
            each(Key::from_bits(event.key), readiness);
        }
        Ok(())
    }

    fn alarm(&self) -> &Arc<Alarm> {
        &self.alarm
    }
}

pub(crate) struct Alarm(Poller);

impl Alarm {
    pub(crate) fn ring(&self) {
        // There is nobody to tell if this fails, and nothing else to try.
        let _ = self.0.notify();
    }
}
