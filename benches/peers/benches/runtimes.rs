//! The scheduler's workloads through whole runtimes, each as its users run it: with I/O and time.
//! The bare executor and bare `async-task` are beside them. Run it by `cargo bench -p
//! picot-benches-peers --bench runtimes`, with a part of a row's title to run only that, with
//! `--svg` to draw the table, too, into docs/runtimes.svg, and with `--callgrind` to count
//! instructions instead.

use picot_benches::picot::{Picot, PicotLoop};
use picot_benches::{Table, scheduler};
use picot_benches_peers::{BareAsyncTask, Compio, MonoioTimed, Smol, TokioLocalRuntime, TokioLocalSetTimed};

/// Does the same with each of the contestants.
macro_rules! each {
    (|$contestant:ident| $does:expr) => {{
        each!(|$contestant| $does; PicotLoop, TokioLocalRuntime, TokioLocalSetTimed, Smol, MonoioTimed, Compio);
        each!(|$contestant| $does; Picot, BareAsyncTask);
    }};
    (|$contestant:ident| $does:expr; $($name:ident),*) => { $({ let $contestant = $name; $does })* };
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--run") {
        return each!(|contestant| scheduler::run_counted(contestant, &arguments));
    }
    let filter = arguments.iter().find(|arg| !arg.starts_with('-')).map_or("", |word| word);
    if arguments.iter().any(|arg| arg == "--callgrind") {
        let mut table = Table::new("instructions");
        each!(|contestant| scheduler::count_all(&mut table, contestant, filter));
        return table.print();
    }
    let mut table = Table::default();
    each!(|contestant| scheduler::all(&mut table, contestant, filter));
    table.print();
    if arguments.iter().any(|arg| arg == "--svg") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runtimes.svg");
        std::fs::write(path, table.svg("Whole runtimes: less is better")).expect("docs/ can be written to");
    }
}
