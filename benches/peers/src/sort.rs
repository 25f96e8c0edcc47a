//! The essay's job as a plain program with rayon would do it: files in parallel, and each sorted in
//! parallel.

use std::fs;
use std::io;

use picot_examples::chunks::Digest;
use picot_examples::chunks::parse::parse_lines;
use rayon::prelude::*;

/// Sorts the files, and returns the checksum that `sort_chunks` prints of them. With `is_quick`,
/// the parser is that of `sort_chunks`, and else the standard library's.
///
/// # Errors
/// If a file cannot be read, or has anything but integers.
pub fn by_rayon(files: &[String], is_quick: bool) -> io::Result<u64> {
    let digests: io::Result<Vec<Digest>> = files
        .par_iter()
        .map(|file| {
            let mut numbers = if is_quick { by_our_parser(file)? } else { by_std(file)? };
            numbers.par_sort_unstable();
            let mut digest = Digest::default();
            digest.extend(&numbers);
            Ok(digest)
        })
        .collect();
    Ok(Digest::combined(digests?))
}

fn by_std(file: &str) -> io::Result<Vec<i64>> {
    let text = fs::read_to_string(file)?;
    text.par_lines().map(|line| line.trim().parse().map_err(io::Error::other)).collect()
}

fn by_our_parser(file: &str) -> io::Result<Vec<i64>> {
    let text = fs::read(file)?;
    let mut numbers = Vec::new();
    parse_lines(&text, &mut numbers, usize::MAX).map_err(io::Error::other)?;
    Ok(numbers)
}
