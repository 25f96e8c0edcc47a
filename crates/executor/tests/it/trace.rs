//! Helpers of the tests: those of all crates, and the reports of an executor.

pub(crate) use picot_testkit::{Bomb, Gate, OnDrop, Trace, quiet_panic, yield_now};

/// Collects the texts of reports.
pub(crate) fn reports(executor: &picot_executor::Executor) -> Trace {
    let trace = Trace::default();
    let hook = trace.clone();
    executor.spawner().set_error_hook(move |report| hook.add(format!("{:?}: {report}", report.origin.kind)));
    trace
}
