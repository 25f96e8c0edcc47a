//! Tasks that wait for each other.

use picot_context::{Step, budget, enter};
use picot_sync::{Barrier, Broken};

use crate::hands::{Hand, Tasks, Trace, now};

#[test]
fn each_task_of_a_round_gets_its_own_index_by_arrival() {
    let (barrier, trace) = (Barrier::new(3), Trace::default());
    let mut tasks = Tasks::default();
    for name in ["a", "b", "c"] {
        let (barrier, trace) = (&barrier, trace.clone());
        tasks.spawn(name, async move {
            for _ in 0..2 {
                let index = barrier.wait().await.unwrap();
                trace.add(format!("{name}{index}"));
            }
        });
    }
    tasks.run();
    assert!(tasks.left().is_empty());
    assert_eq!(trace.take(), ["c2", "a0", "b1", "b2", "c0", "a1"]);
}

#[test]
fn tasks_that_arrive_while_a_round_drains_wait_for_the_next() {
    let barrier = Barrier::new(2);
    let mut first = Hand::pending(barrier.wait());
    assert_eq!(now(barrier.wait()), Ok(1));
    // The first has yet to continue, so two more do not complete a round.
    let (mut third, mut fourth) = (Hand::pending(barrier.wait()), Hand::pending(barrier.wait()));
    assert_eq!((third.wakes(), fourth.wakes()), (0, 0));
    assert_eq!(first.ready(), Ok(0));
    assert_eq!((third.wakes(), fourth.wakes()), (1, 1));
    assert_eq!((fourth.ready(), third.ready()), (Ok(1), Ok(0)));
}

#[test]
fn a_dropped_task_of_a_round_does_not_block_the_next_round() {
    let barrier = Barrier::new(2);
    let first = Hand::pending(barrier.wait());
    assert_eq!(now(barrier.wait()), Ok(1));
    let (mut third, mut fourth) = (Hand::pending(barrier.wait()), Hand::pending(barrier.wait()));
    drop(first);
    assert_eq!((third.ready(), fourth.ready()), (Ok(0), Ok(1)));
}

#[test]
fn a_dropped_task_does_not_count_as_arrived() {
    let barrier = Barrier::new(2);
    drop(Hand::pending(barrier.wait()));
    let mut first = Hand::pending(barrier.wait());
    assert_eq!((barrier.waiters().len(), now(barrier.wait()), first.ready()), (1, Ok(1), Ok(0)));
}

#[test]
fn a_reset_breaks_the_waits_and_leaves_the_barrier_usable() {
    let barrier = Barrier::new(2);
    let mut first = Hand::pending(barrier.wait());
    barrier.reset();
    assert_eq!((first.ready(), barrier.is_broken()), (Err(Broken), false));
    let mut first = Hand::pending(barrier.wait());
    assert_eq!((now(barrier.wait()), first.ready()), (Ok(1), Ok(0)));
}

#[test]
fn a_broken_barrier_stays_broken_until_it_is_reset() {
    let barrier = Barrier::new(2);
    let mut first = Hand::pending(barrier.wait());
    barrier.break_up();
    assert_eq!((first.ready(), now(barrier.wait())), (Err(Broken), Err(Broken)));
    assert!(barrier.is_broken());
    barrier.reset();
    let mut first = Hand::pending(barrier.wait());
    assert_eq!((now(barrier.wait()), first.ready()), (Ok(1), Ok(0)));
}

#[test]
fn a_reset_does_not_affect_tasks_whose_round_has_begun() {
    let barrier = Barrier::new(2);
    let mut first = Hand::pending(barrier.wait());
    assert_eq!(now(barrier.wait()), Ok(1));
    barrier.break_up();
    assert_eq!(first.ready(), Ok(0));
}

#[test]
fn a_barrier_of_one_waits_only_for_the_budget() {
    let barrier = Barrier::new(1);
    let entered = enter(Step::callback(std::panic::Location::caller()), None);
    for _ in 0..budget::PER_STEP {
        assert_eq!(now(barrier.wait()), Ok(0));
    }
    let mut poor = Hand::pending(barrier.wait());
    drop(entered);
    assert_eq!((poor.ready(), now(barrier.wait())), (Ok(0), Ok(0)));
}

#[test]
#[should_panic(expected = "at least one task")]
fn a_barrier_of_zero_is_refused() {
    let _ = Barrier::new(0);
}
