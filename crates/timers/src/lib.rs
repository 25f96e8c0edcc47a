#![doc = include_str!("../README.md")]
//!
//! # How it works
//! A deadline is a number of 64 bits, read as digits of six bits each. The wheel has a level for each digit and 64 slots
//! a level. A timer lies on the level of the highest digit in which its deadline differs from the wheel's *cursor* (the
//! time it has been advanced to), in the slot of that digit: near deadlines low, far ones high. So everything on a low
//! level is due before everything on a higher one, and within a level the slots are in order; a bitmap a level finds the
//! first slot that holds something without a search. When the cursor enters a slot, its timers move to lower levels.
//!
//! What is not in the textbooks (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987) is how the true next
//! deadline is found while the cursor is still far away from it. If the first slot holds more than a handful of timers,
//! it is *split* into 64 slots of its own, in place, and so on until the first slot is small enough to look through. A
//! timer that arrives later goes down the same way. Each timer moves down at most once a level in its life, whether by
//! splits or by the cursor, so all this stays O(1) amortised, for a hundred thousand timers in one slot as well.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod entries;
mod nodes;
mod wheel;

pub use entries::TimerKey;
pub use wheel::{Expire, Wheel};

use core::time::Duration;

/// The nanoseconds of `duration`, or `u64::MAX` (584 years) if there are more.
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
