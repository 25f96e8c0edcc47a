//! The sorted runs of one chunk: kept in memory as far as its share goes, else in files.

use std::io;
use std::path::PathBuf;

use super::digest::Digest;
use super::memory::Share;
use super::merge::{InMemory, Sorted, merge_all};
use super::spill::Spilled;

/// Sorted runs, to be merged when all are there.
#[derive(Debug)]
pub(super) struct Runs {
    share: Share,
    folder: PathBuf,
    kept: Vec<Vec<i64>>,
    /// Files by level: a file of one level is merged from as many of the level below as may be read
    /// at a time. So each integer is written once a level, and the levels are few.
    files: Vec<Vec<Spilled>>,
}

impl Runs {
    /// No runs yet. Files go into `folder`.
    pub(super) fn new(share: Share, folder: PathBuf) -> Runs {
        Runs { share, folder, kept: Vec::new(), files: Vec::new() }
    }

    /// Adds a sorted run. Returns whether there is room for another one in memory; if not,
    /// [`spill`](Runs::spill) makes it.
    pub(super) fn add(&mut self, run: Vec<i64>) -> bool {
        self.kept.push(run);
        self.kept.len() < self.share.kept
    }

    /// Moves the runs in memory to a file. Blocks.
    ///
    /// # Errors
    /// If a file cannot be made, written or read: the error names the folder.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let kept = self.kept.drain(..).map(in_memory).collect();
        let mut file = self.write(kept)?;
        for level in 0.. {
            if level == self.files.len() {
                self.files.push(Vec::new());
            }
            self.files[level].push(file);
            if self.files[level].len() < self.share.files {
                break;
            }
            let full = std::mem::take(&mut self.files[level]);
            file = self.write(self.sources(full))?;
        }
        Ok(())
    }

    /// Merges all runs. Blocks.
    ///
    /// # Errors
    /// As [`spill`](Runs::spill).
    pub(super) fn digest(mut self) -> io::Result<Digest> {
        // The small ones first: they are the cheapest to write once more.
        let mut files: Vec<_> = std::mem::take(&mut self.files).into_iter().flatten().collect();
        while files.len() > self.share.files {
            let rest = files.split_off(self.share.files);
            let merged = self.write(self.sources(files))?;
            files = rest;
            files.push(merged);
        }
        let mut sources = self.sources(files);
        sources.extend(self.kept.drain(..).map(in_memory));
        let mut all = merge_all(sources, self.share.block);
        let mut digest = Digest::default();
        loop {
            let numbers = all.next()?;
            let count = numbers.len();
            if count == 0 {
                return Ok(digest);
            }
            digest.extend(numbers);
            all.advance(count);
        }
    }

    fn write(&self, sources: Vec<Box<dyn Sorted>>) -> io::Result<Spilled> {
        Spilled::write(&mut *merge_all(sources, self.share.block), &self.folder, self.share.buffer)
    }

    fn sources(&self, files: Vec<Spilled>) -> Vec<Box<dyn Sorted>> {
        let reading = |file: Spilled| -> Box<dyn Sorted> { Box::new(file.reading(self.share.buffer)) };
        files.into_iter().map(reading).collect()
    }
}

fn in_memory(run: Vec<i64>) -> Box<dyn Sorted> {
    Box::new(InMemory::new(run))
}

#[cfg(test)]
mod tests {
    use std::env;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// With sizes far below any that a share has, so that few integers take several levels.
        #[test]
        fn runs_that_are_spilled_and_merged_in_any_way_are_what_sorting_all_gives(
            runs in prop::collection::vec(prop::collection::vec(-1000..1000_i64, 1..30), 0..60),
            kept in 1..5_usize, files in 2..5_usize, buffer in 1..9_usize, block in 1..9_usize,
        ) {
            let share = Share { sorting: 1, run: 30, block, kept, buffer, files };
            let mut all = runs.concat();
            all.sort_unstable();
            let mut expected = Digest::default();
            expected.extend(&all);

            let mut merged = Runs::new(share, env::temp_dir());
            for mut run in runs {
                run.sort_unstable();
                if !merged.add(run) {
                    merged.spill().unwrap();
                }
                prop_assert!(merged.kept.len() < kept, "as many are in memory as may be");
                prop_assert!(merged.files.iter().all(|level| level.len() < files), "and as many files");
            }
            prop_assert_eq!(merged.digest().unwrap(), expected);
        }
    }
}
