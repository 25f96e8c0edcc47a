#![doc = include_str!("../README.md")]
//!
//! # How it works
//! A deadline is a number of 64 bits, read as digits of six bits each. The wheel has a level per
//! digit and 64 slots per level. A timer lies on the level of the highest digit in which its
//! deadline differs from the *cursor* (the time to which the wheel was advanced), in the slot of
//! that digit. So near deadlines are low, and far ones are high: everything on a low level is due
//! before everything on a higher one. Within a level, the slots are in order, and a bitmap per
//! level finds the first one that is not empty. When the cursor enters a slot, its timers move to
//! lower levels.
//!
//! Textbook wheels (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987) do not find
//! the exact next deadline while it is far away. This one does. If the first slot holds more than
//! eight timers, it is *split* in place into 64 slots of the next level, and so on, until the first
//! slot is small enough to search. Later timers follow the same path down. A timer moves down at
//! most once per level in its life, by a split or by the cursor. So the cost stays O(1) amortised,
//! even for a hundred thousand timers in one slot.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod entries;
mod nodes;
mod wheel;

pub use entries::TimerKey;
pub use wheel::{Expire, Wheel};

use core::time::Duration;

/// The nanoseconds of `duration`, at most `u64::MAX` (584 years).
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(picot_timers::saturating_nanos(Duration::from_micros(3)), 3_000);
/// assert_eq!(picot_timers::saturating_nanos(Duration::MAX), u64::MAX);
/// ```
pub const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}
