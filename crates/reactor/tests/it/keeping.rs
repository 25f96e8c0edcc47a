//! A real driver that does not delete objects, in the way that a test chooses, and counts the
//! calls.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_reactor::driver::{BorrowedIo, Driver, Events, Key};
use picot_reactor::{Reactor, Readiness};

/// The number of calls.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) deletes: Cell<usize>,
    pub(crate) unclaimed: Cell<usize>,
}

/// What `delete` does.
type Delete<D> = fn(&D, BorrowedIo<'_>) -> io::Result<()>;

struct Keeping<D> {
    driver: D,
    is_edge: bool,
    delete: Delete<D>,
    seen: Rc<Seen>,
}

/// A reactor on `driver`, optionally as a one-shot one, that deletes objects by `delete`.
pub(crate) fn keeping<D: Driver + 'static>(driver: D, is_edge: bool, delete: Delete<D>) -> (Reactor, Rc<Seen>) {
    let seen = Rc::<Seen>::default();
    (Reactor::with_driver(Keeping { driver, is_edge, delete, seen: seen.clone() }), seen)
}

impl<D: Driver> Driver for Keeping<D> {
    fn is_edge(&self) -> bool {
        self.is_edge
    }

    fn trusts_partial_transfers(&self) -> bool {
        self.driver.trusts_partial_transfers()
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        // SAFETY: The caller upholds the contract until it calls `delete`. Objects that were not
        // really deleted are kept open by the tests, or belong to a driver that stores no numbers:
        // epoll refers to files.
        unsafe { self.driver.add(io, key, interest) }
    }

    fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        self.driver.modify(io, key, interest)
    }

    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
        self.seen.deletes.set(self.seen.deletes.get() + 1);
        (self.delete)(&self.driver, io)
    }

    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
        self.driver.wait(timeout, deadline, events)
    }

    fn unclaimed(&self, key: Key) {
        self.seen.unclaimed.set(self.seen.unclaimed.get() + 1);
        self.driver.unclaimed(key);
    }

    fn waker(&self) -> Waker {
        self.driver.waker()
    }
}
