//! Children and pipes next to tokio and async-process, in one run. Run it by `cargo bench -p
//! picot-benches-peers --bench process`. Unix only.
//!
//! The runtimes take turns in each round, and the median of the rounds counts. tokio's runtime is
//! the one of one thread. async-process has a thread of its own that collects statuses.

#[cfg(unix)]
mod runtimes;

fn main() {
    #[cfg(unix)]
    runtimes::compare();
    #[cfg(not(unix))]
    println!("children are for Unix");
}
