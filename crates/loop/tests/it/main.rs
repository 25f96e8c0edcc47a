//! The loop's behaviour, with virtual time and real threads. All tests also run on the portable
//! reactor path, under `--cfg polling_test_poll_backend`.

mod blocking;
mod calls;
mod close;
mod closed;
mod dead_end;
mod driver;
mod embed;
mod errors;
mod flood;
#[cfg(unix)]
mod fork;
mod hooks;
#[cfg(unix)]
mod host_wait;
mod interval;
mod life;
mod metrics;
mod reactor;
mod section;
mod slow;
#[cfg(target_os = "linux")]
mod start;
#[cfg(unix)]
mod stderr;
mod time;
mod trace;
#[cfg(unix)]
mod trace_events;
mod turn;
mod virtual_clock;
mod wakers;
mod watch;
mod watchdog;
