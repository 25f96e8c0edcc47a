//! Locks and queues of picot and of its peers, all on picot's executor, in one run. Run it by
//! `cargo bench -p picot-benches-peers --bench sync`, with a part of `row: column` to run only that.

use picot_benches::Table;
use picot_benches::sync::{PicotSync, broadcasts, locks, permits, queues};
use picot_benches_peers::{LocalSync, Smol, TokioSync};

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let (mut both, mut local) = (Table::default(), Table::default());
    locks(&mut both, PicotSync, &filter);
    locks(&mut both, TokioSync, &filter);
    locks(&mut both, Smol, &filter);
    permits(&mut both, PicotSync, &filter);
    permits(&mut both, TokioSync, &filter);
    permits(&mut both, Smol, &filter);
    queues(&mut both, PicotSync, &filter);
    queues(&mut both, TokioSync, &filter);
    queues(&mut both, Smol, &filter);
    broadcasts(&mut both, PicotSync, &filter);
    broadcasts(&mut both, TokioSync, &filter);
    broadcasts(&mut both, Smol, &filter);
    both.print();

    // local-sync has no lock and no event.
    println!();
    permits(&mut local, PicotSync, &filter);
    permits(&mut local, LocalSync, &filter);
    queues(&mut local, PicotSync, &filter);
    queues(&mut local, LocalSync, &filter);
    local.print();
}
