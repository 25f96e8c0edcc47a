//! The wheel against a sorted map, under operations from the fuzzer.
//!
//! An operation takes ten bytes: its kind, the magnitude of its number in bits, and the number.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use picot_timers::{TimerKey, Wheel};

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
    fn add(&mut self, deadline: u64, value: usize) -> Option<(u64, u64)> {
        self.order += 1;
        self.sorted.insert((deadline, self.order), value);
        Some((deadline, self.order))
    }

    fn remove(&mut self, value: usize) -> bool {
        let place = self.keys[value].1.take();
        place.is_some_and(|place| self.sorted.remove(&place).is_some())
    }

    fn apply(&mut self, what: u8, far: u64, number: u64) {
        let chosen = (number as usize).checked_rem(self.keys.len());
        let deadline = self.now.saturating_add(far);
        match (what % 8, chosen) {
            (0 | 1, _) => self.insert(deadline),
            (2, _) => self.insert(self.now.saturating_sub(far)),
            // In one slot of a high level, shared by many.
            (3, _) => self.insert((self.now | 0xFFF_FFFF).saturating_add(1 + number % 0x10_0000)),
            (4, Some(value)) => {
                let was_there = self.remove(value);
                assert_eq!(self.wheel.cancel(self.keys[value].0), was_there.then_some(value));
            }
            (5, Some(value)) => {
                let was_there = self.remove(value);
                assert_eq!(self.wheel.reset(self.keys[value].0, deadline), was_there);
                if was_there {
                    self.keys[value].1 = self.add(deadline, value);
                }
            }
            (6, _) => self.expire(deadline, number as usize % 16),
            (7, _) => {
                let next = self.sorted.keys().next().map_or(deadline, |(deadline, _)| *deadline);
                self.expire(next.saturating_add_signed(number as i64 % 2).max(self.now), usize::MAX);
            }
            _ => {}
        }
        assert_eq!(self.wheel.len(), self.sorted.len());
        assert_eq!(self.wheel.next_deadline(), self.sorted.keys().next().map(|(deadline, _)| *deadline));
    }

    fn insert(&mut self, deadline: u64) {
        let value = self.keys.len();
        let place = self.add(deadline, value);
        self.keys.push((self.wheel.insert(deadline, value), place));
    }

    fn expire(&mut self, now: u64, at_most: usize) {
        self.now = now;
        let mut expired = self.wheel.expire(now).take(at_most).collect::<Vec<_>>().into_iter();
        for _ in 0..at_most {
            let Some(entry) = self.sorted.first_entry().filter(|entry| entry.key().0 <= now) else { break };
            let value = entry.remove();
            assert_eq!(expired.next(), Some(value));
            self.keys[value].1 = None;
        }
        assert_eq!(expired.next(), None);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut both = Both::default();
    for op in data.chunks_exact(10) {
        let number = u64::from_le_bytes(op[2..].try_into().expect("eight bytes"));
        both.apply(op[0], number >> (op[1] % 64), number);
    }
    both.expire(u64::MAX, usize::MAX);
    assert!(both.wheel.is_empty() && both.sorted.is_empty());
});
