//! What tells how the loop is doing: figures, the watchdog, slow steps, dead ends.

pub(crate) mod counters;
pub(crate) mod dead_end;
pub(crate) mod hooks;
pub(crate) mod metrics;
pub(crate) mod slow_step;
pub(crate) mod watchdog;
