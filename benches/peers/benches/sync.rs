//! Locks and queues of picot and of its peers, all on picot's executor, in one run. Run it by
//! `cargo bench -p picot-benches-peers --bench sync`, with a part of `row: column` to run only
//! that.

use picot_benches::Table;
use picot_benches::sync::{PicotSync, broadcasts, locks, permits, queues};
use picot_benches_peers::{LocalSync, SmolSync, TokioSync};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let (mut table, mut local) = (Table::default(), Table::default());
    locks(&mut table, PicotSync, &filter);
    locks(&mut table, TokioSync, &filter);
    locks(&mut table, SmolSync, &filter);
    permits(&mut table, PicotSync, &filter);
    permits(&mut table, TokioSync, &filter);
    permits(&mut table, SmolSync, &filter);
    queues(&mut table, PicotSync, &filter);
    queues(&mut table, TokioSync, &filter);
    queues(&mut table, SmolSync, &filter);
    broadcasts(&mut table, PicotSync, &filter);
    broadcasts(&mut table, TokioSync, &filter);
    broadcasts(&mut table, SmolSync, &filter);
    table.print();

    // local-sync has no lock and no event, so it has a table of its own.
    println!();
    permits(&mut local, LocalSync, &filter);
    queues(&mut local, LocalSync, &filter);
    local.print();
}
