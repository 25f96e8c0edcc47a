//! The connections of a set by slot.
//!
//! An entry is one word, half of a slab's: the null pointer marks a free slot, so no tag is needed.

use std::rc::Rc;

use super::connection::Connection;

#[derive(Default)]
pub(super) struct Slots {
    connections: Vec<Option<Rc<Connection>>>,
    /// The free slots. The last one is used first.
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Stores a connection, and returns its slot.
    pub(super) fn insert(&mut self, connection: Rc<Connection>) -> usize {
        if let Some(slot) = self.free.pop() {
            self.connections[slot as usize] = Some(connection);
            return slot as usize;
        }
        self.connections.push(Some(connection));
        self.connections.len() - 1
    }

    /// The connections by their slots.
    pub(super) fn as_slice(&self) -> &[Option<Rc<Connection>>] {
        &self.connections
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Rc<Connection>> {
        let removed = self.connections.get_mut(slot)?.take();
        if removed.is_some() {
            self.free.push(u32::try_from(slot).expect("a process has fewer than 2^32 sockets"));
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Connection>> {
        self.connections.iter().flatten()
    }
}
