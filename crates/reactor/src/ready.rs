//! Directions, and the bits of readiness.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What can be waited for at an I/O object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// Reading, receiving, accepting.
    Read,
    /// Writing, sending, connecting.
    Write,
    /// Urgent data (`EPOLLPRI`), which is read by other means than the rest. Backends without a word for it tell of none, and
    /// where `polling` uses poll(2) it is told only while somebody waits to read as well.
    Priority,
}

impl Direction {
    pub(crate) const ALL: [Direction; 3] = [Direction::Read, Direction::Write, Direction::Priority];
}

/// How far the bits of directions that are taken to be ready are from those that are.
const ASSUMED: u32 = 8;

/// What is known of a source, and what an event says: a set of bits.
///
/// Readiness of a direction is cleared when an operation would block. That the peer has closed, or that there was an
/// error, stays known.
///
/// ```
/// use picot_reactor::Readiness;
///
/// let readiness = Readiness::READABLE | Readiness::READ_CLOSED;
/// assert!(readiness.contains(Readiness::READABLE));
/// assert!(!readiness.contains(Readiness::READABLE | Readiness::WRITABLE), "not all of them");
/// assert!(readiness.intersects(Readiness::READABLE | Readiness::WRITABLE), "one of them");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness(u16);

impl Readiness {
    /// Nothing.
    pub const NONE: Readiness = Readiness(0);
    /// There is something to read, or an end or an error to find by reading.
    pub const READABLE: Readiness = Readiness(1);
    /// There is room to write, or an error to find by writing.
    pub const WRITABLE: Readiness = Readiness(4);
    /// There is urgent data (`EPOLLPRI`).
    pub const PRIORITY: Readiness = Readiness(2);
    /// The peer sends no more (`EPOLLRDHUP`), or the object is hung up. Stays. Only Linux tells it without a read.
    pub const READ_CLOSED: Readiness = Readiness(8);
    /// Both directions are at their end (`EPOLLHUP`). Stays.
    pub const HUNG_UP: Readiness = Readiness(16);
    /// There was an error (`EPOLLERR`); an operation finds out which. Stays.
    pub const ERROR: Readiness = Readiness(32);

    /// No kernel polls the object, so its readiness is never cleared. For our own use, as the next: it is not shown.
    pub(crate) const ALWAYS: Readiness = Readiness(64);
    /// A transfer that moved less than it could is no proof that the kernel is drained.
    pub(crate) const UNTRUSTED: Readiness = Readiness(128);

    /// What an event or an operation may have told, and stays.
    pub(crate) const STAYS: Readiness = Readiness(8 | 16 | 32);

    /// The readiness of all directions.
    pub(crate) const EVERY_DIRECTION: Readiness = Readiness(1 | 2 | 4);

    pub(crate) const fn of(direction: Direction) -> Readiness {
        match direction {
            Direction::Read => Readiness::READABLE,
            Direction::Write => Readiness::WRITABLE,
            Direction::Priority => Readiness::PRIORITY,
        }
    }

    /// That the direction is taken to be ready, which no event has told yet. For our own use, and
    /// not shown.
    pub(crate) const fn assumed(direction: Direction) -> Readiness {
        Readiness(Readiness::of(direction).0 << ASSUMED)
    }

    /// Whether a direction is assumed to be ready.
    pub(crate) const fn assumes(self) -> bool {
        self.0 >> ASSUMED != 0
    }

    /// With directions that are taken to be ready as such that are.
    pub(crate) const fn with_assumed_as_known(self) -> Readiness {
        Readiness(self.0 & 0xff | self.0 >> ASSUMED)
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a bit of `other` is set.
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it says that no further edge may come: the peer has closed a side, or there was an error.
    pub(crate) const fn is_hangup(self) -> bool {
        self.intersects(Readiness(8 | 16 | 32))
    }

    /// Whether only "would block" clears a direction, and a transfer that moved less than it could
    /// does not.
    ///
    /// After a hang-up no further edge may come. At urgent data TCP ends a receive early, with
    /// bytes behind the mark.
    pub(crate) const fn must_be_tried(self) -> bool {
        self.intersects(Readiness(2 | 8 | 16 | 32 | 64 | 128))
    }

    /// What others are shown of it.
    pub(crate) const fn shown(self) -> Readiness {
        Readiness(self.0 & 63)
    }

    /// The bits of what is known, without what is taken for granted.
    pub(crate) const fn bits(self) -> u8 {
        self.0 as u8
    }

    /// The readiness of the directions among these bits, which are what poll(2) has for them.
    pub(crate) const fn of_directions(bits: u8) -> Readiness {
        Readiness(bits as u16 & 7)
    }

    /// The readiness of these bits, which are its own.
    #[cfg(target_os = "linux")]
    pub(crate) const fn of_bits(bits: u8) -> Readiness {
        Readiness(bits as u16)
    }

    pub(crate) const fn only(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// `self`, or nothing.
    pub(crate) fn when(self, condition: bool) -> Readiness {
        if condition { self } else { Readiness::NONE }
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        *self = *self | other;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Readiness::READABLE, "READABLE"),
            (Readiness::WRITABLE, "WRITABLE"),
            (Readiness::PRIORITY, "PRIORITY"),
            (Readiness::READ_CLOSED, "READ_CLOSED"),
            (Readiness::HUNG_UP, "HUNG_UP"),
            (Readiness::ERROR, "ERROR"),
        ];
        let set = names.into_iter().filter(|(bit, _)| self.contains(*bit));
        f.debug_set().entries(set.map(|(_, name)| name)).finish()
    }
}
