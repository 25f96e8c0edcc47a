//! Reused descriptors while the kernel still reports events of the old object: an edge-triggered
//! driver that never deletes, and duplicates that keep the old file open.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use picot_reactor::driver::{BorrowedIo, Direct, Driver, Portable};
use picot_reactor::{Direction, Readiness};

use crate::keeping::keeping;
use crate::support::{WakeCount, wait_until};

fn reuses(driver: impl Driver + 'static, rounds: usize) {
    let forgets = driver.is_edge();
    // If a backend stores the numbers themselves, not deleting would be unsound.
    let forget =
        |driver: &_, io: BorrowedIo<'_>| if Driver::is_edge(driver) { Ok(()) } else { Driver::delete(driver, io) };
    let (reactor, seen) = keeping(driver, forgets, forget);
    let mut reused = 0;
    for round in 0..rounds {
        let (fresh, mut fresh_peer) = UnixStream::pair().unwrap();
        let (stream, mut peer) = UnixStream::pair().unwrap();
        let number = stream.as_raw_fd();
        let _duplicate = stream.try_clone().unwrap();
        let source = reactor.register(stream).unwrap();
        drop(source);
        // The kernel assigns the lowest free number, unless another test takes it first.
        let next = fresh.try_clone().unwrap();
        reused += usize::from(next.as_raw_fd() == number);
        let next = reactor.register(next).unwrap();
        let before = seen.unclaimed.get();
        let count = WakeCount::default();
        assert!(count.poll(|cx| next.poll_ready(cx, Direction::Read)).is_pending());
        peer.write_all(b"x").unwrap();
        // With edges there is an event of the new object, which can be written to. The kernel also
        // reports the old one.
        assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), usize::from(forgets));
        assert_eq!(seen.unclaimed.get() > before, forgets);
        assert_eq!((count.get(), next.known().contains(Readiness::READABLE)), (0, false), "in round {round}");
        if round == rounds - 1 {
            fresh_peer.write_all(b"x").unwrap();
            wait_until(&reactor, || count.get() == 1);
        }
    }
    assert!(reused > rounds / 2, "the descriptor was reused in {reused} of {rounds} rounds");
}

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_descriptor_reused_a_hundred_thousand_times_brings_no_old_events() {
    reuses(Direct::new().unwrap(), 100_000);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no timerfd")]
fn a_reused_descriptor_brings_no_old_events_through_polling() {
    reuses(Portable::new().unwrap(), 10_000);
}
