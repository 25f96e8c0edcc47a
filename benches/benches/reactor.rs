//! The reactor in isolation, without an executor, timers or a loop. Run it by `cargo bench -p
//! picot-benches --bench reactor --features reactor`, with a part of a row's name to run only that.

use picot_benches::{Table, reactor};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    reactor::all(&mut table, &filter);
    table.print();
}
