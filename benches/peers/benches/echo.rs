//! Echo on picot's streams, on its peers, and on a bare epoll loop, in one run. Run it by `cargo
//! bench -p picot-benches-peers --bench echo`, with numbers of connections after `--` to run only
//! those.
//!
//! Where the processor has no counters, `-- --callgrind 64` counts the user-mode instructions under
//! valgrind.

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the echo bench counts by perf_event, which is Linux's");
}

#[cfg(target_os = "linux")]
mod linux {
    use picot_benches_peers::descriptors::raise;
    use picot_benches_peers::echo::{Cost, SERVERS, Server};

    pub(super) fn main() {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        if arguments.first().is_some_and(|first| first == "--serve") {
            return Server::serve(&arguments[1]);
        }
        let by_callgrind = arguments.iter().any(|argument| argument == "--callgrind");
        let wanted: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
        for connections in [1, 64, 1_000, 10_000] {
            if !wanted.is_empty() && !wanted.contains(&connections) {
                continue;
            }
            let name = format!("{connections} connections");
            if let Err(error) = raise(connections) {
                println!("{name}: skipped, for {error}");
                continue;
            }
            if by_callgrind {
                callgrind(&name, connections);
            } else {
                table(&name, connections);
            }
            println!();
        }
    }

    fn table(title: &str, connections: usize) {
        println!("| {title:17} | round trips/s | CPU ns | user instr. | kernel instr. | system calls |");
        println!("|{:-<19}|{:-<15}|{:-<8}|{:-<13}|{:-<15}|{:-<14}|", "", "", "", "", "", "");
        for (name, _) in SERVERS {
            let round_trips = if connections == 1 { 20_000 } else { 100_000 };
            match Server::start(name).and_then(|mut server| server.measure(connections, round_trips)) {
                Ok(cost) => row(name, cost),
                Err(error) => println!("| {name:17} | {error} |"),
            }
        }
    }

    fn row(name: &str, cost: Cost) {
        let whole = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.0}"));
        let calls = cost.calls.map_or("–".to_string(), |value| format!("{value:.2}"));
        let (nanos, user, kernel) = (whole(cost.nanos), whole(cost.user), whole(cost.kernel));
        println!("| {name:17} | {:13.0} | {nanos:>6} | {user:>11} | {kernel:>13} | {calls:>12} |", cost.rate);
    }

    fn callgrind(title: &str, connections: usize) {
        println!("| {title:17} | user instr. |");
        println!("|{:-<19}|{:-<13}|", "", "");
        // valgrind cannot run the others: it hangs where they enter the ring.
        for (name, _) in SERVERS.iter().filter(|(name, _)| !name.ends_with("io_uring")) {
            match Server::callgrind(name, connections, 20_000.max(50 * connections)) {
                Ok(instructions) => println!("| {name:17} | {instructions:11.0} |"),
                Err(error) => println!("| {name:17} | {error} |"),
            }
        }
    }
}
