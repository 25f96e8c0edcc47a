//! The reactor's behaviour on real sockets, files and threads. The same tests run on the portable
//! path, under `--cfg polling_test_poll_backend`.

mod check;
mod closing;
mod deregistration;
#[cfg(target_os = "linux")]
mod devices;
mod direction;
mod drivers;
mod events;
#[cfg(unix)]
mod fork;
mod keeping;
mod operations;
mod panics;
mod ready_list;
mod registration;
#[cfg(target_os = "linux")]
mod reuse;
mod scripted;
#[cfg(target_os = "linux")]
mod stops;
mod support;
#[cfg(target_os = "linux")]
mod traits;
#[cfg(target_os = "linux")]
mod transfers;
mod waiters;
mod wake;
mod wakers;
