//! The scheduler in isolation: picot-executor without a reactor, timers or a loop. Run it by `cargo
//! bench -p picot-benches --bench executor`, with a part of a row's name to run only that, and with
//! `--callgrind` to count instructions instead.

use picot_benches::picot::Picot;
use picot_benches::{Table, scheduler};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--run") {
        return scheduler::run_counted(Picot, &arguments);
    }
    let filter = arguments.iter().find(|arg| !arg.starts_with('-')).map_or("", |word| word);
    if arguments.iter().any(|arg| arg == "--callgrind") {
        let mut table = Table::new("instructions");
        scheduler::count_all(&mut table, Picot, filter);
        return table.print();
    }
    let mut table = Table::default();
    scheduler::all(&mut table, Picot, filter);
    table.print();
}
