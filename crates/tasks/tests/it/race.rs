//! Races: the first end drops the others.

use std::future::{pending, ready};

use picot_loop::{Instant, sleep, spawn, yield_now};
use picot_tasks::{race, race_staggered};

use crate::trace::{millis, run, sleeper};

#[test]
fn the_first_to_end_wins_and_the_others_are_dropped_before_it_is_returned() {
    run(|trace| async move {
        let winner = race([("a", 3), ("b", 1), ("c", 2)].map(|(name, time)| sleeper(&trace, name, time))).await;
        trace.add(format!("{winner} won"));
        assert_eq!(trace.take(), ["b", "b dropped", "a dropped", "c dropped", "b won"]);
        assert_eq!(race((pending(), ready(1), ready(2))).await, 1);
    });
}

#[test]
fn a_task_that_loses_is_cancelled() {
    run(|trace| async move {
        let inside = trace.clone();
        let loser = spawn(async move { sleeper(&inside, "loser", 9).await });
        race((async { loser.await.map(drop).unwrap() }, sleep(millis(1)))).await;
        yield_now().await;
        assert_eq!(trace.take(), ["loser dropped"]);
    });
}

#[test]
#[should_panic = "has no members, so it would never end"]
fn a_race_without_members_panics_instead_of_hanging() {
    run(|_| race(Vec::<std::future::Ready<()>>::new()));
}

#[test]
fn attempts_start_after_the_delay_or_a_failure_and_the_first_value_ends_the_others() {
    run(|trace| async move {
        let attempt = async |name: &'static str, time, result: Result<u8, &'static str>| {
            trace.add(format!("{name} starts"));
            sleeper(&trace, name, time).await;
            result
        };
        let attempts = [
            attempt("slow", 100, Ok(0)),
            attempt("bad", 3, Err("refused")),
            attempt("good", 20, Ok(2)),
            attempt("never", 0, Ok(3)),
        ];
        let start = Instant::now();
        let won = race_staggered(attempts, millis(25)).await;
        assert_eq!(won, Ok((2, 2)));
        assert_eq!(
            start.elapsed(),
            millis(25 + 3 + 20),
            "the second starts after the delay, the third after the failure"
        );
        assert_eq!(
            trace.take(),
            ["slow starts", "bad starts", "bad", "bad dropped", "good starts", "good", "good dropped", "slow dropped"]
        );
    });
}

#[test]
fn if_all_attempts_fail_their_errors_are_in_order() {
    run(|_| async {
        let attempt = async |time, error: &'static str| {
            sleep(millis(time)).await;
            Err::<(), _>(error)
        };
        let failed =
            race_staggered([attempt(30, "first"), attempt(1, "second"), attempt(1, "third")], millis(10)).await;
        assert_eq!(failed, Err(vec!["first", "second", "third"]));
        assert_eq!(race_staggered(Vec::<std::future::Ready<Result<(), ()>>>::new(), millis(1)).await, Err(vec![]));
    });
}
