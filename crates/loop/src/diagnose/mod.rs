//! Diagnosis: metrics, hooks, the watchdog, slow steps, and dead ends.

pub(crate) mod counters;
pub(crate) mod dead_end;
pub(crate) mod dump;
pub(crate) mod hooks;
pub(crate) mod metrics;
pub(crate) mod observers;
pub(crate) mod slow_step;
pub(crate) mod slow_steps;
pub(crate) mod steps;
pub(crate) mod trace;
pub(crate) mod trace_json;
pub(crate) mod watchdog;
