//! A value that changes, of which every receiver sees the last.

use picot_sync::watch::{Ended, channel};

use crate::hands::{Hand, now};

#[test]
fn every_waiter_sees_the_last_value_once() {
    let (sender, mut one) = channel(0);
    let mut two = one.clone();
    {
        let mut waits = [Hand::pending(one.changed()), Hand::pending(two.changed())];
        sender.send(1);
        assert_eq!(*sender.send(2), 1, "the previous value is returned");
        for wait in &mut waits {
            assert_eq!((wait.wakes(), *wait.ready().unwrap()), (1, 2));
        }
    }
    drop(Hand::pending(one.changed()));
    assert!(!two.has_changed());
}

#[test]
fn a_change_during_a_wait_that_is_dropped_is_still_new() {
    let (sender, mut receiver) = channel(0);
    let wait = Hand::pending(receiver.changed());
    sender.send(1);
    drop(wait);
    assert!(receiver.has_changed());
    assert_eq!(*now(receiver.changed()).unwrap(), 1);
}

#[test]
fn a_new_receiver_has_seen_the_present_value() {
    let (sender, _receiver) = channel(0);
    sender.send(1);
    let mut late = sender.subscribe();
    assert_eq!(*late.get(), 1);
    let mut wait = Hand::pending(late.changed());
    sender.send(2);
    assert_eq!(*wait.ready().unwrap(), 2);
}

#[test]
fn a_watch_ends_after_the_last_value_when_the_last_sender_is_dropped() {
    let (sender, mut receiver) = channel(0);
    let other = sender.clone();
    drop(sender);
    let mut wait = Hand::pending(receiver.changed());
    other.send(1);
    drop(other);
    assert_eq!(*wait.ready().unwrap(), 1);
    drop(wait);
    assert_eq!((now(receiver.changed()), *receiver.get()), (Err(Ended), 1));
}

#[test]
fn a_borrowed_value_does_not_change() {
    let (sender, receiver) = channel(vec![1]);
    let held = receiver.get();
    sender.send(vec![2]);
    assert_eq!((&*held, &*receiver.get()), (&vec![1], &vec![2]));
}

#[test]
fn wait_for_waits_for_the_right_value_or_the_end() {
    let (sender, mut receiver) = channel(0);
    assert_eq!(*now(receiver.wait_for(|value| *value == 0)).unwrap(), 0);
    let mut wait = Hand::pending(receiver.wait_for(|value| *value > 1));
    sender.send(1);
    assert!(wait.poll().is_pending());
    sender.send(2);
    assert_eq!(*wait.ready().unwrap(), 2);
    drop(wait);
    let mut wait = Hand::pending(receiver.wait_for(|value| *value > 2));
    drop(sender);
    assert_eq!(wait.ready(), Err(Ended));
}
