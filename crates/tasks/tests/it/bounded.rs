//! `gather_bounded` and `as_completed_bounded`: at most n members at a time, made when there is
//! room.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_lite::StreamExt;
use picot_loop::{Instant, sleep, spawn, yield_now};
use picot_tasks::{as_completed_bounded, gather_bounded, timeout};
use proptest::prelude::*;

use crate::trace::{millis, run};

#[test]
fn members_are_made_when_there_is_room_and_values_keep_their_order() {
    run(|trace| async move {
        let member = |time: u64| {
            trace.add(format!("{time} made"));
            let trace = trace.clone();
            async move {
                sleep(millis(time)).await;
                trace.add(format!("{time} ended"));
                Ok::<_, ()>(time)
            }
        };
        let values = gather_bounded(2, [5, 1, 2, 9].map(|time| time).into_iter().map(member)).await;
        assert_eq!(values, Ok(vec![5, 1, 2, 9]));
        let steps = ["5 made", "1 made", "1 ended", "2 made", "2 ended", "9 made", "5 ended", "9 ended"];
        assert_eq!(trace.take(), steps);
    });
}

#[test]
fn the_first_error_drops_what_runs_and_asks_for_no_more() {
    run(|trace| async move {
        let made = Cell::new(0);
        let members = [9, 2, 30, 40].into_iter().map(|time| {
            made.set(made.get() + 1);
            let dropped = trace.on_drop(format!("{time} dropped"));
            async move {
                let _dropped = dropped;
                sleep(millis(time)).await;
                if time == 2 { Err("no") } else { Ok(time) }
            }
        });
        let all = gather_bounded(2, members).await;
        trace.add(all.unwrap_err());
        assert_eq!(trace.take(), ["2 dropped", "9 dropped", "no"]);
        assert_eq!(made.get(), 2);
    });
}

#[test]
fn outputs_come_in_the_order_of_the_ends_from_an_endless_iterator() {
    run(|_| async {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let member = |n: u64| {
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                sleep(millis(if n % 2 == 0 { 3 } else { 1 })).await;
                running.set(running.get() - 1);
                n
            }
        };
        let outputs: Vec<_> = as_completed_bounded(2, (0..).map(member)).take(4).collect().await;
        assert_eq!(outputs, [(1, 1), (0, 0), (2, 2), (3, 3)]);
        assert_eq!(most.get(), 2);
    });
}

#[test]
fn a_dropped_wait_loses_nothing_and_tasks_are_cancelled_with_the_members() {
    run(|trace| async move {
        let task = |time: u64| {
            let trace = trace.clone();
            spawn(async move {
                let _dropped = trace.on_drop(format!("{time} dropped"));
                sleep(millis(time)).await;
                time
            })
        };
        let mut outputs = as_completed_bounded(2, [3, 50, 70].into_iter().map(task));
        assert!(timeout(millis(1), outputs.next()).await.is_err());
        let (number, outcome) = outputs.next().await.unwrap();
        assert_eq!((number, outcome.unwrap()), (0, 3));
        drop(outputs);
        yield_now().await;
        assert_eq!(trace.take(), ["3 dropped", "50 dropped"], "the third one was never made");
    });
}

#[test]
fn a_limit_of_zero_is_refused_at_once() {
    for f in [|| drop(gather_bounded(0, [async { Ok::<_, ()>(()) }])), || drop(as_completed_bounded(0, [async {}]))] {
        let panic = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        assert!(panic.downcast::<&str>().unwrap().contains("at least 1"));
    }
}

/// The times at which members end if each starts as soon as one of `limit` places is free.
fn ends(limit: usize, times: &[u64]) -> Vec<u64> {
    let mut places = vec![0; limit];
    let end = |time: &u64| {
        let place = places.iter_mut().min().unwrap();
        *place += time;
        *place
    };
    times.iter().map(end).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn members_end_as_if_each_took_the_first_free_place(
        times in prop::collection::vec(1..30_u64, 0..40),
        limit in 1..6_usize,
    ) {
        run(|_| async {
            let start = Instant::now();
            let member = |(n, time): (usize, &u64)| {
                let time = *time;
                async move {
                    sleep(millis(time)).await;
                    Ok::<_, ()>((n, Instant::now() - start))
                }
            };
            let expected: Vec<_> = ends(limit, &times).into_iter().map(millis).enumerate().collect();
            let values = gather_bounded(limit, times.iter().enumerate().map(member)).await.unwrap();
            assert_eq!(values, expected);

            let start = Instant::now();
            let mut outputs = as_completed_bounded(limit, times.iter().enumerate().map(member));
            let (mut seen, mut last) = (BTreeSet::new(), 0);
            while let Some((number, output)) = outputs.next().await {
                assert_eq!(output.unwrap().0, number);
                let end = (Instant::now() - start).as_millis() as u64;
                assert_eq!(end, ends(limit, &times)[number]);
                assert!(end >= last && seen.insert(number), "in the order of the ends, each once");
                last = end;
            }
            assert_eq!(seen.len(), times.len());
        });
    }
}
