//! Each primitive matches a model of a few lines, under any operations in any order.
//!
//! The models contain no wakers and no lists. After every operation they state which futures have
//! been granted what they wait for: exactly those must have been woken since, and be ready when
//! they are polled.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_sync::{
    Barrier, Broken, Condvar, Event, LifoQueue, Mutex, Permit, PriorityQueue, Queue, Semaphore, broadcast, mpsc, watch,
};
use picot_testkit::WakeCount;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::hands::Hand;

/// A future, with its number in the model.
struct Numbered<'a, T> {
    number: usize,
    hand: Hand<'a, T>,
}

/// Removes an element by a random index.
fn take<T>(list: &mut Vec<T>, index: &Index) -> Option<T> {
    if list.is_empty() { None } else { Some(list.remove(index.index(list.len()))) }
}

#[derive(Clone, Debug)]
enum PermitOp {
    Acquire(usize),
    TryAcquire(usize),
    Poll(Index),
    Drop(Index),
    Release(Index),
    Add(usize),
}

fn permit_op() -> impl Strategy<Value = PermitOp> {
    prop_oneof![
        4 => (0..4usize).prop_map(PermitOp::Acquire),
        1 => (0..4usize).prop_map(PermitOp::TryAcquire),
        4 => any::<Index>().prop_map(PermitOp::Poll),
        2 => any::<Index>().prop_map(PermitOp::Drop),
        3 => any::<Index>().prop_map(PermitOp::Release),
        1 => (0..3usize).prop_map(PermitOp::Add),
    ]
}

/// Permits, and a line of requests.
struct PermitModel {
    available: usize,
    line: VecDeque<(usize, usize)>,
    /// Granted and not collected.
    given: Vec<(usize, usize)>,
}

impl PermitModel {
    fn distribute(&mut self) {
        while let Some(&(number, asked)) = self.line.front() {
            if asked > self.available {
                break;
            }
            self.available -= asked;
            self.line.pop_front();
            self.given.push((number, asked));
        }
    }

    fn try_take(&mut self, asked: usize) -> bool {
        // Waiters with a grant count as waiting until they run.
        let takes = asked == 0 || self.line.is_empty() && self.given.is_empty() && asked <= self.available;
        self.available -= if takes { asked } else { 0 };
        takes
    }

    fn collect(&mut self, number: usize) -> Option<usize> {
        let index = self.given.iter().position(|(other, _)| *other == number)?;
        Some(self.given.remove(index).1)
    }
}

/// A semaphore, or a mutex as one of a single permit: the model is the same.
fn permits_follow_the_model<'a, P>(
    ops: Vec<PermitOp>,
    available: usize,
    acquire: impl Fn(usize) -> Hand<'a, P>,
    try_acquire: impl Fn(usize) -> Option<P>,
    add: impl Fn(usize),
    is_mutex: bool,
) {
    let mut model = PermitModel { available, line: VecDeque::new(), given: Vec::new() };
    let mut waits: Vec<Numbered<'a, P>> = Vec::new();
    let mut held = Vec::new();
    for (number, op) in ops.into_iter().enumerate() {
        match op {
            PermitOp::Acquire(asked) => {
                let asked = if is_mutex { 1 } else { asked };
                let mut hand = acquire(asked);
                match (hand.poll(), model.try_take(asked)) {
                    (Poll::Ready(permit), true) => held.push((permit, asked)),
                    (Poll::Pending, false) => {
                        model.line.push_back((number, asked));
                        model.distribute();
                        waits.push(Numbered { number, hand });
                    }
                    (poll, expected) => panic!("ready: {}, expected: {expected}", poll.is_ready()),
                }
            }
            PermitOp::TryAcquire(asked) => {
                let asked = if is_mutex { 1 } else { asked };
                let permit = try_acquire(asked);
                assert_eq!(permit.is_some(), model.try_take(asked));
                held.extend(permit.map(|permit| (permit, asked)));
            }
            PermitOp::Poll(index) => {
                if let Some(mut wait) = take(&mut waits, &index) {
                    match (wait.hand.poll(), model.collect(wait.number)) {
                        (Poll::Ready(permit), Some(asked)) => held.push((permit, asked)),
                        (Poll::Pending, None) => waits.push(wait),
                        (poll, expected) => panic!("ready: {}, expected: {expected:?}", poll.is_ready()),
                    }
                }
            }
            PermitOp::Drop(index) => {
                if let Some(wait) = take(&mut waits, &index) {
                    model.line.retain(|(number, _)| *number != wait.number);
                    model.available += model.collect(wait.number).unwrap_or(0);
                    model.distribute();
                }
            }
            PermitOp::Release(index) => {
                if let Some((permit, asked)) = take(&mut held, &index) {
                    drop(permit);
                    model.available += asked;
                    model.distribute();
                }
            }
            PermitOp::Add(_) if is_mutex => {}
            PermitOp::Add(count) => {
                add(count);
                model.available += count;
                model.distribute();
            }
        }
        for wait in &waits {
            let is_given = model.given.iter().any(|(number, _)| *number == wait.number);
            assert_eq!(wait.hand.wakes(), usize::from(is_given), "woken if and only if it is its turn");
        }
    }
}

