//! What a task takes of memory on picot's executor and on its peers, in one run. Run it by `cargo
//! bench -p picot-benches-peers --bench memory`. A program of its own, because the allocator that
//! counts would slow down what is measured in the others.

use picot_benches::picot::Picot;
use picot_benches::{Counting, Table, scheduler};
use picot_benches_peers::{
    BareAsyncTask, Compio, FuturesLocalPool, Monoio, SmolLocalExecutor, SmolStaticExecutor, TokioLocalRuntime,
    TokioLocalSet,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::new("bytes a task");
    scheduler::bytes(&mut table, Picot, &filter);
    scheduler::bytes(&mut table, TokioLocalRuntime, &filter);
    scheduler::bytes(&mut table, TokioLocalSet, &filter);
    scheduler::bytes(&mut table, SmolLocalExecutor, &filter);
    scheduler::bytes(&mut table, SmolStaticExecutor, &filter);
    scheduler::bytes(&mut table, Monoio, &filter);
    scheduler::bytes(&mut table, Compio, &filter);
    scheduler::bytes(&mut table, FuturesLocalPool, &filter);
    scheduler::bytes(&mut table, BareAsyncTask, &filter);
    table.print();
}
