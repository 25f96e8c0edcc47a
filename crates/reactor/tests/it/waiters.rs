//! Several waiters in one direction, many waiters, and wakers that call back when they are cloned,
//! woken or dropped.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::{Duration, Instant};

use picot_reactor::{Direction, Reactor, Readiness, ReadyList, Source};

use crate::drivers::drivers;
use crate::support::{WakeCount, drain, reactor, registered, wait_until};

#[test]
fn several_tasks_that_poll_one_direction_are_all_served() {
    for reactor in drivers() {
        for readers in [2, 3, 40] {
            let (source, mut peer) = registered(&reactor);
            let counts: Vec<_> = (0..readers).map(|_| WakeCount::default()).collect();
            let mut buffer = [0; 1];
            let mut is_done = vec![false; readers];
            let mut woken = vec![0; readers];
            let mut polls = 0;
            let mut round = |is_done: &mut Vec<bool>| {
                for n in 0..readers {
                    if is_done[n] || (woken[n] != 0 && counts[n].get() < woken[n]) {
                        continue;
                    }
                    woken[n] = counts[n].get() + 1;
                    polls += 1;
                    let poll = counts[n].poll(|cx| source.poll_io(cx, Direction::Read, |mut io| io.read(&mut buffer)));
                    is_done[n] = poll.is_ready();
                }
                polls
            };
            round(&mut is_done);
            for served in 1..=readers {
                peer.write_all(b"x").unwrap();
                wait_until(&reactor, || {
                    round(&mut is_done);
                    is_done.iter().filter(|done| **done).count() == served
                });
            }
            assert_eq!(reactor.waiting(), 0);
            drop(source);
        }
    }
}

#[test]
fn owned_waits_keep_their_source_and_are_woken_with_the_others() {
    for reactor in drivers() {
        let (source, mut peer) = registered(&reactor);
        let source = Rc::new(source);
        let count = WakeCount::default();
        let mut waits: Vec<_> = (0..3).map(|_| source.ready_owned(Direction::Read)).collect();
        let mut borrowed = Box::pin(source.readable());
        for wait in &mut waits {
            assert!(count.poll(|cx| Pin::new(&mut *wait).poll(cx)).is_pending());
        }
        assert!(count.poll(|cx| borrowed.as_mut().poll(cx)).is_pending());
        assert_eq!(reactor.waiting(), 4);
        drop(waits.pop());
        assert_eq!(reactor.waiting(), 3, "a dropped wait leaves its source");
        peer.write_all(b"x").unwrap();
        wait_until(&reactor, || count.get() == 3);
        assert!(count.poll(|cx| borrowed.as_mut().poll(cx)).is_ready());
        drop(borrowed);
        for wait in &mut waits {
            assert!(count.poll(|cx| Pin::new(wait).poll(cx)).is_ready());
        }
        assert_eq!(source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).unwrap(), 1);

        // The last share is that of a wait, in line when it is dropped.
        let mut last = source.ready_owned(Direction::Priority);
        assert!(count.poll(|cx| Pin::new(&mut last).poll(cx)).is_pending());
        drop((source, waits));
        assert_eq!((reactor.sources(), reactor.waiting()), (1, 1));
        drop(last);
        assert_eq!((reactor.sources(), reactor.waiting()), (0, 0));
    }
}

