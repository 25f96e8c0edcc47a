//! Waiting for many, with picot and with its peers, in one run. Run it by `cargo bench -p
//! picot-benches-peers --bench tasks`, with a part of `row: column` to run only that.

use picot_benches::Table;
use picot_benches::tasks::{Children, Gather, Set};
use picot_benches::waiting;
use picot_benches_peers::{FuturesUnordered, JoinAll, TokioJoinSet};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    waiting::all::<Gather>(&mut table, &filter);
    waiting::all::<JoinAll>(&mut table, &filter);
    waiting::all::<FuturesUnordered>(&mut table, &filter);
    waiting::all::<Children>(&mut table, &filter);
    waiting::all::<Set>(&mut table, &filter);
    waiting::all::<TokioJoinSet>(&mut table, &filter);
    table.print();
}
