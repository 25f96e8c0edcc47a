//! Jobs that are abandoned while they run: the lane replaces their threads, up to a bound.

use std::sync::mpsc;
use std::thread;

use futures_lite::future::block_on;
use picot_blocking::Lane;

use crate::held;

/// Makes `count` threads of `lane` run abandoned jobs, which end when the senders are dropped.
fn stuck(lane: &Lane, count: usize) -> Vec<mpsc::Sender<()>> {
    let held: Vec<_> = (0..count).map(|_| held(lane)).collect();
    held.into_iter()
        .map(|(job, started, end)| {
            started.recv().unwrap();
            drop(job);
            end
        })
        .collect()
}

#[test]
fn jobs_run_while_every_thread_is_stuck() {
    let lane = Lane::new("stuck", 2).with_replacements(2);
    let ends = stuck(&lane, 2);
    assert_eq!(block_on(lane.submit(|| 7).unwrap()).unwrap(), 7);
    assert_eq!((lane.running().len(), lane.pending()), (2, 2), "abandoned jobs run on, and count as pending");
    drop(ends);
}

#[test]
fn a_waiting_job_starts_when_the_job_that_blocks_it_is_abandoned() {
    let lane = Lane::new("waiting", 1).with_replacements(1);
    let (first, started, end) = held(&lane);
    started.recv().unwrap();
    let second = lane.submit(|| thread::current().id()).unwrap();
    assert_eq!(lane.threads(), 1);
    drop(first);
    assert_eq!(lane.threads(), 2);
    block_on(second).unwrap();
    drop(end);
}

#[test]
fn replacements_are_bounded_and_a_replaced_thread_ends_with_its_job() {
    let lane = Lane::new("bounded", 1).with_replacements(2);
    let mut ends = stuck(&lane, 3);
    let waiting = lane.submit(|| "ran").unwrap();
    assert_eq!((lane.threads(), lane.running().len()), (3, 3));
    assert!(!waiting.is_finished());

    drop(ends.pop());
    assert_eq!(block_on(waiting).unwrap(), "ran");
    assert_eq!(lane.threads(), 3, "two stuck threads, and the one that ran the job");
    drop(ends);
    assert_bound_is(&lane, 1);
}

/// Waits until the lane has at most `bound` threads, for less than the idle timeout. Then checks
/// that the bound holds for jobs that are not abandoned.
fn assert_bound_is(lane: &Lane, bound: usize) {
    let stays = (0..2_000_000).all(|_| {
        thread::yield_now();
        lane.threads() > bound
    });
    assert!(!stays, "replaced threads have not ended: {}", lane.threads());
    let held: Vec<_> = (0..bound).map(|_| held(lane)).collect();
    held.iter().for_each(|(_, started, _)| started.recv().unwrap());
    let next = lane.submit(|| ()).unwrap();
    assert_eq!((lane.threads(), next.is_finished()), (bound, false), "no thread beyond the bound");
    drop(held);
    block_on(next).unwrap();
}

#[test]
fn without_replacements_abandoned_jobs_count_towards_the_bound() {
    let lane = Lane::new("plain", 1);
    let ends = stuck(&lane, 1);
    let waiting = lane.submit(|| ()).unwrap();
    assert_eq!((lane.threads(), waiting.is_finished()), (1, false));
    drop(ends);
    block_on(waiting).unwrap();
    assert_eq!(lane.threads(), 1);
}

#[test]
fn dropping_a_finished_job_replaces_no_thread() {
    let lane = Lane::new("ended", 1).with_replacements(8);
    for _ in 0..100 {
        let job = lane.submit(|| ()).unwrap();
        while !job.is_finished() {
            thread::yield_now();
        }
        drop(job);
    }
    block_on(lane.submit(|| ()).unwrap()).unwrap();
    assert_eq!(lane.threads(), 1);
}

#[test]
fn the_bound_holds_after_jobs_are_dropped_at_any_moment() {
    let lane = Lane::new("any moment", 2).with_replacements(2);
    for round in 0..2_000_usize {
        let job = lane.submit(move || (0..round % 64).for_each(|_| std::hint::spin_loop())).unwrap();
        (0..round % 97).for_each(|_| std::hint::spin_loop());
        drop(job);
        assert!(lane.threads() <= 4);
    }
    while lane.pending() != 0 {
        thread::yield_now();
    }
    assert_bound_is(&lane, 2);
    let ends = stuck(&lane, 4);
    let fifth = lane.submit(|| ()).unwrap();
    assert_eq!((lane.threads(), fifth.is_finished()), (4, false));
    drop(ends);
    block_on(fifth).unwrap();
}
