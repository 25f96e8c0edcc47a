//! The slots of the table: each holds a word, which is where a task is.
//!
//! They stand in segments, so that their memory grows by as much as is needed and nothing is moved; a vacant one holds the number
//! of the next that is vacant. Nothing is known here of what a word points to.

use std::ptr::{self, NonNull};

use crate::shared::Meta;

/// Where a task is.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    /// Before it is known by its waker: its metadata.
    New(NonNull<Meta>),
    /// The data of its wakers.
    Known(NonNull<()>),
}

/// Either a [`Held`], or the next vacant slot, told apart by the two lowest bits.
#[derive(Clone, Copy)]
struct Word(*mut ());

const TAG: usize = 3;
const VACANT: usize = 1;
const NEW: usize = 2;

impl Word {
    const fn vacant(next: u32) -> Word {
        Word(ptr::without_provenance_mut((next as usize) << 2 | VACANT))
    }

    #[inline]
    fn held(held: Held) -> Word {
        let (pointer, tag) = match held {
            Held::New(meta) => (meta.as_ptr().cast(), NEW),
            Held::Known(data) => (data.as_ptr(), 0),
        };
        assert!(pointer.addr() & TAG == 0, "a task is aligned to a word");
        Word(pointer.map_addr(|address| address | tag))
    }

    #[inline]
    fn get(self) -> Option<Held> {
        let tag = self.0.addr() & TAG;
        let pointer = NonNull::new(self.0.map_addr(|address| address & !TAG))?;
        match tag {
            VACANT => None,
            NEW => Some(Held::New(pointer.cast())),
            _ => Some(Held::Known(pointer)),
        }
    }

    /// The next vacant slot, where this is one.
    #[inline]
    fn next(self) -> u32 {
        debug_assert!(self.0.addr() & TAG == VACANT, "a task stands here");
        (self.0.addr() >> 2) as u32
    }
}

const SEGMENT: usize = 256;

#[derive(Default)]
pub(crate) struct Slots {
    #[expect(clippy::vec_box, reason = "so that a segment is never moved, and the list of them is short")]
    segments: Vec<Box<[Word; SEGMENT]>>,
    /// The slot that the next insertion uses; it may be the first of a segment that is not there yet.
    vacant: u32,
    len: usize,
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn vacant(&self) -> u32 {
        self.vacant
    }

    /// Fills the vacant slot.
    #[inline]
    pub(crate) fn insert(&mut self, held: Held) {
        let slot = self.vacant as usize;
        if slot == self.segments.len() * SEGMENT {
            self.grow();
        }
        let word = &mut self.segments[slot / SEGMENT][slot % SEGMENT];
        self.vacant = std::mem::replace(word, Word::held(held)).next();
        self.len += 1;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let first = self.segments.len() * SEGMENT;
        // The number behind the last is never a slot.
        let end = u32::try_from(first + SEGMENT).expect("fewer than 2^32 tasks at a time");
        self.segments.push(Box::new(std::array::from_fn(|n| Word::vacant(end - (SEGMENT - 1 - n) as u32))));
    }

    #[inline]
    fn word(&mut self, slot: u32) -> &mut Word {
        &mut self.segments[slot as usize / SEGMENT][slot as usize % SEGMENT]
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<Held> {
        self.segments.get(slot as usize / SEGMENT)?[slot as usize % SEGMENT].get()
    }

    /// Replaces what a slot holds.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, held: Held) {
        *self.word(slot) = Word::held(held);
    }

    /// Makes a slot vacant.
    #[inline]
    pub(crate) fn remove(&mut self, slot: u32) {
        *self.word(slot) = Word::vacant(self.vacant);
        self.vacant = slot;
        self.len -= 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Held)> {
        let words = self.segments.iter().flat_map(|segment| segment.iter());
        (0..).zip(words).filter_map(|(slot, word)| Some((slot, word.get()?)))
    }
}
