//! The connections of a set by slot: half as large as a slab, because a slot that is taken has no mark of that beside its
//! connection.

use std::rc::Rc;

use super::connection::Connection;

#[derive(Default)]
pub(super) struct Slots {
    connections: Vec<Option<Rc<Connection>>>,
    /// The slots that are free, the latest last.
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Gives a slot to what `make` makes of its number.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> Rc<Connection>) -> Rc<Connection> {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.connections.len()).expect("a process has fewer than 2^32 sockets");
            self.connections.push(None);
            slot
        });
        let connection = make(slot);
        self.connections[slot as usize] = Some(connection.clone());
        connection
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Rc<Connection>> {
        self.connections.get(slot as usize)?.as_ref()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Rc<Connection>> {
        let removed = self.connections.get_mut(slot as usize)?.take();
        if removed.is_some() {
            self.free.push(slot);
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Connection>> {
        self.connections.iter().flatten()
    }
}
