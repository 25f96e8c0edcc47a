//! What a wait has brought: keys with what is ready, in the order in which the kernel told it.

use std::fmt;

use super::Key;
use crate::ready::Readiness;

/// The events of a wait, which a [`Driver`](super::Driver) fills in and the reactor then goes through.
#[derive(Default)]
pub struct Events(Vec<(Key, Readiness)>);

impl Events {
    /// No events yet. A driver that wraps another one waits with events of its own, and passes on those that it likes.
    pub fn new() -> Events {
        Events::default()
    }

    /// Adds an event. One source may have several.
    #[inline]
    pub fn push(&mut self, key: Key, readiness: Readiness) {
        self.0.push((key, readiness));
    }

    /// Adds events.
    #[inline]
    pub fn extend(&mut self, events: impl Iterator<Item = (Key, Readiness)>) {
        self.0.extend(events);
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets them; the memory is kept.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The events, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Readiness)> {
        self.0.iter().copied()
    }

    /// The events from the one with this number on.
    #[inline]
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = (Key, Readiness)> {
        self.0[first.min(self.0.len())..].iter().copied()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
