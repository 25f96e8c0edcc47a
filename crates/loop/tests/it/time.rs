//! Timers and sleeps: never early, in order, cancelled for good.

use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, Instant, LoopHandle, sleep, sleep_until, spawn, yield_now};

use crate::trace::{one_turn, virtual_loop};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn timers_run_in_the_order_of_their_deadlines_and_then_of_their_scheduling() {
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
fn timers_that_are_overdue_run_in_the_next_turn_and_still_in_order() {
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
fn a_timer_that_a_callback_of_the_same_turn_cancels_does_not_run() {
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
    assert_eq!(handle.now() - start, 2 * SECOND, "the clock did not stop at the cancelled deadline");
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
fn sleeping_for_no_time_lets_what_is_queued_run_once() {
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
fn sleeps_that_are_overdue_end_in_the_order_of_their_deadlines() {
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
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    event_loop
        .run_until_complete(async {
            let mut tasks = Vec::new();
            for n in 0..10_000_u64 {
                // Scattered, and no two equal.
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
    // Enough of them to meet every relation of a deadline to the wait; a lost one would hang.
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
fn a_sleep_that_outlives_its_loop_says_so() {
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
