//! Keys: the word that the kernel returns with each event, which identifies a source.
//!
//! A key holds a slot and its generation. When a source is dropped, the generation of its slot
//! increases. So an event that was collected before, or that comes from a duplicate of a closed
//! descriptor, finds no source.

/// Bits for the slot. The rest is the generation: 32 bits, or 12 on 32-bit platforms.
const SLOT_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };

/// The highest generation. A slot that has reached it is retired: an old key could match again.
pub(crate) const LAST_GENERATION: usize = (1 << (usize::BITS - SLOT_BITS)) - 1;

/// The number of reserved keys: the highest ones, for the descriptors of drivers.
const RESERVED: usize = 4;

/// The number of slots. Less than the bits allow, so that no source has a reserved key.
pub(crate) const SLOTS: usize = (1 << SLOT_BITS) - RESERVED;

/// Identifies a source to a [`Driver`](crate::driver::Driver), which returns it with each event.
///
/// The four highest words are never the key of a source. A driver may use them for its own
/// descriptors.
///
/// ```
/// use picot_reactor::driver::Key;
///
/// const MY_TIMER: usize = usize::MAX - 1;
/// assert_eq!(Key::from_bits(MY_TIMER).bits(), MY_TIMER);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(usize);

impl Key {
    /// The key of a state that is not in the table. It is one of the reserved keys.
    pub(crate) const NONE: Key = Key(usize::MAX);

    pub(crate) fn new(slot: usize, generation: usize) -> Key {
        debug_assert!(slot < SLOTS && generation <= LAST_GENERATION);
        Key(generation << SLOT_BITS | slot)
    }

    /// The key for this word. A word that was never a key of a source finds none.
    ///
    /// ```
    /// use picot_reactor::driver::Key;
    ///
    /// assert_eq!(Key::from_bits(7), Key::from_bits(7));
    /// ```
    pub fn from_bits(bits: usize) -> Key {
        Key(bits)
    }

    /// The key as a word, to pass to a kernel.
    ///
    /// ```
    /// use picot_reactor::driver::Key;
    ///
    /// assert_eq!(Key::from_bits(7).bits(), 7);
    /// ```
    pub fn bits(self) -> usize {
        self.0
    }

    pub(crate) fn slot(self) -> usize {
        self.0 & ((1 << SLOT_BITS) - 1)
    }

    pub(crate) fn generation(self) -> usize {
        self.0 >> SLOT_BITS
    }
}
