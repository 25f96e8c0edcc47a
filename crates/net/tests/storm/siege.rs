//! The storm for a minute, with 10 000 connections that never send: healthy clients are served as
//! without the storm, and nothing is left. Ignored by default:
//!
//! ```sh
//! ulimit -n 20000; cargo test --release -p picot-net --test storm -- --ignored --nocapture siege
//! ```
//!
//! The clients run in a second process of this program, because both ends together need more
//! descriptors than one process may have. That process reports its progress over a connection of
//! its own, line by line.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use picot_loop::{Instant, LoopHandle, sleep, spawn, yield_now};
use picot_net::{Reader, Server, TcpListener, TcpStream};

use crate::run::run;
use crate::{Echo, alone, descriptors, echo, half_closes, one_byte_at_a_time, resets};

/// Connections that never send.
const HELD: usize = 10_000;

/// The number of healthy clients, and the period of their round trips.
const HEALTHY: usize = 100;
const PERIOD: Duration = Duration::from_millis(20);

/// The number of hostile peers of each kind.
const EACH: usize = 25;

const QUIET: Duration = Duration::from_secs(10);
const STORM: Duration = Duration::from_secs(60);

/// The addresses of the server and of the reporting connection.
const ADDRESSES: &str = "PICOT_SIEGE";

/// The side of the clients; the tests start it.
#[test]
#[ignore = "started by the tests below"]
fn clients() {
    let Ok(addresses) = std::env::var(ADDRESSES) else { return };
    let (server, teller) = addresses.split_once(' ').unwrap();
    let (server, teller): (SocketAddr, SocketAddr) = (server.parse().unwrap(), teller.parse().unwrap());
    run(async move {
        let teller = TcpStream::connect(teller).await?;
        let quiet = healthy(server, QUIET).await?;
        let mut held = Vec::with_capacity(HELD);
        for _ in 0..HELD {
            held.push(TcpStream::connect(server).await?);
        }
        teller.write_all(format!("held {}\n", held.len()).as_bytes()).await?;
        let until = Instant::now() + STORM;
        let count = Rc::new(Cell::new(0));
        let mut hostile = Vec::new();
        for _ in 0..EACH {
            hostile.push(spawn(again(until, count.clone(), move || resets(server))));
            hostile.push(spawn(again(until, count.clone(), move || half_closes(server))));
            hostile.push(spawn(again(until, count.clone(), move || one_byte_at_a_time(server))));
            hostile.push(spawn(again(until, count.clone(), move || reads_slowly(server, until))));
        }
        let storm = healthy(server, STORM).await?;
        for task in hostile {
            task.await.unwrap()?;
        }
        drop(held);
        let text = format!("p99 {} {}\nhostile {}\n", quiet.as_micros(), storm.as_micros(), count.get());
        teller.write_all(text.as_bytes()).await
    });
}