/// A poll does not announce that its future was dropped, so wakers that are left behind must be
/// bounded.
#[test]
fn wakers_of_dropped_polls_are_bounded_and_waiting_ones_are_not_lost() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let first = WakeCount::default();
    let poll = |count: &WakeCount| count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending();
    assert!(poll(&first));
    let (mut others, mut again) = (Vec::new(), 1);
    for _ in 0..1000 {
        let other = WakeCount::default();
        assert!(poll(&other));
        others.push(other);
        if first.get() == again {
            // Woken because it is the oldest. It still waits, so it polls again.
            again += 1;
            assert!(poll(&first));
        }
    }
    let kept = others.iter().filter(|other| other.holders() > 1).count();
    assert!(kept <= 17 && reactor.waiting() <= 17, "{kept} are kept, {} count", reactor.waiting());
    assert!(again > 10, "it was asked {again} times");
    // The same task counts once, however often it polls.
    for _ in 0..100 {
        assert!(poll(&others[0]) && poll(&others[1]));
    }
    assert!(reactor.waiting() <= 17);
    let before = first.get();
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || source.known().contains(Readiness::READABLE));
    assert_eq!((first.get(), reactor.waiting()), (before + 1, 0));
    assert!(others.iter().skip(2).all(|other| other.holders() == 1));
}

/// Removing a waiter costs the same for any number and order of waiters.
#[test]
#[cfg_attr(miri, ignore = "too slow under Miri")]
fn a_hundred_thousand_waiters_of_a_source_take_linear_time() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let many = |waiters: usize, is_reverse: bool| {
        #[expect(clippy::disallowed_methods, reason = "this measures the time")]
        let begin = Instant::now();
        let waker = WakeCount::default().waker();
        let mut cx = Context::from_waker(&waker);
        let mut waits: Vec<_> = (0..waiters).map(|_| Box::pin(source.readable())).collect();
        for _ in 0..2 {
            assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_pending()));
        }
        assert_eq!(reactor.waiting(), waiters);
        if is_reverse {
            while waits.pop().is_some() {}
        }
        drop(waits);
        assert_eq!(reactor.waiting(), 0);
        begin.elapsed()
    };
    many(1_000, false);
    for is_reverse in [false, true] {
        let few = (0..3).map(|_| many(10_000, is_reverse)).min().unwrap();
        let most = (0..2).map(|_| many(100_000, is_reverse)).min().unwrap();
        assert!(most < 60 * few.max(Duration::from_millis(1)), "{few:?} for a tenth of what took {most:?}");
    }
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || source.known().contains(Readiness::READABLE));
}

/// The moment at which a waker calls back.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Moment {
    Clone,
    Wake,
    Drop,
}

/// The callback: in a thread-local, because a waker is `Send`.
type Callback = Box<dyn FnMut()>;

thread_local! {
    static CALLBACK: RefCell<Option<(Moment, Callback)>> = const { RefCell::new(None) };
}

fn call_back(moment: Moment) {
    // Taken out, so that it runs once, and may call wakers itself.
    let call = CALLBACK.with_borrow_mut(|slot| slot.take_if(|(other, _)| *other == moment));
    if let Some((_, mut call)) = call {
        call();
    }
}

/// A waker that counts, and that calls back in each of its functions.
fn calling_back(wakes: &Arc<AtomicUsize>) -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            call_back(Moment::Clone);
            // SAFETY: `data` is from `Arc::into_raw`, and this does not consume it.
            unsafe { Arc::increment_strong_count(data.cast::<AtomicUsize>()) };
            RawWaker::new(data, &VTABLE)
        },
        |data| {
            // SAFETY: As above, and this consumes it.
            let wakes = unsafe { Arc::from_raw(data.cast::<AtomicUsize>()) };
            wakes.fetch_add(1, Ordering::Relaxed);
            call_back(Moment::Wake);
        },
        |data| {
            // SAFETY: As above, and this does not consume it.
            unsafe { (*data.cast::<AtomicUsize>()).fetch_add(1, Ordering::Relaxed) };
            call_back(Moment::Wake);
        },
        |data| {
            call_back(Moment::Drop);
            // SAFETY: As in `wake`.
            drop(unsafe { Arc::from_raw(data.cast::<AtomicUsize>()) });
        },
    );
    // SAFETY: The functions uphold the contract of a vtable: the `Arc`'s count is the number of
    // wakers.
    unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(wakes.clone()).cast(), &VTABLE)) }
}

