//! Every example is run as a program: what it prints, and with which status it ends.

// The tests inside of the example; `net` tests its program from outside.
#[allow(dead_code, reason = "no test calls its `main`")]
#[path = "../../http_hello.rs"]
mod http_hello;

mod clients;
mod echo;
#[cfg(unix)]
mod embed;
mod look_inside;
mod net;
mod only_deferred;
mod only_executor;
mod only_reactor;
mod only_sync;
mod only_timers;
#[cfg(unix)]
mod processes;
mod sort_chunks;
mod trouble;
