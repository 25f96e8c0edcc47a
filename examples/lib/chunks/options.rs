//! The command line of `sort_chunks`.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::{env, thread};

use lexopt::prelude::*;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The files; without any, chunks are made.
    pub files: Vec<PathBuf>,
    /// Whether to sort with `when`.
    pub when: bool,
    /// Whether to sort with tasks.
    pub tasks: bool,
    /// How many bytes the integers may take.
    pub memory: usize,
    /// How many threads sort.
    pub threads: usize,
    /// The folder for temporary files.
    pub temp: PathBuf,
}

/// What `--help` prints.
pub const USAGE: &str = "\
usage: sort_chunks [OPTIONS] [FILE…]

Each file is a chunk, with one integer of 64 bits a line. Without files, eight chunks of 100 000
integers are made.

  --way when|tasks|both  sort with `when`, with tasks, or first the one and then the other (both)
  --memory SIZE          the most memory for integers, as in 512M or 2G (1G); what is more goes to
                         temporary files
  --temp FOLDER          the folder of temporary files (the system's)
  --threads N            how many threads sort (one for each processor)
  --help                 print this";

impl Options {
    /// Reads the arguments of this program; `None` if they ask for help.
    ///
    /// # Errors
    /// For an option that is not known, or a value that is not one.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
        let mut parser = lexopt::Parser::from_iter(arguments);
        let mut options = Options {
            files: Vec::new(),
            when: true,
            tasks: true,
            memory: 1 << 30,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            temp: env::temp_dir(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("way") => {
                    (options.when, options.tasks) = match &*parser.value()?.string()? {
                        "when" => (true, false),
                        "tasks" => (false, true),
                        "both" => (true, true),
                        way => return Err(format!("--way is when, tasks or both, not {way:?}").into()),
                    }
                }
                Long("memory") => {
                    let size = parser.value()?.string()?;
                    options.memory =
                        bytes(&size).ok_or_else(|| format!("--memory is a size such as 512M or 2G, not {size:?}"))?;
                }
                Long("threads") => {
                    let number = parser.value()?.string()?;
                    options.threads = match number.parse() {
                        Ok(number @ 1..=1024) => number,
                        _ => return Err(format!("--threads is a number from 1 to 1024, not {number:?}").into()),
                    };
                }
                Long("temp") => options.temp = parser.value()?.into(),
                Short('h') | Long("help") => return Ok(None),
                Value(file) => options.files.push(file.into()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

/// A number of bytes, with K, M or G behind it or without.
fn bytes(size: &str) -> Option<usize> {
    let (number, unit) = match size.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, size.as_bytes()[size.len() - 1]),
        None => (size, b' '),
    };
    let shift = match unit {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        _ => 0,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Option<Options>, String> {
        Options::from_arguments(["sort_chunks"].iter().chain(arguments).map(OsString::from))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn options_and_files_may_come_in_any_order() {
        let options = read(&["one", "--way", "tasks", "--memory=3M", "two", "--threads", "5", "--temp", "t"]);
        let options = options.unwrap().unwrap();
        assert_eq!((options.when, options.tasks, options.memory, options.threads), (false, true, 3 << 20, 5));
        assert_eq!((options.files, options.temp), (vec!["one".into(), "two".into()], "t".into()));
        assert_eq!(read(&["one", "--help"]), Ok(None));
        assert!(read(&[]).unwrap().is_some_and(|options| options.when && options.tasks && options.memory == 1 << 30));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        for (arguments, expected) in [
            (&["--way", "none"][..], "--way is when, tasks or both, not \"none\""),
            (&["--memory", "much"], "--memory is a size such as 512M or 2G, not \"much\""),
            (
                &["--memory", "99999999999999999999G"],
                "--memory is a size such as 512M or 2G, not \"99999999999999999999G\"",
            ),
            (&["--memory", "-1M"], "--memory is a size such as 512M or 2G, not \"-1M\""),
            (&["--threads", "0"], "--threads is a number from 1 to 1024, not \"0\""),
            (&["--speed"], "invalid option '--speed'"),
        ] {
            assert_eq!(read(arguments), Err(expected.into()));
        }
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(["7", "7K", "7M", "1G"].map(bytes), [Some(7), Some(7 << 10), Some(7 << 20), Some(1 << 30)]);
        assert_eq!(["", "K", "7k", "7KB", "18014398509481984K"].map(bytes), [None; 5]);
    }
}
