//! Sorting a chunk as a task: reading, sorting and merging are jobs on the loop's threads.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use picot::sync::Semaphore;
use picot::{Task, spawn_blocking};

use super::digest::Digest;
use super::input::Input;
use super::memory::{LEAST_SHARE, Share};
use super::progress::Progress;
use super::reader::Reader;
use super::run::sort_run;
use super::runs::Runs;

/// A chunk that was sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted {
    /// The file.
    pub name: String,
    /// What is kept of its integers.
    pub digest: Digest,
}

/// Sorts chunks concurrently, within a bound of memory.
#[derive(Debug)]
pub struct Sorter {
    /// How many chunks are in work: as many as there are processors. Streams are not counted: they
    /// may take any time to deliver, and must not hold back other chunks meanwhile.
    turns: Semaphore,
    share: Share,
    folder: PathBuf,
    /// How many threads the loop has to have for jobs.
    pub threads: usize,
}

impl Sorter {
    /// For these chunks, with `memory` bytes, `threads` threads and a folder for temporary files.
    ///
    /// # Errors
    /// If the memory is too little.
    pub fn new(inputs: &[Input], memory: usize, threads: usize, folder: PathBuf) -> Result<Rc<Sorter>, String> {
        let streams = inputs.iter().filter(|input| input.is_stream).count();
        let turns = threads.min(inputs.len() - streams);
        let chunks = (turns + streams).max(1);
        if memory / chunks < LEAST_SHARE {
            let least = chunks * LEAST_SHARE / 1024;
            return Err(format!(
                "--memory is too little to sort {chunks} chunks at a time; it takes at least {least}K"
            ));
        }
        // Few chunks have several runs in work each, so that all processors are.
        let share = Share::new(memory / chunks, threads.div_ceil(chunks));
        // A stream may hold the thread that reads it.
        Ok(Rc::new(Sorter { turns: Semaphore::new(turns), share, folder, threads: threads + streams }))
    }

    /// Sorts a chunk.
    ///
    /// # Errors
    /// What went wrong, in a line that names the file.
    ///
    /// # If dropped
    /// Jobs that run end soon, and drop what they have; but one that waits for a stream waits on.
    pub async fn sort(self: Rc<Sorter>, input: Input, progress: Arc<Progress>) -> Result<Sorted, String> {
        let _turn = if input.is_stream { None } else { Some(self.turns.acquire().await) };
        let name = input.name.clone();
        let mut runs = Runs::new(self.share, self.folder.clone());
        let mut sorting = VecDeque::new();

        let (most, chunk) = (self.share.run, progress.clone());
        let mut reader = job(&name, spawn_blocking(move || Reader::open(&input, chunk))).await??;
        loop {
            // While this job reads a run, others sort the ones before it.
            let reading = spawn_blocking(move || {
                let run = reader.run(most);
                (reader, run)
            });
            if sorting.len() == self.share.sorting {
                runs = add(&name, runs, sorting.pop_front()).await?;
            }
            let (back, run) = job(&name, reading).await?;
            let mut run = run?;
            if run.is_empty() {
                break;
            }
            reader = back;
            sorting.push_back(spawn_blocking(move || {
                sort_run(&mut run);
                run
            }));
        }
        while !sorting.is_empty() {
            runs = add(&name, runs, sorting.pop_front()).await?;
        }
        let digest = job(&name, spawn_blocking(move || runs.digest())).await?;
        let digest = digest.map_err(|error| format!("{name}: {error}"))?;
        progress.has_sorted();
        Ok(Sorted { name, digest })
    }
}

/// Adds a run when it is sorted; makes room for the next.
async fn add(name: &str, mut runs: Runs, sorting: Option<Task<Vec<i64>>>) -> Result<Runs, String> {
    let Some(sorting) = sorting else { return Ok(runs) };
    if runs.add(job(name, sorting).await?) {
        return Ok(runs);
    }
    let spilling = spawn_blocking(move || runs.spill().map(|()| runs));
    job(name, spilling).await?.map_err(|error| format!("{name}: {error}"))
}

/// Waits for a job.
async fn job<T>(name: &str, job: Task<T>) -> Result<T, String> {
    job.await.map_err(|error| format!("{name}: {error}"))
}
