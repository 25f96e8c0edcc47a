//! What is kept of a sorted chunk: enough to compare two, without the integers.

/// The count, the ends and a checksum of integers in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many integers.
    pub count: u64,
    /// The first and the last; `None` if there are none.
    pub ends: Option<(i64, i64)>,
    /// A sum over all integers, each mixed with its place.
    pub checksum: u64,
}

impl Digest {
    /// One checksum of several chunks, in their order.
    pub fn combined(chunks: impl IntoIterator<Item = Digest>) -> u64 {
        chunks.into_iter().fold(0, |sum, chunk| sum.rotate_left(1) ^ chunk.checksum)
    }

    /// Adds the integers that follow.
    pub fn extend(&mut self, numbers: &[i64]) {
        if let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) {
            self.ends = Some((self.ends.map_or(first, |(first, _)| first), last));
        }
        for &number in numbers {
            // No step waits for the one before it, so that several are in the processor at a time.
            // The two odd factors are the golden ratio's and one of MurmurHash3's.
            let placed = (number as u64) ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = placed.wrapping_mul(0xff51_afd7_ed55_8ccd);
            self.checksum = self.checksum.wrapping_add(mixed ^ (mixed >> 32));
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[i64]]) -> Digest {
        let mut digest = Digest::default();
        parts.iter().for_each(|part| digest.extend(part));
        digest
    }

    #[test]
    fn the_parts_do_not_matter_and_each_integer_and_its_place_do() {
        let whole = of(&[&[-3, 0, 0, 7]]);
        assert_eq!((whole.count, whole.ends), (4, Some((-3, 7))));
        assert_eq!(of(&[&[-3], &[], &[0, 0], &[7]]), whole);
        for other in [[0, -3, 0, 7], [-3, 0, 1, 7], [-3, 0, 7, 0], [-3, -1, 1, 7]] {
            assert_ne!(of(&[&other]).checksum, whole.checksum, "{other:?}");
        }
        assert_eq!(of(&[]), Digest::default());
    }
}
