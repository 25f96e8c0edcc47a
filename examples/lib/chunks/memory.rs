//! How the memory is divided: among the chunks that are in work, and within each.

use super::merge::bytes_a_source;
use super::reader;
use super::spill::Spilled;

/// The least that a chunk can be sorted in.
pub(super) const LEAST_SHARE: usize = 512 * 1024;

const WIDTH: usize = size_of::<i64>();

/// The sizes within a chunk's share of the memory, in integers unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// How many runs are sorted beside the one that is read.
    pub(super) sorting: usize,
    /// The integers of a run.
    pub(super) run: usize,
    /// The block of a merge.
    pub(super) block: usize,
    /// How many sorted runs are kept in memory.
    pub(super) kept: usize,
    /// What is read and written of a temporary file at a time.
    pub(super) buffer: usize,
    /// How many temporary files are read at a time.
    pub(super) files: usize,
}

/// The integers of a run if the memory allows: with as much again for its sort, they fit into the
/// second cache of a usual processor.
const RUN_MOST: usize = 64 * 1024;

/// The most temporary files that are read at a time. A process may have about a thousand open.
const FILES_MOST: usize = 32;

impl Share {
    /// Divides `bytes`, at least [`LEAST_SHARE`], for a chunk of which `sorting` runs are sorted
    /// at a time.
    pub(super) fn new(bytes: usize, sorting: usize) -> Share {
        // A quarter for the run that is read, those that are sorted, and the copies that radix sort
        // makes of these; the rest for runs that are kept, with what their merge takes.
        let run = (bytes / 4 / (1 + 2 * sorting) / WIDTH).min(RUN_MOST);
        let block = (run / 64).clamp(16, 1024);
        // A quarter for reading and writing temporary files.
        let buffer = (bytes / 64 / WIDTH).min(32 * 1024);
        let file = Spilled::bytes(buffer) + bytes_a_source(block);
        let files = (bytes / 4 / file).clamp(2, FILES_MOST);
        let rest = bytes / 2 - reader::BLOCK - buffer * WIDTH;
        Share { sorting, run, block, kept: rest / (run * WIDTH + bytes_a_source(block)), buffer, files }
    }

    /// The most bytes that a chunk takes with these sizes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let kept = self.kept * (self.run * WIDTH + bytes_a_source(self.block));
        let in_work = (1 + 2 * self.sorting) * self.run * WIDTH;
        let files = self.files * (Spilled::bytes(self.buffer) + bytes_a_source(self.block));
        reader::BLOCK + kept + files + in_work + self.buffer * WIDTH
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_parts_fit_into_the_share(bytes in LEAST_SHARE..usize::MAX / 64, sorting in 1..9_usize) {
            let share = Share::new(bytes, sorting);
            prop_assert!(share.bytes() <= bytes, "{share:?} takes {} of {bytes}", share.bytes());
            prop_assert!(share.run >= 100 && share.kept >= 2 && share.files >= 2, "{share:?}");
        }
    }
}
