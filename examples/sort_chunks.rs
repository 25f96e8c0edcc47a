//! The essay's program: sorts chunks of integers concurrently and waits for all of them, once with
//! `when`, once with `run_until_complete`.
//!
//! Usage: `sort_chunks [OPTIONS] [FILE…]`; `--help` lists the options. Each file is a chunk, with
//! one integer a line. Without files it makes eight chunks of 100 000 integers and sorts those.
//!
//! The two ways are here. How one chunk is read, sorted on other threads and merged within a bound
//! of memory is in `lib/chunks`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::env;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use picot::deferred::when_all;
use picot::task::JoinError;
use picot::{EventLoop, Promise, spawn};
use picot_examples::chunks::{Digest, Input, Options, Progress, Sorted, Sorter, USAGE};

/// A chunk that was sorted, or what went wrong, in a line that names the file.
type Outcome = Result<Sorted, String>;

/// The essay's first way: promises, and a callback when all of them are settled.
fn with_when(event_loop: &EventLoop, sorter: &Rc<Sorter>, chunks: &[Input]) -> Vec<Outcome> {
    let progress = start(event_loop, chunks);
    let promises = chunks.iter().map(|chunk| {
        let sorting = sorter.clone().sort(chunk.clone(), progress.clone());
        let promise = Promise::spawn(async { Ok::<Outcome, Infallible>(sorting.await) });
        let progress = progress.clone();
        promise.done(move |outcome| report(&progress, outcome));
        promise
    });
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let (collected, handle) = (outcomes.clone(), event_loop.handle());
    when_all(promises).done(move |outcomes| {
        collected.borrow_mut().clone_from(outcomes);
        handle.stop();
    });
    event_loop.run_forever().expect("the loop is open, and runs nowhere else");
    progress.finish();
    outcomes.take()
}

/// The essay's second way: tasks, and a loop that runs until they are complete.
fn with_run_until_complete(
    event_loop: &EventLoop,
    sorter: &Rc<Sorter>,
    chunks: &[Input],
) -> Result<Vec<Outcome>, JoinError> {
    let progress = start(event_loop, chunks);
    let outcomes = event_loop.run_until_complete(async {
        let sort = |chunk: &Input| spawn(sorter.clone().sort(chunk.clone(), progress.clone()));
        let tasks: Vec<_> = chunks.iter().map(sort).collect();
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await?);
        }
        Ok(outcomes)
    });
    progress.finish();
    outcomes.expect("nothing stops the loop")
}

fn main() -> ExitCode {
    let run = match Options::from_arguments(env::args_os()) {
        Ok(Some(options)) => run(options),
        Ok(None) => {
            println!("{USAGE}");
            Ok(true)
        }
        Err(error) => Err(io::Error::other(format!("{error}; see --help"))),
    };
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sort_chunks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sorts the chunks in the ways that are asked for. Returns whether everything went well.
fn run(options: Options) -> io::Result<bool> {
    let Options { files, when, tasks, memory, threads, temp } = options;
    let mut chunks: Vec<_> = files.into_iter().map(Input::at).collect();
    if chunks.is_empty() {
        chunks = (1..=8).map(|number| Input::make(number, 100_000, &temp)).collect::<io::Result<_>>()?;
    }
    if let Some(stream) = chunks.iter().find(|chunk| chunk.is_stream && when && tasks) {
        let error =
            format!("{}: no regular file, so it can be read only once; add --way when or --way tasks", stream.name);
        return Err(io::Error::other(error));
    }
    let count = chunks.len();
    let sorter = Sorter::new(&chunks, memory, threads, temp).map_err(io::Error::other)?;
    let event_loop = EventLoop::builder().blocking_threads(sorter.threads).build()?;

    let mut sorted = Vec::new();
    if when {
        let start = event_loop.handle().now();
        let outcomes = with_when(&event_loop, &sorter, &chunks);
        // A chunk that failed has been reported, and would fail again.
        let mut outcomes_of_chunks = outcomes.iter();
        chunks.retain(|_| outcomes_of_chunks.next().is_some_and(Result::is_ok));
        sorted = outcomes.into_iter().flatten().collect();
        summary("when", &sorted, event_loop.handle().now() - start);
    }
    if tasks {
        let start = event_loop.handle().now();
        let outcomes = with_run_until_complete(&event_loop, &sorter, &chunks).map_err(io::Error::other)?;
        if !when {
            outcomes.iter().for_each(|outcome| report(&Progress::default(), outcome));
        }
        let again: Vec<_> = outcomes.into_iter().flatten().collect();
        summary("run_until_complete", &again, event_loop.handle().now() - start);
        if when {
            let agree = sorted == again;
            println!("{}", if agree { "both agree" } else { "the two do not agree" });
            return Ok(agree && sorted.len() == count);
        }
        sorted = again;
    }
    Ok(sorted.len() == count)
}

/// Starts the progress bar, which is drawn on a terminal only.
fn start(event_loop: &EventLoop, chunks: &[Input]) -> Arc<Progress> {
    let progress = Progress::new(chunks);
    drop(event_loop.handle().spawn(progress.clone().draw())); // which detaches it
    progress
}

fn report(progress: &Progress, outcome: &Outcome) {
    progress.clear();
    match outcome {
        Ok(Sorted { name, digest: Digest { count, ends, .. } }) => match ends {
            Some((smallest, largest)) => {
                println!("{name}: {count} integers, the smallest {smallest}, the largest {largest}");
            }
            None => println!("{name}: no integers"),
        },
        Err(error) => eprintln!("sort_chunks: {error}"),
    }
}

fn summary(way: &str, chunks: &[Sorted], took: Duration) {
    let checksum = Digest::combined(chunks.iter().map(|chunk| chunk.digest));
    let count = chunks.len();
    println!("{way}: {count} chunks in {:.1} ms, checksum {checksum:016x}", took.as_secs_f64() * 1e3);
}
