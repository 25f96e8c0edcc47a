//! Locks and queues in isolation: picot-sync on picot-executor. Run it by `cargo bench -p
//! picot-benches --bench sync --features sync`, with a part of `row: column` to run only that.

use picot_benches::Table;
use picot_benches::sync::{PicotSync, broadcasts, locks, permits, queues};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut table = Table::default();
    locks(&mut table, PicotSync, &filter);
    permits(&mut table, PicotSync, &filter);
    queues(&mut table, PicotSync, &filter);
    broadcasts(&mut table, PicotSync, &filter);
    table.print();
}
