#![doc = include_str!("../README.md")]
//!
//! # Contents
//! - The running step: [`Step`], [`enter`], [`Frame`], [`current`], [`TaskInfo`].
//! - The budget of a step: [`budget`].
//! - Its locals: [`task_local!`], [`LocalKey`].
//! - The host, which runs calls later: [`Host`], [`install`], [`host`], and [`ManualHost`] for
//!   tests.
//! - Reports of errors: [`Report`], [`report`], [`print`](print()), and [`Escaped`] for foreign
//!   text.
//! - What tasks wait for: [`WaitInfo`], [`Waits`], [`WaitNote`].
//! - Unclaimed errors: [`unclaimed`], [`is_err`], [`may_be_err`].
//! - Panics of foreign code: [`contain`], [`catch`], [`Payload`].
#![forbid(unsafe_code)]

pub mod budget;
pub mod contain;
mod escaped;
mod host;
mod locals;
mod manual;
mod payload;
mod report;
mod step;
mod unclaimed;
mod waits;

pub use escaped::Escaped;
pub use host::{Closed, Host, HostGuard, host, install};
pub use locals::LocalKey;
pub use manual::ManualHost;
pub use payload::{Payload, catch, take_panicked};
pub use report::{Cause, Kind, LockWait, Origin, Report, StepTime, Waiting, print, report};
pub use step::{
    Details, Frame, Place, ROOT_NAME, Running, Step, TaskId, TaskInfo, current, enter, has_made, inherited, nesting,
    running, shared, take_made,
};
pub use unclaimed::{is_err, may_be_err, unclaimed};
#[doc(hidden)]
pub use waits::list_waits_with;
pub use waits::{WaitInfo, WaitKind, WaitNote, Waits};
