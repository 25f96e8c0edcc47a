//! Embedding: single turns of the loop, and how long a host may wait.

use std::ops::ControlFlow::{Break, Continue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, RunError, yield_now};
use picot_testkit::quiet_panic;

use crate::trace::{Trace, one_turn, virtual_loop};

#[test]
fn a_turn_runs_what_is_queued_and_returns_the_number_of_steps() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    event_loop.handle().call_soon(trace.adds("first"));
    let (handle, second) = (event_loop.handle(), trace.adds("second"));
    event_loop.handle().call_soon(move || drop(handle.call_soon(second)));
    assert_eq!(event_loop.turn(None), Ok(2));
    assert_eq!(trace.take(), ["first"]);
    assert_eq!(event_loop.turn(None), Ok(1));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(0));
    assert_eq!(trace.take(), ["second"]);
}

#[test]
fn a_turn_waits_no_longer_than_its_limit() {
    let event_loop = EventLoop::new().unwrap();
    event_loop.handle().call_later(Duration::from_secs(3600), || ());
    assert_eq!(event_loop.turn(Some(Duration::from_millis(1))), Ok(0));
}

#[test]
fn a_turn_inside_of_a_turn_is_refused() {
    let event_loop = std::rc::Rc::new(EventLoop::new().unwrap());
    let inner = event_loop.clone();
    event_loop.handle().call_soon(move || assert_eq!(inner.turn(None), Err(RunError::Nested)));
    assert_eq!(event_loop.turn(None), Ok(1));
    event_loop.close().unwrap();
    assert_eq!(event_loop.turn(None), Err(RunError::Closed));
}

#[test]
fn the_timeout_lasts_until_the_next_timer_or_queued_item() {
    let event_loop = EventLoop::new().unwrap();
    assert_eq!(event_loop.next_timeout(), None);
    event_loop.handle().call_later(Duration::from_secs(3600), || ());
    let timeout = event_loop.next_timeout().unwrap();
    assert!(timeout <= Duration::from_secs(3600) && timeout > Duration::from_secs(3000));
    event_loop.handle().call_soon(|| ());
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
}

#[test]
fn under_a_virtual_clock_a_timer_makes_the_timeout_zero() {
    let (event_loop, trace, clock) = virtual_loop();
    assert_eq!(event_loop.next_timeout(), None);
    event_loop.handle().call_later(Duration::from_secs(3600), trace.adds("timer"));
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    assert_eq!((trace.take(), clock.elapsed()), (vec!["timer".into()], Duration::from_secs(3600)));
}

#[test]
fn a_call_from_another_thread_makes_the_timeout_zero() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    for round in 0..3 {
        assert_eq!(event_loop.next_timeout(), None);
        assert_eq!(event_loop.next_timeout(), None, "a second call returns the same");
        let remote = event_loop.handle().remote();
        thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap();
        assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
        trace.add(round);
        // One turn is enough: if the wait collects the call, it runs in the same turn.
        assert_eq!(event_loop.turn(None), Ok(1));
        one_turn(&event_loop);
    }
    assert_eq!(trace.take(), ["0", "1", "2"]);
}

#[test]
fn a_run_in_turns_ends_with_the_value_of_a_future_that_may_borrow() {
    let event_loop = EventLoop::new().unwrap();
    let text = String::from("borrowed");
    let mut run = event_loop
        .turns_until_complete(async {
            yield_now().await;
            text.len()
        })
        .unwrap();
    assert_eq!(event_loop.handle().tasks()[0].given_name(), Some("main"));
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    assert_eq!(run.turn(None), Ok(Continue(1)));
    assert_eq!(run.turn(None), Ok(Break(8)));
    drop(run);
    assert!(event_loop.handle().tasks().is_empty());
}

#[test]
fn a_run_in_turns_goes_on_after_a_stop() {
    let event_loop = EventLoop::new().unwrap();
    // Also a stop before the first turn is for this run.
    event_loop.stop();
    let mut run = event_loop.turns_until_complete(async { yield_now().await }).unwrap();
    assert_eq!(run.turn(None), Err(RunError::Stopped));
    assert_eq!(run.turn(None), Ok(Break(())));
}

#[test]
fn a_run_in_turns_ends_with_the_panic_of_its_future() {
    let event_loop = EventLoop::new().unwrap();
    let mut run = event_loop.turns_until_complete(async { quiet_panic("of the future") }).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| run.turn(None))).is_err());
    drop(run);
    assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1), "the loop is usable");
}
