//! From text to integers, one a line.

/// The most bytes that [`quick`] looks at: a sign, 19 digits, a line's end, and what the last load
/// of eight bytes reads beyond them.
const WINDOW: usize = 25;

/// Eight digits `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Parses the complete lines of `text` until `numbers` has `most` of them. Returns how many bytes
/// it has used.
///
/// # Errors
/// For the first line that is not an integer, what is wrong with it. The integers before it are in
/// `numbers`.
pub fn parse_lines(text: &[u8], numbers: &mut Vec<i64>, most: usize) -> Result<usize, String> {
    let mut rest = text;
    while numbers.len() < most {
        if let Some((number, length)) = quick(rest) {
            numbers.push(number);
            rest = &rest[length..];
        } else if let Some(length) = rest.iter().position(|&byte| byte == b'\n') {
            numbers.push(parse_line(&rest[..length])?);
            rest = &rest[length + 1..];
        } else {
            break;
        }
    }
    Ok(text.len() - rest.len())
}

/// Parses one line as the standard library does, without the spaces around it.
///
/// # Errors
/// If the line is not an integer, or not one of 64 bits: what is wrong, with the line's begin.
pub fn parse_line(line: &[u8]) -> Result<i64, String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    text.parse().map_err(|error| {
        let shown: String = text.chars().take(40).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        format!("{shown:?}{more} is no integer: {error}")
    })
}

/// Parses a line of the usual form: a minus or none, digits, `\n` or `\r\n`. Returns the integer
/// and the length of the line. Any other line is left to [`parse_line`].
///
/// Eight digits at a time are found and converted by arithmetic on one word, so that the number of
/// digits is data and not a branch, which random lengths would make the processor predict wrongly.
#[inline]
fn quick(text: &[u8]) -> Option<(i64, usize)> {
    let window: &[u8; WINDOW] = text.first_chunk()?;
    let sign = usize::from(window[0] == b'-');
    let load = |at: usize| window[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));

    let (mut value, mut count) = digits(load(sign));
    if count == 8 {
        let (next, more) = digits(load(sign + 8));
        (value, count) = (value * POWERS[more] + next, 8 + more);
        if more == 8 {
            let (next, more) = digits(load(sign + 16));
            if more > 3 {
                return None; // above 19 digits: too large, or leading zeros
            }
            (value, count) = (value * POWERS[more] + next, 16 + more);
        }
    }
    let end = sign + count;
    let length = match (window[end], window[end + 1]) {
        (b'\n', _) => end + 1,
        (b'\r', b'\n') => end + 2,
        _ => return None,
    };
    let number = if sign == 0 { i64::try_from(value).ok()? } else { 0_i64.checked_sub_unsigned(value)? };
    (count > 0).then_some((number, length))
}

/// The digits at the begin of eight bytes: their value, and how many they are.
#[inline]
fn digits(word: u64) -> (u64, usize) {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit is 0x30 to 0x39: its high half is 3, and is still 3 if 6 is added. The lowest bit
    // that is set is of the first byte that is none; a carry only reaches bytes after it.
    let others = ((word & HIGH) ^ ZEROS) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) ^ ZEROS);
    let count = others.trailing_zeros() / 8;
    if count == 0 {
        return (0, 0);
    }
    // Leading zeros in front of the digits, which drop what follows them. Two shifts by half, as
    // one of 64 bits would be none.
    let word = (word << (64 - 8 * count)) | (ZEROS >> (4 * count) >> (4 * count));
    // Pairs of digits to bytes, pairs of those to 16 bits, and the four by two products.
    let word = word - ZEROS;
    let pairs = word * 10 + (word >> 8);
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let one = (pairs & MASK).wrapping_mul(100 + (1_000_000 << 32));
    let two = ((pairs >> 16) & MASK).wrapping_mul(1 + (10_000 << 32));
    (one.wrapping_add(two) >> 32, count as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the whole text holds, by the standard library alone; the error with its line.
    fn model(text: &[u8]) -> Result<Vec<i64>, (usize, String)> {
        let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n');
        if text.is_empty() {
            return Ok(Vec::new());
        }
        lines.enumerate().map(|(index, line)| parse_line(line).map_err(|error| (index, error))).collect()
    }

    fn parsed(text: &[u8]) -> Result<Vec<i64>, (usize, String)> {
        let mut numbers = Vec::new();
        let used = parse_lines(text, &mut numbers, usize::MAX).map_err(|error| (numbers.len(), error))?;
        if used < text.len() {
            let last = parse_line(&text[used..]).map_err(|error| (numbers.len(), error))?;
            numbers.push(last);
        }
        Ok(numbers)
    }

    /// Lines of all lengths, signs and ends; a few that are no integers or out of range.
    fn line() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            8 => any::<i64>().prop_map(|number| number.to_string()),
            8 => (any::<i64>(), 0..64_u32).prop_map(|(number, shift)| (number >> shift).to_string()),
            2 => "-?[0-9]{1,22}",
            1 => "[ \t]?[+-]?[0-9]{0,3}[ x\u{e9}]?",
            1 => Just(i64::MAX.to_string()),
            1 => Just(i64::MIN.to_string()),
            1 => Just("9223372036854775808".to_string()),
            1 => Just("-9223372036854775809".to_string()),
        ];
        (number, prop_oneof![4 => Just("\n"), 1 => Just("\r\n")]).prop_map(|(number, end)| number + end)
    }

    proptest! {
        #[test]
        fn any_lines_are_parsed_as_the_standard_library_does(
            lines in prop::collection::vec(line(), 0..20), cut in 0..4_usize,
        ) {
            let text = lines.concat();
            // Without the last line's end, or with an incomplete one.
            let text = &text.as_bytes()[..text.len() - cut.min(text.len())];
            prop_assert_eq!(parsed(text), model(text), "{:?}", String::from_utf8_lossy(text));
        }

        #[test]
        fn any_bytes_are_parsed_as_the_standard_library_does(text in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(parsed(&text), model(&text));
        }
    }

    #[test]
    fn it_stops_at_the_most_that_are_asked_for() {
        let mut numbers = Vec::new();
        assert_eq!(parse_lines(b"1\n22\n333\n", &mut numbers, 2), Ok(5));
        assert_eq!(numbers, [1, 22]);
    }

    #[test]
    fn all_numbers_of_digits_and_both_signs_take_the_quick_way() {
        for digits in 1..=18 {
            for number in [10_i64.pow(digits - 1), 10_i64.pow(digits) - 1] {
                for number in [number, -number] {
                    for end in ["\n", "\r\n"] {
                        let line = format!("{number}{end}");
                        let padded = format!("{line}{:WINDOW$}", "");
                        assert_eq!(quick(padded.as_bytes()), Some((number, line.len())), "{line:?}");
                    }
                }
            }
        }
    }
}
