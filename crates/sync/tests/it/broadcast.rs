//! Messages that every receiver gets.

use std::rc::Rc;

use picot_sync::broadcast::{RecvError, SendError, TryRecvError, channel};

use crate::hands::{Hand, now};

#[test]
fn every_receiver_gets_every_message_in_order() {
    let (sender, mut one) = channel(4);
    let mut two = sender.subscribe();
    let (mut first, mut second) = (Hand::pending(one.recv()), Hand::pending(two.recv()));
    assert_eq!(sender.send(1), Ok(2));
    assert_eq!(sender.send(2), Ok(2));
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    assert_eq!((*first.ready().unwrap(), *second.ready().unwrap()), (1, 1));
    drop((first, second));
    assert_eq!((*now(one.recv()).unwrap(), *now(two.recv()).unwrap()), (2, 2));
    assert_eq!((one.len(), two.len()), (0, 0));
}

#[test]
fn a_slow_receiver_learns_how_many_it_has_missed_and_continues() {
    let (sender, mut slow) = channel(2);
    let mut fast = sender.subscribe();
    for n in 0..7 {
        sender.send(n).unwrap();
        assert_eq!(*now(fast.recv()).unwrap(), n);
    }
    assert_eq!(slow.len(), 2);
    assert_eq!(now(slow.recv()), Err(RecvError::Lagged { missed: 5 }));
    assert_eq!((*now(slow.recv()).unwrap(), *now(slow.recv()).unwrap()), (5, 6));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn the_channel_ends_after_its_last_message_when_all_senders_are_dropped() {
    let (sender, mut receiver) = channel(2);
    let other = sender.clone();
    drop(sender);
    let mut wait = Hand::pending(receiver.recv());
    other.send(1).unwrap();
    drop(other);
    assert_eq!(*wait.ready().unwrap(), 1);
    drop(wait);
    assert_eq!((now(receiver.recv()), receiver.try_recv()), (Err(RecvError::Ended), Err(TryRecvError::Ended)));

    let (sender, mut receiver) = channel::<u8>(2);
    let mut wait = Hand::pending(receiver.recv());
    drop(sender);
    assert_eq!((wait.wakes(), wait.ready()), (1, Err(RecvError::Ended)));
}

#[test]
fn a_dropped_receive_has_received_nothing() {
    let (sender, mut receiver) = channel(2);
    let wait = Hand::pending(receiver.recv());
    sender.send(1).unwrap();
    drop(wait);
    assert_eq!(*now(receiver.recv()).unwrap(), 1);
}

#[test]
fn a_send_without_receivers_returns_its_value_and_a_later_receiver_begins_after_it() {
    let (sender, receiver) = channel(2);
    drop(receiver);
    assert_eq!(sender.send(1), Err(SendError(1)));
    let mut late = sender.subscribe();
    assert_eq!(late.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(sender.send(2), Ok(1));
    assert_eq!(*late.try_recv().unwrap(), 2);
}

#[test]
fn a_message_is_freed_by_its_last_receiver() {
    let (sender, mut one) = channel(8);
    let (mut two, three) = (one.clone(), one.clone());
    let token = Rc::new(());
    for _ in 0..3 {
        sender.send(token.clone()).unwrap();
    }
    drop(one.try_recv().unwrap());
    drop(two.try_recv().unwrap());
    assert_eq!(Rc::strong_count(&token), 4, "the third has received none");
    drop(three);
    assert_eq!(Rc::strong_count(&token), 3);
    let again = two.clone();
    drop(one);
    drop(two);
    assert_eq!(Rc::strong_count(&token), 3, "the clone has two messages to receive");
    drop(again);
    assert_eq!(Rc::strong_count(&token), 1);
}
