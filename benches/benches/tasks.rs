//! Waiting for many with picot: `gather`, children of a scope, and a set of tasks. Run it by `cargo
//! bench -p picot-benches --features tasks --bench tasks`, with a part of a row's name to run only
//! that.

use picot_benches::Table;
use picot_benches::tasks::{Children, Gather, Set};
use picot_benches::waiting;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    waiting::all::<Gather>(&mut table, &filter);
    waiting::all::<Children>(&mut table, &filter);
    waiting::all::<Set>(&mut table, &filter);
    table.print();
}
