//! Timers: what the wheel holds.
//!
//! Most timers are sleeps that a task of the loop awaits itself. Such a task is woken by its key, so an entry of the wheel is
//! small, and a sleep that is cancelled touches no reference count; whatever else there is to do stands aside.

use std::iter::FusedIterator;
use std::task::Waker;

use picot_executor::{CallHandle, WakeKey};
use picot_timers::{TimerKey, Wheel};
use slab::Slab;

/// What is to be done when a timer is due.
pub(crate) enum Due {
    /// A task of the loop's own, or its root, is to be woken.
    Task(WakeKey),
    Wake(Waker),
    Call(CallHandle),
}

/// The same as the wheel holds it.
#[derive(Clone, Copy)]
enum Entry {
    Task(WakeKey),
    /// Anything else, by its number among what stands aside.
    Aside(u32),
}

const _: () = assert!(size_of::<Entry>() == 8);

/// All timers of a loop. Cloning and dropping a waker or a callback is foreign code: both go in and come out by value,
/// so that this need not be borrowed then.
#[derive(Default)]
pub(crate) struct Timers {
    wheel: Wheel<Entry>,
    aside: Slab<Due>,
}

impl Timers {
    pub(crate) fn len(&self) -> usize {
        self.wheel.len()
    }

    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, due: Due) -> TimerKey {
        let entry = self.put(due);
        self.wheel.insert(deadline, entry)
    }

    /// What was to be done, if that stood aside, for the caller to drop.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<Due> {
        match self.wheel.cancel(key)? {
            Entry::Task(_) => None,
            aside => Some(self.take(aside)),
        }
    }

    pub(crate) fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        self.wheel.reset(key, deadline)
    }

    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Whether the timer is there, and does as `waker` does, whose key is `own` if it is that of the running task.
    pub(crate) fn wakes(&mut self, key: TimerKey, own: Option<WakeKey>, waker: &Waker) -> Option<bool> {
        Some(match self.wheel.get_mut(key)? {
            Entry::Task(task) => own == Some(*task),
            Entry::Aside(number) => match &self.aside[*number as usize] {
                Due::Wake(known) => known.will_wake(waker),
                Due::Task(_) | Due::Call(_) => false,
            },
        })
    }

    /// Has a timer do something else. Returns what it was to do, or `due` itself as an error if it is not there.
    pub(crate) fn replace(&mut self, key: TimerKey, due: Due) -> Result<Due, Due> {
        if self.wheel.deadline(key).is_none() {
            return Err(due);
        }
        let new = self.put(due);
        let old = self.wheel.get_mut(key).map(|entry| std::mem::replace(entry, new));
        Ok(self.take(old.expect("the timer is in the wheel: looked up above")))
    }

    /// Gives back memory of which less than a quarter is used; see [`Wheel::shrink`].
    pub(crate) fn shrink(&mut self) {
        /// Room for this many is kept: less is not worth the trouble.
        const KEPT: usize = 512;
        self.wheel.shrink();
        if self.aside.capacity() > KEPT && self.aside.len() < self.aside.capacity() / 4 {
            self.aside.shrink_to_fit();
        }
    }

    /// Takes out what is due; see [`Wheel::expire`].
    pub(crate) fn expire(&mut self, now: u64) -> impl FusedIterator<Item = Due> {
        let Timers { wheel, aside } = self;
        wheel.expire(now).map(|entry| take(aside, entry))
    }

    fn put(&mut self, due: Due) -> Entry {
        match due {
            Due::Task(key) => Entry::Task(key),
            // There are no more of them than there are timers, which the wheel counts by as many bits.
            aside => Entry::Aside(self.aside.insert(aside) as u32),
        }
    }

    fn take(&mut self, entry: Entry) -> Due {
        take(&mut self.aside, entry)
    }
}

fn take(aside: &mut Slab<Due>, entry: Entry) -> Due {
    match entry {
        Entry::Task(key) => Due::Task(key),
        Entry::Aside(number) => aside.remove(number as usize),
    }
}
