//! What a wait has brought: keys with what is ready, in the order in which the kernel told it.
//!
//! On Linux the kernel writes its events straight in here, and they are read as what they are for when their turn comes: a
//! copy of each in between would cost as much as finding its source.

use std::fmt;

use super::Key;
use crate::ready::Readiness;

/// The events of a wait, which a [`Driver`](super::Driver) fills in and the reactor then goes through.
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
    /// No events yet. A driver that wraps another one waits with events of its own, and passes on those that it likes.
    pub fn new() -> Events {
        Events::default()
    }

    /// Adds an event. One source may have several.
    pub fn push(&mut self, key: Key, readiness: Readiness) {
        self.0.push(form::event(key, readiness));
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
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Key, Readiness)> {
        self.0.iter().map(form::parts)
    }

    /// Room for epoll's events, and for no more than so many.
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

    /// Says that the rest is a readiness as it is. The kernel is told this bit, and never tells it.
    const PLAIN: EventFlags = EventFlags::ONESHOT;

    pub(super) fn event(key: Key, readiness: Readiness) -> Event {
        let flags = PLAIN | EventFlags::from_bits_retain(readiness.bits().into());
        Event { flags, data: EventData::new_u64(key.bits() as u64) }
    }

    /// Nearly all events are of directions alone, whose bits are the same in both worlds.
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

    /// A hang-up or an error is for all directions to find out, by trying. RDHUP is for the reader, who will read the end.
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
    fn an_event_comes_out_as_it_went_in() {
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
