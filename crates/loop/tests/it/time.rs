//! Timers and sleeps: never early, in order, and cancelled at once.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use picot_loop::{EventLoop, Instant, LoopHandle, Sleep, VirtualClock, sleep, sleep_until, spawn, yield_now};

use crate::trace::{one_turn, virtual_loop};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn timers_run_by_deadline_and_then_by_scheduling() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let start = handle.now();
    handle.call_later(3 * SECOND, trace.adds("3"));
    handle.call_at(start + SECOND, trace.adds("1a"));
    handle.call_later(SECOND, trace.adds("1b"));
    handle.call_at(start + 2 * SECOND, trace.adds("2"));
    event_loop.run_until_complete(sleep(4 * SECOND)).unwrap();
    assert_eq!(trace.take(), ["1a", "1b", "2", "3"]);
}

#[test]
fn overdue_timers_run_in_the_next_turn_in_order() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let start = handle.now();
    clock.advance(5 * SECOND);
    handle.call_at(start + 2 * SECOND, trace.adds("2"));
    handle.call_at(start, trace.adds("0"));
    handle.call_at(start + SECOND, trace.adds("1"));
    handle.call_at(start + 5 * SECOND, trace.adds("now"));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["0", "1", "2", "now"]);
}

#[test]
fn a_timer_is_never_early() {
    let (event_loop, trace, clock) = virtual_loop();
    event_loop.handle().call_later(SECOND, trace.adds("fired"));
    clock.advance(SECOND - Duration::from_nanos(1));
    one_turn(&event_loop);
    assert!(trace.take().is_empty());
    clock.advance(Duration::from_nanos(1));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["fired"]);
}

/// A slow machine makes fewer waits, never more.
#[test]
fn a_burst_of_timers_takes_few_waits() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let start = handle.now();
    let fired = Rc::new(Cell::new(0));
    for n in 1..=2_000 {
        let fired = fired.clone();
        handle.call_at(start + Duration::from_micros(5 * n), move || fired.set(fired.get() + 1));
    }
    event_loop.run_until_complete(sleep_until(start + Duration::from_micros(10_000))).unwrap();
    assert_eq!(fired.get(), 2_000);
    let waits = handle.metrics().snapshot().waits;
    assert!(waits < 80, "{waits} waits");
}

#[test]
fn real_sleeps_are_never_early() {
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            for micros in [1, 100, 999, 1_000, 1_001, 5_000] {
                let (start, duration) = (Instant::now(), Duration::from_micros(micros));
                sleep(duration).await;
                assert!(start.elapsed() >= duration, "{:?} < {duration:?}", start.elapsed());
            }
        })
        .unwrap();
}

#[test]
fn cancelling_a_timer_drops_its_callback_at_once() {
    let (event_loop, trace, _clock) = virtual_loop();
    let held = Rc::new(());
    let inside = held.clone();
    let timer = event_loop.handle().call_later(SECOND, move || drop(inside));
    assert_eq!(timer.when() - event_loop.handle().now(), SECOND);
    assert!(timer.cancel());
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!timer.cancel() && timer.is_cancelled());
    drop(event_loop.handle().call_later(SECOND, trace.adds("a dropped handle does not cancel")));
    event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
    assert_eq!(trace.take(), ["a dropped handle does not cancel"]);
}

#[test]
fn a_due_timer_cancelled_in_the_same_turn_does_not_run() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let (later, when) = (trace.adds("cancelled"), handle.now() + SECOND);
    let cell = Rc::new(std::cell::OnceCell::new());
    let inside = cell.clone();
    handle.call_at(when, move || {
        let timer: &picot_loop::TimerHandle = inside.get().unwrap();
        assert!(timer.cancel());
    });
    cell.set(handle.call_at(when, later)).unwrap();
    clock.advance(SECOND);
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert!(trace.take().is_empty());
}

#[test]
fn a_hundred_thousand_cancelled_timers_leave_nothing() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    for _ in 0..100_000 {
        handle.call_later(SECOND, || unreachable!()).cancel();
    }
    handle.call_later(2 * SECOND, trace.adds("kept"));
    let start = handle.now();
    one_turn(&event_loop);
    assert!(trace.take().is_empty());
    event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
    assert_eq!(trace.take(), ["kept"]);
    assert_eq!(handle.now() - start, 2 * SECOND, "the clock does not stop at the cancelled deadline");
    assert_eq!(event_loop.close().unwrap().timers, 0);
}

