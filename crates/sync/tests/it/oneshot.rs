//! One value from one task to another.

use std::rc::Rc;

use picot_sync::oneshot::{Dropped, TryRecvError, channel};

use crate::hands::{Hand, now};

#[test]
fn a_sent_value_is_received_once() {
    let (sender, receiver) = channel();
    let mut receiver = Hand::pending(receiver);
    sender.send(7).unwrap();
    assert_eq!((receiver.wakes(), receiver.ready()), (1, Ok(7)));

    let (sender, receiver) = channel();
    sender.send(7).unwrap();
    assert_eq!(now(receiver), Ok(7));
}

#[test]
fn dropping_the_sender_ends_the_receiver() {
    let (sender, receiver) = channel::<()>();
    let mut receiver = Hand::pending(receiver);
    drop(sender);
    assert_eq!((receiver.wakes(), receiver.ready()), (1, Err(Dropped)));
}

#[test]
fn dropping_the_receiver_returns_the_value_and_notifies_the_sender() {
    let (sender, receiver) = channel();
    let mut closed = Hand::pending(sender.closed());
    drop(receiver);
    closed.ready();
    drop(closed);
    assert!(sender.is_closed());
    assert_eq!(sender.send("kept"), Err("kept"));
}

#[test]
fn a_receiver_can_wait_again_after_a_dropped_wait() {
    let (sender, mut receiver) = channel();
    drop(Hand::pending(&mut receiver));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Dropped));
}

#[test]
fn a_value_that_is_not_taken_is_dropped_with_the_receiver() {
    let value = Rc::new(());
    let (sender, receiver) = channel();
    sender.send(value.clone()).unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}
