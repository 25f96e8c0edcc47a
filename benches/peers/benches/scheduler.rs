//! The scheduler's workloads on picot's executor and on its peers, in one run. Run it by `cargo
//! bench -p picot-benches-peers --bench scheduler`, with a part of a row's title to run only that,
//! and with `--svg` to draw the table, too, into docs/scheduler.svg.
//!
//! Where the processor has no counters, `-- --callgrind` counts the instructions by valgrind, in
//! some minutes.

use picot_benches::picot::Picot;
use picot_benches::{Table, scheduler};
use picot_benches_peers::{
    BareAsyncTask, Compio, FuturesLocalPool, Monoio, SmolLocalExecutor, SmolStaticExecutor, TokioLocalRuntime,
    TokioLocalSet,
};

/// Does the same with each of the contestants.
macro_rules! each {
    (|$contestant:ident| $does:expr) => {{
        each!(|$contestant| $does; Picot, TokioLocalRuntime, TokioLocalSet, SmolLocalExecutor, SmolStaticExecutor);
        each!(|$contestant| $does; Monoio, Compio, FuturesLocalPool, BareAsyncTask);
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
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scheduler.svg");
        std::fs::write(path, table.svg("The scheduler: less is better")).expect("docs/ can be written to");
    }
}
