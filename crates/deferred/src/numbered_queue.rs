//! A queue whose entries have growing numbers. It holds the callbacks and waiters of a settling.
//!
//! The first entry lies in place, because most promises have one; the second one allocates. An
//! entry is found by its number without a walk. Removing one leaves a hole; holes are closed when
//! they outnumber the entries. Every operation takes constant or logarithmic time, averaged, and
//! the memory shrinks with the number of entries.

use std::collections::VecDeque;

#[derive(Default)]
pub(crate) enum NumberedQueue<T> {
    #[default]
    Empty,
    One(u64, T),
    Many(Box<Many<T>>),
}

/// A queue that has had two entries or more. At least one of its entries is not a hole.
pub(crate) struct Many<T> {
    /// In the order of their numbers. `None` is a hole: its entry was removed.
    entries: VecDeque<(u64, Option<T>)>,
    /// How many entries are not holes.
    count: usize,
}

impl<T> NumberedQueue<T> {
    /// Appends an entry. `number` must be larger than all numbers before.
    #[inline]
    pub(crate) fn push(&mut self, number: u64, entry: T) {
        if self.is_empty() {
            *self = NumberedQueue::One(number, entry);
        } else {
            self.push_further(number, entry);
        }
    }

    fn push_further(&mut self, number: u64, entry: T) {
        match self {
            NumberedQueue::Many(many) => {
                many.entries.push_back((number, Some(entry)));
                many.count += 1;
            }
            NumberedQueue::Empty | NumberedQueue::One(..) => {
                let mut entries = VecDeque::with_capacity(4);
                if let NumberedQueue::One(first, one) = std::mem::take(self) {
                    entries.push_back((first, Some(one)));
                }
                entries.push_back((number, Some(entry)));
                let count = entries.len();
                *self = NumberedQueue::Many(Box::new(Many { entries, count }));
            }
        }
    }

    /// Removes and returns the first entry.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            NumberedQueue::Empty => None,
            NumberedQueue::One(..) => self.take_one(),
            NumberedQueue::Many(_) => self.pop_of_many(),
        }
    }

    fn pop_of_many(&mut self) -> Option<T> {
        let NumberedQueue::Many(many) = self else { return None };
        // Skips the holes in front.
        let entry = std::iter::from_fn(|| many.entries.pop_front()).find_map(|(_, entry)| entry);
        many.count -= 1;
        if many.count == 0 {
            *self = NumberedQueue::Empty;
        }
        entry
    }

    /// Removes and returns the entry with this number, if there is one.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        match self {
            NumberedQueue::One(only, _) if *only == number => self.take_one(),
            NumberedQueue::Many(many) => {
                let index = many.index_of(number)?;
                let entry = many.entries[index].1.take()?;
                many.count -= 1;
                if many.count == 0 {
                    *self = NumberedQueue::Empty;
                } else {
                    many.close_holes();
                }
                Some(entry)
            }
            NumberedQueue::Empty | NumberedQueue::One(..) => None,
        }
    }

    /// The entry with this number, if there is one.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self {
            NumberedQueue::One(only, entry) => (*only == number).then_some(entry),
            NumberedQueue::Many(many) => {
                let index = many.index_of(number)?;
                many.entries[index].1.as_mut()
            }
            NumberedQueue::Empty => None,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, NumberedQueue::Empty)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            NumberedQueue::Empty => 0,
            NumberedQueue::One(..) => 1,
            NumberedQueue::Many(many) => many.count,
        }
    }

    #[inline]
    fn take_one(&mut self) -> Option<T> {
        match std::mem::take(self) {
            NumberedQueue::One(_, entry) => Some(entry),
            NumberedQueue::Empty | NumberedQueue::Many(_) => unreachable!("callers have matched the queue as `One`"),
        }
    }
}

impl<T> Many<T> {
    fn index_of(&self, number: u64) -> Option<usize> {
        let first = self.entries.front()?.0;
        // Exact if no number in between is missing. Numbers are missing where the other queue of
        // the same state has taken them.
        let guess = usize::try_from(number.checked_sub(first)?).unwrap_or(usize::MAX);
        count_step();
        if self.entries.get(guess).is_some_and(|(found, _)| *found == number) {
            return Some(guess);
        }
        self.entries
            .binary_search_by(|(found, _)| {
                count_step();
                found.cmp(&number)
            })
            .ok()
    }

