//! A number of permits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use picot_sync::{Semaphore, SemaphoreClosed};

use crate::hands::{Hand, now};

#[test]
fn permits_are_granted_in_the_order_of_the_requests() {
    let semaphore = Semaphore::new(1);
    let permit = now(semaphore.acquire());
    let (mut first, mut second) = (Hand::pending(semaphore.acquire()), Hand::pending(semaphore.acquire()));
    drop(permit);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first.ready());
    drop(second.ready());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_request_for_many_is_not_overtaken_by_one_for_few() {
    let semaphore = Semaphore::new(3);
    let permits = now(semaphore.acquire_many(2));
    let mut many = Hand::pending(semaphore.acquire_many(3));
    let mut few = Hand::pending(semaphore.acquire());
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.is_exhausted() && semaphore.try_acquire().is_none(), "a waiter needs it");
    drop(permits);
    assert_eq!(few.wakes(), 0);
    let permits = many.ready();
    assert_eq!(permits.count(), 3);
    drop(permits);
    drop(few.ready());
}

#[test]
fn a_dropped_waiter_lets_those_behind_it_move_up() {
    let semaphore = Semaphore::new(3);
    let _permits = now(semaphore.acquire_many(2));
    let many = Hand::pending(semaphore.acquire_many(2));
    let mut few = Hand::pending(semaphore.acquire());
    drop(many);
    drop(few.ready());
}

#[test]
fn a_dropped_waiter_returns_its_permit() {
    let semaphore = Semaphore::new(1);
    let permit = now(semaphore.acquire());
    let (first, mut second) = (Hand::pending(semaphore.acquire()), Hand::pending(semaphore.acquire()));
    drop(permit);
    drop(first);
    drop(second.ready());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_bounded_semaphore_refuses_more_permits_than_its_bound() {
    let semaphore = Semaphore::bounded(2);
    assert_eq!(
        semaphore.add_permits(1).unwrap_err().to_string(),
        "adding 1 permits would make more than the 2 that this semaphore may have; a permit that is dropped comes back by \
         itself"
    );
    let permit = now(semaphore.acquire());
    assert!(semaphore.add_permits(1).is_err(), "a permit that is out counts, too");
    permit.forget();
    assert_eq!(semaphore.add_permits(2).map_err(|error| (error.added, error.limit)), Err((2, 2)));
    semaphore.add_permits(1).unwrap();
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn an_unbounded_semaphore_accepts_more_permits_up_to_the_largest_number() {
    let semaphore = Semaphore::new(0);
    let mut wait = Hand::pending(semaphore.acquire());
    semaphore.add_permits(2).unwrap();
    let permit = wait.ready();
    assert!(semaphore.add_permits(usize::MAX).is_err());
    drop(permit);
    assert_eq!(semaphore.available(), 2);
}

#[test]
#[should_panic(expected = "3 permits of a semaphore that is bounded to 2 will never be there")]
fn a_request_above_the_bound_is_refused() {
    drop(Semaphore::bounded(2).acquire_many(3));
}

#[test]
fn an_owned_permit_keeps_its_semaphore() {
    let semaphore = Rc::new(Semaphore::new(2));
    let permit = now(semaphore.acquire_owned());
    let wait = semaphore.acquire_many_owned(2);
    let available = Rc::downgrade(&semaphore);
    drop(semaphore);
    let mut wait = Hand::pending(wait);
    drop(permit);
    drop(wait.ready());
    drop(wait);
    assert!(available.upgrade().is_none());
}

#[test]
fn zero_permits_are_always_available() {
    let semaphore = Semaphore::new(0);
    let _first = Hand::pending(semaphore.acquire());
    assert_eq!(now(semaphore.acquire_many(0)).count(), 0);
}

/// A waiter that has its permit and has not run yet still counts as waiting for later requests.
#[test]
fn a_waiter_that_was_notified_is_not_overtaken_before_it_runs() {
    let semaphore = Semaphore::new(0);
    let (mut first, mut second) = (Hand::pending(semaphore.acquire()), Hand::pending(semaphore.acquire()));
    semaphore.add_permits(2).unwrap();
    first.ready().forget();
    semaphore.add_permits(1).unwrap();
    assert!(semaphore.is_exhausted() && semaphore.try_acquire().is_none(), "the second goes first");
    let mut third = Hand::pending(semaphore.acquire());
    assert_eq!((second.wakes(), third.wakes()), (1, 1), "it has its permit, and its step is after the second's");
    second.ready().forget();
    third.ready().forget();
    assert_eq!((semaphore.available(), semaphore.is_exhausted()), (0, true));
    semaphore.add_permits(1).unwrap();
    drop(now(semaphore.acquire()));
}

#[test]
fn a_notified_waiter_that_never_runs_only_affects_the_order() {
    let semaphore = Semaphore::new(0);
    let _idle = Hand::pending(semaphore.acquire());
    semaphore.add_permits(3).unwrap();
    let mut next = Hand::pending(semaphore.acquire_many(2));
    assert_eq!(next.wakes(), 1);
    drop(next.ready());
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn closing_ends_every_wait_and_gives_no_more_permits() {
    let semaphore = Semaphore::new(2);
    let held = now(semaphore.acquire());
    let mut many = Hand::pending(semaphore.acquire_many(2).or_closed());
    let mut one = Hand::pending(semaphore.acquire().or_closed());
    semaphore.close();
    assert_eq!((many.wakes(), one.wakes()), (1, 1));
    assert_eq!(many.ready().unwrap_err(), SemaphoreClosed);
    assert_eq!(one.ready().unwrap_err(), SemaphoreClosed);
    assert_eq!(now(semaphore.acquire().or_closed()).unwrap_err(), SemaphoreClosed);
    drop(held);
    semaphore.add_permits(1).unwrap();
    assert!(semaphore.is_closed() && semaphore.is_exhausted() && semaphore.try_acquire().is_none());
    assert_eq!(semaphore.available(), 3, "permits still come back");
    assert_eq!(now(semaphore.acquire_many(0)).count(), 0, "none can be had also now");
}

#[test]
fn a_permit_that_was_granted_and_not_taken_before_the_close_comes_back() {
    let semaphore = Semaphore::new(1);
    let held = now(semaphore.acquire());
    let (mut polled, dropped) =
        (Hand::pending(semaphore.acquire().or_closed()), Hand::pending(semaphore.acquire().or_closed()));
    drop(held);
    semaphore.close();
    assert_eq!(polled.ready().unwrap_err(), SemaphoreClosed);
    drop(dropped);
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_wait_that_ignores_the_close_panics_and_names_where_it_was_awaited() {
    let semaphore = Semaphore::new(0);
    let mut wait = Hand::pending(semaphore.acquire());
    semaphore.close();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(wait.poll()))).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("the semaphore was closed") && message.contains(file!()), "{message}");
}
