//! The connections of a set by slot: half as large as a slab, because a slot that is taken has no mark of that beside its
//! connection.

use super::connection::Connection;
use super::transport::Transport;

#[derive(Default)]
pub(super) struct Slots {
    transports: Vec<Option<Transport>>,
    /// The slots that are free, the latest last.
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.transports.len() - self.free.len()
    }

    /// Gives a slot to a connection, and says which.
    pub(super) fn insert(&mut self, connection: Transport) -> usize {
        if let Some(slot) = self.free.pop() {
            self.transports[slot as usize] = Some(connection);
            return slot as usize;
        }
        self.transports.push(Some(connection));
        self.transports.len() - 1
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<&Transport> {
        self.transports.get(slot)?.as_ref()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Transport> {
        let removed = self.transports.get_mut(slot)?.take();
        if removed.is_some() {
            self.free.push(u32::try_from(slot).expect("a process has fewer than 2^32 sockets"));
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.transports.iter().flatten().map(Transport::connection)
    }
}
