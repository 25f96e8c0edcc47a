//! Sorted runs in temporary files, for chunks that are larger than their share of the memory.
//!
//! The files have no names: the system removes them when they are closed, however the program ends.
//! An error, a panic, Ctrl-C or a kill leaves none behind.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::merge::Sorted;

const WIDTH: usize = size_of::<i64>();

/// A sorted run in a file, which is read again from its begin.
pub(super) struct Spilled {
    file: File,
    folder: PathBuf,
    bytes: Vec<u8>,
    numbers: Vec<i64>,
    used: usize,
}

impl Spilled {
    /// Writes all of `source` into a new file in `folder`, by `buffer` integers at a time.
    ///
    /// # Errors
    /// If `source` fails, or the file cannot be made or written: the error names the folder.
    pub(super) fn write(source: &mut dyn Sorted, folder: &Path, buffer: usize) -> io::Result<Spilled> {
        let explain = |error| in_folder(folder, error);
        let mut file = tempfile::tempfile_in(folder).map_err(explain)?;
        let mut bytes = Vec::with_capacity(buffer * WIDTH);
        loop {
            let numbers = source.next()?;
            let count = numbers.len().min(buffer - bytes.len() / WIDTH);
            bytes.extend(numbers[..count].iter().flat_map(|number| number.to_le_bytes()));
            source.advance(count);
            if count == 0 || bytes.len() == buffer * WIDTH {
                file.write_all(&bytes).map_err(explain)?;
                bytes.clear();
            }
            if count == 0 {
                break;
            }
        }
        file.rewind().map_err(explain)?;
        // The buffers are made when the run is read: many runs may wait for that.
        Ok(Spilled { file, folder: folder.to_path_buf(), bytes: Vec::new(), numbers: Vec::new(), used: 0 })
    }

    /// Sets how many integers are read at a time.
    pub(super) fn reading(mut self, buffer: usize) -> Spilled {
        self.bytes.resize(buffer * WIDTH, 0);
        self
    }

    /// How many bytes a run takes while it is read by `buffer` integers at a time.
    pub(super) fn bytes(buffer: usize) -> usize {
        2 * buffer * WIDTH
    }

    /// Reads until the buffer is full or the file ends.
    fn read(&mut self) -> io::Result<()> {
        let mut length = 0;
        while length < self.bytes.len() {
            match self.file.read(&mut self.bytes[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let numbers = self.bytes[..length].chunks_exact(WIDTH);
        self.numbers.clear();
        self.numbers.extend(numbers.map(|bytes| i64::from_le_bytes(bytes.try_into().expect("chunks of this width"))));
        self.used = 0;
        Ok(())
    }
}

impl Sorted for Spilled {
    fn next(&mut self) -> io::Result<&[i64]> {
        if self.used == self.numbers.len() {
            self.read().map_err(|error| in_folder(&self.folder, error))?;
        }
        Ok(&self.numbers[self.used..])
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
    }
}

impl fmt::Debug for Spilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spilled").field("file", &self.file).finish_non_exhaustive()
    }
}

fn in_folder(folder: &Path, error: io::Error) -> io::Error {
    let folder = folder.display();
    let advice = "choose another folder with --temp, or more --memory";
    io::Error::new(
        error.kind(),
        format!("cannot keep sorted integers in the temporary folder {folder}: {error}; {advice}"),
    )
}
