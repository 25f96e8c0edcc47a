//! What these tests share: test helpers of all crates, loops under a virtual clock, and reports.

use std::time::Duration;

use picot_loop::{EventLoop, VirtualClock, sleep, yield_now};
pub(crate) use picot_testkit::{Gate, Trace};

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sleeps; then adds an event and returns it. Adds another event if it is dropped.
pub(crate) async fn sleeper(trace: &Trace, event: &'static str, time: u64) -> &'static str {
    let _drop = trace.on_drop(format!("{event} dropped"));
    sleep(millis(time)).await;
    trace.add(event);
    event
}

/// Runs a future on a loop under a virtual clock, closes the loop, and checks that nothing was left
/// in it.
pub(crate) fn run<F: Future>(future: impl FnOnce(Trace) -> F) -> F::Output {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let output = event_loop
        .run_until_complete(async {
            let output = future(Trace::default()).await;
            // Tasks that the end of it has cancelled are dropped at their next step, and no later.
            yield_now().await;
            output
        })
        .unwrap();
    let report = event_loop.close().unwrap();
    assert!(report.tasks.is_empty(), "left: {:?}", report.tasks);
    output
}

/// Collects the texts of reports of this thread's loop.
pub(crate) fn reports() -> Trace {
    let trace = Trace::default();
    let hook = trace.clone();
    picot_loop::LoopHandle::current().set_error_hook(move |report| hook.add(&report.cause));
    trace
}
