//! Every example is run as a program: what it prints, and with which status it ends.

mod echo;
#[cfg(target_os = "linux")]
mod faults;
mod only_reactor;
mod sort_chunks;
