//! Where a chunk's integers come from.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::pseudo_random;

/// A file with an integer a line.
#[derive(Clone, Debug)]
pub struct Input {
    /// What reports call it.
    pub name: String,
    /// How many bytes it has; `None` if only reading shows that, as with a FIFO.
    pub size: Option<u64>,
    /// Whether the file can be read only once, and may take any time to deliver.
    pub is_stream: bool,
    file: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Path(PathBuf),
    /// Made by this program, without a name.
    Made(Arc<File>),
}

impl Input {
    /// The file at `path`, which need not exist: [`open`](Input::open) reports that.
    pub fn at(path: PathBuf) -> Input {
        let metadata = fs::metadata(&path).ok();
        let size = metadata.as_ref().filter(|metadata| metadata.is_file()).map(fs::Metadata::len);
        let is_stream = metadata.is_some_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        Input { name: path.display().to_string(), size, is_stream, file: Place::Path(path) }
    }

    /// Makes a file of `count` integers that look random. It is in `folder` without a name, so that
    /// it disappears with the program.
    ///
    /// # Errors
    /// If the file cannot be written: the error names the folder.
    pub fn make(number: u64, count: usize, folder: &Path) -> io::Result<Input> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot make a chunk in the folder {}: {error}", folder.display()))
        };
        let mut file = BufWriter::new(tempfile::tempfile_in(folder).map_err(explain)?);
        pseudo_random(number, count).iter().try_for_each(|number| writeln!(file, "{number}")).map_err(explain)?;
        let file = file.into_inner().map_err(|error| explain(error.into_error()))?;
        let size = Some(file.metadata().map_err(explain)?.len());
        Ok(Input { name: format!("chunk {number}"), size, is_stream: false, file: Place::Made(Arc::new(file)) })
    }

    /// Opens the file at its begin.
    ///
    /// # Errors
    /// If the system cannot open it.
    pub fn open(&self) -> io::Result<File> {
        match &self.file {
            Place::Path(path) => File::open(path),
            Place::Made(file) => {
                // Both have one position; the runs of this program read one after the other.
                let mut file = file.try_clone()?;
                file.rewind()?;
                Ok(file)
            }
        }
    }
}
