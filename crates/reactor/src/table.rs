//! The table from keys to sources: a slab whose slots have generations.
//!
//! The invariant: only closures that call no foreign code and do not use the table get a reference
//! into it, and room is made before such a reference is taken. So no two methods are active at
//! once, and the table needs no borrow flag.

use std::cell::Cell;
use std::rc::Rc;

use crate::growing::Growing;
use crate::key::{Key, LAST_GENERATION, SLOTS};
use crate::source::state::State;

#[derive(Default)]
pub(crate) struct Table {
    /// The state of each occupied slot. It stores its key, and so the slot's generation.
    states: Growing<Option<Rc<State>>>,
    /// The next keys of the vacant slots.
    free: Growing<Key>,
    len: Cell<usize>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// Inserts the state of a source, and sets its key. `None` if there are too many sources.
    pub(crate) fn insert(&self, mut state: Rc<State>) -> Option<Rc<State>> {
        // The last allocation. No foreign code runs after it, so the slot that is found stays free.
        if self.free.is_empty() && self.states.is_full() {
            self.states.grow();
        }
        // SAFETY: `pop` copies a key.
        let key = match unsafe { self.free.with(Vec::pop) } {
            Some(key) => key,
            None if self.states.len() < SLOTS => Key::new(self.states.len(), 0),
            None => return None,
        };
        Rc::get_mut(&mut state).expect("the state is new, so nothing else refers to it").set_key(key);
        let copy = state.clone();
        // SAFETY: The slot is vacant, or there is room for another one. So the closure only moves a
        // value.
        unsafe {
            self.states.with(|states| match states.get_mut(key.slot()) {
                Some(slot) => *slot = Some(copy),
                None => states.push(Some(copy)),
            });
        }
        self.len.set(self.len.get() + 1);
        Some(state)
    }

    /// Calls `f` with the state of the source with this key, if there is one.
    ///
    /// # Safety
    /// `f` must not use the table, so it must call no foreign code, not even the allocator.
    #[inline]
    pub(crate) unsafe fn find<R>(&self, key: Key, f: impl FnOnce(&Rc<State>) -> R) -> Option<R> {
        // SAFETY: The caller promises this for `f`.
        unsafe {
            self.states.with(|states| {
                let state = states.get(key.slot())?.as_ref()?;
                if state.key() == key { Some(f(state)) } else { None }
            })
        }
    }

    pub(crate) fn remove(&self, key: Key) -> Option<Rc<State>> {
        // SAFETY: The closure moves the state out, and does not drop it.
        let state =
            unsafe { self.states.with(|states| states.get_mut(key.slot())?.take_if(|state| state.key() == key)) }?;
        self.len.set(self.len.get() - 1);
        // A slot at the last generation is retired: the next key would match an old one.
        if key.generation() < LAST_GENERATION {
            self.free.push(Key::new(key.slot(), key.generation() + 1));
        }
        Some(state)
    }

    /// All sources.
    pub(crate) fn all(&self) -> Vec<Rc<State>> {
        let mut all = Vec::with_capacity(self.states.len());
        // SAFETY: The closure counts references, and moves them into memory that has room for them.
        unsafe { self.states.with(|states| all.extend(states.iter().flatten().take(all.capacity()).cloned())) };
        all
    }

    /// Takes all sources out, when the reactor closes.
    pub(crate) fn clear(&self) -> impl Iterator<Item = Rc<State>> {
        self.len.set(0);
        self.states.take().into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &Table) -> Key {
        table.insert(Rc::new(State::for_test())).unwrap().key()
    }

    fn has(table: &Table, key: Key) -> bool {
        // SAFETY: The closure does nothing.
        unsafe { table.find(key, |_| ()) }.is_some()
    }

    #[test]
    fn an_old_key_does_not_find_the_slots_new_owner() {
        let table = Table::default();
        let old = insert(&table);
        assert!(table.remove(old).is_some());
        let new = insert(&table);
        assert_eq!(old.slot(), new.slot());
        assert!(!has(&table, old) && has(&table, new));
        assert!(table.remove(old).is_none());
        assert_eq!(table.len(), 1);
        for reserved in [usize::MAX, usize::MAX - 1] {
            assert!(!has(&table, Key::from_bits(reserved)));
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let table = Table::default();
        let first = insert(&table);
        table.remove(first);
        table.free.take();
        table.free.push(Key::new(first.slot(), LAST_GENERATION));
        let last = insert(&table);
        assert_eq!((last.slot(), last.generation()), (first.slot(), LAST_GENERATION));
        assert!(table.remove(last).is_some());
        assert_ne!(insert(&table).slot(), first.slot());
    }
}
