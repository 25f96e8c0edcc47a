//! The loop as a guest of another loop.

use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, RunError};

use crate::trace::{Trace, one_turn, virtual_loop};

#[test]
fn a_turn_runs_what_is_queued_and_says_how_much_that_was() {
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
fn a_turn_waits_no_longer_than_it_may() {
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
fn the_timeout_is_that_of_the_next_thing_to_do() {
    let event_loop = EventLoop::new().unwrap();
    assert_eq!(event_loop.next_timeout(), None);
    event_loop.handle().call_later(Duration::from_secs(3600), || ());
    let timeout = event_loop.next_timeout().unwrap();
    assert!(timeout <= Duration::from_secs(3600) && timeout > Duration::from_secs(3000));
    event_loop.handle().call_soon(|| ());
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
}

#[test]
fn under_a_virtual_clock_a_timer_is_nothing_to_wait_for() {
    let (event_loop, trace, clock) = virtual_loop();
    assert_eq!(event_loop.next_timeout(), None);
    event_loop.handle().call_later(Duration::from_secs(3600), trace.adds("timer"));
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    assert_eq!((trace.take(), clock.elapsed()), (vec!["timer".into()], Duration::from_secs(3600)));
}

#[test]
fn another_threads_call_is_seen_by_whoever_asks_for_the_timeout() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    for round in 0..3 {
        assert_eq!(event_loop.next_timeout(), None);
        assert_eq!(event_loop.next_timeout(), None, "asking twice changes nothing");
        let remote = event_loop.handle().remote();
        thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap();
        assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
        trace.add(round);
        // One turn to learn of it, if the wait has to tell, and it runs in the same.
        assert_eq!(event_loop.turn(None), Ok(1));
        one_turn(&event_loop);
    }
    assert_eq!(trace.take(), ["0", "1", "2"]);
}
