//! The table from keys to sources: a slab whose slots have generations.

use std::rc::Rc;

use crate::key::{Key, LAST_GENERATION, SLOTS};
use crate::source::State;

#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    len: usize,
}

struct Slot {
    generation: usize,
    state: Option<Rc<State>>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The key that the next insertion uses. `None` if there are too many sources.
    pub(crate) fn vacant_key(&self) -> Option<Key> {
        match self.free.last() {
            Some(&slot) => Some(Key::new(slot, self.slots[slot].generation)),
            None if self.slots.len() < SLOTS => Some(Key::new(self.slots.len(), 0)),
            None => None,
        }
    }

    /// Inserts the state of a source whose key is the vacant one.
    pub(crate) fn insert(&mut self, state: Rc<State>) {
        debug_assert_eq!(Some(state.key()), self.vacant_key());
        match self.free.pop() {
            Some(slot) => self.slots[slot].state = Some(state),
            None => self.slots.push(Slot { generation: 0, state: Some(state) }),
        }
        self.len += 1;
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Rc<State>> {
        let slot = self.slots.get(key.slot())?;
        slot.state.as_ref().filter(|_| slot.generation == key.generation())
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Rc<State>> {
        let slot = self.slots.get_mut(key.slot())?;
        if slot.generation != key.generation() {
            return None;
        }
        let state = slot.state.take()?;
        self.len -= 1;
        if slot.generation < LAST_GENERATION {
            slot.generation += 1;
            self.free.push(key.slot());
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table) -> Key {
        let key = table.vacant_key().unwrap();
        table.insert(Rc::new(State::for_test(key)));
        key
    }

    #[test]
    fn an_old_key_does_not_find_the_slots_new_owner() {
        let mut table = Table::default();
        let old = insert(&mut table);
        assert!(table.remove(old).is_some());
        let new = insert(&mut table);
        assert_eq!(old.slot(), new.slot());
        assert!(table.get(old).is_none() && table.get(new).is_some());
        assert!(table.remove(old).is_none());
        assert_eq!(table.len(), 1);
        for reserved in [usize::MAX, usize::MAX - 1] {
            assert!(table.get(Key::from_bits(reserved)).is_none());
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut table = Table::default();
        let first = insert(&mut table);
        table.slots[first.slot()].generation = LAST_GENERATION;
        assert!(table.remove(Key::new(first.slot(), LAST_GENERATION)).is_some());
        assert_ne!(insert(&mut table).slot(), first.slot());
    }
}
