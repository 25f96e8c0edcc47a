//! The loop's time: its clock, instants, sleeps, intervals and timers.

pub(crate) mod batch;
pub(crate) mod clock;
pub(crate) mod instant;
pub(crate) mod interval;
pub(crate) mod sleep;
pub(crate) mod timer_handle;
pub(crate) mod timers;
