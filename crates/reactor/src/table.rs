//! The table from keys to sources: a slab whose slots have generations.
//!
//! The invariant: no method calls foreign code, and a reference into the table is handed out only to a closure that does not
//! either, nor reaches the table. So two methods are never active at once, and there is no borrow flag.

use std::cell::UnsafeCell;
use std::rc::Rc;

use crate::key::{Key, LAST_GENERATION, SLOTS};
use crate::source::State;

#[derive(Default)]
pub(crate) struct Table(UnsafeCell<Slots>);

#[derive(Default)]
struct Slots {
    /// Each state knows its key, and so the generation that its slot is in.
    states: Vec<Option<Rc<State>>>,
    /// The keys that the next sources in vacant slots have.
    free: Vec<Key>,
    len: usize,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        // SAFETY: `UnsafeCell` keeps this type on one thread at a time, and no other method is active (see above).
        unsafe { (*self.0.get()).len }
    }

    /// The key that the next insertion uses. `None` if there are too many sources.
    pub(crate) fn vacant_key(&self) -> Option<Key> {
        // SAFETY: As in `len`.
        let slots = unsafe { &*self.0.get() };
        match slots.free.last() {
            Some(&key) => Some(key),
            None if slots.states.len() < SLOTS => Some(Key::new(slots.states.len(), 0)),
            None => None,
        }
    }

    /// Inserts the state of a source whose key is the vacant one.
    pub(crate) fn insert(&self, state: Rc<State>) {
        debug_assert_eq!(Some(state.key()), self.vacant_key());
        // SAFETY: As in `len`; growing runs the allocator's code, which may not call back.
        let slots = unsafe { &mut *self.0.get() };
        match slots.free.pop() {
            Some(key) => slots.states[key.slot()] = Some(state),
            None => slots.states.push(Some(state)),
        }
        slots.len += 1;
    }

    /// What `f` says of the source with this key, if there is one.
    ///
    /// # Safety
    /// `f` must not reach the table, and so call nobody's code but ours.
    #[inline]
    pub(crate) unsafe fn find<R>(&self, key: Key, f: impl FnOnce(&Rc<State>) -> R) -> Option<R> {
        // SAFETY: As in `len`, and our caller promises it of `f`.
        let slots = unsafe { &*self.0.get() };
        let state = slots.states.get(key.slot())?.as_ref()?;
        if state.key() == key { Some(f(state)) } else { None }
    }

    pub(crate) fn remove(&self, key: Key) -> Option<Rc<State>> {
        // SAFETY: As in `len` and `insert`; the state that is taken out is not dropped here.
        let slots = unsafe { &mut *self.0.get() };
        let state = slots.states.get_mut(key.slot())?.take_if(|state| state.key() == key)?;
        slots.len -= 1;
        if key.generation() < LAST_GENERATION {
            slots.free.push(Key::new(key.slot(), key.generation() + 1));
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &Table) -> Key {
        let key = table.vacant_key().unwrap();
        table.insert(Rc::new(State::for_test(key)));
        key
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
        let mut table = Table::default();
        let first = insert(&table);
        table.remove(first);
        table.0.get_mut().free = vec![Key::new(first.slot(), LAST_GENERATION)];
        let last = insert(&table);
        assert_eq!((last.slot(), last.generation()), (first.slot(), LAST_GENERATION));
        assert!(table.remove(last).is_some());
        assert_ne!(insert(&table).slot(), first.slot());
    }
}
