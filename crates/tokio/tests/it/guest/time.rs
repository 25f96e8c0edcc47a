//! picot's timers keep their precision inside of tokio, and never fire early.

use std::time::Duration;

use picot_loop::{Instant, sleep, sleep_until, spawn};
use picot_testkit::Trace;
use picot_tokio::run;

#[test]
fn sleeps_are_never_early_and_not_rounded_up_to_milliseconds() {
    let least = run(async {
        let mut least = Duration::MAX;
        for _ in 0..20 {
            let deadline = Instant::now() + Duration::from_micros(1_100);
            sleep_until(deadline).await;
            let now = Instant::now();
            assert!(now >= deadline, "early");
            least = least.min(now - deadline);
        }
        least
    });
    // tokio's timers would be 0.9 ms late, and more. The machine may be busy, but not 20 times.
    if cfg!(target_os = "linux") {
        assert!(least < Duration::from_micros(500), "{least:?}");
    }
}

#[test]
fn a_nearer_timer_that_tokio_sets_ends_a_longer_wait() {
    run(async {
        let far = spawn(sleep(Duration::from_secs(3600)));
        // By then, the alarm is set for an hour.
        tokio::time::sleep(Duration::from_millis(2)).await;
        tokio::task::spawn_local(sleep(Duration::from_millis(1))).await.unwrap();
        assert!(far.cancel("over"));
    });
}

#[test]
fn timers_of_one_loop_fire_by_deadline() {
    let trace = Trace::default();
    run(async {
        let start = Instant::now();
        let tasks: Vec<_> = [3, 1, 2, 5, 4]
            .map(|n| {
                let trace = trace.clone();
                spawn(async move {
                    sleep_until(start + Duration::from_micros(700 * n)).await;
                    trace.add(n);
                })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(trace.take(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn zero_and_the_longest_sleep_are_accepted() {
    run(async {
        let longest = spawn(sleep(Duration::MAX));
        sleep(Duration::ZERO).await;
        sleep(Duration::from_nanos(1)).await;
        assert!(longest.cancel("over"));
    });
}
