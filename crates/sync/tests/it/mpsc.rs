//! A channel whose ends notice each other's end.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::ManualHost;
use picot_sync::mpsc::{SendError, TryRecvError, TrySendError, channel, unbounded};
use picot_sync::waiting;
use picot_testkit::WakeCount;

use crate::hands::{Hand, now};

#[test]
fn items_arrive_in_the_order_of_their_sends_and_then_the_end() {
    let (sender, mut receiver) = channel(2);
    let other = sender.clone();
    now(sender.send(1)).unwrap();
    now(other.send(2)).unwrap();
    let mut waits = Hand::pending(sender.send(3));
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
    assert_eq!(now(receiver.recv()), Some(1));
    assert_eq!(waits.wakes(), 1);
    waits.ready().unwrap();
    drop(waits);
    drop((sender, other));
    assert_eq!([now(receiver.recv()), now(receiver.recv()), now(receiver.recv())], [Some(2), Some(3), None]);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Ended));
}

#[test]
fn the_last_dropped_sender_ends_a_receiver_that_waits() {
    let (sender, mut receiver) = channel::<u8>(1);
    let other = sender.clone();
    let mut wait = Hand::pending(receiver.recv());
    drop(sender);
    assert_eq!(wait.wakes(), 0, "a sender is left");
    drop(other);
    assert_eq!((wait.wakes(), wait.ready()), (1, None));
}

#[test]
fn dropping_the_receiver_ends_every_send_and_returns_its_item() {
    let (sender, receiver) = channel(1);
    sender.try_send("in the channel").unwrap();
    let mut waits = [Hand::pending(sender.send("first")), Hand::pending(sender.send("second"))];
    let (mut reserves, mut closed) = (Hand::pending(sender.reserve()), Hand::pending(sender.closed()));
    drop(receiver);
    assert_eq!(waits.each_mut().map(|wait| wait.ready()), [Err(SendError("first")), Err(SendError("second"))]);
    assert_eq!(reserves.ready().unwrap_err(), SendError(()));
    closed.ready();
    assert!(sender.is_closed());
    assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late")));
    assert_eq!(sender.try_reserve().unwrap_err(), TrySendError::Closed(()));
    assert_eq!(now(sender.send("late")), Err(SendError("late")));
}

#[test]
fn a_closed_receiver_still_receives_what_was_sent_and_no_more() {
    let (sender, mut receiver) = channel(2);
    sender.try_send(1).unwrap();
    let permit = sender.try_reserve().unwrap();
    let mut wait = Hand::pending(sender.send(2));
    let mut closed = Hand::pending(sender.closed());
    receiver.close();
    assert_eq!(wait.ready(), Err(SendError(2)));
    closed.ready();
    assert_eq!(permit.send(3), Err(SendError(3)), "room that was reserved before counts no more");
    assert_eq!((now(receiver.recv()), now(receiver.recv())), (Some(1), None));
}

#[test]
fn reserved_room_is_taken_until_the_permit_is_used_or_dropped() {
    let (sender, mut receiver) = channel(1);
    let permit = now(sender.reserve()).unwrap();
    let mut next = Hand::pending(sender.reserve());
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    permit.send(2).unwrap();
    assert_eq!(next.wakes(), 0);
    assert_eq!(receiver.try_recv(), Ok(2));
    let permit = next.ready().unwrap();
    let mut last = Hand::pending(sender.send(3));
    drop(permit);
    last.ready().unwrap();
    drop((next, last));
    assert_eq!(receiver.try_recv(), Ok(3));
}

#[test]
fn a_dropped_send_has_not_sent_and_passes_its_room_on() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(1).unwrap();
    let (given, mut next) = (Hand::pending(sender.send(2)), Hand::pending(sender.send(3)));
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!((given.wakes(), next.wakes()), (1, 0));
    drop(given);
    next.ready().unwrap();
    drop(next);
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(3), Err(TryRecvError::Empty)));
}

#[test]
fn a_dropped_receive_has_received_nothing() {
    let (sender, mut receiver) = channel(1);
    let wait = Hand::pending(receiver.recv());
    sender.try_send(1).unwrap();
    assert_eq!(wait.wakes(), 1);
    drop(wait);
    assert_eq!(now(receiver.recv()), Some(1));
}

#[test]
fn a_stream_that_waits_is_woken_also_after_a_look_in_between() {
    let (sender, mut receiver) = unbounded();
    let count = WakeCount::default();
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(receiver.poll_recv(&mut cx).is_pending());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.try_send(1).unwrap();
    assert_eq!(count.get(), 1);
    assert_eq!(receiver.try_recv(), Ok(1), "the item that the poll was given");
    assert!(receiver.poll_recv(&mut cx).is_pending());
    drop(sender);
    assert_eq!((count.get(), receiver.poll_recv(&mut cx)), (2, Poll::Ready(None)));
    assert!(waiting().is_empty());
}

#[test]
fn a_weak_sender_keeps_the_channel_only_while_another_sender_does() {
    let (sender, mut receiver) = channel(1);
    let weak = sender.downgrade();
    let again = weak.clone().upgrade().unwrap();
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    again.try_send(1).unwrap();
    drop(again);
    assert!(weak.upgrade().is_none(), "the channel has ended and stays so");
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Ended)));
}

#[test]
fn a_panic_in_the_drop_of_an_item_is_reported_and_the_senders_learn_of_the_end() {
    struct Bomb(Rc<Cell<u32>>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            resume_unwind(Box::new("in a drop"));
        }
    }
    let (host, _guard) = ManualHost::installed();
    let (sender, receiver) = channel(2);
    let dropped = Rc::new(Cell::new(0));
    for _ in 0..2 {
        assert!(sender.try_send(Bomb(dropped.clone())).is_ok());
    }
    let mut closed = Hand::pending(sender.closed());
    drop(receiver);
    closed.ready();
    assert_eq!((dropped.get(), host.take_reports().len()), (2, 2));
}

#[test]
fn waiters_are_listed_by_the_name_of_their_operation() {
    let (sender, mut receiver) = channel::<u8>(1);
    let wait = Hand::pending(receiver.recv());
    assert_eq!((waiting()[0].what, waiting()[0].place.file()), ("mpsc::Receiver::recv", file!()));
    drop(wait);
    sender.try_send(1).unwrap();
    let _waits = (Hand::pending(sender.send(1)), Hand::pending(sender.closed()));
    let names: Vec<_> = waiting().iter().map(|waiter| waiter.what).collect();
    assert_eq!(names, ["mpsc::Sender::send", "mpsc::Sender::closed"]);
}
