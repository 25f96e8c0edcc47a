//! Connections: echo by streams and by protocol, connects a second, bulk throughput, memory of idle
//! connections, and two loops against one, next to tokio, in one run. Run it by `cargo bench -p
//! picot-benches-peers --bench net`, with a part of a row's name after `--` to run only that.
//!
//! Each server runs in a process of its own, on one thread (but for the two loops), which this
//! program starts; the client is this process. So client and server share the machine: compare
//! figures of one run with each other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use picot_benches_peers::descriptors::raise;
use picot_benches_peers::net::{SERVERS, serve};
use picot_loop::{Instant, spawn};

const MESSAGE: usize = 64;
const PIECE: usize = 1 << 20;
const PIECES: usize = 512;
const CONNECTS: usize = 4_000;
const IDLE: usize = 10_000;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [flag, name] if flag == "--serve" => return serve(name),
        _ => {}
    }
    let filter = arguments.into_iter().find(|argument| !argument.starts_with('-')).unwrap_or_default();
    // For the servers, too. If it is not enough, the rows that need so many say so.
    let _ = raise(IDLE);
    let mut rows: Vec<(String, &str, Measure)> = Vec::new();
    for connections in [1, 64, 1_000, 10_000] {
        let measure: Measure = Box::new(move |server| echo(server, connections));
        rows.push((format!("echo, {connections} connections, round trips a second"), "echo", measure));
    }
    rows.push(("connects a second".to_string(), "echo", Box::new(connects)));
    rows.push(("1 MiB writes, MiB a second".to_string(), "send", Box::new(bulk)));
    rows.push(("resident bytes an idle connection".to_string(), "echo", Box::new(idle)));
    println!("| | {} |", SERVERS.map(|(name, _)| name).join(" | "));
    println!("|---|{}", "---:|".repeat(SERVERS.len()));
    for (title, kind, measure) in rows.iter().filter(|(title, ..)| title.contains(&filter)) {
        let mut best: [Option<io::Result<f64>>; SERVERS.len()] = [const { None }; SERVERS.len()];
        // In turn, and not one after the other: what else the machine does is of one moment.
        for _ in 0..RUNS {
            for ((name, _), best) in SERVERS.iter().zip(&mut best).filter(|((_, kinds), _)| kinds.contains(kind)) {
                let figure = Server::start(&format!("{name} {kind}")).and_then(|server| measure(&server));
                *best = Some(better(best.take(), figure, title.contains("resident")));
            }
        }
        let cells = best.map(|best| match best {
            None => "–".to_string(),
            Some(Ok(figure)) => format!("{figure:.0}"),
            Some(Err(error)) => error.to_string(),
        });
        println!("| {title} | {} |", cells.join(" | "));
    }
}

type Measure = Box<dyn Fn(&Server) -> io::Result<f64>>;

/// The better of two runs: the higher rate, or less memory. An error is worth telling.
fn better(known: Option<io::Result<f64>>, figure: io::Result<f64>, is_least: bool) -> io::Result<f64> {
    let (figure, known) = (figure?, known.transpose()?.unwrap_or(if is_least { f64::MAX } else { 0.0 }));
    Ok(if is_least { figure.min(known) } else { figure.max(known) })
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(["--serve", name]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Server { child, address })
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<f64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        Ok(kib.ok_or_else(|| io::Error::other("no VmRSS"))? * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Round trips a second over that many connections at once.
fn echo(server: &Server, connections: usize) -> io::Result<f64> {
    raise(connections)?;
    let round_trips = 200_000 / connections.max(10);
    let address = server.address;
    picot_loop::run(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            streams.push(picot_net::TcpStream::connect(address).await?);
        }
        let start = Instant::now();
        let clients: Vec<_> = streams.into_iter().map(|stream| spawn(client(stream, round_trips))).collect();
        for client in clients {
            client.await.map_err(io::Error::other)??;
        }
        Ok((connections * round_trips) as f64 / start.elapsed().as_secs_f64())
    })
}

async fn client(mut stream: picot_net::TcpStream, round_trips: usize) -> io::Result<()> {
    use futures_lite::AsyncReadExt;
    let (message, mut back) = ([7; MESSAGE], [0; MESSAGE]);
    for _ in 0..round_trips {
        stream.write_all(&message).await?;
        stream.read_exact(&mut back).await?;
    }
    Ok(())
}

/// Connections a second, each with one round trip, and ended by a reset, so that no port stays
/// taken.
fn connects(server: &Server) -> io::Result<f64> {
    let address = server.address;
    picot_loop::run(async move {
        let start = Instant::now();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                spawn(async move {
                    for _ in 0..CONNECTS / 8 {
                        let stream = picot_net::TcpStream::connect(address).await?;
                        stream.socket().set_linger(Some(Duration::ZERO))?;
                        client(stream, 1).await?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await.map_err(io::Error::other)??;
        }
        Ok(CONNECTS as f64 / start.elapsed().as_secs_f64())
    })
}

/// MiB a second that the server sends, in writes of one MiB.
fn bulk(server: &Server) -> io::Result<f64> {
    let mut stream = TcpStream::connect(server.address)?;
    let event_loop = picot_loop::EventLoop::new()?;
    let start = event_loop.handle().now();
    stream.write_all(&(PIECES as u64).to_le_bytes())?;
    let mut buffer = vec![0; 256 << 10];
    let mut received = 0;
    while received < PIECES * PIECE {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => received += read,
        }
    }
    let took = event_loop.handle().now() - start;
    Ok(PIECES as f64 / took.as_secs_f64())
}

/// What a connection costs that has had one round trip and then does nothing, of the server's
/// memory.
fn idle(server: &Server) -> io::Result<f64> {
    raise(IDLE)?;
    let connect = || {
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(&[7; MESSAGE])?;
        stream.read_exact(&mut [0; MESSAGE])?;
        io::Result::Ok(stream)
    };
    let first: Vec<_> = (0..100).map(|_| connect()).collect::<io::Result<_>>()?;
    let before = server.memory()?;
    let streams: Vec<_> = (0..IDLE).map(|_| connect()).collect::<io::Result<_>>()?;
    let after = server.memory()?;
    drop((first, streams));
    Ok((after - before) / IDLE as f64)
}
