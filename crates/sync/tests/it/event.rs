//! A flag that is set and cleared.

use picot_sync::Event;

use crate::hands::{Hand, now};

#[test]
fn setting_releases_all_waiters_and_clearing_does_not_affect_them() {
    let event = Event::new();
    let mut waits = [Hand::pending(event.wait()), Hand::pending(event.wait())];
    event.set();
    event.clear();
    let late = Hand::pending(event.wait());
    for wait in &mut waits {
        assert_eq!(wait.wakes(), 1);
        wait.ready();
    }
    assert_eq!(late.wakes(), 0);
}

#[test]
fn waiting_for_a_set_event_does_not_suspend() {
    let event = Event::default();
    event.set();
    event.set();
    assert!(event.is_set());
    now(event.wait());
}

#[test]
fn a_wait_that_is_dropped_is_not_woken() {
    let event = Event::new();
    let (gone, mut stays) = (Hand::pending(event.wait()), Hand::pending(event.wait()));
    drop(gone);
    assert_eq!(event.waiters().len(), 1);
    event.set();
    stays.ready();
}

#[test]
fn an_event_that_is_cleared_while_the_budget_is_spent_was_still_set() {
    use picot_context::{Step, budget, enter};
    let event = Event::new();
    event.set();
    let entered = enter(Step::callback(std::panic::Location::caller()), None);
    (0..budget::PER_STEP).for_each(|_| now(event.wait()));
    let mut wait = Hand::pending(event.wait());
    event.clear();
    drop(entered);
    wait.ready();
}
