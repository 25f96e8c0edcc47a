//! The timers of a loop: the wheel, and what each timer does.
//!
//! Most timers are sleeps that a task of the loop awaits itself. The wheel stores such a task's
//! key, in eight bytes, so a cancelled sleep touches no reference count. Other actions are in a
//! slab beside the wheel.

use std::iter::FusedIterator;
use std::task::Waker;

use picot_context::{Step, TaskId, running};
use picot_executor::{CallHandle, Spawner, WakeKey};
use picot_timers::{TimerKey, Wheel};
use slab::Slab;

/// What to do when a timer is due.
pub(crate) enum Due {
    /// Wake a task of this loop, or its root.
    Task(WakeKey),
    Wake(Waker),
    Call(CallHandle),
}

/// A [`Due`] in the wheel.
#[derive(Clone, Copy)]
enum Entry {
    Task(WakeKey),
    /// Anything else: its index in the slab.
    Other(u32),
}

// The wheel's own limit: see its `Entry`.
const _: () = assert!(size_of::<Entry>() == 8);

/// All timers of a loop.
///
/// Cloning and dropping a waker or a callback is user code, and may use the timers. So they go in
/// and come out by value, and the caller clones and drops them while the timers are not borrowed.
#[derive(Default)]
pub(crate) struct Timers {
    wheel: Wheel<Entry>,
    others: Slab<Due>,
    /// For reports: the task whose step has set the waker in the same slot of `others`.
    setters: Vec<Option<TaskId>>,
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

    /// Removes a timer. Returns its action, unless it is a key, for the caller to drop.
    #[inline]
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<Due> {
        match self.wheel.cancel(key)? {
            // A key owns nothing, so there is nothing to drop.
            Entry::Task(_) => None,
            other => Some(self.take(other)),
        }
    }

    pub(crate) fn reset(&mut self, key: TimerKey, deadline: u64) -> bool {
        self.wheel.reset(key, deadline)
    }

    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Whether a timer wakes the same task as `waker`, or `None` if the timer is gone.
    ///
    /// `own` is the running task's key, if `waker` is that task's.
    pub(crate) fn wakes(&mut self, key: TimerKey, own: Option<WakeKey>, waker: &Waker) -> Option<bool> {
        Some(match self.wheel.get_mut(key)? {
            Entry::Task(task) => own == Some(*task),
            Entry::Other(number) => match &self.others[*number as usize] {
                Due::Wake(known) => known.will_wake(waker),
                Due::Task(_) | Due::Call(_) => false,
            },
        })
    }

    /// Replaces a timer's action. Returns the old one, or `due` as an error if the timer is gone.
    pub(crate) fn replace(&mut self, key: TimerKey, due: Due) -> Result<Due, Due> {
        // Checked first, so that a stale key leaves nothing in the slab.
        if self.wheel.deadline(key).is_none() {
            return Err(due);
        }
        let new = self.put(due);
        let old = self.wheel.get_mut(key).map(|entry| std::mem::replace(entry, new));
        Ok(self.take(old.expect("the timer is in the wheel: looked up above")))
    }

    /// Releases memory if less than a quarter of it is used; see [`Wheel::shrink`].
    pub(crate) fn shrink(&mut self) {
        /// This capacity is kept: about 12 KiB.
        const KEPT: usize = 512;
        self.wheel.shrink();
        if self.others.capacity() > KEPT && self.others.len() < self.others.capacity() / 4 {
            self.others.shrink_to_fit();
            self.setters.truncate(self.others.capacity());
            self.setters.shrink_to_fit();
        }
    }

    /// The timers that wake tasks: their deadlines and tasks.
    pub(crate) fn tasks(&self, spawner: &Spawner) -> impl Iterator<Item = (u64, Option<TaskId>)> {
        self.wheel.iter().filter_map(|(deadline, entry)| match entry {
            Entry::Task(key) => Some((deadline, spawner.task_of(*key))),
            Entry::Other(number) => match &self.others[*number as usize] {
                Due::Wake(_) => Some((deadline, self.setters.get(*number as usize).copied().flatten())),
                Due::Task(_) | Due::Call(_) => None,
            },
        })
    }

    /// Removes the timers that are due; see [`Wheel::expire`].
    pub(crate) fn expire(&mut self, now: u64) -> impl FusedIterator<Item = Due> {
        let Timers { wheel, others, .. } = self;
        wheel.expire(now).map(|entry| take(others, entry))
    }

    fn put(&mut self, due: Due) -> Entry {
        match due {
            Due::Task(key) => Entry::Task(key),
            // The cast is lossless: there are at most as many as timers, and the wheel holds fewer
            // than 2^32.
            other => Entry::Other(self.put_other(other) as u32),
        }
    }

    /// Out of line: nearly all timers are keys.
    #[cold]
    #[inline(never)]
    fn put_other(&mut self, due: Due) -> usize {
        let task = running().as_ref().and_then(Step::task_id);
        let number = self.others.insert(due);
        if self.setters.len() <= number {
            self.setters.resize(number + 1, None);
        }
        self.setters[number] = task;
        number
    }

    fn take(&mut self, entry: Entry) -> Due {
        take(&mut self.others, entry)
    }
}

fn take(others: &mut Slab<Due>, entry: Entry) -> Due {
    match entry {
        Entry::Task(key) => Due::Task(key),
        Entry::Other(number) => others.remove(number as usize),
    }
}