    fn close_holes(&mut self) {
        /// So few holes, at 16 to 40 bytes each, cost less than moving the entries.
        const FEW: usize = 16;
        if self.entries.len() > 2 * self.count + FEW {
            self.entries.retain(|(_, entry)| {
                count_step();
                entry.is_some()
            });
        }
        // Shrinks to twice the entries only when a quarter is in use, so that the cost of moving is
        // spread over as many removals as entries are moved.
        if self.entries.capacity() > 4 * self.entries.len() + 4 * FEW {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

/// Counts an entry that an operation has visited. The tests hold operations to a number of visits.
fn count_step() {
    #[cfg(all(test, not(loom)))]
    tests::STEPS.set(tests::STEPS.get() + 1);
}

// Not under loom, whose mutexes (in a `Resolver`) work only inside its models.
#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use picot_context::ManualHost;
    use proptest::prelude::*;

    use super::*;
    use crate::{Deferred, Promise, when_race};

    thread_local! {
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    type P = Promise<i32, ()>;

    /// The orders in which the entries are removed.
    const ORDERS: [fn(usize) -> Vec<usize>; 3] = [
        |count| (0..count).collect(),
        |count| (0..count).rev().collect(),
        // Each number once, far from the one before: the factor is prime.
        |count| (0..count).map(|n| n * 7919 % count).collect(),
    ];

    fn steps(f: impl FnOnce()) -> usize {
        STEPS.set(0);
        f();
        STEPS.get()
    }

    /// Registers 2000 and 20 000 entries by `register`, removes them in each order by the
    /// closures that it returns, and compares the steps.
    fn in_every_order(name: &str, register: fn(&P) -> Box<dyn FnOnce()>) {
        for (nth, order) in ORDERS.iter().enumerate() {
            let count = |length: usize| {
                let (_host, _guard) = ManualHost::installed();
                let deferred = Deferred::<i32, ()>::new();
                let promise = deferred.promise();
                steps(|| {
                    let mut all: Vec<_> = (0..length).map(|_| Some(register(&promise))).collect();
                    assert_eq!(promise.waiting(), length);
                    order(length).into_iter().filter_map(|index| all[index].take()).for_each(|remove| remove());
                    assert_eq!(promise.waiting(), 0);
                })
            };
            let (few, many) = if cfg!(miri) { (30, 300) } else { (2_000, 20_000) };
            let (for_few, for_many) = (count(few), count(many));
            // Ten times as many, each by a search that takes a third more.
            assert!(for_many <= 14 * for_few, "{name}, order {nth}: {for_few} steps, {for_many} for ten times as many");
            // At most three binary searches an entry, and closing its hole.
            assert!(for_many <= 60 * many, "{name}, order {nth}: {for_many} steps");
        }
    }

    #[test]
    fn callbacks_are_removed_in_any_order_without_a_search() {
        in_every_order("on_settled", |promise| {
            let (promise, id) = (promise.clone(), promise.on_settled(|_| {}));
            Box::new(move || assert_eq!(promise.remove([id]), 1))
        });
    }

    #[test]
    fn awaits_register_again_and_are_dropped_in_any_order_without_a_search() {
        in_every_order("await", |promise| {
            let mut wait = Box::pin(promise.clone().into_future());
            let mut poll = move || Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(poll());
            Box::new(move || {
                assert!(poll());
                drop(poll);
            })
        });
    }

    #[test]
    fn chains_and_groups_are_cancelled_in_any_order_without_a_search() {
        in_every_order("then", |promise| {
            let next = promise.then(Ok);
            Box::new(move || assert!(next.cancel()))
        });
        in_every_order("race", |promise| {
            let race = when_race([promise.clone()]);
            Box::new(move || assert!(race.cancel()))
        });
        in_every_order("race dropped", |promise| {
            let race = when_race([promise.clone()]);
            Box::new(move || drop(race))
        });
    }

    #[test]
    fn dropping_a_promise_visits_no_entries() {
        let (host, _guard) = ManualHost::installed();
        let deferred = Deferred::<i32, ()>::new();
        deferred.on_cancel(|_| {});
        deferred.promise().on_settled(|_| {});
        let resolvers: Vec<_> = (0..1000).map(|_| deferred.resolver()).collect();
        host.run_until_stalled();
        assert_eq!(steps(|| (0..1000).for_each(|_| drop(deferred.promise()))), 0);
        drop(resolvers);
    }

    #[test]
    fn the_memory_of_a_queue_shrinks_with_the_number_of_its_entries() {
        let mut queue = NumberedQueue::default();
        (1..=100_000).for_each(|number| queue.push(number, number));
        for number in (1..=100_000).filter(|number| number % 1000 != 0) {
            assert_eq!(queue.remove(number), Some(number));
        }
        let NumberedQueue::Many(many) = &queue else { panic!("100 entries are left") };
        assert!(many.entries.len() <= 216 && many.entries.capacity() <= 1024, "{}", many.entries.capacity());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..Default::default() })]

        /// 0 to 2 push, 3 pops, 4 removes and 5 changes the entry with the given fraction of the
        /// last number.
        #[test]
        fn a_queue_behaves_as_an_ordered_map(operations in proptest::collection::vec((0..6_u8, 0.0..1.0_f64), 0..200)) {
            let (mut queue, mut model, mut last) = (NumberedQueue::default(), std::collections::BTreeMap::new(), 0_u64);
            for (operation, part) in operations {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let number = (part * last as f64) as u64;
                match operation {
                    0..=2 => {
                        last += 1 + number % 2;
                        queue.push(last, last);
                        model.insert(last, last);
                    }
                    3 => prop_assert_eq!(queue.pop(), model.pop_first().map(|(_, entry)| entry)),
                    4 => prop_assert_eq!(queue.remove(number), model.remove(&number)),
                    _ => prop_assert_eq!(queue.get_mut(number), model.get_mut(&number)),
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            prop_assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), model.into_values().collect::<Vec<_>>());
        }
    }
}
