//! The essay's program: sorts chunks of integers concurrently and waits for all of them, once with
//! `when`, once with `run_until_complete`.
//!
//! Usage: `sort_chunks [FILE…]`. Each file is a chunk, with one integer a line. Without files it
//! makes eight chunks of 100 000 integers in a temporary folder and sorts those.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use std::{env, io, process, str};

use picot::deferred::when_all;
use picot::task::JoinError;
use picot::{EventLoop, Promise, spawn, spawn_blocking};
use picot_examples::{pseudo_random, sort};

/// One file's integers, as they were read and sorted. What went wrong is told in a line that names
/// the file.
#[derive(Debug)]
struct Chunk {
    name: String,
    unsorted: Rc<Vec<i64>>,
    sorted: Vec<i64>,
}

type Outcome = Rc<Result<Chunk, String>>;

fn main() -> ExitCode {
    let files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let result = if files.is_empty() { with_made_chunks(run) } else { run(&files) };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sort_chunks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sorts the chunks in both ways. Returns whether everything went well.
fn run(files: &[PathBuf]) -> io::Result<bool> {
    // A thread for each file: one that is slow to deliver, such as a FIFO, holds back only its own
    // chunk.
    let event_loop = EventLoop::builder().blocking_threads(files.len()).build()?;
    let outcomes = with_when(&event_loop, files);
    let again = with_run_until_complete(&event_loop, &outcomes).map_err(io::Error::other)?;

    let chunks: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().as_ref().ok()).collect();
    let agree = chunks.len() == again.len() && chunks.iter().zip(&again).all(|(chunk, again)| chunk.sorted == *again);
    println!("{}", if agree { "both agree" } else { "the two do not agree" });
    Ok(agree && chunks.len() == files.len())
}

/// The essay's first way: promises, and a callback when all of them are settled.
fn with_when(event_loop: &EventLoop, files: &[PathBuf]) -> Vec<Outcome> {
    let handle = event_loop.handle();
    let start = handle.now();
    let chunks = files.iter().map(|file| {
        let sorting = read_and_sort(file.clone());
        let promise = Promise::spawn(async { Ok::<Outcome, Infallible>(Rc::new(sorting.await)) });
        promise.done(report);
        promise
    });
    let all = when_all(chunks);
    let outcomes = Rc::new(std::cell::RefCell::new(Vec::new()));
    let (collected, stop) = (outcomes.clone(), event_loop.handle());
    all.done(move |outcomes| {
        collected.borrow_mut().clone_from(outcomes);
        stop.stop();
    });
    event_loop.run_forever().expect("the loop is open, and runs nowhere else");
    summary("when", outcomes.borrow().iter().filter(|outcome| outcome.is_ok()).count(), handle.now() - start);
    outcomes.take()
}

/// The essay's second way: tasks, and a loop that runs until they are complete.
fn with_run_until_complete(event_loop: &EventLoop, outcomes: &[Outcome]) -> Result<Vec<Vec<i64>>, JoinError> {
    let handle = event_loop.handle();
    let start = handle.now();
    let sorted = event_loop.run_until_complete(async {
        let chunks = outcomes.iter().filter_map(|outcome| outcome.as_ref().as_ref().ok());
        let tasks: Vec<_> = chunks.map(|chunk| spawn(sort(chunk.unsorted.to_vec()))).collect();
        let mut sorted = Vec::new();
        for task in tasks {
            sorted.push(task.await?);
        }
        Ok(sorted)
    });
    let sorted = sorted.expect("nothing stops the loop")?;
    summary("run_until_complete", sorted.len(), handle.now() - start);
    Ok(sorted)
}

fn report(outcome: &Outcome) {
    match outcome.as_ref() {
        Ok(Chunk { name, sorted, .. }) => match (sorted.first(), sorted.last()) {
            (Some(first), Some(last)) => {
                println!("{name}: {} integers, the smallest {first}, the largest {last}", sorted.len());
            }
            _ => println!("{name}: no integers"),
        },
        Err(error) => eprintln!("sort_chunks: {error}"),
    }
}

fn summary(way: &str, chunks: usize, took: Duration) {
    println!("{way}: {chunks} chunks in {:.1} ms", took.as_secs_f64() * 1e3);
}

async fn read_and_sort(file: PathBuf) -> Result<Chunk, String> {
    let name = file.display().to_string();
    let read = spawn_blocking(move || read(&file)).await.map_err(|error| error.to_string())?;
    let unsorted = Rc::new(read?);
    let sorted = sort(unsorted.to_vec()).await;
    Ok(Chunk { name, unsorted, sorted })
}

/// Reads a file on a thread of its own, as this may block.
fn read(file: &Path) -> Result<Vec<i64>, String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let mut reader = BufReader::new(File::open(file).map_err(failed)?);
    let (mut numbers, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let number = text.trim().parse().map_err(|error| {
            format!("{}:{}: {:?} is no integer: {error}", file.display(), numbers.len() + 1, text.trim())
        })?;
        numbers.push(number);
        line.clear();
    }
    Ok(numbers)
}

/// Makes eight chunks of 100 000 integers, and removes them afterwards.
fn with_made_chunks(run: impl FnOnce(&[PathBuf]) -> io::Result<bool>) -> io::Result<bool> {
    let folder = env::temp_dir().join(format!("sort_chunks-{}", process::id()));
    fs::create_dir(&folder)?;
    let files: Vec<_> = (1..=8).map(|n| folder.join(format!("chunk-{n}.txt"))).collect();
    let made = files.iter().zip(1..).try_for_each(|(file, seed)| {
        let mut file = io::BufWriter::new(File::create(file)?);
        pseudo_random(seed, 100_000).iter().try_for_each(|number| writeln!(file, "{number}"))?;
        file.flush()
    });
    let result = made.and_then(|()| run(&files));
    fs::remove_dir_all(&folder)?;
    result
}
