//! A failed `delete` of a driver: real drivers that keep the objects in their set.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use picot_reactor::driver::{Driver, Portable};
use picot_reactor::{Direction, Reactor};

use crate::keeping::{Seen, keeping};
use crate::support::{WakeCount, pair, registered, wait_until};

/// A reactor on this driver, optionally as a one-shot one, that never deletes an object.
fn failing(driver: impl Driver + 'static, without_edges: bool) -> (Reactor, Rc<Seen>) {
    let is_edge = driver.is_edge() && !without_edges;
    keeping(driver, is_edge, |_, _| Err(io::ErrorKind::OutOfMemory.into()))
}

/// Runs a test on each of the platform's drivers.
fn on_each(test: impl Fn(Reactor, Rc<Seen>)) {
    #[cfg(target_os = "linux")]
    {
        let (reactor, seen) = failing(picot_reactor::driver::Direct::new().unwrap(), false);
        test(reactor, seen);
    }
    if cfg!(not(miri)) {
        let (reactor, seen) = failing(Portable::new().unwrap(), false);
        test(reactor, seen);
    }
}

#[test]
fn later_events_of_a_source_that_was_not_deleted_reach_no_source() {
    on_each(|reactor, seen| {
        let (source, mut peer) = registered(&reactor);
        let count = WakeCount::default();
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        let mut stream = source.into_inner();
        assert_eq!((seen.deletes.get(), reactor.sources(), reactor.waiting()), (1, 0, 0));

        // Another source has its slot now, without data to read.
        let (successor, mut its_peer) = registered(&reactor);
        let its_count = WakeCount::default();
        assert!(its_count.poll(|cx| successor.poll_ready(cx, Direction::Read)).is_pending());
        let unclaimed = seen.unclaimed.get();
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || seen.unclaimed.get() > unclaimed);
        assert_eq!((count.get(), its_count.get()), (0, 0));
        its_peer.write_all(b"y").unwrap();
        wait_until(&reactor, || its_count.get() == 1);
        assert_eq!(count.get(), 0);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1, "the object is unchanged");
    });
}

#[test]
fn an_object_that_was_not_deleted_cannot_be_registered_again() {
    on_each(|reactor, seen| {
        let (stream, _peer) = pair();
        let stream = reactor.register(stream).unwrap().into_inner();
        assert_eq!(seen.deletes.get(), 1);
        let (error, stream) = reactor.register(stream).unwrap_err().into_parts();
        assert_eq!((error.kind(), reactor.sources()), (io::ErrorKind::AlreadyExists, 0));
        assert!(stream.local_addr().is_ok());
    });
}

/// With a one-shot driver, a hang-up removes the source from the set until a task waits again.
#[test]
#[cfg_attr(miri, ignore = "the portable driver cannot run under Miri")]
fn without_edges_a_wait_after_a_hang_up_that_was_not_deleted_gets_the_error() {
    let (reactor, seen) = failing(Portable::new().unwrap(), true);
    let (source, peer) = registered(&reactor);
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    source.get_ref().shutdown(Shutdown::Write).unwrap();
    drop(peer);
    wait_until(&reactor, || source.is_hung_up());
    assert_eq!((count.get(), seen.deletes.get()), (1, 1));

    let asked = source.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::AlreadyExists, "the wait would last for ever");
    // Other sources still work.
    let (other, mut its_peer) = registered(&reactor);
    let its_count = WakeCount::default();
    assert!(its_count.poll(|cx| other.poll_ready(cx, Direction::Read)).is_pending());
    its_peer.write_all(b"y").unwrap();
    wait_until(&reactor, || its_count.get() == 1);
}
