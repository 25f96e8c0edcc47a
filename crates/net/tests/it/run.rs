//! How each test runs its loop.

use std::io;

/// Runs a test on a loop of its own. An I/O error fails it. Nothing may be left at the end, after a
/// few turns in which dropped servers and sets of connections end.
pub(crate) fn run(test: impl Future<Output = io::Result<()>>) {
    let event_loop = picot_loop::EventLoop::new().unwrap();
    event_loop.run_until_complete(test).unwrap().unwrap();
    event_loop
        .run_until_complete(async {
            for _ in 0..10 {
                picot_loop::yield_now().await;
            }
        })
        .unwrap();
    let report = event_loop.close().unwrap();
    assert_eq!((report.tasks.len(), report.sources, report.leaked), (0, 0, 0), "{report:?}");
}
