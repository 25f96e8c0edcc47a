//! A real driver that does not take out what it was told to, in whichever way a test asks for, and counts.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_reactor::driver::{BorrowedIo, Driver, Events, Key};
use picot_reactor::{Reactor, Readiness};

/// What the driver was asked for.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) deletes: Cell<usize>,
    pub(crate) unclaimed: Cell<usize>,
}

/// What becomes of an object that is to be taken out.
type Delete<D> = fn(&D, BorrowedIo<'_>) -> io::Result<()>;

struct Keeping<D> {
    driver: D,
    is_edge: bool,
    delete: Delete<D>,
    seen: Rc<Seen>,
}

/// A reactor on `driver`, with edges or as if it had none, that takes objects out by `delete`.
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
        // SAFETY: Our caller promises what the inner driver asks for, until it thinks that the object was taken out. Those that
        // were not, the tests keep open, or a driver has them that keeps no number beyond the call: epoll knows files.
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
