//! Directions, and the bits of readiness.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a task can wait for at an I/O object.
///
/// ```
/// use picot_reactor::{Direction, Reactor};
///
/// let reactor = Reactor::new()?;
/// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
/// let readable = source.ready(Direction::Read); // a future
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// Reading, receiving, accepting.
    Read,
    /// Writing, sending, connecting.
    Write,
    /// Urgent data (`EPOLLPRI`), which has its own way to be read.
    ///
    /// Some backends do not report it. Where `polling` uses poll(2), it is reported only while a
    /// task also waits to read.
    Priority,
}

impl Direction {
    pub(crate) const ALL: [Direction; 3] = [Direction::Read, Direction::Write, Direction::Priority];
}

/// The distance from the bit of a ready direction to the bit of an assumed one.
const ASSUMED_SHIFT: u32 = 8;

/// The readiness of a source, and the content of an event: a set of bits.
///
/// An operation that would block clears the bit of its direction. The bits for a closed peer and
/// for an error stay.
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
    /// No bits.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!(!Readiness::READABLE.intersects(Readiness::NONE));
    /// ```
    pub const NONE: Readiness = Readiness(0);
    /// There is data to read, or an end or an error to find by reading.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!(!Readiness::WRITABLE.contains(Readiness::READABLE));
    /// ```
    pub const READABLE: Readiness = Readiness(1);
    /// There is room to write, or an error to find by writing.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!((Readiness::READABLE | Readiness::WRITABLE).contains(Readiness::WRITABLE));
    /// ```
    pub const WRITABLE: Readiness = Readiness(4);
    /// There is urgent data (`EPOLLPRI`).
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!(!Readiness::READABLE.contains(Readiness::PRIORITY));
    /// ```
    pub const PRIORITY: Readiness = Readiness(2);
    /// The peer sends no more data (`EPOLLRDHUP`), or the object is hung up. Stays.
    ///
    /// Only Linux reports it without a read.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// let readiness = Readiness::READABLE | Readiness::READ_CLOSED;
    /// assert!(readiness.contains(Readiness::READ_CLOSED));
    /// ```
    pub const READ_CLOSED: Readiness = Readiness(8);
    /// Both directions have ended (`EPOLLHUP`). Stays.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!(!Readiness::READ_CLOSED.contains(Readiness::HUNG_UP));
    /// ```
    pub const HUNG_UP: Readiness = Readiness(16);
    /// An error has occurred (`EPOLLERR`); an operation returns it. Stays.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// assert!((Readiness::ERROR | Readiness::READABLE).intersects(Readiness::ERROR));
    /// ```
    pub const ERROR: Readiness = Readiness(32);

    /// No kernel polls the object, so its readiness is never cleared. Internal, as the next bit.
    pub(crate) const ALWAYS: Readiness = Readiness(64);
    /// A short transfer does not prove that the kernel has no more data or no more room.
    pub(crate) const UNTRUSTED: Readiness = Readiness(128);

    /// The bits that stay once an event has set them.
    pub(crate) const STICKY: Readiness = Readiness(8 | 16 | 32);

    /// The bits of all directions.
    pub(crate) const EVERY_DIRECTION: Readiness = Readiness(1 | 2 | 4);

    pub(crate) const fn of(direction: Direction) -> Readiness {
        match direction {
            Direction::Read => Readiness::READABLE,
            Direction::Write => Readiness::WRITABLE,
            Direction::Priority => Readiness::PRIORITY,
        }
    }

    /// The bit for a direction that is assumed to be ready, without an event. Internal.
    pub(crate) const fn assumed(direction: Direction) -> Readiness {
        Readiness(Readiness::of(direction).0 << ASSUMED_SHIFT)
    }

    /// Whether a direction is assumed to be ready.
    pub(crate) const fn assumes(self) -> bool {
        self.0 >> ASSUMED_SHIFT != 0
    }

    /// Turns the bits of assumed directions into bits of ready ones.
    pub(crate) const fn with_assumed_as_known(self) -> Readiness {
        Readiness(self.0 & 0xff | self.0 >> ASSUMED_SHIFT)
    }

    /// Whether all bits of `other` are set.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// let both = Readiness::READABLE | Readiness::WRITABLE;
    /// assert!(both.contains(Readiness::READABLE) && !Readiness::READABLE.contains(both));
    /// ```
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether at least one bit of `other` is set.
    ///
    /// ```
    /// use picot_reactor::Readiness;
    ///
    /// let ended = Readiness::HUNG_UP | Readiness::READ_CLOSED;
    /// assert!(Readiness::READ_CLOSED.intersects(ended));
    /// ```
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the object has ended, by the peer or by an error, so that no further edge may come.
    pub(crate) const fn is_hangup(self) -> bool {
        self.intersects(Readiness(8 | 16 | 32))
    }

    /// Whether a short transfer must not clear a direction: only "would block" does.
    ///
    /// After a hang-up no further edge may come. At urgent data TCP ends a receive early, with more
    /// bytes behind the mark.
    pub(crate) const fn distrusts_short_transfers(self) -> bool {
        self.intersects(Readiness(2 | 8 | 16 | 32 | 64 | 128))
    }

    /// Without the internal bits.
    pub(crate) const fn public_bits(self) -> Readiness {
        Readiness(self.0 & 63)
    }

    /// The bits, without those of assumed directions.
    pub(crate) const fn bits(self) -> u8 {
        self.0 as u8
    }

    /// The directions among these bits. They have the values of poll(2).
    pub(crate) const fn of_directions(bits: u8) -> Readiness {
        Readiness(bits as u16 & 7)
    }

    /// The readiness with exactly these bits.
    #[cfg(target_os = "linux")]
    pub(crate) const fn of_bits(bits: u8) -> Readiness {
        Readiness(bits as u16)
    }

    pub(crate) const fn intersection(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// `self` if `condition` holds, else no bits.
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
