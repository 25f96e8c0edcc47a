//! Callbacks and their handles.

use std::rc::Rc;

use picot_executor::{CallHandle, Executor};

use crate::trace::Trace;

#[test]
fn a_cancelled_callback_never_runs_and_a_second_cancel_has_no_effect() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    let call = executor.call_soon(move || inside.add("ran"));
    assert!(call.cancel());
    assert!(call.is_cancelled());
    assert!(!call.cancel());
    executor.run_until_stalled();
    assert!(trace.take().is_empty());
}

#[test]
fn cancelling_a_callback_drops_its_captures_at_once() {
    let executor = Executor::new();
    let held = Rc::new(());
    let inside = held.clone();
    let call = executor.call_soon(move || drop(inside));
    assert_eq!(Rc::strong_count(&held), 2);
    call.cancel();
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_running_callback_cannot_cancel_itself_and_dropping_the_handle_has_no_effect() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let own = Rc::new(std::cell::OnceCell::<CallHandle>::new());
    let (inside, inner) = (trace.clone(), own.clone());
    let call = executor.call_soon(move || inside.add(inner.get().unwrap().cancel()));
    own.set(call.clone()).unwrap();
    drop(call);
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["false"]);
    assert!(!own.get().unwrap().is_cancelled());
}

#[test]
fn a_callback_that_is_scheduled_twice_runs_once() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    let call = CallHandle::new(move || inside.add("ran"));
    executor.spawner().schedule(call.clone()).unwrap();
    executor.spawner().schedule(call).unwrap();
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["ran"]);
}
