//! What waits for a settling, in order. The first entry lies in place, because most promises have
//! one and no more; an allocation is made for the second.
//!
//! Each entry has a number, and numbers only grow. So an entry is found by its number without a
//! walk, and removing one leaves a hole that later operations close: holes at either end at once,
//! those in the middle when they are the majority. Every operation is constant or logarithmic, and
//! the memory follows the number of entries down again.

use std::collections::VecDeque;

#[derive(Default)]
pub(crate) enum Line<T> {
    #[default]
    Empty,
    One(u64, T),
    Many(Box<Many<T>>),
}

/// Two entries or more, or what is left of them; never none.
pub(crate) struct Many<T> {
    /// By growing numbers. `None` is a hole: its entry was removed.
    entries: VecDeque<(u64, Option<T>)>,
    /// How many are no holes.
    count: usize,
}

impl<T> Line<T> {
    /// Adds an entry. `number` is larger than that of every entry before.
    pub(crate) fn push(&mut self, number: u64, entry: T) {
        match self {
            Line::Empty => *self = Line::One(number, entry),
            Line::Many(many) => {
                many.entries.push_back((number, Some(entry)));
                many.count += 1;
            }
            Line::One(..) => {
                let Line::One(first, one) = std::mem::take(self) else { unreachable!("the line is matched as `One`") };
                let entries = VecDeque::from([(first, Some(one)), (number, Some(entry))]);
                *self = Line::Many(Box::new(Many { entries, count: 2 }));
            }
        }
    }

    /// Takes out the first entry.
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Line::Empty => None,
            Line::One(..) => self.take_one(),
            Line::Many(many) => {
                let entry = std::iter::from_fn(|| many.entries.pop_front()).find_map(|(_, entry)| entry);
                many.count -= 1;
                if many.count == 0 {
                    *self = Line::Empty;
                }
                entry
            }
        }
    }

    /// Takes out the entry of this number, if it is there.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        match self {
            Line::One(only, _) if *only == number => self.take_one(),
            Line::Many(many) => {
                let index = many.index_of(number)?;
                let entry = many.entries[index].1.take()?;
                many.count -= 1;
                if many.count == 0 {
                    *self = Line::Empty;
                } else {
                    many.close_holes();
                }
                Some(entry)
            }
            Line::Empty | Line::One(..) => None,
        }
    }

    /// The entry of this number, if it is there.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self {
            Line::One(only, entry) => (*only == number).then_some(entry),
            Line::Many(many) => {
                let index = many.index_of(number)?;
                many.entries[index].1.as_mut()
            }
            Line::Empty => None,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Line::Empty)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Line::Empty => 0,
            Line::One(..) => 1,
            Line::Many(many) => many.count,
        }
    }

    fn take_one(&mut self) -> Option<T> {
        match std::mem::take(self) {
            Line::One(_, entry) => Some(entry),
            Line::Empty | Line::Many(_) => unreachable!("the line is matched as `One`"),
        }
    }
}

impl<T> Many<T> {
    fn index_of(&self, number: u64) -> Option<usize> {
        let first = self.entries.front()?.0;
        // Exact where no number between is missing, which is the rule.
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
        /// Below this, holes cost less than closing them.
        const FEW: usize = 16;
        while self.entries.front().is_some_and(|(_, entry)| entry.is_none()) {
            count_step();
            self.entries.pop_front();
        }
        while self.entries.back().is_some_and(|(_, entry)| entry.is_none()) {
            count_step();
            self.entries.pop_back();
        }
        if self.entries.len() > 2 * self.count + FEW {
            self.entries.retain(|(_, entry)| {
                count_step();
                entry.is_some()
            });
        }
        // Moved at most once for as many removals as it then has entries.
        if self.entries.capacity() > 4 * self.entries.len() + 4 * FEW {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }
}

/// Counts an entry that was looked at, in the tests that hold operations to a number of them.
fn count_step() {
    #[cfg(test)]
    tests::STEPS.set(tests::STEPS.get() + 1);
}

#[cfg(test)]
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

    /// In which order the entries go.
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

    /// What is registered by some operation; dropping it or the operation given removes it.
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
            let (few, many) = if cfg!(miri) { (30, 300) } else { (10_000, 100_000) };
            let (for_few, for_many) = (count(few), count(many));
            assert!(for_many <= 12 * for_few, "{name}, order {nth}: {for_few} steps, {for_many} for ten times as many");
            // Up to three searches an entry, each of the logarithm's length at most, and closing
            // its hole.
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
    fn a_promise_is_dropped_without_a_walk_over_what_waits() {
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
    fn the_memory_of_a_line_follows_the_number_of_its_entries() {
        let mut line = Line::default();
        (1..=100_000).for_each(|number| line.push(number, number));
        for number in (1..=100_000).filter(|number| number % 1000 != 0) {
            assert_eq!(line.remove(number), Some(number));
        }
        let Line::Many(many) = &line else { panic!("a hundred are left") };
        assert!(many.entries.len() <= 216 && many.entries.capacity() <= 1024, "{}", many.entries.capacity());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..Default::default() })]

        /// 0 pushes, 1 pops, what is larger removes or changes the entry of that part of all
        /// numbers.
        #[test]
        fn a_line_is_an_ordered_map(operations in proptest::collection::vec((0..6_u8, 0.0..1.0_f64), 0..200)) {
            let (mut line, mut model, mut last) = (Line::default(), std::collections::BTreeMap::new(), 0_u64);
            for (operation, part) in operations {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let number = (part * last as f64) as u64;
                match operation {
                    0..=2 => {
                        last += 1 + number % 2;
                        line.push(last, last);
                        model.insert(last, last);
                    }
                    3 => prop_assert_eq!(line.pop(), model.pop_first().map(|(_, entry)| entry)),
                    4 => prop_assert_eq!(line.remove(number), model.remove(&number)),
                    _ => prop_assert_eq!(line.get_mut(number), model.get_mut(&number)),
                }
                prop_assert_eq!(line.len(), model.len());
            }
            prop_assert_eq!(std::iter::from_fn(|| line.pop()).collect::<Vec<_>>(), model.into_values().collect::<Vec<_>>());
        }
    }
}
