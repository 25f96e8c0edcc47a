//! Under any sequence of operations the wheel behaves as a map sorted by (deadline, insertion).

use std::collections::BTreeMap;

use picot_timers::{TimerKey, Wheel};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Insert(Deadline),
    /// Cancels one of the keys made so far, live or stale, by its position.
    Cancel(prop::sample::Index),
    Reset(prop::sample::Index, Deadline),
    /// Cancels the next timer.
    CancelNext,
    /// Inserts a number of timers, cancels all but the first few in reverse, and shrinks.
    Peak(usize, usize, Deadline),
    Shrink,
    /// Advances the time by the first number, and expires at most the second number of timers.
    Expire(u64, usize),
    /// Advances the time to just before, to, or just after the next deadline.
    ExpireAround(i64),
}

/// A deadline, relative to the time of the operation.
#[derive(Clone, Debug)]
enum Deadline {
    /// This much later. The number's magnitude is uniform, so all levels occur.
    Ahead(u64),
    /// This much earlier.
    Behind(u64),
    /// One of a few fixed times, so that many are equal.
    Fixed(u64),
    /// In one slot of a high level, shared by many.
    SameSlot(u64),
    Max,
}

impl Deadline {
    fn at(&self, now: u64) -> u64 {
        match *self {
            Deadline::Ahead(by) => now.saturating_add(by),
            Deadline::Behind(by) => now.saturating_sub(by),
            Deadline::Fixed(at) => at,
            Deadline::SameSlot(low) => (now | 0xFFF_FFFF).saturating_add(1 + low),
            Deadline::Max => u64::MAX,
        }
    }
}

fn log_uniform() -> impl Strategy<Value = u64> {
    (0..64u32, any::<u64>()).prop_map(|(bits, random)| random >> bits)
}

fn deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        4 => log_uniform().prop_map(|by| Deadline::Ahead(by >> 1)),
        1 => log_uniform().prop_map(Deadline::Behind),
        1 => (0..4u64).prop_map(|n| Deadline::Fixed(n << 30)),
        4 => (0..0x10_0000u64).prop_map(Deadline::SameSlot),
        1 => Just(Deadline::Max),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => deadline().prop_map(Op::Insert),
        2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        2 => (any::<prop::sample::Index>(), deadline()).prop_map(|(key, deadline)| Op::Reset(key, deadline)),
        1 => Just(Op::CancelNext),
        1 => Just(Op::Shrink),
        1 => (log_uniform(), 0..20usize).prop_map(|(by, at_most)| Op::Expire(by >> 20, at_most)),
        1 => (-1..=1i64).prop_map(Op::ExpireAround),
    ]
}

/// The wheel and its model. A value is the number of its insertion.
#[derive(Default)]
struct Both {
    wheel: Wheel<usize>,
    sorted: BTreeMap<(u64, u64), usize>,
    /// By value: the key in the wheel, and the key in the map while the timer is pending.
    keys: Vec<(TimerKey, Option<(u64, u64)>)>,
    now: u64,
    order: u64,
}

impl Both {
    fn place(&mut self, value: usize, deadline: u64) -> (u64, u64) {
        self.order += 1;
        self.sorted.insert((deadline, self.order), value);
        (deadline, self.order)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(deadline) => {
                let value = self.keys.len();
                let deadline = deadline.at(self.now);
                let place = self.place(value, deadline);
                self.keys.push((self.wheel.insert(deadline, value), Some(place)));
            }
            Op::Cancel(index) if !self.keys.is_empty() => self.cancel(index.index(self.keys.len())),
            Op::CancelNext => {
                if let Some(&value) = self.sorted.values().next() {
                    self.cancel(value);
                }
            }
            Op::Reset(index, deadline) if !self.keys.is_empty() => {
                let value = index.index(self.keys.len());
                let (key, place) = self.keys[value];
                let deadline = deadline.at(self.now);
                assert_eq!(self.wheel.reset(key, deadline), place.is_some());
                if let Some(place) = place {
                    self.sorted.remove(&place);
                    self.keys[value].1 = Some(self.place(value, deadline));
                }
            }
            Op::Cancel(_) | Op::Reset(..) => {}
            Op::Shrink => self.wheel.shrink(),
            Op::Peak(count, kept, deadline) => {
                let first = self.keys.len();
                for n in 0..count {
                    let deadline = deadline.at(self.now).saturating_add(n as u64 % 97 * 1_000);
                    let place = self.place(first + n, deadline);
                    self.keys.push((self.wheel.insert(deadline, first + n), Some(place)));
                }
                for value in (first + kept.min(count)..first + count).rev() {
                    self.cancel(value);
                }
                self.wheel.shrink();
            }
            Op::Expire(by, at_most) => self.expire(self.now.saturating_add(by), at_most),
            Op::ExpireAround(by) => {
                // Not to `u64::MAX`: no time is left after it.
                let next = self.sorted.keys().next().filter(|(deadline, _)| *deadline < u64::MAX);
                if let Some(&(deadline, _)) = next {
                    self.expire(deadline.saturating_add_signed(by).max(self.now), usize::MAX);
                }
            }
        }
        assert_eq!(self.wheel.len(), self.sorted.len());
        assert_eq!(self.wheel.next_deadline(), self.sorted.keys().next().map(|(deadline, _)| *deadline));
    }

    fn cancel(&mut self, value: usize) {
        let (key, place) = &mut self.keys[value];
        assert_eq!(self.wheel.deadline(*key), place.map(|(deadline, _)| deadline));
        assert_eq!(self.wheel.cancel(*key), place.map(|_| value));
        if let Some(place) = place.take() {
            self.sorted.remove(&place);
        }
    }

    fn expire(&mut self, now: u64, at_most: usize) {
        self.now = now;
        let expired: Vec<_> = self.wheel.expire(now).take(at_most).collect();
        let mut expected = Vec::new();
        while expected.len() < at_most {
            let Some(entry) = self.sorted.first_entry().filter(|entry| entry.key().0 <= now) else { break };
            expected.push(entry.remove());
        }
        assert_eq!(expired, expected);
        for value in expired {
            self.keys[value].1 = None;
        }
    }
}

/// As `op`, with an occasional peak, which is too slow for every case.
fn op_or_peak() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => op(),
        1 => (600..2_000usize, 0..20usize, deadline()).prop_map(|(count, kept, at)| Op::Peak(count, kept, at)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_as_a_sorted_map_across_peaks(ops in prop::collection::vec(op_or_peak(), 1..200)) {
        let mut both = Both::default();
        for op in ops {
            both.apply(op);
        }
        both.expire(u64::MAX, usize::MAX);
        prop_assert!(both.wheel.is_empty() && both.sorted.is_empty());
    }
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_map(ops in prop::collection::vec(op(), 1..400)) {
        let mut both = Both::default();
        for op in ops {
            both.apply(op);
        }
        both.expire(u64::MAX, usize::MAX);
        prop_assert!(both.wheel.is_empty() && both.sorted.is_empty());
    }
}
