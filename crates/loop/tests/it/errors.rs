//! The error hook: what it receives, and what happens when it panics itself.

use std::time::Duration;

use picot_loop::{EventLoop, Kind, sleep, spawn};

use crate::trace::{Trace, one_turn, quiet_panic, reports, virtual_loop};

#[test]
fn the_hook_gets_the_error_and_its_origin_and_the_loop_goes_on() {
    let (event_loop, trace, _clock) = virtual_loop();
    let kinds = trace.clone();
    event_loop.handle().set_error_hook(move |report| {
        kinds.add(format!("{:?} {}", report.origin.kind, report.origin.place.is_some()));
    });
    event_loop.handle().call_soon(|| quiet_panic("call"));
    event_loop.handle().call_later(Duration::from_secs(1), || quiet_panic("timer"));
    drop(event_loop.handle().spawn(async { quiet_panic("task") }));
    event_loop.run_until_complete(sleep(Duration::from_secs(2))).unwrap();
    assert_eq!(trace.take(), ["Callback true", "Task true", "Callback true"]);
}

#[test]
fn a_panic_that_a_joiner_receives_is_not_reported() {
    let (event_loop, _trace, _clock) = virtual_loop();
    let reports = reports(&event_loop);
    let error = event_loop.run_until_complete(async { spawn(async { quiet_panic("task") }).await.unwrap_err() });
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert!(error.unwrap().is_panic());
    assert!(reports.take().is_empty());
}

#[test]
fn a_failing_hook_falls_back_to_the_default_and_resetting_restores_it() {
    let (event_loop, trace, _clock) = virtual_loop();
    let inside = trace.clone();
    event_loop.handle().set_error_hook(move |_| {
        inside.add("hook");
        quiet_panic("hook")
    });
    event_loop.handle().call_soon(|| quiet_panic("call"));
    one_turn(&event_loop);
    event_loop.handle().reset_error_hook();
    event_loop.handle().call_soon(|| quiet_panic("call"));
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["hook"]);
}

#[test]
fn the_hook_runs_at_the_end_of_the_turn_and_may_use_the_loop() {
    let (event_loop, trace, _clock) = virtual_loop();
    let (handle, inside) = (event_loop.handle(), trace.clone());
    event_loop.handle().set_error_hook(move |_| {
        inside.add("hook");
        handle.call_soon(inside.adds("scheduled by the hook"));
    });
    event_loop.handle().call_soon(|| quiet_panic("call"));
    event_loop.handle().call_soon(trace.adds("same turn"));
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["same turn", "hook", "scheduled by the hook"]);
}

#[test]
fn leaf_crates_report_through_the_loop_as_their_host() {
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    let inside = trace.clone();
    event_loop.handle().set_error_hook(move |report| inside.add(report.origin.kind == Kind::Waker));
    let payload = picot_loop::Payload::new(Box::new("from a leaf"));
    let host = picot_context::host().unwrap();
    host.report(picot_loop::Report::panic(picot_loop::Origin::new(Kind::Waker), payload));
    host.run_later(std::panic::Location::caller(), Box::new(trace.adds("run later"))).unwrap();
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["run later", "true"]);
    drop(event_loop);
    assert!(picot_context::host().is_none());
}

#[test]
fn the_hook_runs_in_the_context_of_what_failed() {
    picot_loop::task_local! {
        static USER: &'static str;
    }
    let (event_loop, trace, _clock) = virtual_loop();
    let seen = trace.clone();
    event_loop.handle().set_error_hook(move |_| {
        let task = picot_loop::current().map(|task| task.id().get());
        seen.add(format!("{:?} for {:?}", task, USER.get()));
    });
    drop(event_loop.handle().spawn(async {
        USER.set("ada");
        quiet_panic("in a task");
    }));
    drop(event_loop.handle().spawn(async {
        USER.set("grace");
        picot_loop::LoopHandle::current().call_soon(|| quiet_panic("in a callback of a task"));
    }));
    event_loop.handle().call_soon(|| quiet_panic("in a callback"));
    one_turn(&event_loop);
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["Some(1) for Some(\"ada\")", "None for None", "None for Some(\"grace\")"]);
    assert_eq!(USER.get(), None);
}

#[test]
fn code_on_the_thread_may_report_and_list_waiting_tasks() {
    let (event_loop, trace, _clock) = virtual_loop();
    let reports = reports(&event_loop);
    let handle = event_loop.handle();
    event_loop
        .run_until_complete(async {
            let sleeper = spawn(sleep(Duration::from_secs(1)));
            handle.call_soon({
                let (handle, trace) = (handle.clone(), trace.clone());
                move || {
                    for waiting in handle.waiting() {
                        let waits_for = waiting.waits[0].on.first().map(|task| task.get());
                        trace.add(format!("{} waits for {waits_for:?}", waiting.task.id()));
                    }
                    let origin = picot_loop::Origin::new(Kind::Loop);
                    handle.report(picot_loop::Report::new(
                        origin,
                        picot_loop::Cause::Io(std::io::Error::other("a warning")),
                    ));
                    assert_eq!(trace.take(), ["1 waits for Some(2)", "2 waits for None"]);
                }
            });
            sleeper.await.unwrap();
        })
        .unwrap();
    assert_eq!(reports.take(), ["the loop met an error of the operating system: a warning"]);
}
