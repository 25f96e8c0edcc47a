//! Keys: which source an event is for, in the one word that the kernel gives back.
//!
//! A key holds a slot and its generation. When a source is gone its slot's generation moves on, so an event that was
//! collected before, or comes from a duplicate of a closed descriptor, finds nobody.

/// Bits for the slot. The rest is the generation: 32 bits, or 12 where a word has 32.
const SLOT_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };

/// The highest generation. A slot that has reached it is not used again.
pub(crate) const LAST_GENERATION: usize = (1 << (usize::BITS - SLOT_BITS)) - 1;

/// Keys that no source has, the highest ones: drivers use them for what is their own.
const RESERVED: usize = 4;

/// Slots are below this, so that the reserved keys belong to none.
pub(crate) const SLOTS: usize = (1 << SLOT_BITS) - RESERVED;

/// Names a source to a [`Driver`](crate::driver::Driver), which hands it back with each event.
///
/// The four highest words are never the key of a source: a driver may use them for descriptors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(usize);

impl Key {
    /// The key of a state that is not in the table. It is reserved, so no source has it.
    pub(crate) const NONE: Key = Key(usize::MAX);

    pub(crate) fn new(slot: usize, generation: usize) -> Key {
        debug_assert!(slot < SLOTS && generation <= LAST_GENERATION);
        Key(generation << SLOT_BITS | slot)
    }

    /// The key that this word stands for. A word that was never a key finds no source.
    pub fn from_bits(bits: usize) -> Key {
        Key(bits)
    }

    /// The key as a word, to be given to a kernel.
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
