//! Events reach exactly their waiters: not those of a dropped source, nor of one that reuses its
//! descriptor.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use picot_context::ManualHost;
use picot_reactor::{Direction, Reactor, Source};

use crate::support::{WakeCount, drain, reactor, registered, wait_until, waker_fn};

#[test]
fn an_event_of_a_source_dropped_before_the_wait_wakes_no_task() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    peer.write_all(b"x").unwrap();
    drop(source);
    drain(&reactor);
    assert_eq!((count.get(), reactor.sources(), reactor.waiting()), (0, 0, 0));
}

thread_local! {
    static VICTIM: RefCell<Option<Source<TcpStream>>> = const { RefCell::new(None) };
}

/// Both sources are ready in one wait, and the first wake drops the other source. The other's waker
/// must not be called then.
#[test]
fn an_event_of_a_source_dropped_earlier_in_the_same_wait_wakes_no_task() {
    thread_local! {
        static BOTH: RefCell<[Option<Source<TcpStream>>; 2]> = const { RefCell::new([None, None]) };
    }
    static WOKEN: AtomicUsize = AtomicUsize::new(0);
    let reactor = reactor();
    let mut peers = Vec::new();
    for (own, other) in [(0, 1), (1, 0)] {
        let (source, peer) = registered(&reactor);
        let killer = waker_fn(move || {
            WOKEN.fetch_add(1, Ordering::Relaxed);
            drop(BOTH.with_borrow_mut(|both| both[other].take()));
        });
        assert!(source.poll_ready(&mut Context::from_waker(&killer), Direction::Read).is_pending());
        BOTH.with_borrow_mut(|both| both[own] = Some(source));
        peers.push(peer);
    }
    drain(&reactor);
    peers.iter().for_each(|mut peer| peer.write_all(b"x").unwrap());
    wait_until(&reactor, || WOKEN.load(Ordering::Relaxed) != 0);
    drain(&reactor);
    assert_eq!((WOKEN.load(Ordering::Relaxed), reactor.sources()), (1, 1));
    BOTH.take();
}

#[test]
#[cfg(unix)]
fn a_source_that_reuses_a_descriptor_gets_no_events_of_the_old_one() {
    use std::os::fd::AsRawFd;
    let reactor = reactor();
    let mut reused = 0;
    for _ in 0..1_000 {
        let (source, mut peer) = registered(&reactor);
        let (fresh, _fresh_peer) = crate::support::pair();
        let number = source.get_ref().as_raw_fd();
        // A duplicate keeps the old file open in the kernel, as a forked child would.
        let _duplicate = source.get_ref().try_clone().unwrap();
        peer.write_all(b"x").unwrap();
        drop(source);

        // The kernel assigns the lowest free number. A lower one may be free, or another test may
        // take it.
        let mut clones: Vec<_> = (0..16).map_while(|_| fresh.try_clone().ok()).collect();
        let same = clones.iter().position(|clone| clone.as_raw_fd() == number);
        reused += usize::from(same.is_some());
        let next = reactor.register(clones.swap_remove(same.unwrap_or(0))).unwrap();
        let count = WakeCount::default();
        assert!(count.poll(|cx| next.poll_ready(cx, Direction::Read)).is_pending());
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(count.get(), 0);
    }
    assert!(reused > 500, "the descriptor was reused in {reused} of 1000 rounds");
    assert_eq!(reactor.sources(), 0);
}

#[test]
fn a_source_may_be_dropped_by_its_own_waker() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let own = waker_fn(|| drop(VICTIM.take()));
    assert!(source.poll_ready(&mut Context::from_waker(&own), Direction::Read).is_pending());
    VICTIM.set(Some(source));
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || reactor.sources() == 0);
    assert_eq!(reactor.waiting(), 0);
    // The reactor keeps no part of it: the peer sees the end of the connection.
    drain(&reactor);
    assert!(matches!(peer.read(&mut [0]), Ok(0) | Err(_)));
}

/// A waker is called in its slot, and the call may remove the last reference to it.
#[test]
fn a_waker_that_removes_itself_during_its_call_is_dropped_afterwards() {
    thread_local! {
        static SOURCE: RefCell<Option<(Reactor, Option<Source<TcpStream>>)>> = const { RefCell::new(None) };
    }
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    for (round, is_replaced) in [false, true].into_iter().enumerate() {
        let reactor = reactor();
        let (source, mut peer) = registered(&reactor);
        let held = Held;
        let waker = waker_fn(move || {
            let _held = &held;
            let (reactor, source) = SOURCE.take().unwrap();
            // The source, if another task waits for it next.
            let source = source.filter(|source| {
                source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).unwrap();
                let _ = source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8]));
                is_replaced && source.poll_ready(&mut Context::from_waker(Waker::noop()), Direction::Read).is_pending()
            });
            assert_eq!(source.is_some(), is_replaced);
            // A nested wait must not drop the waker that is being called here.
            reactor.wait(Some(Duration::ZERO)).unwrap();
            assert_eq!(DROPPED.load(Ordering::Relaxed), round);
            SOURCE.set(Some((reactor, source)));
            CALLED.fetch_add(1, Ordering::Relaxed);
        });
        assert!(source.poll_ready(&mut Context::from_waker(&waker), Direction::Read).is_pending());
        drop(waker);
        SOURCE.set(Some((reactor.clone(), Some(source))));
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || CALLED.load(Ordering::Relaxed) > round);
        assert_eq!(DROPPED.load(Ordering::Relaxed), round + 1);
        SOURCE.set(None);
    }
}