#[test]
fn the_longest_delay_is_accepted() {
    let event_loop = EventLoop::new().unwrap();
    let timer = event_loop.handle().call_later(Duration::MAX, || unreachable!());
    let pending = event_loop.handle().spawn(sleep(Duration::MAX));
    event_loop.run_until_complete(sleep(Duration::from_millis(1))).unwrap();
    assert!(!pending.is_finished());
    assert!(timer.cancel());
}

#[test]
fn a_sleep_of_zero_lets_queued_items_run_once() {
    let (event_loop, trace, _clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let handle = LoopHandle::current();
            handle.call_soon(trace.adds("queued before"));
            sleep(Duration::ZERO).await;
            trace.add("after one turn");
            handle.call_soon(trace.adds("queued before"));
            sleep_until(Instant::now()).await;
            trace.add("after one turn");
            handle.call_soon(trace.adds("queued before"));
            yield_now().await;
            trace.add("after one turn");
        })
        .unwrap();
    assert_eq!(trace.take(), ["queued before", "after one turn"].repeat(3));
}

#[test]
fn overdue_sleeps_end_in_the_order_of_their_deadlines() {
    let (event_loop, trace, clock) = virtual_loop();
    let start = event_loop.handle().now();
    clock.advance(10 * SECOND);
    for n in [3, 1, 2, 0] {
        let trace = trace.clone();
        drop(event_loop.handle().spawn(async move {
            sleep_until(start + n * SECOND).await;
            trace.add(n);
        }));
    }
    event_loop.run_until_complete(sleep(SECOND)).unwrap();
    assert_eq!(trace.take(), ["0", "1", "2", "3"]);
}

#[test]
fn a_dropped_sleep_cancels_its_timer() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let mut long = Box::pin(sleep(100 * SECOND));
            assert!(futures_lite::future::poll_once(&mut long).await.is_none());
            drop(long);
            sleep(SECOND).await;
        })
        .unwrap();
    assert_eq!(clock.elapsed(), SECOND);
    let pending = event_loop.handle().spawn(sleep(100 * SECOND));
    one_turn(&event_loop);
    pending.cancel("not needed");
    one_turn(&event_loop);
    assert_eq!(event_loop.close().unwrap().tasks.len(), 0);
}

#[test]
fn a_sleep_that_moves_to_another_task_wakes_that_one() {
    let (event_loop, trace, _clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let mut sleeping = Box::pin(sleep(SECOND));
            assert!(futures_lite::future::poll_once(&mut sleeping).await.is_none());
            let inside = trace.clone();
            let task = spawn(async move {
                sleeping.await;
                inside.add("slept");
            });
            task.await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take(), ["slept"]);
}

