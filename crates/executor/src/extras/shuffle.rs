//! A shuffled run order, which depends on a seed alone.

use std::cell::Cell;

use crate::run::queue::Queue;

/// A random sequence.
#[derive(Default)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn set_seed(&self, seed: u64) {
        self.0.set(seed);
    }

    /// Fills the first `count` slots of the queue from all of it, each choice equally likely.
    #[cold]
    pub(crate) fn shuffle<T>(&self, queue: &Queue<T>, count: usize) {
        let mut items: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        for place in 0..count {
            let choice = self.below(items.len() - place);
            items.swap(place, place + choice);
        }
        for item in items {
            queue.push(item);
        }
    }

    /// A number below `limit`: Vigna's SplitMix64, scaled by Lemire's multiplication. The bias is
    /// the length of the queue divided by 2^64, which is negligible.
    fn below(&self, limit: usize) -> usize {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }
}