/// Polls a wait of this crate once.
type Wait<'a> = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + 'a>;

/// Every way of this crate to wait for data.
fn waits<'a>(source: &'a Source<TcpStream>, list: &'a ReadyList) -> Vec<(&'static str, Wait<'a>)> {
    let mut future = Box::pin(source.readable());
    vec![
        ("ready", Box::new(move |cx: &mut Context<'_>| future.as_mut().poll(cx).map(Result::unwrap))),
        ("poll_ready", Box::new(|cx: &mut Context<'_>| source.poll_ready(cx, Direction::Read).map(Result::unwrap))),
        (
            "poll_io",
            Box::new(|cx: &mut Context<'_>| source.poll_io(cx, Direction::Read, |_| Ok(())).map(Result::unwrap)),
        ),
        (
            "poll_transfer",
            Box::new(|cx: &mut Context<'_>| {
                source.poll_transfer(cx, Direction::Read, 1, |_| Ok(1)).map(Result::unwrap).map(drop)
            }),
        ),
        (
            "poll_take",
            Box::new(|cx: &mut Context<'_>| {
                source.acknowledge();
                list.poll_take(cx, &mut Vec::new())
            }),
        ),
    ]
}

/// The event arrives while the waker is cloned, woken, or replaced and dropped. The wait must
/// complete: at once, or by a later wake.
#[test]
fn an_event_during_a_wakers_callback_is_not_lost() {
    for reactor in drivers() {
        for moment in [Moment::Clone, Moment::Wake, Moment::Drop] {
            for n in 0..5 {
                for has_company in [false, true] {
                    check_callback(&reactor, moment, n, has_company);
                }
            }
        }
    }
}

fn check_callback(reactor: &Reactor, moment: Moment, n: usize, has_company: bool) {
    let (source, mut peer) = registered(reactor);
    // All events of the new socket have been handled.
    let _ = source.try_io(Direction::Read, |_| Ok(()));
    drain(reactor);
    let list = ReadyList::new();
    if n == 4 {
        source.list_in(&list, 0);
        let mut tokens = Vec::new();
        let _ = WakeCount::default().poll(|cx| list.poll_take(cx, &mut tokens));
        assert!(source.try_io(Direction::Read, |mut io| io.read(&mut [0])).is_err());
    }
    let company = WakeCount::default();
    if has_company {
        assert!(company.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    }
    let (name, mut wait) = waits(&source, &list).swap_remove(n);
    let wakes = Arc::<AtomicUsize>::default();
    let waker = calling_back(&wakes);
    let mut cx = Context::from_waker(&waker);
    if moment == Moment::Drop {
        // A different waker is replaced, and calls back when it is dropped.
        let old = calling_back(&Arc::default());
        assert!(wait(&mut Context::from_waker(&old)).is_pending());
    }
    let bring = {
        let (reactor, mut peer) = (reactor.clone(), peer.try_clone().unwrap());
        move || {
            peer.write_all(b"x").unwrap();
            // Loopback delivers at once.
            drain(&reactor);
        }
    };
    CALLBACK.set(Some((moment, Box::new(bring))));
    let case = format!("{name}, {moment:?}, company: {has_company}");
    let mut is_done = wait(&mut cx).is_ready();
    if CALLBACK.with_borrow(Option::is_some) {
        // The moment has not occurred yet. An event causes it, and the callback causes the next
        // event.
        peer.write_all(b"y").unwrap();
    }
    for _ in 0..100 {
        if is_done {
            break;
        }
        if wakes.swap(0, Ordering::Relaxed) > 0 {
            is_done = wait(&mut cx).is_ready();
            continue;
        }
        reactor.wait(Some(Duration::from_millis(10))).unwrap();
    }
    assert!(is_done, "{case}: the wait was not woken");
    CALLBACK.set(None);
    if has_company {
        assert!(company.get() > 0, "{case}: the other waiter was not woken");
    }
}