#[test]
fn ten_thousand_sleepers_wake_in_the_order_of_their_deadlines() {
    let (event_loop, _trace, _clock) = virtual_loop();
    let order = Rc::new(RefCell::new(Vec::new()));
    event_loop
        .run_until_complete(async {
            let mut tasks = Vec::new();
            for n in 0..10_000_u64 {
                // In scattered order; no two are equal.
                let micros = n * 7_919 % 10_007;
                let order = order.clone();
                tasks.push(spawn(async move {
                    sleep(Duration::from_micros(micros)).await;
                    order.borrow_mut().push(micros);
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
    assert_eq!(order.borrow().len(), 10_000);
    assert!(order.borrow().is_sorted());
}

#[test]
fn fifty_thousand_short_sleeps_all_end() {
    // Enough of them to hit every relation of a deadline to the wait. A lost one would hang.
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let tasks: Vec<_> = (0..1_000_u64)
                .map(|n| {
                    spawn(async move {
                        for round in 0..50 {
                            sleep(Duration::from_micros((n * 31 + round * 17) % 200)).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
}

#[test]
#[should_panic(expected = "the loop is closed")]
fn polling_a_sleep_of_a_closed_loop_panics() {
    let event_loop = EventLoop::new().unwrap();
    let sleeping = sleep(SECOND);
    drop(event_loop);
    futures_lite::future::block_on(sleeping);
}

#[test]
fn instants_saturate() {
    let event_loop = EventLoop::new().unwrap();
    let now = event_loop.handle().now();
    assert_eq!(now + Duration::MAX, now + Duration::MAX + SECOND);
    assert_eq!(now - Duration::MAX, (now - Duration::MAX) - SECOND);
    assert_eq!(now - (now + SECOND), Duration::ZERO);
    assert_eq!((now + SECOND) - now, SECOND);
}

#[test]
fn a_reset_sleep_ends_at_its_new_deadline() {
    for (new, expected) in [(5, 5), (1, 1), (0, 1)] {
        let (event_loop, _trace, clock) = virtual_loop();
        event_loop
            .run_until_complete(async {
                let start = Instant::now();
                let mut sleeping = sleep(3 * SECOND);
                assert!(futures_lite::future::poll_once(&mut sleeping).await.is_none());
                clock.advance(SECOND);
                sleeping.reset(start + new * SECOND);
                assert_eq!(sleeping.deadline(), start + new * SECOND);
                sleeping.await;
            })
            .unwrap();
        assert_eq!(clock.elapsed(), expected * SECOND);
        assert_eq!(event_loop.close().unwrap().timers, 0);
    }
}

#[test]
fn resetting_an_awaited_sleep_needs_no_poll() {
    let (event_loop, trace, clock) = virtual_loop();
    let sleeping = Rc::new(RefCell::new(sleep(SECOND)));
    let (inside, polls) = (sleeping.clone(), trace.clone());
    let task = event_loop.handle().spawn(std::future::poll_fn(move |cx| {
        polls.add("polled");
        Pin::new(&mut *inside.borrow_mut()).poll(cx)
    }));
    one_turn(&event_loop);
    for n in 1..=10 {
        sleeping.borrow_mut().reset(event_loop.handle().now() + SECOND);
        clock.advance(SECOND - Duration::from_nanos(1));
        one_turn(&event_loop);
        assert!(!task.is_finished(), "{n}");
    }
    clock.advance(Duration::from_nanos(1));
    one_turn(&event_loop);
    assert!(task.is_finished());
    assert_eq!(trace.take(), ["polled", "polled"]);
}

#[test]
fn a_due_sleep_that_is_reset_before_its_poll_keeps_waiting() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let sleeping = Rc::new(RefCell::new(sleep(SECOND)));
    let putting_off = sleeping.clone();
    // Due together with the sleep, and first in order.
    handle.call_later(SECOND, move || putting_off.borrow_mut().reset(Instant::now() + SECOND));
    let task = handle.spawn(std::future::poll_fn(move |cx| Pin::new(&mut *sleeping.borrow_mut()).poll(cx)));
    one_turn(&event_loop);
    clock.advance(SECOND);
    one_turn(&event_loop);
    assert!(!task.is_finished());
    event_loop.run_until_complete(task.into_future()).unwrap().unwrap();
    assert_eq!((clock.elapsed(), trace.take().len()), (2 * SECOND, 0));
}

#[test]
fn an_ended_or_unpolled_sleep_can_be_reset() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let mut sleeping = sleep(100 * SECOND);
            for n in 1..=3 {
                sleeping.reset(Instant::now() + n * SECOND);
                (&mut sleeping).await;
            }
            let mut no_time = sleep(Duration::ZERO);
            no_time.reset(Instant::now() + SECOND);
            no_time.await;
        })
        .unwrap();
    assert_eq!(clock.elapsed(), 7 * SECOND);
}

#[test]
fn a_sleep_starts_its_timer_at_its_first_poll() {
    let (event_loop, _trace, clock) = virtual_loop();
    let never_polled: Vec<Sleep> =
        event_loop.run_until_complete(async { (1..10).map(|n| sleep(n * SECOND)).collect() }).unwrap();
    event_loop.run_until_complete(sleep(100 * SECOND)).unwrap();
    assert_eq!(clock.elapsed(), 100 * SECOND);
    // Their deadlines have passed; each still waits for a turn.
    event_loop
        .run_until_complete(async {
            for sleep in never_polled {
                sleep.await
            }
        })
        .unwrap();
    assert_eq!(clock.elapsed(), 100 * SECOND);
}

#[test]
fn after_a_long_suspend_timers_run_in_order_over_several_turns() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let order = Rc::new(RefCell::new(Vec::new()));
    for n in 0..5_000_u32 {
        let order = order.clone();
        handle.call_later(n * 7_919 % 5_000 * SECOND, move || order.borrow_mut().push(n * 7_919 % 5_000));
    }
    clock.advance(3600 * 24 * SECOND);
    one_turn(&event_loop);
    let first = order.borrow().len();
    assert!((1..=1_024).contains(&first), "{first} in one turn");
    // A new callback does not wait for all of them.
    handle.call_soon(trace.adds("a callback"));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["a callback"]);
    assert!(order.borrow().len() < 5_000);
    for _ in 0..5 {
        one_turn(&event_loop);
    }
    assert!(order.borrow().iter().copied().eq(0..5_000));
}

#[test]
fn a_timer_without_delay_that_reschedules_itself_runs_once_per_turn() {
    fn again(handle: LoopHandle, runs: Rc<Cell<u32>>) {
        runs.set(runs.get() + 1);
        let inside = handle.clone();
        handle.call_later(Duration::ZERO, move || again(inside, runs));
    }
    let (event_loop, _trace, _clock) = virtual_loop();
    let runs = Rc::new(Cell::new(0));
    again(event_loop.handle(), runs.clone());
    for turn in 1..10 {
        assert_eq!(runs.get(), turn);
        one_turn(&event_loop);
    }
}

#[test]
fn a_delay_counts_from_the_call_not_from_the_start_of_the_turn() {
    let (event_loop, trace, clock) = virtual_loop();
    let (handle, inside) = (event_loop.handle(), clock.clone());
    let fired = trace.adds("fired");
    event_loop.handle().call_soon(move || {
        inside.advance(10 * SECOND); // a long step
        handle.call_later(SECOND, fired);
    });
    one_turn(&event_loop);
    clock.advance(SECOND - Duration::from_nanos(1));
    one_turn(&event_loop);
    assert!(trace.take().is_empty());
    clock.advance(Duration::from_nanos(1));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["fired"]);
}

#[test]
fn short_sleeps_are_on_time_at_any_uptime_beside_a_very_long_one() {
    for uptime in [30, 32, 36].map(|bits| Duration::from_millis(1 << bits)) {
        let clock = VirtualClock::new();
        let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
        let long = event_loop.handle().spawn(sleep(Duration::MAX));
        event_loop.run_until_complete(sleep(uptime - 10 * SECOND)).unwrap();
        for _ in 0..10 {
            let before = clock.elapsed();
            event_loop.run_until_complete(sleep(5 * SECOND)).unwrap();
            assert_eq!(clock.elapsed() - before, 5 * SECOND);
        }
        assert!(clock.elapsed() > uptime && !long.is_finished());
    }
}

#[test]
fn the_drop_of_a_sleeps_waker_may_use_the_timers() {
    thread_local!(static DROPS: Cell<u32> = const { Cell::new(0) });
    struct Counts;
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Counts {
        fn drop(&mut self) {
            assert!(LoopHandle::current().call_later(SECOND, || unreachable!()).cancel());
            DROPS.set(DROPS.get() + 1);
        }
    }
    let _event_loop = EventLoop::new().unwrap();
    let mut sleeping = Box::pin(sleep(3600 * SECOND));
    for round in 0..3 {
        let waker = Waker::from(Arc::new(Counts));
        // Replaces the earlier waker, which is dropped then.
        assert!(sleeping.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(DROPS.get(), round);
    }
    drop(sleeping);
    assert_eq!(DROPS.get(), 3);
}

#[test]
fn a_panicking_waker_of_a_sleep_is_reported_and_the_others_are_woken() {
    let (event_loop, trace, clock) = virtual_loop();
    let reports = crate::trace::reports(&event_loop);
    event_loop.handle().call_later(SECOND, trace.adds("before"));
    let mut sleeping = sleep(SECOND);
    let angry = picot_testkit::waker_fn(|| crate::trace::quiet_panic("angry"));
    assert!(Pin::new(&mut sleeping).poll(&mut Context::from_waker(&angry)).is_pending());
    event_loop.handle().call_later(SECOND, trace.adds("behind"));
    clock.advance(SECOND);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["before", "behind"]);
    assert_eq!(reports.take().len(), 1);
    assert!(Pin::new(&mut sleeping).poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// The loop waits without a limit when another thread sets the timer. Without an interrupt, this
/// would hang.
#[test]
fn a_timer_set_by_another_thread_ends_a_wait_without_a_deadline() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (parked, may_ask) = std::sync::mpsc::channel();
    let remote = handle.remote();
    handle.on_prepare(move || _ = parked.send(()));
    let thread = std::thread::spawn(move || {
        may_ask.recv().unwrap();
        remote.call_soon(|| {
            let handle = LoopHandle::current();
            let inside = handle.clone();
            handle.call_later(Duration::from_millis(1), move || inside.stop());
        })
    });
    event_loop.run_forever().unwrap();
    thread.join().unwrap().unwrap();
}

#[test]
fn dropped_cancelled_and_moved_timers_leave_the_wheel_at_once() {
    let (event_loop, _trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let metrics = handle.metrics();
    let timers = || {
        // The gauge is updated at a wait, so the second turn counts the effects of the first.
        one_turn(&event_loop);
        one_turn(&event_loop);
        metrics.snapshot().timers
    };
    let kept = handle.call_later(100 * SECOND, || unreachable!());
    assert_eq!(timers(), 1);

    let callback = handle.call_later(50 * SECOND, || unreachable!());
    assert_eq!(timers(), 2);
    assert!(callback.cancel());
    assert_eq!(timers(), 1, "a cancelled callback");

    let task = handle.spawn(sleep(50 * SECOND));
    assert_eq!(timers(), 2);
    task.cancel("enough");
    assert_eq!(timers(), 1, "a cancelled task's sleep");

    let mut sleeping = Box::pin(sleep_until(handle.now() + 50 * SECOND));
    assert!(sleeping.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(timers(), 2);
    sleeping.reset(handle.now() + 60 * SECOND);
    assert_eq!(timers(), 2, "a sleep that was moved");
    drop(sleeping);
    assert_eq!(timers(), 1, "a dropped sleep");

    assert!(kept.cancel());
    assert_eq!(timers(), 0);
    assert_eq!(clock.elapsed(), Duration::ZERO, "no deadline has passed");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about std's clock")]
fn a_time_of_std_is_the_same_time_of_the_loop_and_never_early() {
    picot_loop::run(async {
        let start = std::time::Instant::now();
        let (earlier, now) = (Instant::from_std(start), Instant::now());
        assert!(earlier <= now && now - earlier < SECOND);
        assert_eq!(Instant::from_std(start + SECOND) - earlier, SECOND);
        for time in [now, now + 100 * SECOND, now - Duration::from_nanos(1)] {
            assert_eq!(Instant::from_std(time.into_std()), time, "it converts back");
        }
        for _ in 0..20 {
            let deadline = std::time::Instant::now() + Duration::from_micros(50);
            sleep_until(Instant::from_std(deadline)).await;
            assert!(std::time::Instant::now() >= deadline);
        }
        let first = Instant::from_std(start) - 1_000_000 * SECOND;
        assert_eq!(Instant::from_std(start.checked_sub(SECOND).unwrap()), first, "before the clock of the loop began");
    });
}

#[test]
fn under_a_virtual_clock_converted_times_keep_their_distances() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let start = Instant::now();
            let std = start.into_std();
            sleep(3_600 * SECOND).await;
            assert_eq!(Instant::now().into_std() - std, 3_600 * SECOND, "the virtual time that has passed");
            sleep_until(Instant::from_std(std + 3_601 * SECOND)).await;
            assert_eq!(clock.elapsed(), 3_601 * SECOND);
            assert_eq!(Instant::from_std(std), start);
        })
        .unwrap();
}