proptest! {
    #[test]
    fn a_semaphore_is_a_number_and_a_line(ops in prop::collection::vec(permit_op(), 1..120), permits in 0..5usize) {
        let semaphore = Semaphore::new(permits);
        permits_follow_the_model::<Permit<'_>>(
            ops,
            permits,
            |count| Hand::new(semaphore.acquire_many(count)),
            |count| semaphore.try_acquire_many(count),
            |count| semaphore.add_permits(count).unwrap(),
            false,
        );
    }

    #[test]
    fn a_mutex_is_a_semaphore_of_one(ops in prop::collection::vec(permit_op(), 1..120)) {
        let mutex = Mutex::new(());
        let (acquire, try_acquire) = (|_| Hand::new(mutex.lock()), |_| mutex.try_lock());
        permits_follow_the_model(ops, 1, acquire, try_acquire, |_| {}, true);
    }
}

#[derive(Clone, Debug)]
enum QueueOp {
    Put(u8),
    TryPut(u8),
    Get,
    TryGet,
    PollPut(Index),
    PollGet(Index),
    DropPut(Index),
    DropGet(Index),
    Close,
    CloseNow,
}

fn queue_op() -> impl Strategy<Value = QueueOp> {
    prop_oneof![
        8 => any::<u8>().prop_map(QueueOp::Put),
        4 => any::<u8>().prop_map(QueueOp::TryPut),
        8 => Just(QueueOp::Get),
        4 => Just(QueueOp::TryGet),
        8 => any::<Index>().prop_map(QueueOp::PollPut),
        8 => any::<Index>().prop_map(QueueOp::PollGet),
        4 => any::<Index>().prop_map(QueueOp::DropPut),
        4 => any::<Index>().prop_map(QueueOp::DropGet),
        1 => Just(QueueOp::Close),
        1 => Just(QueueOp::CloseNow),
    ]
}

/// A list of items, and two lines; `next` returns the index of the item that is taken next.
struct QueueModel {
    items: Vec<u8>,
    next: fn(&[u8]) -> usize,
    capacity: usize,
    is_closed: bool,
    putting: VecDeque<usize>,
    getting: VecDeque<usize>,
    /// Room or an item, granted and not collected; or a notified end.
    may_put: Vec<usize>,
    may_get: Vec<usize>,
    told_the_end: Vec<usize>,
}

