//! Queues: items from producers to consumers.

use std::rc::Rc;

use picot_sync::{LifoQueue, PriorityQueue, PutError, Queue, TryGetError, TryPutError};

use crate::hands::{Hand, now};

#[test]
fn put_waits_while_it_is_full_and_items_come_out_in_order() {
    let queue = Queue::new(2);
    now(queue.put(1)).unwrap();
    now(queue.put(2)).unwrap();
    assert!(queue.is_full());
    let (mut third, mut fourth) = (Hand::pending(queue.put(3)), Hand::pending(queue.put(4)));
    assert_eq!(now(queue.get()), Some(1));
    assert_eq!((third.wakes(), fourth.wakes(), queue.len()), (1, 0, 1));
    assert_eq!(queue.try_put(9), Err(TryPutError::Full { item: 9, capacity: 2 }), "the room is reserved for the third");
    third.ready().unwrap();
    assert_eq!(now(queue.get()), Some(2));
    fourth.ready().unwrap();
    assert_eq!((now(queue.get()), now(queue.get()), queue.len()), (Some(3), Some(4), 0));
}

#[test]
fn gets_are_served_in_the_order_of_the_requests() {
    let queue = Queue::new(4);
    let (mut first, mut second) = (Hand::pending(queue.get()), Hand::pending(queue.get()));
    queue.try_put("a").unwrap();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty), "the item is reserved for the first");
    queue.try_put("b").unwrap();
    assert_eq!((first.ready(), second.ready()), (Some("a"), Some("b")));
}

#[test]
fn a_get_that_is_dropped_loses_no_item_and_wakes_the_next() {
    let queue = Queue::new(1);
    let (first, mut second) = (Hand::pending(queue.get()), Hand::pending(queue.get()));
    queue.try_put(1).unwrap();
    drop(first);
    assert_eq!((second.wakes(), second.ready()), (1, Some(1)));
    let third = Hand::pending(queue.get());
    queue.try_put(2).unwrap();
    drop(third);
    assert_eq!(queue.try_get(), Ok(2));
}

#[test]
fn a_put_that_is_dropped_puts_nothing_and_wakes_the_next() {
    let queue = Queue::new(1);
    let item = Rc::new(0);
    queue.try_put(item.clone()).unwrap();
    let first = Hand::pending(queue.put(item.clone()));
    let mut second = Hand::pending(queue.put(Rc::new(2)));
    assert_eq!(queue.try_get().as_deref(), Ok(&0));
    drop(first);
    assert_eq!(Rc::strong_count(&item), 1);
    second.ready().unwrap();
    assert_eq!((queue.try_get().as_deref(), queue.len()), (Ok(&2), 0));
}

#[test]
fn without_waiting_a_full_and_an_empty_queue_are_errors_that_say_so() {
    let queue = Queue::new(1);
    assert_eq!(queue.try_get().unwrap_err().to_string(), "the queue is empty; `get` waits for an item");
    queue.try_put(1).unwrap();
    let error = queue.try_put(2).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.into_inner()),
        ("the queue is full: its capacity is 1; `put` waits for room", 2)
    );
}

#[test]
fn join_returns_at_once_on_a_fresh_queue_and_else_when_all_is_done() {
    let queue = Queue::new(4);
    now(queue.join());
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    let mut join = Hand::pending(queue.join());
    let lease = now(queue.lease()).unwrap();
    assert_eq!((*lease, queue.len(), queue.unfinished()), (1, 1, 2));
    assert_eq!(now(queue.get()), Some(2), "a taken item counts as done");
    assert_eq!((queue.unfinished(), join.wakes()), (1, 0));
    drop(lease);
    join.ready();
    // A wait continues if all items were done at some time, even if more are put later.
    queue.try_put(3).unwrap();
    let mut join = Hand::pending(queue.join());
    let lease = now(queue.lease()).unwrap();
    assert_eq!(picot_sync::Lease::finish(lease), 3);
    queue.try_put(4).unwrap();
    join.ready();
}

