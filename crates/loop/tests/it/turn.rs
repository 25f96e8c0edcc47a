//! The turn: the order of its phases, and how much each handles.

use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, Instant, LoopHandle, spawn, yield_now};

use crate::trace::{Trace, one_turn, virtual_loop};

#[test]
fn a_turn_runs_exactly_what_was_queued() {
    let (event_loop, trace, _clock) = virtual_loop();
    for name in ["a", "b"] {
        let trace = trace.clone();
        drop(event_loop.handle().spawn(async move {
            for n in 0..3 {
                trace.add(format!("{name}{n}"));
                yield_now().await;
            }
        }));
    }
    for turn in 0..3 {
        one_turn(&event_loop);
        assert_eq!(trace.take(), [format!("a{turn}"), format!("b{turn}")]);
    }
}

#[test]
fn timers_set_by_a_due_timer_wait_for_the_next_turn() {
    let (event_loop, trace, clock) = virtual_loop();
    let (handle, inside) = (event_loop.handle(), trace.clone());
    event_loop.handle().call_later(Duration::from_secs(1), move || {
        inside.add("first");
        handle.call_later(Duration::ZERO, inside.adds("second"));
    });
    clock.advance(Duration::from_secs(1));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["first"]);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["second"]);
}

#[test]
fn calls_from_other_threads_are_queued_behind_timers() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    handle.call_later(Duration::from_secs(1), trace.adds("timer"));
    handle.call_soon(trace.adds("queued"));
    clock.advance(Duration::from_secs(1));
    let remote = handle.remote();
    let number = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let inside = number.clone();
    std::thread::spawn(move || {
        remote.call_soon(move || inside.store(1, std::sync::atomic::Ordering::Relaxed)).unwrap();
    })
    .join()
    .unwrap();
    let last = trace.clone();
    let waiting = handle.spawn(async move { last.add("task") });
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["queued", "task", "timer"]);
    assert_eq!(number.load(std::sync::atomic::Ordering::Relaxed), 1, "in the same turn");
    drop(waiting);
}

#[test]
fn tasks_that_yield_to_each_other_alternate() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    event_loop
        .run_until_complete(async {
            let (trace, shared) = (trace.clone(), Rc::new(std::cell::Cell::new(0)));
            let tasks: Vec<_> = (0..3)
                .map(|n| {
                    let (trace, shared) = (trace.clone(), shared.clone());
                    spawn(async move {
                        while shared.get() != n {
                            yield_now().await;
                        }
                        trace.add(n);
                        shared.set(n + 1);
                    })
                })
                .collect();
            for task in tasks.into_iter().rev() {
                task.await.unwrap();
            }
            let _ = LoopHandle::current();
        })
        .unwrap();
    assert_eq!(trace.take(), ["0", "1", "2"]);
}

/// Each step is as long as the maximum time between event polls, so the loop soon polls in each
/// turn.
#[test]
fn long_steps_make_event_polls_more_frequent() {
    let event_loop = EventLoop::new().unwrap();
    let metrics = event_loop.handle().metrics();
    event_loop
        .run_until_complete(async {
            for _ in 0..200 {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(50) {}
                yield_now().await;
            }
        })
        .unwrap();
    let waits = metrics.snapshot().waits;
    assert!(waits >= 100, "{waits} waits");
}

/// Runs a loop whose task yields 10 times, and which does `call` in the third of these turns. Notes
/// both. The clock is virtual, so no event poll is due meanwhile.
fn in_the_third_turn(trace: &Trace, call: impl FnOnce() + 'static) -> EventLoop {
    let clock = picot_loop::VirtualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
    let (inside, mut call) = (trace.clone(), Some(call));
    let handle = event_loop.handle();
    handle.clone().call_soon(move || {
        drop(handle.spawn(async move {
            for n in 1..=10 {
                inside.add(n);
                if n == 3 {
                    call.take().unwrap()();
                }
                yield_now().await;
            }
            LoopHandle::current().stop();
        }));
    });
    event_loop
}

#[test]
fn a_report_reaches_the_error_hook_at_the_end_of_its_turn() {
    let trace = Trace::default();
    let event_loop =
        in_the_third_turn(&trace, || drop(LoopHandle::current().call_soon(|| crate::trace::quiet_panic("boom"))));
    let hook = trace.clone();
    event_loop.handle().set_error_hook(move |_| hook.add("reported"));
    event_loop.run_forever().unwrap();
    assert_eq!(trace.take()[..6], ["1", "2", "3", "4", "reported", "5"]);
}

#[test]
fn a_stop_ends_the_run_with_its_turn() {
    let trace = Trace::default();
    let event_loop = in_the_third_turn(&trace, || LoopHandle::current().stop());
    event_loop.run_forever().unwrap();
    // A stopping loop runs its last turn.
    assert_eq!(trace.take(), ["1", "2", "3"]);
}

#[test]
fn a_call_from_another_thread_runs_in_the_next_turn() {
    let trace = Trace::default();
    let turns = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = turns.clone();
    let event_loop = in_the_third_turn(&trace, move || {
        let handle = LoopHandle::current();
        let (remote, metrics) = (handle.remote(), handle.metrics());
        let pushed_in = metrics.snapshot().turns;
        let push = move || remote.call_soon(move || seen.lock().unwrap().push(metrics.snapshot().turns - pushed_in));
        std::thread::spawn(push).join().unwrap().unwrap();
    });
    event_loop.run_forever().unwrap();
    assert_eq!(*turns.lock().unwrap(), [1]);
}

#[test]
fn turns_without_an_event_poll_are_counted_one_by_one() {
    let event_loop = EventLoop::builder().clock(&picot_loop::VirtualClock::new()).build().unwrap();
    let metrics = event_loop.handle().metrics();
    let mut seen = Vec::new();
    event_loop
        .run_until_complete(async {
            for _ in 0..5 {
                let now = metrics.snapshot();
                seen.push((now.turns, now.steps, now.waits));
                yield_now().await;
            }
        })
        .unwrap();
    let first_wait = seen[0].2;
    assert_eq!(seen, [0, 1, 2, 3, 4].map(|n| (n, n, first_wait)));
}

#[test]
fn a_timer_and_io_wait_for_no_more_steps_than_fit_between_two_event_polls() {
    let event_loop = EventLoop::builder().clock(&picot_loop::VirtualClock::new()).build().unwrap();
    let polls = Rc::new(std::cell::Cell::new(0));
    let count = polls.clone();
    event_loop.handle().on_check(move || count.set(count.get() + 1));
    let steps = event_loop
        .run_until_complete(async {
            let before = polls.get();
            let mut steps = 0;
            while polls.get() == before {
                steps += 1;
                yield_now().await;
            }
            steps
        })
        .unwrap();
    assert!(steps <= 61, "{steps} steps without an event poll");
}
