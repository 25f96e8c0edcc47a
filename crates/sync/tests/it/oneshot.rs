//! One value from one task to another.

use std::rc::Rc;

use picot_sync::oneshot::{Dropped, TryRecvError, channel};

use crate::hands::{Hand, now};

#[test]
fn what_is_sent_is_received_once() {
    let (sender, receiver) = channel();
    let mut receiver = Hand::pending(receiver);
    sender.send(7).unwrap();
    assert_eq!((receiver.wakes(), receiver.ready()), (1, Ok(7)));

    let (sender, receiver) = channel();
    sender.send(7).unwrap();
    assert_eq!(now(receiver), Ok(7));
}

#[test]
fn a_sender_that_is_dropped_lets_the_receiver_know() {
    let (sender, receiver) = channel::<()>();
    let mut receiver = Hand::pending(receiver);
    drop(sender);
    assert_eq!((receiver.wakes(), receiver.ready()), (1, Err(Dropped)));
}

#[test]
fn a_receiver_that_is_dropped_gives_the_value_back_and_lets_the_sender_know() {
    let (sender, receiver) = channel();
    let mut closed = Hand::pending(sender.closed());
    drop(receiver);
    closed.ready();
    drop(closed);
    assert!(sender.is_closed());
    assert_eq!(sender.send("kept"), Err("kept"));
}

#[test]
fn whoever_stops_waiting_can_ask_again() {
    let (sender, mut receiver) = channel();
    drop(Hand::pending(&mut receiver));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Dropped));
}

#[test]
fn a_value_that_nobody_takes_is_dropped_with_the_receiver() {
    let value = Rc::new(());
    let (sender, receiver) = channel();
    sender.send(value.clone()).unwrap();
    assert_eq!(Rc::strong_count(&value), 2);
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}
