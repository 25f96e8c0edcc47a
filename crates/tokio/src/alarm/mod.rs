//! The alarm: wakes the guest when the loop's next timer is due.

#[cfg(any(test, not(target_os = "linux")))]
mod sleep;
#[cfg(target_os = "linux")]
mod timerfd;

#[cfg(not(target_os = "linux"))]
pub(crate) use sleep::Alarm;
#[cfg(target_os = "linux")]
pub(crate) use timerfd::Alarm;
