//! The loop's turn against the bare executor. Run it by `cargo bench -p picot-benches --features
//! loop --bench loop`, with a part of a row's name to run only that.

use picot_benches::{Table, turn};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    turn::all(&mut table, &filter);
    table.print();
}
