//! Sorting as a task: in pieces, so that the loop can do other things in between.

use std::mem;

use picot::yield_now;

use crate::chunks::merge::{complete, merge};

/// So many numbers are handled in one step; a fraction of a millisecond.
const PIECE: usize = 8192;

/// Sorts `numbers` by merging, and yields after each piece.
pub async fn sort(mut numbers: Vec<i64>) -> Vec<i64> {
    for piece in numbers.chunks_mut(PIECE) {
        piece.sort_unstable();
        yield_now().await;
    }
    let mut merged = Vec::with_capacity(numbers.len());
    let mut run = PIECE;
    while run < numbers.len() {
        for pair in numbers.chunks(2 * run) {
            let (left, right) = pair.split_at(run.min(pair.len()));
            merge_runs(left, right, &mut merged).await;
        }
        mem::swap(&mut numbers, &mut merged);
        merged.clear();
        run *= 2;
    }
    numbers
}

async fn merge_runs(mut left: &[i64], mut right: &[i64], merged: &mut Vec<i64>) {
    while !left.is_empty() && !right.is_empty() {
        let (first, second) = complete(&left[..left.len().min(PIECE)], &right[..right.len().min(PIECE)]);
        (left, right) = (&left[first.len()..], &right[second.len()..]);
        let begin = merged.len();
        merged.resize(begin + first.len() + second.len(), 0);
        merge(first, second, &mut merged[begin..]);
        yield_now().await;
    }
    merged.extend(left.iter().chain(right));
}

/// Numbers that look random and are the same every time (Marsaglia's xorshift).
pub fn pseudo_random(seed: u64, count: usize) -> Vec<i64> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as i64 % 1_000_000
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_any_number_of_numbers() {
        for count in [0, 1, 2, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 100_000] {
            let numbers = pseudo_random(7, count);
            let mut expected = numbers.clone();
            expected.sort_unstable();
            assert_eq!(picot::run(sort(numbers)), expected);
        }
    }
}
