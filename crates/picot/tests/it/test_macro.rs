//! `#[picot::test]`: on tests, and what becomes of those that cannot go on.

use std::time::Duration;

use picot::{VirtualClock, sleep, spawn};

#[picot::test]
async fn a_test_that_sleeps_takes_no_time(clock: VirtualClock) {
    let sleeper = spawn(sleep(Duration::from_secs(1_000_000)));
    sleeper.await.unwrap();
    assert_eq!(clock.elapsed(), Duration::from_secs(1_000_000));
}

#[picot::test]
async fn a_test_may_fail_by_an_error() -> Result<(), picot::JoinError> {
    spawn(async {}).await
}

#[picot::test]
#[should_panic(expected = "the loop cannot go on")]
async fn a_test_whose_tasks_wait_for_each_other_fails() {
    spawn(std::future::pending::<()>()).await.unwrap();
}

#[picot::test(real_time)]
async fn a_test_may_ask_for_real_time() {
    let before = picot::LoopHandle::current().now();
    sleep(Duration::from_millis(1)).await;
    assert!(picot::LoopHandle::current().now() - before >= Duration::from_millis(1));
}

/// Called by a test that has no clock of its own.
fn clock() -> u32 {
    7
}

#[picot::test]
async fn what_the_macro_declares_is_not_seen_by_the_body() {
    assert_eq!(clock(), 7);
}

#[picot::test(io_grace = std::time::Duration::from_millis(50))]
async fn a_longer_io_grace_still_lets_the_virtual_clock_jump(clock: picot::VirtualClock) {
    picot::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(clock.elapsed(), std::time::Duration::from_secs(3600));
}
