//! Sorting a run: as many integers as the caches of one processor hold.

/// Up to how many bytes of difference radix sort is faster. It passes over the run once a byte;
/// `sort_unstable` takes as long as about six passes.
const RADIX_BYTES: u32 = 5;

/// Below this, the counters of a radix sort cost more than they save.
const RADIX_LEAST: usize = 1024;

/// Sorts a run, by the faster of two ways: radix sort of the distance from the least integer,
/// unless the integers are few or far apart. Radix sort takes as much memory again.
pub(super) fn sort_run(run: &mut [i64]) {
    let (Some(&least), Some(&greatest)) = (run.iter().min(), run.iter().max()) else { return };
    // The distance fits into 64 bits without a sign, also if the difference overflows `i64`.
    let distance = |number: i64| number.wrapping_sub(least) as u64;
    let bytes = (u64::BITS - distance(greatest).leading_zeros()).div_ceil(8);
    if run.len() >= RADIX_LEAST && bytes <= RADIX_BYTES {
        radsort::sort_by_key(run, |&number| distance(number));
    } else {
        run.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn both_ways_sort_integers_of_any_spread(
            count in prop_oneof![0..20_usize, RADIX_LEAST - 2..RADIX_LEAST + 200],
            shift in 0..64_u32, from in any::<i64>(), seed in any::<u64>(),
        ) {
            let mut run = crate::pseudo_random(seed, count);
            for (index, number) in run.iter_mut().enumerate() {
                let bits = (*number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index as u64;
                *number = from.wrapping_add((bits >> shift) as i64);
            }
            let mut expected = run.clone();
            expected.sort();
            sort_run(&mut run);
            prop_assert_eq!(run, expected);
        }
    }

    #[test]
    fn the_limits_of_64_bits_are_in_order() {
        let mut run = [i64::MAX, 0, i64::MIN, -1].repeat(RADIX_LEAST);
        sort_run(&mut run);
        assert!(run.is_sorted() && run[0] == i64::MIN && run[run.len() - 1] == i64::MAX);
    }
}
