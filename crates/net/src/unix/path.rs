//! A socket's place in the file system, which outlives the process unless somebody removes it.
//!
//! As asyncio has it since Python 3.13: a socket that was left at the path is removed before a new one is bound there, and
//! the own one is removed at the end, unless another has taken its place meanwhile.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Removes its file when it is dropped, if that is still the one it was made for.
#[derive(Debug)]
pub(crate) struct OwnedPath {
    path: PathBuf,
    /// Device and number of the file; `None` when it is somebody else's.
    id: Option<(u64, u64)>,
}

impl OwnedPath {
    /// The path of a socket that has just been bound.
    pub(crate) fn new(path: &Path) -> Option<OwnedPath> {
        Some(OwnedPath { path: path.to_path_buf(), id: Some(file_id(path)?) })
    }

    /// Leaves the file to somebody else.
    pub(crate) fn leave(mut self) {
        self.id = None;
    }
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if self.id.is_some() && file_id(&self.path) == self.id {
            // There is nobody to tell if it fails; whoever binds the path next removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Removes a socket that was left at `path`. Anything else that is there stays, and binding will say so.
pub(crate) fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        },
        _ => Ok(()),
    }
}
