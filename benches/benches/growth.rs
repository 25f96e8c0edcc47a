//! How the cost of an operation grows with the number of things that it is one of. Run it by `cargo
//! bench -p picot-benches --features growth --bench growth`, with a part of a row's name to run
//! only that, and with `--million` to add a column of a million.

use picot_benches::{Table, growth};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|arg| !arg.starts_with('-')).map_or("", |word| word);
    let has_million = arguments.iter().any(|arg| arg == "--million");
    let mut table = Table::new("ns an operation");
    growth::all(&mut table, filter, has_million);
    table.print();
}
