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
