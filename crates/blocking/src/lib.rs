#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod job;
mod lane;
mod worker;

pub use job::{Job, JobError};
pub use lane::{ClosedLane, JobInfo, Lane, SubmitError};
