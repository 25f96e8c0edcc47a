//! From sorted runs to one sorted sequence.
//!
//! A tree of pairs: each node merges two sources into a block, and asks a source for its next block
//! when it has used one up. The sequence as a whole is never in memory.

use std::io;

/// A sorted sequence of integers that is delivered in parts.
pub trait Sorted: Send {
    /// The next integers; none at the end.
    ///
    /// # Errors
    /// If they cannot be read.
    fn next(&mut self) -> io::Result<&[i64]>;

    /// Removes the first `count` of what [`next`](Sorted::next) has returned.
    fn advance(&mut self, count: usize);
}

/// A sorted run in memory.
#[derive(Debug)]
pub struct InMemory {
    run: Vec<i64>,
    used: usize,
}

impl InMemory {
    /// The run must be sorted.
    pub fn new(run: Vec<i64>) -> InMemory {
        InMemory { run, used: 0 }
    }
}

impl Sorted for InMemory {
    fn next(&mut self) -> io::Result<&[i64]> {
        Ok(&self.run[self.used..])
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
        if self.used == self.run.len() {
            // Gives the memory back before the merge is over.
            (self.run, self.used) = (Vec::new(), 0);
        }
    }
}

/// Merges all sources, with blocks of at most twice `block` integers.
pub fn merge_all(mut sources: Vec<Box<dyn Sorted>>, block: usize) -> Box<dyn Sorted> {
    match sources.len() {
        0 => Box::new(InMemory::new(Vec::new())),
        1 => sources.remove(0),
        count => {
            let right = sources.split_off(count / 2);
            let (left, right) = (merge_all(sources, block), merge_all(right, block));
            Box::new(Pair { left, right, block, merged: vec![0; 2 * block], used: 0, length: 0 })
        }
    }
}

/// How many bytes [`merge_all`] takes for each source.
pub fn bytes_a_source(block: usize) -> usize {
    2 * block * size_of::<i64>()
}

struct Pair {
    left: Box<dyn Sorted>,
    right: Box<dyn Sorted>,
    block: usize,
    merged: Vec<i64>,
    used: usize,
    length: usize,
}

impl Sorted for Pair {
    fn next(&mut self) -> io::Result<&[i64]> {
        if self.used == self.length {
            let (left, right) = (self.left.next()?, self.right.next()?);
            let (left, right) = (&left[..left.len().min(self.block)], &right[..right.len().min(self.block)]);
            let (left, right) = complete(left, right);
            (self.used, self.length) = (0, left.len() + right.len());
            merge(left, right, &mut self.merged[..self.length]);
            let (left, right) = (left.len(), right.len());
            self.left.advance(left);
            self.right.advance(right);
        }
        Ok(&self.merged[self.used..self.length])
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
    }
}

/// The parts of two sorted slices that can be merged before it is known what follows them: all of
/// the slice that ends first, and of the other what is below its end. If one slice is empty, its
/// sequence has ended, and the other is returned as it is.
pub fn complete<'a>(left: &'a [i64], right: &'a [i64]) -> (&'a [i64], &'a [i64]) {
    match (left.last(), right.last()) {
        (Some(end), Some(other)) if end <= other => (left, &right[..right.partition_point(|number| number < end)]),
        (Some(_), Some(end)) => (&left[..left.partition_point(|number| number < end)], right),
        _ => (left, right),
    }
}

/// Merges two sorted slices into `merged`, which is as long as both.
///
/// From both ends at once, which gives the processor two chains of loads that do not depend on each
/// other. Which side an integer comes from is added to an index rather than branched on: of random
/// integers, half of such branches would be predicted wrongly.
pub fn merge(left: &[i64], right: &[i64], merged: &mut [i64]) {
    let (mut left_begin, mut left_end) = (0, left.len());
    let (mut right_begin, mut right_end) = (0, right.len());
    let (mut begin, mut end) = (0, merged.len());
    loop {
        // A round takes two integers, and both may be of one side.
        let rounds = (left_end - left_begin).min(right_end - right_begin) / 2;
        if rounds == 0 {
            break;
        }
        for _ in 0..rounds {
            let (one, two) = (left[left_begin], right[right_begin]);
            let is_right = usize::from(two < one);
            merged[begin] = one.min(two);
            left_begin += 1 - is_right;
            right_begin += is_right;
            begin += 1;

            let (one, two) = (left[left_end - 1], right[right_end - 1]);
            let is_left = usize::from(two < one);
            end -= 1;
            merged[end] = one.max(two);
            left_end -= is_left;
            right_end -= 1 - is_left;
        }
    }
    // At most one is left on one side.
    let (few, many) = if left_end - left_begin <= 1 {
        (&left[left_begin..left_end], &right[right_begin..right_end])
    } else {
        (&right[right_begin..right_end], &left[left_begin..left_end])
    };
    let below = few.first().map_or(0, |few| many.partition_point(|number| number < few));
    let (first, second) = merged[begin..end].split_at_mut(below);
    first.copy_from_slice(&many[..below]);
    second[..few.len()].copy_from_slice(few);
    second[few.len()..].copy_from_slice(&many[below..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A run that comes in parts of odd lengths, as one from a file does.
    struct InParts(Vec<Vec<i64>>);

    impl Sorted for InParts {
        fn next(&mut self) -> io::Result<&[i64]> {
            self.0.retain(|part| !part.is_empty());
            Ok(self.0.first().map_or(&[], |part| part))
        }

        fn advance(&mut self, count: usize) {
            if count > 0 {
                self.0[0].drain(..count);
            }
        }
    }

    /// Many equal ones, and the limits.
    fn run(most: usize) -> impl Strategy<Value = Vec<i64>> {
        let number = prop_oneof![8 => -20..20_i64, 4 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
        prop::collection::vec(number, 0..most).prop_map(|mut run| {
            run.sort_unstable();
            run
        })
    }

    fn sorted(runs: &[Vec<i64>]) -> Vec<i64> {
        let mut sorted = runs.concat();
        sorted.sort_unstable();
        sorted
    }

    proptest! {
        #[test]
        fn two_runs_are_merged_as_sorting_both_would(left in run(60), right in run(60)) {
            let mut merged = vec![0; left.len() + right.len()];
            merge(&left, &right, &mut merged);
            prop_assert_eq!(merged, sorted(&[left, right]));
        }

        #[test]
        fn any_number_of_runs_in_any_parts_is_merged_as_sorting_all_would(
            runs in prop::collection::vec((run(80), 1..9_usize, any::<bool>()), 0..12), block in 1..20_usize,
        ) {
            let sources = runs.iter().cloned().map(|(run, part, in_memory)| -> Box<dyn Sorted> {
                if in_memory {
                    Box::new(InMemory::new(run))
                } else {
                    Box::new(InParts(run.chunks(part).map(<[i64]>::to_vec).collect()))
                }
            });
            let (mut merged, mut all) = (Vec::<i64>::new(), merge_all(sources.collect(), block));
            loop {
                let part = all.next().unwrap();
                // Not always all that is there.
                let count = part.len().div_ceil(2);
                if count == 0 {
                    break;
                }
                merged.extend(&part[..count]);
                all.advance(count);
            }
            let runs: Vec<_> = runs.into_iter().map(|(run, ..)| run).collect();
            prop_assert_eq!(merged, sorted(&runs));
        }
    }
}
