//! Operations through a source: tried, retried, and charged to the budget.

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Poll};

use picot_context::{Step, budget, enter};
use picot_reactor::driver::{Driver, Portable};
use picot_reactor::{Direction, Readiness, ReadyList};

use crate::support::{WakeCount, is_portable, reactor, registered, wait_until};

#[test]
fn an_interrupted_operation_is_retried_and_a_blocking_one_waits() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    source.assume_ready(Direction::Read);
    let calls = Cell::new(0);
    let count = WakeCount::default();
    let poll = count.poll(|cx| {
        source.poll_io(cx, Direction::Read, |_| -> io::Result<()> {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 | 2 => Err(io::ErrorKind::Interrupted.into()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
    });
    assert!(poll.is_pending());
    assert_eq!((calls.get(), reactor.waiting()), (3, 1));
}

#[test]
fn other_errors_are_returned_and_leave_the_direction_ready() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    source.assume_ready(Direction::Read);
    for _ in 0..2 {
        let poll = WakeCount::default().poll(|cx| {
            source.poll_io(cx, Direction::Read, |_| -> io::Result<()> { Err(io::ErrorKind::ConnectionReset.into()) })
        });
        assert!(matches!(poll, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_step_completes_no_more_operations_than_its_budget() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    source.assume_ready(Direction::Read);
    let count = WakeCount::default();
    let operation = || count.poll(|cx| source.poll_io(cx, Direction::Read, |_| Ok(())));
    let _step = enter(Step::callback(Location::caller()), None);
    for _ in 0..budget::PER_STEP / budget::PER_CALL {
        assert!(operation().is_ready());
    }
    assert!(operation().is_pending());
    assert_eq!((count.get(), reactor.waiting()), (1, 0), "woken at once, and not waiting for the socket");
}

#[test]
fn waiting_for_a_ready_direction_spends_the_budget() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    let _ = source.try_io(Direction::Write, |_| Ok(()));
    wait_until(&reactor, || source.known().contains(Readiness::WRITABLE));
    let future = |cx: &mut Context<'_>| pin!(source.writable()).poll(cx);
    let poll = |cx: &mut Context<'_>| source.poll_ready(cx, Direction::Write);
    for wait in [&future as &dyn Fn(&mut Context<'_>) -> Poll<io::Result<()>>, &poll] {
        let count = WakeCount::default();
        let _step = enter(Step::callback(Location::caller()), None);
        for _ in 0..budget::PER_STEP / budget::PER_CALL {
            assert!(count.poll(wait).is_ready());
            assert!(source.try_io(Direction::Write, |_| Ok(())).is_ok());
        }
        assert!(count.poll(wait).is_pending());
        assert_eq!((count.get(), reactor.waiting()), (1, 0), "woken at once, and not waiting for the socket");
    }
}

/// An assumption is for operations only. Waiters are woken by an event, so that they do not read in
/// vain.
#[test]
fn an_assumed_direction_is_tried_but_waiters_wait_for_the_event() {
    for reactor in crate::drivers::drivers() {
        let (source, mut peer) = registered(&reactor);
        source.assume_ready(Direction::Read);
        let (polling, waiting) = (WakeCount::default(), WakeCount::default());
        assert!(source.known().contains(Readiness::READABLE));
        assert!(source.try_io(Direction::Read, |_| Ok(())).is_ok());
        assert!(polling.poll(|cx| source.poll_io(cx, Direction::Read, |_| Ok(()))).is_ready());
        let mut wait = pin!(source.readable());
        assert!(waiting.poll(|cx| wait.as_mut().poll(cx)).is_pending());
        assert!(polling.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        assert_eq!((polling.get(), waiting.get()), (0, 0));
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || polling.get() == 1 && waiting.get() == 1);
        assert!(waiting.poll(|cx| wait.as_mut().poll(cx)).is_ready());
        assert!(polling.poll(|cx| source.poll_ready(cx, Direction::Read)).is_ready());
    }
}

/// An error also completes at once: a task that ignores it in a loop must still yield.
#[test]
fn errors_of_a_closed_reactor_and_tokens_spend_the_budget() {
    let reactor = reactor();
    let (source, _peer) = registered(&reactor);
    let (list, mut tokens) = (ReadyList::new(), Vec::new());
    source.list_in(&list, 0);
    reactor.close();
    let mut take = |cx: &mut Context<'_>| {
        source.acknowledge();
        source.enqueue();
        list.poll_take(cx, &mut tokens).map(Ok)
    };
    type Way<'a> = &'a mut dyn FnMut(&mut Context<'_>) -> Poll<io::Result<()>>;
    let mut ways: [Way<'_>; 5] = [
        &mut |cx| pin!(source.readable()).poll(cx),
        &mut |cx| source.poll_ready(cx, Direction::Read),
        &mut |cx| source.poll_io(cx, Direction::Read, |_| Ok(())),
        &mut |cx| source.poll_transfer(cx, Direction::Read, 8, |_| Ok(8)).map_ok(drop),
        &mut take,
    ];
    for (n, way) in ways.iter_mut().enumerate() {
        let count = WakeCount::default();
        let _step = enter(Step::callback(Location::caller()), None);
        let completed = (0..=budget::PER_STEP).take_while(|_| count.poll(&mut *way).is_ready()).count();
        assert!(completed <= budget::PER_STEP as usize && count.get() >= 1, "way {n} completed {completed} times");
    }
}

/// Trusted if the owner declares it and the driver supports it. The edges of `polling` do not
/// report the end of a stream by itself, and Miri has no urgent data.
#[test]
fn a_short_transfer_clears_readiness_only_if_trusted() {
    let reactor = reactor();
    let believes = if is_portable() { Portable::new().unwrap().trusts_partial_transfers() } else { cfg!(not(miri)) };
    let (source, _peer) = registered(&reactor);
    let count = WakeCount::default();
    for is_trusted in [None, Some(true), Some(false)] {
        is_trusted.into_iter().for_each(|is_trusted| source.trust_short_transfers(is_trusted));
        let clears = believes && is_trusted == Some(true);
        for (moved, ready_after) in [(0, true), (10, !clears), (64, true)] {
            source.assume_ready(Direction::Read);
            assert!(count.poll(|cx| source.poll_transfer(cx, Direction::Read, 64, |_| Ok(moved))).is_ready());
            let ready = source.try_io(Direction::Read, |_| Ok(())).is_ok();
            assert_eq!(ready, ready_after, "after {moved} of 64 bytes, trusted: {is_trusted:?}");
            source.assume_ready(Direction::Read);
            assert_eq!(source.try_transfer(Direction::Read, 64, |_| Ok(moved)).unwrap(), moved);
            let ready = source.try_io(Direction::Read, |_| Ok(())).is_ok();
            assert_eq!(ready, ready_after, "after {moved} of 64 bytes tried, trusted: {is_trusted:?}");
        }
    }
}
