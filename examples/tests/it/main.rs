//! Every example is run as a program: what it prints, and with which status it ends.

mod clients;
mod echo;
#[cfg(unix)]
mod embed;
mod net;
mod only_deferred;
mod only_executor;
mod only_reactor;
mod only_sync;
mod only_timers;
mod sort_chunks;
mod trouble;
