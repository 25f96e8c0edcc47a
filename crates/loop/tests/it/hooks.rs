//! Hooks of the turn, around each event poll.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::TurnHook;

use crate::trace::{one_turn, passing_loop, quiet_panic, reports, virtual_loop};

#[test]
fn hooks_run_around_the_wait_and_before_what_is_queued() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let adds = |event: &'static str| {
        let trace = trace.clone();
        move || trace.add(event)
    };
    let check = handle.on_check(adds("check"));
    let prepare = handle.on_prepare(adds("prepare"));
    let idle = handle.on_idle(adds("idle"));
    handle.call_later(Duration::from_secs(1), adds("timer"));
    handle.call_soon(adds("callback"));
    clock.advance(Duration::from_secs(1));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["idle", "prepare", "check", "callback", "timer"]);

    assert!(prepare.remove() && !prepare.remove());
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["idle", "check"]);
    assert!(check.remove() && idle.remove());
    one_turn(&event_loop);
    assert!(trace.take().is_empty());
}

#[test]
fn an_idle_hook_prevents_waits_and_jumps_of_a_virtual_clock() {
    let (event_loop, trace, clock) = virtual_loop();
    let handle = event_loop.handle();
    let hook: Rc<RefCell<Option<TurnHook>>> = Rc::default();
    let mut calls = 0;
    let (own, seen, time) = (hook.clone(), trace.clone(), clock.clone());
    *hook.borrow_mut() = Some(handle.on_idle(move || {
        calls += 1;
        assert_eq!(time.elapsed(), Duration::ZERO);
        if calls == 5 {
            seen.add("removes itself");
            assert!(own.take().unwrap().remove());
        }
    }));
    let slept = event_loop.run_until_complete(picot_loop::sleep(Duration::from_secs(1)));
    assert_eq!((slept, clock.elapsed()), (Ok(()), Duration::from_secs(1)));
    assert_eq!(trace.take(), ["removes itself"]);
}

#[test]
fn a_hook_that_panics_or_is_slow_is_reported_with_its_place_and_stays() {
    let (event_loop, clock) = passing_loop(Duration::from_millis(100));
    let reports = reports(&event_loop);
    let handle = event_loop.handle();
    let line = line!() + 1;
    handle.on_prepare(|| quiet_panic("in the hook"));
    handle.on_check(move || clock.advance(Duration::from_secs(1)));
    one_turn(&event_loop);
    one_turn(&event_loop);
    let texts = reports.take();
    assert_eq!(texts.len(), 4);
    assert!(texts[0].contains(&format!("hooks.rs:{line}:")) && texts[0].contains("in the hook"), "{}", texts[0]);
    assert!(texts[1].contains(&format!("hooks.rs:{}:", line + 1)) && texts[1].contains("for 1s"), "{}", texts[1]);
}

#[test]
fn closing_drops_hooks() {
    let (event_loop, trace, _clock) = virtual_loop();
    let held = trace.on_drop("dropped");
    let hook = event_loop.handle().on_check(move || assert!(std::mem::size_of_val(&held) > 0));
    event_loop.close().unwrap();
    assert_eq!(trace.take(), ["dropped"]);
    assert!(!hook.remove());
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        quiet_panic("in the drop");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_removed_hook_is_reported_and_the_turn_goes_on() {
    let (event_loop, trace, _clock) = virtual_loop();
    let reports = reports(&event_loop);
    let handle = event_loop.handle();
    let hook: Rc<RefCell<Option<TurnHook>>> = Rc::default();
    let (own, bomb) = (hook.clone(), Bomb);
    *hook.borrow_mut() = Some(handle.on_check(move || {
        let _held = &bomb;
        assert!(own.take().unwrap().remove());
    }));
    handle.on_check({
        let trace = trace.clone();
        move || trace.add("the next hook")
    });
    handle.call_soon(trace.adds("callback"));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["the next hook", "callback"]);
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("in the drop"), "{texts:?}");
}

#[test]
fn a_panic_in_the_drop_of_a_hook_does_not_stop_close() {
    struct Tool(Bomb);
    impl picot_loop::Hooks for Tool {}
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let (prepare, error_hook) = (Bomb, Bomb);
    handle.on_prepare(move || assert!(std::mem::size_of_val(&prepare) == 0));
    handle.set_error_hook(move |_| assert!(std::mem::size_of_val(&error_hook) == 0));
    handle.set_hooks(Rc::new(Tool(Bomb)));
    let held = trace.on_drop("task");
    drop(handle.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    }));
    assert_eq!(event_loop.close().unwrap().tasks.len(), 1);
    assert_eq!(trace.take(), ["task"]);
    assert!(picot_loop::LoopHandle::try_current().is_err(), "the thread is free");
}
