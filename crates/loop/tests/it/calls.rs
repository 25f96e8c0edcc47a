//! Callbacks: in order, once, from this thread and from others.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use picot_loop::{EventLoop, LoopHandle, spawn};

use crate::trace::{Trace, one_turn, virtual_loop};

#[test]
fn callbacks_run_once_in_the_order_of_scheduling() {
    let (event_loop, trace, _clock) = virtual_loop();
    for n in 0..5 {
        event_loop.handle().call_soon(trace.adds(n));
    }
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_callback_scheduled_by_a_running_one_waits_for_the_next_turn() {
    let (event_loop, trace, _clock) = virtual_loop();
    let inside = trace.clone();
    event_loop.handle().call_soon(move || {
        inside.add("outer");
        LoopHandle::current().call_soon(inside.adds("inner"));
    });
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["outer"]);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["inner"]);
}

#[test]
fn a_cancelled_callback_never_runs() {
    let (event_loop, trace, _clock) = virtual_loop();
    let call = event_loop.handle().call_soon(trace.adds("cancelled"));
    event_loop.handle().call_soon(trace.adds("kept"));
    assert!(call.cancel());
    assert!(!call.cancel());
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["kept"]);
}

#[test]
fn a_call_from_another_thread_wakes_a_loop_that_waits() {
    let event_loop = EventLoop::new().unwrap();
    let remote = event_loop.handle().remote();
    let (waits, is_waiting) = mpsc::channel();
    let thread = thread::spawn(move || {
        is_waiting.recv().unwrap();
        remote.call_soon(|| LoopHandle::current().stop()).unwrap();
    });
    event_loop.handle().call_soon(move || waits.send(()).unwrap());
    event_loop.run_forever().unwrap();
    thread.join().unwrap();
}

#[test]
fn local_and_remote_calls_on_the_loops_own_thread_keep_one_order() {
    let event_loop = EventLoop::new().unwrap();
    let (handle, remote) = (event_loop.handle(), event_loop.handle().remote());
    let events = Arc::new(Mutex::new(Vec::new()));
    for n in 0..6 {
        let events = events.clone();
        let call = move || events.lock().unwrap().push(n);
        if n % 2 == 0 {
            handle.call_soon(call);
        } else {
            remote.call_soon(call).unwrap();
        }
    }
    one_turn(&event_loop);
    assert_eq!(*events.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn callbacks_tasks_and_due_timers_share_one_queue() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    handle.call_soon(trace.adds("call"));
    let inside = trace.clone();
    drop(handle.spawn(async move { inside.add("task") }));
    handle.call_later(std::time::Duration::ZERO, trace.adds("timer"));
    handle.call_soon(trace.adds("call again"));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["call", "task", "call again", "timer"], "due timers are queued last");
}

#[test]
fn a_callback_may_spawn_and_is_not_a_task_itself() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    let inside = trace.clone();
    event_loop.handle().call_soon(move || {
        inside.add(picot_loop::current().is_none());
        drop(spawn(async move { inside.add(picot_loop::current().is_some()) }));
    });
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["true", "true"]);
}
