//! The scheduler's workloads on picot's executor and on its peers, in one run. Run it by
//! `cargo bench -p picot-benches-peers --bench scheduler`, with a part of a row's name to run only that, and with `--svg` to
//! draw the table, too, into docs/scheduler.svg.

use picot_benches::picot::Picot;
use picot_benches::{Table, scheduler};
use picot_benches_peers::{
    Compio, FuturesLocalPool, Monoio, SmolLocalExecutor, SmolStaticExecutor, TokioLocalRuntime, TokioLocalSet,
};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    scheduler::all(&mut table, Picot, &filter);
    scheduler::all(&mut table, TokioLocalRuntime, &filter);
    scheduler::all(&mut table, TokioLocalSet, &filter);
    scheduler::all(&mut table, SmolLocalExecutor, &filter);
    scheduler::all(&mut table, SmolStaticExecutor, &filter);
    scheduler::all(&mut table, Monoio, &filter);
    scheduler::all(&mut table, Compio, &filter);
    scheduler::all(&mut table, FuturesLocalPool, &filter);
    table.print();
    if std::env::args().any(|arg| arg == "--svg") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scheduler.svg");
        std::fs::write(path, table.svg("The scheduler: less is better")).expect("docs/ can be written to");
    }
}
