//! A crowd: members that are polled inside of one future, each with a waker of its own.
//!
//! Whoever owns a crowd takes out the members that are ready, polls them, and puts back those that are not done. So a wake
//! costs the same however many members there are, and no member is polled while the crowd is borrowed. The crowd does not
//! know what its members are.

use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use crate::wake::{Key, Ready};

/// So many members are polled in one poll of whoever owns the crowd. If more are ready, it lets the rest of the loop run
/// before it goes on.
pub(crate) const POLLS_PER_STEP: usize = 32;

pub(crate) struct Crowd<T> {
    members: Slab<Member<T>>,
    last_generation: u32,
    ready: Rc<Ready>,
}

struct Member<T> {
    /// What is polled, and by which waker; `None` while it is out.
    inside: Option<(T, Waker)>,
    generation: u32,
}

/// A member that is out to be polled.
pub(crate) struct Out<T> {
    pub(crate) key: Key,
    pub(crate) value: T,
    pub(crate) waker: Waker,
}

impl<T> Crowd<T> {
    pub(crate) fn new() -> Crowd<T> {
        Crowd { members: Slab::new(), last_generation: 0, ready: Rc::new(Ready::new()) }
    }

    /// Adds a member, which is ready.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Adds a member that is made with a look at its waker, and is ready.
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(&Waker) -> T) -> Key {
        self.insert_at(true, value)
    }

    /// Adds a member that is ready once it is woken, as `value` may do already.
    pub(crate) fn insert_waiting(&mut self, value: impl FnOnce(&Waker) -> T) -> Key {
        self.insert_at(false, value)
    }

    fn insert_at(&mut self, is_ready: bool, value: impl FnOnce(&Waker) -> T) -> Key {
        let vacant = self.members.vacant_entry();
        self.last_generation = self.last_generation.checked_add(1).unwrap_or(1);
        let index = u32::try_from(vacant.key()).expect("fewer than 2^32 members");
        let key = Key { index, generation: self.last_generation };
        let waker = self.ready.add(key, is_ready);
        vacant.insert(Member { inside: Some((value(&waker), waker)), generation: key.generation });
        key
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The list of those that are ready, for owners who keep the crowd in a cell: it may wake whoever polls them, which is
    /// anybody's code, so the cell must not be borrowed then.
    pub(crate) fn ready(&self) -> Rc<Ready> {
        self.ready.clone()
    }

    /// A poll by the task of `parent` begins. Returns how many members it should take out, at most.
    pub(crate) fn begin(&self, parent: &Waker) -> usize {
        self.ready.begin(parent).min(POLLS_PER_STEP)
    }

    /// The poll ends without a result: if members are ready still, there will be another.
    pub(crate) fn end(&self) {
        self.ready.end();
    }

    /// Takes out the next member that is ready.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Out<T>> {
        loop {
            let key = self.ready.pop()?;
            // It may be out, if whoever polls it polls the crowd as well.
            if let Some((value, waker)) = self.members[key.index as usize].inside.take() {
                return Some(Out { key, value, waker });
            }
        }
    }

    /// Takes out a member that need not be ready; `None` if it is gone.
    pub(crate) fn take_key(&mut self, key: Key) -> Option<Out<T>> {
        let member = self.members.get_mut(key.index as usize).filter(|member| member.generation == key.generation)?;
        let (value, waker) = member.inside.take()?;
        Some(Out { key, value, waker })
    }

    /// Lets go of the waker of the last poll: nothing waits for the crowd until the next one.
    pub(crate) fn forget_parent(&self) {
        self.ready.forget_parent();
    }

    /// Puts back a member that is not done.
    #[inline]
    pub(crate) fn put_back(&mut self, out: Out<T>) {
        self.members[out.key.index as usize].inside = Some((out.value, out.waker));
    }

    /// Forgets a member that was taken out and is done.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) {
        self.members.remove(key.index as usize);
        self.ready.remove(key);
    }

    /// The members that are inside, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.members.iter().filter_map(|(_, member)| member.inside.as_ref()).map(|(value, _)| value)
    }

    /// The wakers of the members that are inside.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = (&T, &Waker)> {
        self.members.iter().filter_map(|(_, member)| member.inside.as_ref()).map(|(value, waker)| (value, waker))
    }

    /// Takes out all members for good, in no order, for the caller to drop when nothing is borrowed any more.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let members = std::mem::take(&mut self.members);
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
        /// Wakes the nth member that was ever there, gone or not.
        Wake(usize),
        WakeElsewhere(usize),
        /// Polls all that are ready; of these, the members whose number this divides are done.
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

        /// The model: for each member that is there, whether it was inserted or woken since it was last polled.
        #[test]
        fn a_poll_takes_exactly_those_that_were_woken_since(steps in steps()) {
            let mut crowd = Crowd::new();
            let mut model = BTreeMap::new();
            let mut wakers = Vec::new();
            for step in steps.into_iter().chain([Step::Poll(2)]) {
                match step {
                    Step::Insert => {
                        let number = wakers.len() as u64;
                        crowd.insert_with(|waker| {
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
                        crowd.begin(Waker::noop());
                        let mut taken = Vec::new();
                        while let Some(out) = crowd.take() {
                            taken.push(out.value);
                            if out.value % divisor == 0 {
                                crowd.remove(out.key);
                            } else {
                                crowd.put_back(out);
                            }
                        }
                        // Woken here and elsewhere, a member may be polled twice; never is one left out or made up.
                        taken.sort_unstable();
                        taken.dedup();
                        let ready: Vec<_> = model.iter().filter(|(_, ready)| **ready).map(|(n, _)| *n).collect();
                        prop_assert_eq!(&taken, &ready);
                        model.values_mut().for_each(|ready| *ready = false);
                        model.retain(|n, _| !taken.contains(n) || n % divisor != 0);
                    }
                }
                prop_assert_eq!(crowd.len(), model.len());
            }
        }
    }
}
