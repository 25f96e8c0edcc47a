//! What time costs on picot's loop and on its peers, in one run, and the wheel beside other queues
//! of deadlines. Run it by `cargo bench -p picot-benches-peers --bench timers`, with a part of a
//! row's name to run only that.

use picot_benches::deadlines::{self, Heap, Sorted};
use picot_benches::picot::PicotLoop;
use picot_benches::sleepers::{self, Sleeper};
use picot_benches::{Counting, Table};
use picot_benches_peers::{Compio, MonoioTimed, QuadWheel, Smol, TokioLocalRuntime};
use picot_timers::Wheel;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Tables {
    costs: Table,
    lateness: Table,
    bytes: Table,
}

impl Tables {
    fn add(&mut self, sleeper: impl Sleeper, filter: &str) {
        sleepers::costs(&mut self.costs, sleeper, filter);
        sleepers::lateness(&mut self.lateness, sleeper, filter);
        sleepers::bytes(&mut self.bytes, sleeper, filter);
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut tables = Tables {
        costs: Table::default(),
        lateness: Table::new("late by, µs (p50 / p99)"),
        bytes: Table::new("bytes a task"),
    };
    let mut queues = Table::default();
    deadlines::all::<Wheel<u64>>(&mut queues, &filter);
    deadlines::all::<Sorted>(&mut queues, &filter);
    deadlines::all::<Heap>(&mut queues, &filter);
    deadlines::all::<QuadWheel>(&mut queues, &filter);
    queues.print();
    tables.add(PicotLoop, &filter);
    tables.add(TokioLocalRuntime, &filter);
    tables.add(Smol, &filter);
    tables.add(MonoioTimed, &filter);
    tables.add(Compio, &filter);
    tables.costs.print();
    tables.lateness.print();
    tables.bytes.print();
}
