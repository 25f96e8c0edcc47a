//! How each test runs.

use std::io;

/// Runs a test on a loop of its own; an error of I/O fails it. Nothing may be left, but for a few
/// turns in which children end that the test has dropped.
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
