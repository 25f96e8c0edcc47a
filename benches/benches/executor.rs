//! The scheduler in isolation: picot-executor without a reactor, timers or a loop. Run it by
//! `cargo bench -p picot-benches --bench executor`, with a part of a row's name to run only that.

use picot_benches::picot::Picot;
use picot_benches::{Table, scheduler};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    scheduler::all(&mut table, Picot, &filter);
    table.print();
}
