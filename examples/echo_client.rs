//! Puts load on an echo server, and says how quick it is.
//!
//! Usage: `echo_client ADDR [--connections N] [--bytes B] [--seconds S]`. Each connection sends B
//! bytes (64 unless set), waits for them to come back, and begins again, for S seconds (5 unless
//! set). There are N of them at once (64 unless set).

use std::cell::Cell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use lexopt::prelude::*;
use picot::net::TcpStream;
use picot::time::Instant;
use picot::{EventLoop, sleep, spawn};
use picot_examples::round_trip;

/// How long an answer that is on its way at the end may take.
const GRACE: Duration = Duration::from_secs(5);

struct Options {
    address: String,
    connections: usize,
    bytes: usize,
    seconds: f64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("echo_client: {error}");
            eprintln!("usage: echo_client ADDR [--connections N] [--bytes B] [--seconds S]");
            return ExitCode::FAILURE;
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options { address: String::new(), connections: 64, bytes: 64, seconds: 5.0 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("connections") => options.connections = parser.value()?.parse()?,
            Long("bytes") => options.bytes = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Value(address) if options.address.is_empty() => options.address = address.string()?,
            other => return Err(other.unexpected()),
        }
    }
    let seconds = Duration::try_from_secs_f64(options.seconds);
    if options.address.is_empty() || options.connections == 0 || options.bytes == 0 || seconds.is_err() {
        return Err("an address is needed, at least one connection and one byte, and a time that has a length".into());
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let event_loop = EventLoop::new()?;
    let took = event_loop.run_until_complete(load(options))??;
    let Some(figures) = Figures::of(took) else { return Err("no round trip was completed".into()) };
    println!(
        "{:.0} round trips a second, p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs",
        figures.count as f64 / options.seconds,
        figures.p50.as_secs_f64() * 1e6,
        figures.p99.as_secs_f64() * 1e6,
        figures.max.as_secs_f64() * 1e6,
    );
    Ok(())
}

/// Connects, lets all connections work, and returns how long each round trip has taken.
async fn load(options: &Options) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut streams = Vec::new();
    for _ in 0..options.connections {
        let stream = TcpStream::connect(options.address.as_str()).await;
        streams.push(stream.map_err(|error| error.to_string())?);
    }
    let is_over = Rc::new(Cell::new(false));
    let workers: Vec<_> =
        streams.into_iter().map(|stream| spawn(work(stream, options.bytes, is_over.clone()))).collect();
    sleep(Duration::from_secs_f64(options.seconds)).await;
    is_over.set(true);

    let late = spawn(sleep(GRACE));
    let mut took = Vec::new();
    for worker in workers {
        while !worker.is_finished() && !late.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        match worker.cancel_and_wait("the client has ended").await {
            Some(result) => took.extend(result??),
            None => return Err(format!("an answer has not come within {GRACE:?}").into()),
        }
    }
    Ok(took)
}

/// One connection: round trip after round trip.
async fn work(mut stream: TcpStream, bytes: usize, is_over: Rc<Cell<bool>>) -> std::io::Result<Vec<Duration>> {
    let (message, mut answer) = (vec![b'x'; bytes], vec![0; bytes]);
    let mut took = Vec::new();
    while !is_over.get() {
        let start = Instant::now();
        round_trip(&mut stream, &message, &mut answer).await?;
        took.push(start.elapsed());
    }
    Ok(took)
}

struct Figures {
    count: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Figures {
    fn of(mut took: Vec<Duration>) -> Option<Figures> {
        took.sort_unstable();
        let max = *took.last()?;
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        Some(Figures { count: took.len(), p50: at(0.5), p99: at(0.99), max })
    }
}