#[test]
fn a_closed_queue_accepts_nothing_returns_the_rest_and_then_ends() {
    let queue = Queue::new(2);
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    let mut blocked = Hand::pending(queue.put(3));
    queue.close();
    assert_eq!((blocked.wakes(), blocked.ready()), (1, Err(PutError(3))));
    assert_eq!((now(queue.put(4)), queue.try_put(5)), (Err(PutError(4)), Err(TryPutError::Closed(5))));
    let mut join = Hand::pending(queue.join());
    assert_eq!((now(queue.get()), queue.try_get()), (Some(1), Ok(2)));
    assert_eq!((now(queue.get()), queue.try_get()), (None, Err(TryGetError::Closed)));
    join.ready();
}

#[test]
fn closing_ends_the_waits_for_items_that_will_not_come() {
    let queue = Queue::<()>::new(1);
    let (mut one, mut two) = (Hand::pending(queue.get()), Hand::pending(queue.lease()));
    queue.close();
    assert!(one.ready().is_none() && two.ready().is_none());
}

#[test]
fn an_item_that_is_returned_after_the_close_can_still_be_taken() {
    let queue = Queue::new(1);
    let (first, mut second) = (Hand::pending(queue.get()), Hand::pending(queue.get()));
    queue.try_put(1).unwrap();
    queue.close();
    let mut third = Hand::pending(queue.get());
    assert!(second.poll().is_pending(), "whether the first takes the item is not known yet");
    drop(first);
    assert_eq!(second.ready(), Some(1));
    assert_eq!(third.ready(), None);
}

#[test]
fn room_that_was_granted_before_the_close_cannot_be_used_after_it() {
    let queue = Queue::new(1);
    queue.try_put(1).unwrap();
    let mut put = Hand::pending(queue.put(2));
    assert_eq!(queue.try_get(), Ok(1));
    queue.close();
    assert_eq!((put.ready(), now(queue.get())), (Err(PutError(2)), None));
}

#[test]
fn close_now_returns_the_items_and_ends_join() {
    let queue = Queue::new(3);
    (1..=3).for_each(|n| queue.try_put(n).unwrap());
    let lease = now(queue.lease()).unwrap();
    let mut join = Hand::pending(queue.join());
    assert_eq!(queue.close_now(), [2, 3]);
    assert_eq!((now(queue.get()), join.wakes()), (None, 0), "a leased item is not done");
    drop(lease);
    join.ready();
    assert_eq!(queue.close_now(), []);
}

#[test]
fn a_waiter_whose_item_close_now_took_gets_none() {
    let queue = Queue::new(1);
    let (mut first, dropped) = (Hand::pending(queue.get()), Hand::pending(queue.get()));
    queue.try_put(1).unwrap();
    assert_eq!(queue.close_now(), [1]);
    drop(dropped);
    assert_eq!((first.ready(), queue.try_get()), (None, Err(TryGetError::Closed)));
}