/// Repeats it until that time, and counts how often.
async fn again<F: Future<Output = io::Result<()>>>(
    until: Instant,
    count: Rc<Cell<usize>>,
    peer: impl Fn() -> F,
) -> io::Result<()> {
    while Instant::now() < until {
        peer().await?;
        count.set(count.get() + 1);
        // Peers that run at full speed would leave no processor time to measure with.
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Sends until the socket is full, for a second, and reads some bytes from time to time.
async fn reads_slowly(server: SocketAddr, until: Instant) -> io::Result<()> {
    let stream = TcpStream::connect(server).await?;
    let sending = async {
        loop {
            stream.write_all(&[3; 65_536]).await?;
        }
    };
    let reading = async {
        let until = until.min(Instant::now() + Duration::from_secs(1));
        while Instant::now() < until {
            (&stream).read_exact(&mut [0; 100]).await?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    futures_lite::future::or(reading, sending).await
}

/// The 99th percentile of the round trips while all healthy clients run.
async fn healthy(server: SocketAddr, time: Duration) -> io::Result<Duration> {
    let until = Instant::now() + time;
    let times = Rc::new(RefCell::new(Vec::new()));
    let clients: Vec<_> = (0..HEALTHY)
        .map(|n| {
            let times = times.clone();
            spawn(async move {
                let mut stream = TcpStream::connect(server).await?;
                sleep(PERIOD * n as u32 / HEALTHY as u32).await;
                while Instant::now() < until {
                    let start = Instant::now();
                    stream.write_all(&[n as u8; 64]).await?;
                    let mut back = [0; 64];
                    stream.read_exact(&mut back).await?;
                    times.borrow_mut().push(Instant::now() - start);
                    assert_eq!(back, [n as u8; 64]);
                    sleep(PERIOD).await;
                }
                io::Result::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap()?;
    }
    let mut times = times.take();
    times.sort();
    Ok(times[times.len() * 99 / 100])
}

struct Clients(Child);

impl Clients {
    fn start(server: SocketAddr, teller: SocketAddr) -> io::Result<Clients> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "siege::clients", "--ignored"]).env(ADDRESSES, format!("{server} {teller}"));
        Ok(Clients(command.spawn()?))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory, in KiB.
fn resident() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.parse().ok()).ok_or_else(|| io::Error::other("no VmRSS"))
}

/// The holdings of a server: descriptors, tasks, timers and sources.
async fn holdings() -> (usize, usize, u64, u64) {
    // The loop updates these figures when it waits.
    sleep(Duration::from_millis(20)).await;
    let handle = LoopHandle::current();
    let snapshot = handle.metrics().snapshot();
    (descriptors(), handle.tasks().len(), snapshot.timers, snapshot.sources)
}

/// The next line of the clients' report, split into words.
async fn line(lines: &mut Reader<TcpStream>) -> io::Result<Vec<String>> {
    let line = lines.read_line().await?.ok_or_else(|| io::Error::other("the clients have failed"))?;
    Ok(line.split(' ').map(str::to_string).collect())
}

async fn siege(name: &str, server: Server) -> io::Result<()> {
    let (before, memory) = (holdings().await, resident()?);
    let teller = TcpListener::bind("127.0.0.1:0").await?;
    let clients = Clients::start(server.local_addrs()[0], teller.local_addr()?)?;
    let (stream, _) = teller.accept().await?;
    let mut lines = Reader::new(stream);
    assert_eq!(line(&mut lines).await?, ["held", &HELD.to_string()]);
    while server.clients() < HELD {
        yield_now().await;
    }
    let per = (resident()? - memory) * 1024 / HELD;
    println!("{name}: {HELD} held, {} KiB resident, {per} bytes more for each of them", resident()?);
    let p99 = line(&mut lines).await?;
    println!("{name}: {} KiB resident at the end of the storm", resident()?);
    println!("{name}: p99 of the healthy in microseconds: {} in quiet, {} in the storm", p99[1], p99[2]);
    println!("{name}: {} hostile peers came and went", line(&mut lines).await?[1]);
    while server.clients() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    drop((lines, teller, clients));
    let after = holdings().await;
    println!("{name}: descriptors, tasks, timers and sources: {before:?} before, {after:?} after");
    assert_eq!(before, after);
    let [quiet, storm] = [&p99[1], &p99[2]].map(|time| time.parse::<u64>().unwrap());
    assert!(storm <= 10 * quiet, "{storm} µs in the storm, {quiet} µs in quiet");
    Ok(())
}

#[test]
#[ignore = "takes more than a minute, and 10 000 descriptors"]
fn by_protocol() {
    alone(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?;
        siege("protocol", server).await
    });
}

#[test]
#[ignore = "takes more than a minute, and 10 000 descriptors"]
fn by_streams() {
    alone(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.serve(|stream, _| async move {
            // A hostile peer is not an error of the server.
            let _ = echo(stream).await;
            Ok(())
        })?;
        siege("streams", server).await
    });
}