impl QueueModel {
    fn settle(&mut self) {
        while self.items.len() + self.may_put.len() < self.capacity && !self.putting.is_empty() && !self.is_closed {
            self.may_put.extend(self.putting.pop_front());
        }
        while self.items.len() > self.may_get.len() && !self.getting.is_empty() {
            self.may_get.extend(self.getting.pop_front());
        }
        if self.is_closed {
            self.told_the_end.extend(self.putting.drain(..));
            if self.items.is_empty() {
                self.told_the_end.extend(self.getting.drain(..));
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.is_closed && self.putting.is_empty() && self.items.len() + self.may_put.len() < self.capacity
    }

    fn has_item(&self) -> bool {
        self.getting.is_empty() && self.items.len() > self.may_get.len()
    }

    fn has_ended(&self) -> bool {
        self.is_closed && self.items.is_empty()
    }

    fn take(&mut self) -> Option<u8> {
        if self.items.is_empty() {
            return None;
        }
        let index = (self.next)(&self.items);
        Some(self.items.remove(index))
    }

    fn forget(&mut self, number: usize) -> bool {
        let lines = [&mut self.may_put, &mut self.may_get, &mut self.told_the_end];
        let had = lines.into_iter().any(|line| {
            let len = line.len();
            line.retain(|other| *other != number);
            line.len() != len
        });
        self.putting.retain(|other| *other != number);
        self.getting.retain(|other| *other != number);
        had
    }

    fn is_notified(&self, number: usize) -> bool {
        [&self.may_put, &self.may_get, &self.told_the_end].iter().any(|line| line.contains(&number))
    }
}

fn queue_follows_the_model<O: picot_sync::Order<u8>>(
    queue: &Queue<u8, O>,
    capacity: usize,
    next: fn(&[u8]) -> usize,
    ops: Vec<QueueOp>,
) {
    let mut model = QueueModel {
        items: Vec::new(),
        next,
        capacity,
        is_closed: false,
        putting: VecDeque::new(),
        getting: VecDeque::new(),
        may_put: Vec::new(),
        may_get: Vec::new(),
        told_the_end: Vec::new(),
    };
    let mut puts: Vec<(Numbered<'_, _>, u8)> = Vec::new();
    let mut gets: Vec<Numbered<'_, _>> = Vec::new();
    for (number, op) in ops.into_iter().enumerate() {
        match op {
            QueueOp::Put(item) => {
                let mut hand = Hand::new(queue.put(item));
                match hand.poll() {
                    Poll::Ready(Ok(())) => {
                        assert!(model.has_room() && model.may_put.is_empty());
                        model.items.push(item);
                    }
                    Poll::Ready(Err(error)) => assert!(model.is_closed && error.0 == item),
                    Poll::Pending => {
                        assert!(!(model.is_closed || model.has_room() && model.may_put.is_empty()));
                        model.putting.push_back(number);
                        puts.push((Numbered { number, hand }, item));
                    }
                }
            }
            QueueOp::TryPut(item) => {
                assert_eq!(queue.try_put(item).is_ok(), model.has_room());
                if model.has_room() {
                    model.items.push(item);
                }
            }
            QueueOp::Get => {
                let mut hand = Hand::new(queue.get());
                match hand.poll() {
                    Poll::Ready(Some(item)) => {
                        assert!(model.has_item() && model.may_get.is_empty());
                        assert_eq!(Some(item), model.take());
                    }
                    Poll::Ready(None) => assert!(model.has_ended()),
                    Poll::Pending => {
                        assert!(!(model.has_ended() || model.has_item() && model.may_get.is_empty()));
                        model.getting.push_back(number);
                        gets.push(Numbered { number, hand });
                    }
                }
            }
            QueueOp::TryGet => {
                let expected = if model.has_item() { model.take() } else { None };
                assert_eq!(queue.try_get().ok(), expected);
            }
            QueueOp::PollPut(index) => {
                if let Some((mut put, item)) = take(&mut puts, &index) {
                    match put.hand.poll() {
                        Poll::Ready(result) => {
                            assert!(model.forget(put.number));
                            assert_eq!(result.is_ok(), !model.is_closed);
                            model.items.extend(result.is_ok().then_some(item));
                        }
                        Poll::Pending => {
                            assert!(!model.is_notified(put.number));
                            puts.push((put, item));
                        }
                    }
                }
            }
            QueueOp::PollGet(index) => {
                if let Some(mut get) = take(&mut gets, &index) {
                    match get.hand.poll() {
                        Poll::Ready(got) => {
                            let was_promised = model.may_get.contains(&get.number);
                            assert!(model.forget(get.number));
                            assert_eq!(got, if was_promised { model.take() } else { None });
                        }
                        Poll::Pending => {
                            assert!(!model.is_notified(get.number));
                            gets.push(get);
                        }
                    }
                }
            }
            QueueOp::DropPut(index) => {
                if let Some((put, _)) = take(&mut puts, &index) {
                    model.forget(put.number);
                }
            }
            QueueOp::DropGet(index) => {
                if let Some(get) = take(&mut gets, &index) {
                    model.forget(get.number);
                }
            }
            QueueOp::Close => {
                queue.close();
                model.is_closed = true;
            }
            QueueOp::CloseNow => {
                let rest: Vec<_> = std::iter::from_fn(|| model.take()).collect();
                assert_eq!(queue.close_now(), rest);
                model.is_closed = true;
            }
        }
        model.settle();
        assert_eq!((queue.len(), queue.unfinished()), (model.items.len(), model.items.len()));
        for wait in puts
            .iter()
            .map(|(put, _)| (put.number, put.hand.wakes()))
            .chain(gets.iter().map(|get| (get.number, get.hand.wakes())))
        {
            assert_eq!(wait.1, usize::from(model.is_notified(wait.0)), "woken if and only if it has a grant");
        }
    }
}

proptest! {
    #[test]
    fn a_queue_is_a_list_and_two_lines(ops in prop::collection::vec(queue_op(), 1..150), capacity in 1..4usize) {
        queue_follows_the_model(&Queue::new(capacity), capacity, |_| 0, ops);
    }

    #[test]
    fn a_lifo_queue_is_the_same_with_the_last_first(
        ops in prop::collection::vec(queue_op(), 1..150),
        capacity in 1..4usize,
    ) {
        queue_follows_the_model(&LifoQueue::new(capacity), capacity, |items| items.len() - 1, ops);
    }

    #[test]
    fn a_priority_queue_is_the_same_with_the_smallest_first(
        ops in prop::collection::vec(queue_op(), 1..150),
        capacity in 1..4usize,
    ) {
        let smallest = |items: &[u8]| (0..items.len()).min_by_key(|index| items[*index]).unwrap();
        queue_follows_the_model(&PriorityQueue::new(capacity), capacity, smallest, ops);
    }
}

#[derive(Clone, Debug)]
enum EventOp {
    Wait,
    Poll(Index),
    Drop(Index),
    Set,
    Clear,
}

fn event_op() -> impl Strategy<Value = EventOp> {
    prop_oneof![
        3 => Just(EventOp::Wait),
        3 => any::<Index>().prop_map(EventOp::Poll),
        1 => any::<Index>().prop_map(EventOp::Drop),
        1 => Just(EventOp::Set),
        1 => Just(EventOp::Clear),
    ]
}

proptest! {
    #[test]
    fn an_event_is_a_flag_and_the_waiters_from_before_it_was_set(ops in prop::collection::vec(event_op(), 1..100)) {
        let event = Event::new();
        let mut is_set = false;
        // Each with whether the event was set since.
        let mut waits: Vec<(Hand<'_, ()>, bool)> = Vec::new();
        for op in ops {
            match op {
                EventOp::Wait => {
                    let mut hand = Hand::new(event.wait());
                    prop_assert_eq!(hand.poll().is_ready(), is_set);
                    if !is_set {
                        waits.push((hand, false));
                    }
                }
                EventOp::Poll(index) => {
                    if let Some((mut hand, may_go)) = take(&mut waits, &index) {
                        prop_assert_eq!(hand.poll().is_ready(), may_go);
                        if !may_go {
                            waits.push((hand, false));
                        }
                    }
                }
                EventOp::Drop(index) => drop(take(&mut waits, &index)),
                EventOp::Set => {
                    event.set();
                    is_set = true;
                    waits.iter_mut().for_each(|(_, may_go)| *may_go = true);
                }
                EventOp::Clear => {
                    event.clear();
                    is_set = false;
                }
            }
            prop_assert!(waits.iter().all(|(hand, may_go)| hand.wakes() == usize::from(*may_go)));
        }
    }

    #[test]
    fn a_condvar_is_a_line_whose_first_waiters_notifications_take(
        ops in prop::collection::vec((0..5u8, any::<Index>()), 1..100),
    ) {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let mut line: Vec<Numbered<'_, _>> = Vec::new();
        // Notified, each with whether it must pass the notification on.
        let mut notified: Vec<(Numbered<'_, _>, bool)> = Vec::new();
        for (number, (op, index)) in ops.into_iter().enumerate() {
            match op {
                0 | 1 => {
                    let guard = mutex.try_lock().unwrap();
                    line.push(Numbered { number, hand: Hand::pending(condvar.wait(guard)) });
                }
                2 => {
                    condvar.notify_one();
                    if !line.is_empty() {
                        notified.push((line.remove(0), true));
                    }
                }
                3 if index.index(4) == 0 => {
                    condvar.notify_all();
                    notified.extend(line.drain(..).map(|wait| (wait, false)));
                }
                3 => {
                    if let Some((mut wait, _)) = take(&mut notified, &index) {
                        drop(wait.hand.ready());
                    }
                }
                _ if index.index(2) == 0 => drop(take(&mut line, &index)),
                _ => {
                    if let Some((_gone, true)) = take(&mut notified, &index) {
                        drop(_gone);
                        if !line.is_empty() {
                            notified.push((line.remove(0), true));
                        }
                    }
                }
            }
            prop_assert!(line.iter().all(|wait| wait.hand.wakes() == 0));
            prop_assert!(notified.iter().all(|(wait, _)| wait.hand.wakes() == 1));
            prop_assert_eq!(condvar.waiters().len(), line.len());
        }
    }

    #[test]
    fn a_barrier_is_a_line_from_which_each_round_takes_a_fixed_number(
        ops in prop::collection::vec((0..7u8, any::<Index>()), 1..150),
        parties in 1..5usize,
    ) {
        let barrier = Barrier::new(parties);
        let mut line: Vec<Numbered<'_, Result<usize, Broken>>> = Vec::new();
        // Waiters of the round that drains, or broken ones, each with its result.
        let mut draining: Vec<(Numbered<'_, _>, usize)> = Vec::new();
        let mut broken: Vec<Numbered<'_, _>> = Vec::new();
        let mut is_broken = false;
        for (number, (op, index)) in ops.into_iter().enumerate() {
            match op {
                0..=2 => {
                    let mut hand = Hand::new(barrier.wait());
                    match hand.poll() {
                        Poll::Ready(Ok(last)) => {
                            prop_assert!(!is_broken && draining.is_empty());
                            prop_assert_eq!((line.len(), last), (parties - 1, parties - 1));
                            draining.extend(line.drain(..).enumerate().map(|(index, wait)| (wait, index)));
                        }
                        Poll::Ready(Err(Broken)) => prop_assert!(is_broken),
                        Poll::Pending => {
                            prop_assert!(!is_broken && (!draining.is_empty() || line.len() + 1 < parties));
                            line.push(Numbered { number, hand });
                        }
                    }
                }
                3 => {
                    if let Some((mut wait, place)) = take(&mut draining, &index) {
                        prop_assert_eq!(wait.hand.ready(), Ok(place));
                    }
                }
                4 => drop(take(&mut draining, &index)),
                5 => drop(take(&mut line, &index)),
                _ if index.index(5) < 3 => {
                    if let Some(mut wait) = take(&mut broken, &index) {
                        prop_assert_eq!(wait.hand.ready(), Err(Broken));
                    }
                }
                _ => {
                    is_broken = index.index(5) == 3;
                    if is_broken { barrier.break_up() } else { barrier.reset() }
                    broken.append(&mut line);
                }
            }
            if draining.is_empty() && line.len() >= parties {
                draining.extend(line.drain(..parties).enumerate().map(|(index, wait)| (wait, index)));
            }
            prop_assert!(line.iter().all(|wait| wait.hand.wakes() == 0));
            prop_assert!(draining.iter().map(|(wait, _)| wait).chain(&broken).all(|wait| wait.hand.wakes() == 1));
        }
    }

    #[test]
    fn a_watch_is_a_value_with_a_version(ops in prop::collection::vec((0..4u8, 0..3usize), 1..100)) {
        let (sender, receiver) = watch::channel(0);
        let mut version = 0;
        let mut receivers = [receiver.clone(), receiver.clone(), receiver];
        let mut seen = [0; 3];
        for (op, which) in ops {
            match op {
                0 => {
                    version += 1;
                    sender.send(version);
                }
                1 => {
                    // A wait during which the value changes, dropped before it runs.
                    let is_new = seen[which] != version;
                    let mut wait = Hand::new(receivers[which].changed());
                    let poll = wait.poll();
                    prop_assert_eq!(poll.is_ready(), is_new);
                    seen[which] = version;
                    if !is_new {
                        version += 1;
                        sender.send(version);
                        prop_assert_eq!(wait.wakes(), 1);
                    }
                }
                _ => prop_assert_eq!(receivers[which].has_changed(), seen[which] != version),
            }
            prop_assert_eq!(*receivers[which].borrow(), version);
        }
    }
}

#[derive(Clone, Debug)]
enum ChannelOp {
    Send(u8),
    TrySend(u8),
    Reserve,
    TryReserve,
    Poll(Index),
    Drop(Index),
    UsePermit(Index, u8),
    DropPermit(Index),
    PollRecv,
    TryRecv,
    /// A receive that is dropped after its first poll.
    RecvOnce,
    Close,
}

fn channel_op() -> impl Strategy<Value = ChannelOp> {
    prop_oneof![
        8 => any::<u8>().prop_map(ChannelOp::Send),
        4 => any::<u8>().prop_map(ChannelOp::TrySend),
        4 => Just(ChannelOp::Reserve),
        2 => Just(ChannelOp::TryReserve),
        8 => any::<Index>().prop_map(ChannelOp::Poll),
        4 => any::<Index>().prop_map(ChannelOp::Drop),
        4 => (any::<Index>(), any::<u8>()).prop_map(|(index, item)| ChannelOp::UsePermit(index, item)),
        2 => any::<Index>().prop_map(ChannelOp::DropPermit),
        8 => Just(ChannelOp::PollRecv),
        4 => Just(ChannelOp::TryRecv),
        4 => Just(ChannelOp::RecvOnce),
        1 => Just(ChannelOp::Close),
    ]
}

/// A list of items, a line of sends, and whether the receiver waits.
struct ChannelModel {
    items: VecDeque<u8>,
    capacity: usize,
    /// Permits that the test holds.
    reserved: usize,
    line: VecDeque<usize>,
    /// Granted room, or notified of the end, and not polled since.
    notified: Vec<usize>,
    is_closed: bool,
    receiver_waits: bool,
    receiver_wakes: usize,
}

impl ChannelModel {
    fn granted(&self) -> usize {
        if self.is_closed { 0 } else { self.notified.len() }
    }

    fn has_room(&self) -> bool {
        !self.is_closed && self.line.is_empty() && self.taken() < self.capacity
    }

    fn taken(&self) -> usize {
        self.items.len() + self.reserved + self.granted()
    }

    fn has_ended(&self) -> bool {
        self.is_closed && self.items.is_empty()
    }

    fn settle(&mut self) {
        while self.taken() < self.capacity && !self.is_closed && !self.line.is_empty() {
            self.notified.extend(self.line.pop_front());
        }
        if self.is_closed {
            self.notified.extend(self.line.drain(..));
        }
        if self.receiver_waits && (!self.items.is_empty() || self.has_ended()) {
            self.receiver_waits = false;
            self.receiver_wakes += 1;
        }
    }
}

/// What a wait for room leads to: nothing for a send, which has its item, or a permit.
type Room<'a> = Result<Option<mpsc::Permit<'a, u8>>, ()>;

proptest! {
    #[test]
    fn a_channel_is_a_list_and_a_line_with_one_receiver(
        ops in prop::collection::vec(channel_op(), 1..150),
        capacity in 1..4usize,
    ) {
        let (sender, mut receiver) = mpsc::channel::<u8>(capacity);
        let sender = &sender;
        let mut model = ChannelModel {
            items: VecDeque::new(),
            capacity,
            reserved: 0,
            line: VecDeque::new(),
            notified: Vec::new(),
            is_closed: false,
            receiver_waits: false,
            receiver_wakes: 0,
        };
        // Each with the item of a send, or without one for a permit.
        let mut waits: Vec<(Numbered<'_, Room<'_>>, Option<u8>)> = Vec::new();
        let mut permits: Vec<mpsc::Permit<'_, u8>> = Vec::new();
        let wakes = WakeCount::default();
        let waker = wakes.waker();
        let mut cx = Context::from_waker(&waker);
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                ChannelOp::Send(_) | ChannelOp::Reserve => {
                    let item = if let ChannelOp::Send(item) = op { Some(item) } else { None };
                    let mut hand: Hand<'_, Room<'_>> = match item {
                        Some(item) => Hand::new(async move {
                            sender.send(item).await.map(|()| None).map_err(|error| assert_eq!(error.0, item))
                        }),
                        None => Hand::new(async move { sender.reserve().await.map(Some).map_err(drop) }),
                    };
                    match hand.poll() {
                        Poll::Ready(Ok(permit)) => {
                            prop_assert!(model.has_room() && model.notified.is_empty());
                            model.items.extend(item);
                            model.reserved += usize::from(item.is_none());
                            permits.extend(permit);
                        }
                        Poll::Ready(Err(())) => prop_assert!(model.is_closed),
                        Poll::Pending => {
                            prop_assert!(!(model.is_closed || model.has_room() && model.notified.is_empty()));
                            model.line.push_back(number);
                            waits.push((Numbered { number, hand }, item));
                        }
                    }
                }
                ChannelOp::TrySend(item) => {
                    let expected = match (model.is_closed, model.has_room()) {
                        (true, _) => Err(mpsc::TrySendError::Closed(item)),
                        (_, false) => Err(mpsc::TrySendError::Full(item)),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(sender.try_send(item), expected);
                    model.items.extend(expected.is_ok().then_some(item));
                }
                ChannelOp::TryReserve => {
                    let permit = sender.try_reserve().ok();
                    prop_assert_eq!(permit.is_some(), model.has_room());
                    model.reserved += usize::from(permit.is_some());
                    permits.extend(permit);
                }
                ChannelOp::Poll(index) => {
                    if let Some((mut wait, item)) = take(&mut waits, &index) {
                        let was_notified = model.notified.contains(&wait.number);
                        match wait.hand.poll() {
                            Poll::Ready(result) => {
                                prop_assert!(was_notified);
                                prop_assert_eq!(result.is_ok(), !model.is_closed);
                                model.notified.retain(|number| *number != wait.number);
                                if let Ok(permit) = result {
                                    model.items.extend(item);
                                    model.reserved += usize::from(item.is_none());
                                    permits.extend(permit);
                                }
                            }
                            Poll::Pending => {
                                prop_assert!(!was_notified);
                                waits.push((wait, item));
                            }
                        }
                    }
                }
                ChannelOp::Drop(index) => {
                    if let Some((wait, _)) = take(&mut waits, &index) {
                        model.line.retain(|number| *number != wait.number);
                        model.notified.retain(|number| *number != wait.number);
                    }
                }
                ChannelOp::UsePermit(index, item) => {
                    if let Some(permit) = take(&mut permits, &index) {
                        model.reserved -= 1;
                        let sent = permit.send(item);
                        prop_assert_eq!(sent, if model.is_closed { Err(mpsc::SendError(item)) } else { Ok(()) });
                        model.items.extend(sent.is_ok().then_some(item));
                    }
                }
                ChannelOp::DropPermit(index) => {
                    model.reserved -= usize::from(take(&mut permits, &index).is_some());
                }
                ChannelOp::PollRecv => {
                    let expected = match model.items.pop_front() {
                        Some(item) => Poll::Ready(Some(item)),
                        None if model.is_closed => Poll::Ready(None),
                        None => Poll::Pending,
                    };
                    prop_assert_eq!(receiver.poll_recv(&mut cx), expected);
                    model.receiver_waits = expected.is_pending();
                }
                ChannelOp::TryRecv => {
                    let none = if model.is_closed { mpsc::TryRecvError::Ended } else { mpsc::TryRecvError::Empty };
                    prop_assert_eq!(receiver.try_recv(), model.items.pop_front().ok_or(none));
                }
                ChannelOp::RecvOnce => {
                    let mut hand = Hand::new(receiver.recv());
                    let expected = match model.items.pop_front() {
                        Some(item) => Poll::Ready(Some(item)),
                        None if model.is_closed => Poll::Ready(None),
                        None => Poll::Pending,
                    };
                    prop_assert_eq!(hand.poll(), expected);
                    model.receiver_waits = false;
                }
                ChannelOp::Close => {
                    receiver.close();
                    model.is_closed = true;
                }
            }
            model.settle();
            prop_assert_eq!(receiver.len(), model.items.len());
            prop_assert_eq!(wakes.get(), model.receiver_wakes, "the receiver is woken once for each wait");
            for (wait, _) in &waits {
                let is_notified = model.notified.contains(&wait.number);
                prop_assert_eq!(wait.hand.wakes(), usize::from(is_notified), "woken if and only if it has room");
            }
        }
        // Dropped while sends wait: each gets its error.
        drop(receiver);
        for (wait, _) in &mut waits {
            prop_assert!(wait.hand.ready().is_err());
        }
    }

    #[test]
    fn a_broadcast_is_a_list_and_a_position_for_each_receiver(
        ops in prop::collection::vec((0..6u8, any::<Index>()), 1..150),
        capacity in 1..5usize,
    ) {
        let (sender, receiver) = broadcast::channel(capacity);
        let token = Rc::new(());
        // Each with its position.
        let mut receivers = vec![(receiver, 0)];
        let mut next = 0;
        for (op, index) in ops {
            let oldest = |next: usize| next.saturating_sub(capacity);
            match op {
                0 | 1 => {
                    let sent = sender.send((next, token.clone()));
                    prop_assert_eq!(sent.ok(), (!receivers.is_empty()).then_some(receivers.len()));
                    next += usize::from(!receivers.is_empty());
                }
                2 | 3 if !receivers.is_empty() => {
                    let (receiver, position) = index.get_mut(&mut receivers);
                    let mut wait = Hand::new(receiver.recv());
                    match wait.poll() {
                        Poll::Ready(Ok(message)) => {
                            prop_assert!(*position >= oldest(next));
                            prop_assert_eq!(message.0, *position);
                            *position += 1;
                        }
                        Poll::Ready(Err(error)) => {
                            let missed = (oldest(next) - *position) as u64;
                            prop_assert_eq!(error, broadcast::RecvError::Lagged { missed });
                            prop_assert!(missed > 0);
                            *position = oldest(next);
                        }
                        // Dropped in line; it has received nothing.
                        Poll::Pending => prop_assert_eq!(*position, next),
                    }
                }
                4 if index.index(2) == 0 => receivers.push((sender.subscribe(), next)),
                4 if !receivers.is_empty() => {
                    let (receiver, position) = index.get(&receivers);
                    let cloned = (receiver.clone(), *position);
                    receivers.push(cloned);
                }
                5 => drop(take(&mut receivers, &index)),
                _ => {}
            }
            let first = receivers.iter().map(|(_, position)| *position).min().unwrap_or(next).max(oldest(next));
            prop_assert_eq!(Rc::strong_count(&token) - 1, next - first, "as many are kept as can be received");
            for (receiver, position) in &receivers {
                prop_assert_eq!(receiver.len(), next - (*position).max(oldest(next)));
            }
        }
    }
}
