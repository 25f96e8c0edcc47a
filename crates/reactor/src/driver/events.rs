//! The events of a wait: keys with readiness, in the order of the kernel.
//!
//! On Linux the kernel writes its events directly into this buffer, and each is decoded at its
//! turn. Copying each event would cost as much as finding its source.

use std::fmt;

use super::Key;
use crate::ready::Readiness;

/// The events of a wait. A [`Driver`](super::Driver) adds them, and the reactor handles them.
///
/// ```
/// use picot_reactor::Readiness;
/// use picot_reactor::driver::{Events, Key};
///
/// let mut events = Events::new();
/// events.push(Key::from_bits(7), Readiness::READABLE);
/// events.push(Key::from_bits(7), Readiness::HUNG_UP);
/// assert_eq!(events.len(), 2);
/// assert_eq!(events.iter().next(), Some((Key::from_bits(7), Readiness::READABLE)));
/// ```
#[derive(Default)]
pub struct Events(Vec<form::Event>);

impl Events {
    /// Makes an empty buffer.
    ///
    /// A driver that wraps another one may wait with its own buffer, and pass on a part of it.
    ///
    /// ```
    /// assert!(picot_reactor::driver::Events::new().is_empty());
    /// ```
    pub fn new() -> Events {
        Events::default()
    }

    /// Adds an event. A source may have several.
    ///
    /// ```
    /// use picot_reactor::{Readiness, driver::{Events, Key}};
    ///
    /// let mut events = Events::new();
    /// events.push(Key::from_bits(7), Readiness::WRITABLE);
    /// assert_eq!(events.len(), 1);
    /// ```
    pub fn push(&mut self, key: Key, readiness: Readiness) {
        self.0.push(form::event(key, readiness));
    }

    /// The number of events.
    ///
    /// ```
    /// assert_eq!(picot_reactor::driver::Events::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no events.
    ///
    /// ```
    /// assert!(picot_reactor::driver::Events::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all events, and keeps the memory.
    ///
    /// ```
    /// use picot_reactor::{Readiness, driver::{Events, Key}};
    ///
    /// let mut events = Events::new();
    /// events.push(Key::from_bits(7), Readiness::WRITABLE);
    /// events.clear();
    /// assert!(events.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The events, in order.
    ///
    /// ```
    /// use picot_reactor::{Readiness, driver::{Events, Key}};
    ///
    /// let mut events = Events::new();
    /// events.push(Key::from_bits(7), Readiness::WRITABLE);
    /// assert!(events.iter().all(|(key, _)| key == Key::from_bits(7)));
    /// ```
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Key, Readiness)> {
        self.0.iter().map(form::parts)
    }

    /// Makes room for at most `events` of epoll's events.
    #[cfg(target_os = "linux")]
    pub(super) fn room(&mut self, events: usize) -> &mut Vec<form::Event> {
        self.0.reserve_exact(events);
        &mut self.0
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(target_os = "linux")]
mod form {
    use rustix::event::epoll::{EventData, EventFlags};

    use super::{Key, Readiness};

    pub(super) use rustix::event::epoll::Event;

    /// Marks an event whose other bits are a `Readiness`, from `push`. `EPOLLONESHOT` is
    /// input-only; the kernel never reports it.
    const PLAIN: EventFlags = EventFlags::ONESHOT;

    pub(super) fn event(key: Key, readiness: Readiness) -> Event {
        let flags = PLAIN | EventFlags::from_bits_retain(readiness.bits().into());
        Event { flags, data: EventData::new_u64(key.bits() as u64) }
    }

    /// Decodes an event. Nearly all have only bits of directions, which epoll and `Readiness`
    /// share.
    #[inline]
    pub(super) fn parts(event: &Event) -> (Key, Readiness) {
        const _: () = {
            assert!(Readiness::of_directions(EventFlags::IN.bits() as u8).contains(Readiness::READABLE));
            assert!(Readiness::of_directions(EventFlags::OUT.bits() as u8).contains(Readiness::WRITABLE));
            assert!(Readiness::of_directions(EventFlags::PRI.bits() as u8).contains(Readiness::PRIORITY));
        };
        let (key, flags) = (event.data.u64(), event.flags);
        let readiness = if flags.bits() < 8 { Readiness::of_directions(flags.bits() as u8) } else { readiness(flags) };
        (Key::from_bits(key as usize), readiness)
    }

    /// A hang-up or an error makes all directions ready, so that each waiter tries and gets it.
    /// RDHUP makes only reading ready: a reader reads the end.
    #[cold]
    fn readiness(flags: EventFlags) -> Readiness {
        if flags.contains(PLAIN) {
            return Readiness::of_bits(flags.bits() as u8);
        }
        Readiness::of_directions(flags.bits() as u8)
            | Readiness::EVERY_DIRECTION.when(flags.intersects(EventFlags::HUP | EventFlags::ERR))
            | Readiness::READABLE.when(flags.intersects(EventFlags::RDHUP))
            | Readiness::READ_CLOSED.when(flags.intersects(EventFlags::RDHUP | EventFlags::HUP))
            | Readiness::HUNG_UP.when(flags.intersects(EventFlags::HUP))
            | Readiness::ERROR.when(flags.intersects(EventFlags::ERR))
    }
}

#[cfg(not(target_os = "linux"))]
mod form {
    use super::{Key, Readiness};

    pub(super) type Event = (Key, Readiness);

    pub(super) fn event(key: Key, readiness: Readiness) -> Event {
        (key, readiness)
    }

    #[inline]
    pub(super) fn parts(event: &Event) -> (Key, Readiness) {
        *event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_returned_as_it_was_added() {
        let mut events = Events::new();
        let all = [
            Readiness::NONE,
            Readiness::READABLE,
            Readiness::WRITABLE | Readiness::PRIORITY,
            Readiness::HUNG_UP,
            Readiness::ERROR | Readiness::READ_CLOSED,
            Readiness::EVERY_DIRECTION | Readiness::HUNG_UP | Readiness::ERROR | Readiness::READ_CLOSED,
        ];
        let all: Vec<_> = all.into_iter().enumerate().map(|(n, readiness)| (Key::from_bits(n), readiness)).collect();
        all.iter().for_each(|(key, readiness)| events.push(*key, *readiness));
        assert_eq!(events.iter().collect::<Vec<_>>(), all);
        assert_eq!((events.len(), events.iter().skip(all.len()).count()), (6, 0));
        events.clear();
        assert!(events.is_empty());
    }
}
