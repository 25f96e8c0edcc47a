//! The scheduler's workloads through the whole loop, beside the bare executor, and the turn's own
//! rows. Run it by `cargo bench -p picot-benches --features loop --bench loop`, with a part of a
//! row's name to run only that, and with `--callgrind` to count instructions instead.

use picot_benches::picot::{Picot, PicotLoop};
use picot_benches::{Table, scheduler, turn};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--run") {
        scheduler::run_counted(Picot, &arguments);
        return scheduler::run_counted(PicotLoop, &arguments);
    }
    let filter = arguments.iter().find(|arg| !arg.starts_with('-')).map_or("", |word| word);
    if arguments.iter().any(|arg| arg == "--callgrind") {
        let mut table = Table::new("instructions");
        scheduler::count_all(&mut table, Picot, filter);
        scheduler::count_all(&mut table, PicotLoop, filter);
        return table.print();
    }
    let mut table = Table::default();
    scheduler::all(&mut table, Picot, filter);
    scheduler::all(&mut table, PicotLoop, filter);
    table.print();
    let mut table = Table::default();
    turn::all(&mut table, filter);
    table.print();
}
