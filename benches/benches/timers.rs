//! The wheel as a data structure, beside the two of std that do the same: picot-timers and nothing
//! else of picot. Run it by `cargo bench -p picot-benches --features timers --bench timers`, with a
//! part of a row's name to run only that.

use picot_benches::Table;
use picot_benches::deadlines::{self, Heap, Sorted};
use picot_timers::Wheel;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    deadlines::all::<Wheel<u64>>(&mut table, &filter);
    deadlines::all::<Sorted>(&mut table, &filter);
    deadlines::all::<Heap>(&mut table, &filter);
    table.print();
}