#[test]
fn a_waker_that_panics_is_reported_and_the_others_are_woken() {
    let (host, _guard) = ManualHost::installed();
    let reactor = reactor();
    let (angry_source, mut angry_peer) = registered(&reactor);
    let angry = waker_fn(|| std::panic::resume_unwind(Box::new("angry")));
    assert!(angry_source.poll_ready(&mut Context::from_waker(&angry), Direction::Read).is_pending());
    let calm: Vec<_> = (0..3).map(|_| registered(&reactor)).collect();
    let count = WakeCount::default();
    for (source, peer) in &calm {
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        (&*peer).write_all(b"x").unwrap();
    }
    angry_peer.write_all(b"x").unwrap();
    wait_until(&reactor, || count.get() == 3 && !host.take_reports().is_empty());
}

#[test]
fn a_waker_may_wait_register_and_poll() {
    let reactor = Rc::new(reactor());
    thread_local! {
        static INNER: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
    }
    INNER.set(Some(reactor.clone()));
    let (source, mut peer) = registered(&reactor);
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    let busy = waker_fn(|| {
        let reactor = INNER.with_borrow(|inner| inner.clone().unwrap());
        let (other, _peer) = registered(&reactor);
        let count = WakeCount::default();
        assert!(count.poll(|cx| other.poll_ready(cx, Direction::Write)).is_pending());
        wait_until(&reactor, || count.get() == 1);
        CALLED.fetch_add(1, Ordering::Relaxed);
    });
    assert!(source.poll_ready(&mut Context::from_waker(&busy), Direction::Read).is_pending());
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || CALLED.load(Ordering::Relaxed) == 1);
    INNER.set(None);
}

#[test]
fn only_the_ready_ones_of_many_sources_are_woken() {
    let reactor = reactor();
    let all: Vec<_> = (0..400).map(|_| registered(&reactor)).collect();
    let counts: Vec<_> = (0..400).map(|_| WakeCount::default()).collect();
    for ((source, _), count) in all.iter().zip(&counts) {
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    }
    // Also more than fit into one wait.
    for step in [100, 1] {
        let before: Vec<_> = counts.iter().map(WakeCount::get).collect();
        for (_, peer) in all.iter().step_by(step) {
            (&*peer).write_all(b"x").unwrap();
        }
        wait_until(&reactor, || {
            counts.iter().zip(&before).enumerate().all(|(n, (count, before))| n % step != 0 || count.get() > *before)
        });
        for (n, ((source, _), count)) in all.iter().zip(&counts).enumerate() {
            assert_eq!(count.get() - before[n], usize::from(n % step == 0), "source {n}");
            if n % step == 0 {
                while source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).is_ok() {}
                assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
            }
        }
    }
}

/// More events than one wait returns. The rest comes in the next waits, and no task is woken twice.
#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn a_flood_of_events_is_split_over_waits_and_wakes_each_task_once() {
    let reactor = reactor();
    let all: Vec<_> = (0..600).map(|_| registered(&reactor)).collect();
    let count = WakeCount::default();
    for (source, _) in &all {
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    }
    drain(&reactor);
    for (_, peer) in &all {
        (&*peer).write_all(b"x").unwrap();
    }
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < all.len() {
        batches.push(reactor.wait(Some(Duration::from_secs(10))).unwrap());
        assert_ne!(batches.last(), Some(&0));
    }
    assert_eq!(count.get(), all.len());
    // poll(2) has no limit.
    assert_eq!(batches, if cfg!(polling_test_poll_backend) { vec![600] } else { vec![256, 256, 88] });
}

#[test]
fn a_panicking_waker_does_not_keep_other_waiters_of_its_source_asleep() {
    let (host, _guard) = ManualHost::installed();
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let angry = waker_fn(|| std::panic::resume_unwind(Box::new("angry")));
    let counts = [WakeCount::default(), WakeCount::default()];
    let mut waits: Vec<_> = (0..3).map(|_| Box::pin(source.readable())).collect();
    assert!(counts[0].poll(|cx| waits[0].as_mut().poll(cx)).is_pending());
    assert!(waits[1].as_mut().poll(&mut Context::from_waker(&angry)).is_pending());
    assert!(counts[1].poll(|cx| waits[2].as_mut().poll(cx)).is_pending());
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || reactor.waiting() == 0);
    assert_eq!((counts[0].get(), counts[1].get(), host.take_reports().len()), (1, 1, 1));
}
