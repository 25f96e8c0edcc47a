//! A set of members that are polled inside one future, each with a waker of its own.
//!
//! The owner takes out the members that are ready, polls them, and puts back those that are not
//! done. So a wake costs the same for any number of members, and the set is not borrowed while a
//! member is polled. The set does not know what its members are.

use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use crate::ready_list::{Key, ReadyList};
use crate::visits::visit;

/// The maximum of members that one poll of the owner polls. If more are ready, the owner first lets
/// the rest of the loop run: 32 keeps the cost of a turn's overhead per member small, and a turn
/// short.
pub(crate) const POLLS_PER_STEP: usize = 32;

pub(crate) struct MemberSet<T> {
    members: Slab<Member<T>>,
    last_generation: u32,
    ready: Rc<ReadyList>,
}

struct Member<T> {
    /// The member and its waker; `None` while it is taken out.
    inside: Option<(T, Waker)>,
    generation: u32,
}

/// A member that is taken out to be polled.
pub(crate) struct Taken<T> {
    pub(crate) key: Key,
    pub(crate) value: T,
    pub(crate) waker: Waker,
}

impl<T> MemberSet<T> {
    pub(crate) fn new() -> MemberSet<T> {
        MemberSet { members: Slab::new(), last_generation: 0, ready: Rc::new(ReadyList::new()) }
    }

    /// Adds a member, which is ready.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Adds a ready member that `value` makes from its waker.
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(&Waker) -> T) -> Key {
        self.insert_at(true, value)
    }

    /// Adds a member that becomes ready when it is woken; `value` may wake it already.
    pub(crate) fn insert_waiting(&mut self, value: impl FnOnce(&Waker) -> T) -> Key {
        self.insert_at(false, value)
    }

    fn insert_at(&mut self, is_ready: bool, value: impl FnOnce(&Waker) -> T) -> Key {
        let vacant = self.members.vacant_entry();
        // Zero marks an empty slot of the list. After 2^32 inserts a stale waker could name another
        // member; then that member gets one poll too many, which is harmless.
        self.last_generation = self.last_generation.checked_add(1).unwrap_or(1);
        let index = u32::try_from(vacant.key()).expect("fits: there are fewer than 2^32 members");
        let key = Key { index, generation: self.last_generation };
        // The slot is added before `value` runs, which may wake the member.
        let waker = self.ready.add(key, is_ready);
        vacant.insert(Member { inside: Some((value(&waker), waker)), generation: key.generation });
        key
    }

    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns the ready list, for owners that keep the set in a cell.
    ///
    /// The list may wake the owner's task, which may run user code, so the cell must not be
    /// borrowed then.
    pub(crate) fn ready(&self) -> Rc<ReadyList> {
        self.ready.clone()
    }

    /// Starts a poll by the task of `parent`. Returns the maximum of members to take out.
    pub(crate) fn begin(&self, parent: &Waker) -> usize {
        self.ready.begin(parent).min(POLLS_PER_STEP)
    }

    /// Ends a poll without a result: if members are still ready, it schedules another poll.
    pub(crate) fn end(&self) {
        self.ready.end();
    }

    /// Takes out the next ready member.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Taken<T>> {
        loop {
            visit();
            let key = self.ready.pop()?;
            // The member may be taken out already, if its own poll polls the set again.
            if let Some((value, waker)) = self.members[key.index as usize].inside.take() {
                return Some(Taken { key, value, waker });
            }
        }
    }

    /// Takes out a member, ready or not; `None` if it is gone.
    pub(crate) fn take_key(&mut self, key: Key) -> Option<Taken<T>> {
        let member = self.members.get_mut(key.index as usize).filter(|member| member.generation == key.generation)?;
        let (value, waker) = member.inside.take()?;
        Some(Taken { key, value, waker })
    }

    /// Drops the waker of the last poll: nothing waits for the set until the next poll.
    pub(crate) fn forget_parent(&self) {
        self.ready.forget_parent();
    }

    /// Puts back a member that is not done.
    #[inline]
    pub(crate) fn put_back(&mut self, out: Taken<T>) {
        self.members[out.key.index as usize].inside = Some((out.value, out.waker));
    }

    /// Removes a member that was taken out and is done.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) {
        self.members.remove(key.index as usize);
        self.ready.remove(key);
    }

    /// Iterates over the members that are not taken out, in no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.members.iter().filter_map(|(_, member)| member.inside.as_ref()).map(|(value, _)| value)
    }

    /// Iterates over the members that are not taken out, with their wakers.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = (&T, &Waker)> {
        self.members.iter().filter_map(|(_, member)| member.inside.as_ref()).map(|(value, waker)| (value, waker))
    }

    /// Removes all members, in no particular order. The caller drops them, with no borrow alive.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let members = std::mem::take(&mut self.members);
        // The slots first: a destructor of one member may wake another, which is gone from the set.
        for (index, member) in &members {
            self.ready.remove(Key { index: index as u32, generation: member.generation });
        }
        members.into_iter().filter_map(|(_, member)| member.inside).map(|(value, _)| value).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        /// Wakes the nth member that was ever inserted, gone or not.
        Wake(usize),
        WakeElsewhere(usize),
        /// Polls all ready members; of these, the members whose number is divisible by this are
        /// done.
        Poll(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Insert),
            4 => any::<usize>().prop_map(Step::Wake),
            2 => any::<usize>().prop_map(Step::WakeElsewhere),
            3 => (2..5u64).prop_map(Step::Poll),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// The model: for each member, whether it was inserted or woken since its last poll.
        #[test]
        fn a_poll_takes_exactly_the_members_woken_since_the_last_one(steps in steps()) {
            let mut set = MemberSet::new();
            let mut model = BTreeMap::new();
            let mut wakers = Vec::new();
            for step in steps.into_iter().chain([Step::Poll(2)]) {
                match step {
                    Step::Insert => {
                        let number = wakers.len() as u64;
                        set.insert_with(|waker| {
                            wakers.push(waker.clone());
                            number
                        });
                        model.insert(number, true);
                    }
                    Step::Wake(_) | Step::WakeElsewhere(_) if wakers.is_empty() => {}
                    Step::Wake(n) => {
                        let n = n % wakers.len();
                        wakers[n].wake_by_ref();
                        model.entry(n as u64).and_modify(|ready| *ready = true);
                    }
                    Step::WakeElsewhere(n) => {
                        let n = n % wakers.len();
                        let waker = wakers[n].clone();
                        std::thread::spawn(move || waker.wake()).join().unwrap();
                        model.entry(n as u64).and_modify(|ready| *ready = true);
                    }
                    Step::Poll(divisor) => {
                        set.begin(Waker::noop());
                        let mut taken = Vec::new();
                        while let Some(out) = set.take() {
                            taken.push(out.value);
                            if out.value % divisor == 0 {
                                set.remove(out.key);
                            } else {
                                set.put_back(out);
                            }
                        }
                        // A member that two threads woke may be polled twice, but no member is left
                        // out or made up.
                        taken.sort_unstable();
                        taken.dedup();
                        let ready: Vec<_> = model.iter().filter(|(_, ready)| **ready).map(|(n, _)| *n).collect();
                        prop_assert_eq!(&taken, &ready);
                        model.values_mut().for_each(|ready| *ready = false);
                        model.retain(|n, _| !taken.contains(n) || n % divisor != 0);
                    }
                }
                prop_assert_eq!(set.len(), model.len());
            }
        }
    }
}
