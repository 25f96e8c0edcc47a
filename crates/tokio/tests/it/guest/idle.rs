//! An idle guest waits: it makes no turns, and its timers cost one or two each.

use std::time::Duration;

use picot_loop::{LoopHandle, sleep, spawn};
use picot_testkit::poll_once;
use picot_tokio::run;

/// The event polls during a wait. Each turn of an idle loop makes one.
async fn polls_during(wait: impl Future) -> u64 {
    let metrics = LoopHandle::current().metrics();
    let before = metrics.snapshot().waits;
    wait.await;
    metrics.snapshot().waits - before
}

#[test]
fn a_timer_costs_few_turns_and_waiting_for_tokio_none() {
    let [ours, theirs] = run(async {
        // Ends a wait early if the alarm were not set anew for the nearer one.
        let far = spawn(sleep(Duration::from_secs(3600)));
        let ours = polls_during(sleep(Duration::from_millis(50))).await;
        let theirs = polls_during(tokio::time::sleep(Duration::from_millis(50))).await;
        drop(far);
        [ours, theirs]
    });
    assert!(ours <= 6, "{ours} event polls");
    assert!(theirs <= 6, "{theirs} event polls");
}

#[test]
fn a_deadline_that_is_put_off_again_and_again_costs_no_turn_each_time() {
    let polls = run(async {
        let mut watchdog = Box::pin(sleep(Duration::from_millis(20)));
        let theirs = tokio::task::spawn_local(async move {
            assert!(poll_once(watchdog.as_mut()).is_pending());
            for _ in 0..50 {
                watchdog.reset(picot_loop::Instant::now() + Duration::from_millis(20));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(watchdog);
        });
        polls_during(theirs).await
    });
    assert!(polls <= 20, "{polls} event polls");
}
