//! Deferreds next to the channels and combinators that others use for the same, in one run. Run it
//! by `cargo bench -p picot-benches-peers --bench deferred`, with a part of a row's name to run
//! only that.

use picot_benches::{Counting, Table, deferred};
use picot_benches_peers::{FuturesOneshot, TokioOneshot};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    let mut allocations = deferred::all(&mut table, deferred::Picot, &filter);
    allocations += &deferred::all(&mut table, FuturesOneshot, &filter);
    allocations += &deferred::all(&mut table, TokioOneshot, &filter);
    table.print();
    print!("\n| workload | contestant | allocations |\n|---|---|---|\n{allocations}");
}
