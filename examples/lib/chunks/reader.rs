//! From a file to runs of integers: reads blocks of text, and parses each while it is in the cache.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use super::input::Input;
use super::parse::{parse_line, parse_lines};
use super::progress::Progress;

/// How many bytes are read at a time; also the most that a line may have.
pub(super) const BLOCK: usize = 64 * 1024;

/// The rest of a file. An error names the file and, if it is about its text, the line.
pub(super) struct Reader<F = File> {
    name: String,
    file: F,
    text: Box<[u8]>,
    /// What has been read and not been parsed: `text[begin..end]`.
    begin: usize,
    end: usize,
    lines: u64,
    progress: Arc<Progress>,
}

impl Reader {
    /// Opens the file.
    ///
    /// # Errors
    /// If the system cannot open it.
    pub(super) fn open(input: &Input, progress: Arc<Progress>) -> Result<Reader, String> {
        let file = input.open().map_err(|error| format!("{}: {error}", input.name))?;
        Ok(Reader::new(input.name.clone(), file, progress))
    }
}

impl<F: Read> Reader<F> {
    fn new(name: String, file: F, progress: Arc<Progress>) -> Reader<F> {
        Reader { name, file, text: vec![0; BLOCK].into(), begin: 0, end: 0, lines: 0, progress }
    }

    /// The next `most` integers; fewer at the end of the file, and none after that.
    ///
    /// # Errors
    /// If the file cannot be read, or if a line is not an integer.
    pub(super) fn run(&mut self, most: usize) -> Result<Vec<i64>, String> {
        let mut run = Vec::with_capacity(most);
        loop {
            let text = &self.text[self.begin..self.end];
            let used = parse_lines(text, &mut run, most);
            self.begin += used.map_err(|error| self.at_line(run.len(), &error))?;
            if run.len() == most {
                break;
            }
            if self.read(run.len())? == 0 {
                // The last line need not have an end.
                let last = &self.text[self.begin..self.end];
                if !last.is_empty() {
                    run.push(parse_line(last).map_err(|error| self.at_line(run.len(), &error))?);
                    self.begin = self.end;
                }
                break;
            }
        }
        self.lines += run.len() as u64;
        Ok(run)
    }

    /// Reads more text behind what is left. Returns how many bytes; 0 at the end.
    fn read(&mut self, parsed: usize) -> Result<usize, String> {
        self.text.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.end == BLOCK {
            return Err(self.at_line(parsed, &format!("no integer, as the line has more than {BLOCK} bytes")));
        }
        loop {
            match self.file.read(&mut self.text[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    self.progress.has_read(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("{}: {error}", self.name)),
            }
        }
    }

    /// Each line before is an integer, so that their number is also the line's.
    fn at_line(&self, parsed: usize, error: &str) -> String {
        format!("{}:{}: {error}", self.name, self.lines + parsed as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text that comes in pieces of any length.
    struct Pieces(Vec<u8>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn runs(text: &str, piece: usize, most: usize) -> Result<Vec<Vec<i64>>, String> {
        let mut reader = Reader::new("file".into(), Pieces(text.into(), piece), Arc::default());
        let mut runs = Vec::new();
        loop {
            let run = reader.run(most)?;
            if run.is_empty() {
                return Ok(runs);
            }
            runs.push(run);
        }
    }

    proptest! {
        #[test]
        fn any_pieces_of_text_become_runs_of_the_asked_length(
            numbers in prop::collection::vec(any::<i64>(), 0..60), piece in 1..40_usize, most in 1..20_usize,
            has_end in any::<bool>(),
        ) {
            let lines: Vec<_> = numbers.iter().map(i64::to_string).collect();
            let mut text = lines.join("\n");
            if has_end && !text.is_empty() {
                text.push('\n');
            }
            let expected = numbers.chunks(most).map(<[i64]>::to_vec).collect();
            prop_assert_eq!(runs(&text, piece, most), Ok(expected));
        }

        #[test]
        fn the_first_bad_line_is_named_by_its_number(
            before in 0..50_usize, piece in 1..40_usize, most in 1..20_usize, has_end in any::<bool>(),
        ) {
            let text = "12345\n".repeat(before) + "1x" + if has_end { "\n7\n" } else { "" };
            let error = runs(&text, piece, most).unwrap_err();
            let expected = format!("file:{}: \"1x\" is no integer", before + 1);
            prop_assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_an_error_and_does_not_fill_the_memory() {
        let text = "1\n".to_string() + &"2".repeat(3 * BLOCK);
        assert_eq!(
            runs(&text, BLOCK, 10).unwrap_err(),
            format!("file:2: no integer, as the line has more than {BLOCK} bytes"),
        );
    }
}
