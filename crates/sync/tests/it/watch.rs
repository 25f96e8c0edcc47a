//! A value that changes, of which every receiver sees the last.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    assert_eq!(*late.borrow(), 1);
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
    assert_eq!((now(receiver.changed()), *receiver.borrow()), (Err(Ended), 1));
}

#[test]
fn a_borrowed_value_does_not_change() {
    let (sender, receiver) = channel(vec![1]);
    let held = receiver.borrow();
    sender.send(vec![2]);
    assert_eq!((&*held, &*receiver.borrow()), (&vec![1], &vec![2]));
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

#[test]
fn a_value_that_is_seen_without_a_wait_is_not_new_any_more() {
    let (sender, mut receiver) = channel(0);
    sender.send(1);
    assert_eq!(*receiver.borrow(), 1);
    assert!(receiver.has_changed(), "a look at it does not count");
    assert_eq!(*receiver.borrow_and_update(), 1);
    let mut wait = Hand::pending(receiver.changed());
    sender.send(2);
    assert_eq!(*wait.ready().unwrap(), 2);
}

#[test]
fn only_a_modification_wakes() {
    let (sender, mut receiver) = channel(1);
    let mut wait = Hand::pending(receiver.changed());
    assert!(!sender.send_if_modified(|_| false));
    assert_eq!(wait.wakes(), 0);
    sender.send_modify(|value| *value += 1);
    assert_eq!((wait.wakes(), *wait.ready().unwrap()), (1, 2));
}

#[test]
fn a_modification_changes_the_value_in_place_and_a_held_one_by_a_clone() {
    thread_local! {
        static CLONES: Cell<u32> = const { Cell::new(0) };
    }
    struct Value(u32);
    impl Clone for Value {
        fn clone(&self) -> Value {
            CLONES.set(CLONES.get() + 1);
            Value(self.0)
        }
    }
    let (sender, receiver) = channel(Value(1));
    sender.send_modify(|value| value.0 = 2);
    assert_eq!(CLONES.get(), 0);
    let held = receiver.borrow();
    sender.send_modify(|value| value.0 = 3);
    assert_eq!((CLONES.get(), held.0, receiver.borrow().0), (1, 2, 3));
}

#[test]
fn a_modification_that_uses_its_channel_panics_and_the_channel_works_on() {
    let (sender, receiver) = channel(1);
    let panic = catch_unwind(AssertUnwindSafe(|| sender.send_modify(|_| drop(receiver.borrow())))).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("must not use its own channel"), "{message}");
    assert!(!receiver.has_changed());
    sender.send_modify(|value| *value = 2);
    assert_eq!(*receiver.borrow(), 2);
}

#[test]
fn both_ends_can_be_printed_while_a_closure_changes_the_value() {
    let (sender, receiver) = channel(1);
    let printed = |value: &str| {
        let sender = format!("{sender:?}") == format!("Sender {{ value: {value} }}");
        sender && format!("{receiver:?}") == format!("Receiver {{ value: {value}, has_changed: false }}")
    };
    assert!(printed("Some(1)"));
    sender.send_if_modified(|_| {
        assert!(printed("None"));
        false
    });
}
