//! Deferreds in isolation: no loop, no executor. Run it by `cargo bench -p picot-benches --features
//! deferred --bench deferred`, with a part of a row's name to run only that.

use picot_benches::{Counting, Table, deferred};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    let allocations = deferred::all(&mut table, deferred::Picot, &filter);
    table.print();
    print!("\n| workload | contestant | allocations |\n|---|---|---|\n{allocations}");
}
