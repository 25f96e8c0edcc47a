//! A value that is made once.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;

use picot_sync::{OnceCell, oneshot, waiting};

use crate::hands::{Hand, now};

#[test]
fn one_task_makes_the_value_and_all_get_it() {
    let (cell, made) = (OnceCell::new(), Cell::new(0));
    let (sender, receiver) = oneshot::channel();
    let make = async || {
        made.set(made.get() + 1);
        receiver.await.unwrap()
    };
    let mut first = Hand::pending(cell.get_or_init(make));
    let mut others: Vec<_> = (0..3).map(|_| Hand::pending(cell.get_or_init(async || unreachable!()))).collect();
    assert_eq!((cell.get(), cell.waiters().len()), (None, 3));
    sender.send(7).unwrap();
    assert!(others.iter_mut().all(|other| other.poll().is_pending()), "its value is not made yet");
    assert_eq!(*first.ready(), 7);
    for other in &mut others {
        assert_eq!((other.wakes(), *other.ready()), (1, 7));
    }
    assert_eq!((made.get(), cell.get()), (1, Some(&7)));
    assert_eq!(now(cell.get_or_init(async || 8)), &7);
}

#[test]
fn the_next_waiter_takes_over_from_a_task_that_is_dropped_fails_or_panics() {
    let cell = OnceCell::<u8>::new();
    let dropped = Hand::pending(cell.get_or_init(pending));
    let (fail, answer) = oneshot::channel::<()>();
    let mut fails = Hand::pending(cell.get_or_try_init(async || {
        answer.await.unwrap();
        Err("no network")
    }));
    let mut panics = Hand::pending(cell.get_or_init(async || resume_unwind(Box::new("in init"))));
    let mut waits = Hand::pending(cell.get_or_init(async || 7));
    drop(dropped);
    assert_eq!((fails.wakes(), panics.wakes(), waits.wakes()), (1, 0, 0), "in the order of the requests");
    assert!(fails.poll().is_pending());
    fail.send(()).unwrap();
    assert_eq!(fails.ready(), Err("no network"));
    assert_eq!((panics.wakes(), waits.wakes()), (1, 0));
    assert!(catch_unwind(AssertUnwindSafe(|| panics.poll().is_ready())).is_err());
    assert_eq!((waits.wakes(), *waits.ready()), (1, 7));
    assert!(waiting().is_empty());
}

#[test]
fn a_waiter_that_is_dropped_with_its_turn_passes_it_on() {
    let cell = OnceCell::new();
    let first = Hand::pending(cell.get_or_init(pending));
    let (second, mut third) =
        (Hand::pending(cell.get_or_init(async || 2)), Hand::pending(cell.get_or_init(async || 3)));
    drop(first);
    assert_eq!((second.wakes(), third.wakes()), (1, 0));
    drop(second);
    assert_eq!((third.wakes(), *third.ready()), (1, 3));
}

#[test]
fn a_value_that_is_set_ends_all_waits_and_counts_before_one_that_is_made() {
    let cell = OnceCell::new();
    let (sender, receiver) = oneshot::channel();
    let mut makes = Hand::pending(cell.get_or_init(async || receiver.await.unwrap()));
    let mut waits = Hand::pending(cell.get_or_init(async || unreachable!()));
    cell.set(1).unwrap();
    assert_eq!(*waits.ready(), 1);
    sender.send(2).unwrap();
    assert_eq!(makes.poll(), Poll::Ready(&1));
    drop((makes, waits));
    assert_eq!((cell.set(3), cell.into_inner()), (Err(3), Some(1)));
}