#[test]
fn the_smallest_item_is_first_and_equal_items_are_in_order() {
    let queue = PriorityQueue::new(8);
    for item in [(2, 'a'), (1, 'b'), (2, 'c')] {
        queue.try_put(item).unwrap();
    }
    // `c` is greater than `a`, so only the keys show the order among equals.
    assert_eq!((queue.try_get(), queue.try_get(), queue.try_get()), (Ok((1, 'b')), Ok((2, 'a')), Ok((2, 'c'))));

    #[derive(Debug)]
    struct Equal(u32);
    impl PartialEq for Equal {
        fn eq(&self, _: &Equal) -> bool {
            true
        }
    }
    impl Eq for Equal {}
    impl PartialOrd for Equal {
        fn partial_cmp(&self, other: &Equal) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Equal {
        fn cmp(&self, _: &Equal) -> std::cmp::Ordering {
            std::cmp::Ordering::Equal
        }
    }
    let queue = PriorityQueue::unbounded();
    (0..5).for_each(|n| queue.try_put(Equal(n)).unwrap());
    assert_eq!(queue.close_now().into_iter().map(|item| item.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn the_last_item_is_first() {
    let queue = LifoQueue::new(3);
    (1..=3).for_each(|n| queue.try_put(n).unwrap());
    assert!(queue.is_full());
    assert_eq!((now(queue.get()), queue.close_now()), (Some(3), vec![2, 1]));
}

#[test]
fn a_queue_is_full_of_items_and_of_puts_that_were_notified() {
    let queue = Queue::new(1);
    queue.try_put(1).unwrap();
    let mut put = Hand::pending(queue.put(2));
    assert_eq!(queue.try_get(), Ok(1));
    assert!(queue.is_full() && queue.is_empty(), "the room belongs to the notified `put`");
    assert_eq!(queue.try_put(3), Err(TryPutError::Full { item: 3, capacity: 1 }));
    put.ready().unwrap();
    queue.close();
    assert!(queue.is_full(), "a closed queue still holds its items");
    assert_eq!(now(queue.get()), Some(2));
    assert!(!queue.is_full());
}

#[test]
fn in_an_unbounded_queue_no_put_waits_for_room() {
    let queue = Queue::unbounded();
    (0..1000).for_each(|n| now(queue.put(n)).unwrap());
    assert_eq!((queue.capacity(), queue.is_full(), queue.len()), (None, false, 1000));
    assert_eq!((0..1000).filter_map(|_| queue.try_get().ok()).sum::<i32>(), 499_500);
}

#[test]
#[should_panic(expected = "for one without bounds, use `unbounded`")]
fn a_capacity_of_zero_is_refused() {
    let _ = Queue::<()>::new(0);
}

#[test]
fn a_getter_that_was_notified_gets_the_item_before_a_getter_that_comes_later() {
    let queue = Queue::new(4);
    let mut first = Hand::pending(queue.get());
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    let mut later = Hand::pending(queue.get());
    assert_eq!((first.wakes(), later.wakes()), (1, 1));
    assert_eq!((first.ready(), later.ready()), (Some(1), Some(2)));
}

#[test]
fn a_putter_that_was_notified_puts_before_a_putter_that_comes_later() {
    let queue = Queue::new(2);
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    let mut first = Hand::pending(queue.put(3));
    assert_eq!((queue.try_get(), queue.try_get()), (Ok(1), Ok(2)));
    let mut later = Hand::pending(queue.put(4));
    assert_eq!((first.wakes(), later.wakes()), (1, 1));
    first.ready().unwrap();
    later.ready().unwrap();
    assert_eq!((queue.try_get(), queue.try_get()), (Ok(3), Ok(4)));
}

/// Counts comparisons down, and panics at 0.
#[derive(Clone)]
struct Touchy(u32, std::rc::Rc<std::cell::Cell<i32>>);

impl Ord for Touchy {
    fn cmp(&self, other: &Touchy) -> std::cmp::Ordering {
        self.1.set(self.1.get() - 1);
        if self.1.get() == 0 {
            std::panic::resume_unwind(Box::new("in a comparison"));
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Touchy {
    fn partial_cmp(&self, other: &Touchy) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Touchy) -> bool {
        self.0 == other.0
    }
}

impl Eq for Touchy {}

#[test]
fn a_comparison_that_panics_loses_no_room_and_blocks_no_join() {
    for fuse in 1..20 {
        let left = std::rc::Rc::new(std::cell::Cell::new(fuse));
        let queue = PriorityQueue::new(4);
        let contained = |f: &mut dyn FnMut()| {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        };
        for n in [3, 1, 2, 0] {
            contained(&mut || queue.try_put(Touchy(n, left.clone())).map_err(drop).unwrap());
        }
        assert_eq!((queue.len(), queue.unfinished(), queue.is_full()), (4, 4, true), "the item was put");
        for _ in 0..4 {
            contained(&mut || drop(queue.try_get()));
        }
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        now(queue.join());
        left.set(1_000);
        (0..4).for_each(|n| queue.try_put(Touchy(n, left.clone())).map_err(drop).unwrap());
        left.set(2);
        contained(&mut || drop(queue.close_now()));
        assert!(queue.is_closed() && queue.is_empty());
        now(queue.join());
    }
}
