//! What ends a wait: events, the timeout, other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::reactor;

const LONG: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the reactor has no clock, and this measures how long it waits")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_wait_without_events_lasts_for_its_timeout() {
    let reactor = reactor();
    for micros in [0, 100, 1_500, 20_000] {
        let timeout = Duration::from_micros(micros);
        let start = now();
        assert_eq!(reactor.wait(Some(timeout)).unwrap(), 0);
        assert!(start.elapsed() >= timeout, "{:?} is shorter than {timeout:?}", start.elapsed());
    }
}

#[test]
fn a_wake_before_a_wait_ends_exactly_that_wait() {
    let reactor = reactor();
    let handle = reactor.wake_handle();
    for _ in 0..3 {
        handle.wake();
        handle.wake();
        reactor.wait(Some(LONG)).unwrap();
        // Many wakes before one wait may end one further wait, but no more.
        reactor.wait(Some(Duration::ZERO)).unwrap();
        let start = now();
        reactor.wait(Some(Duration::from_millis(5))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}

#[test]
fn a_wake_from_another_thread_ends_a_wait_without_a_limit() {
    let reactor = reactor();
    let handle = reactor.wake_handle();
    let thread = thread::spawn(move || {
        for _ in 0..100 {
            handle.wake();
            thread::yield_now();
        }
    });
    reactor.wait(None).unwrap();
    thread.join().unwrap();
}

/// `polling` sets its notified flag before it writes, so a wait may find nothing to read.
#[test]
fn a_wake_that_is_not_yet_written_is_no_error() {
    let reactor = reactor();
    let (handle, ends) = (reactor.wake_handle(), Arc::new(AtomicBool::new(false)));
    let is_over = ends.clone();
    let thread = thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            handle.wake();
        }
    });
    for _ in 0..if cfg!(miri) { 100 } else { 100_000 } {
        reactor.wait(Some(Duration::ZERO)).unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    reactor.wake_handle().wake();
    reactor.wait(None).unwrap();
}

#[test]
fn the_handle_is_a_waker_and_outlives_the_reactor() {
    let reactor = reactor();
    let handle = reactor.wake_handle();
    let waker: std::task::Waker = handle.clone().into();
    waker.wake_by_ref();
    reactor.wait(Some(LONG)).unwrap();
    drop(reactor);
    waker.wake();
    thread::spawn(move || handle.wake()).join().unwrap();
}

#[test]
fn a_very_long_timeout_is_accepted() {
    let reactor = reactor();
    for timeout in [Some(Duration::MAX), Some(Duration::from_secs(1 << 40)), None] {
        reactor.wake_handle().wake();
        reactor.wait(timeout).unwrap();
    }
}

/// If waits were rounded up to a millisecond, none could be shorter.
#[test]
#[cfg_attr(miri, ignore = "Miri has no timerfd")]
fn a_wait_below_a_millisecond_is_not_rounded_up() {
    let reactor = reactor();
    let timeout = Duration::from_micros(200);
    let wait = |deadline: Option<u64>| {
        let start = now();
        match deadline {
            Some(deadline) => reactor.wait_until(deadline, deadline - 200_000).unwrap(),
            None => reactor.wait(Some(timeout)).unwrap(),
        };
        start.elapsed()
    };
    let shortest = (0..50).map(|_| wait(None)).min().unwrap();
    assert!((timeout..Duration::from_millis(1)).contains(&shortest), "{shortest:?}");
    let shortest = (1..=50).map(|n| wait(Some(n * 1_000_000))).min().unwrap();
    assert!((timeout..Duration::from_millis(1)).contains(&shortest), "{shortest:?}");
}
