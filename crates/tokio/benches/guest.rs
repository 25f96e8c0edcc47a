//! What a guest costs: round trips between both, requests, idle system calls, starvation and
//! precision; next to each alone, and to tokio on a second thread. Run it by `cargo bench -p
//! picot-tokio`; Linux only.
//!
//! With the argument `idle` it is the program that `strace` watches.

#[cfg(target_os = "linux")]
#[path = "guest/figures.rs"]
mod figures;

fn main() {
    #[cfg(target_os = "linux")]
    figures::all();
    #[cfg(not(target_os = "linux"))]
    println!("the figures are for Linux");
}
