//! HTTP: processor time a request of the server's thread, and memory of idle connections, next to
//! hyper on tokio, in one run. Run it by `cargo bench -p picot-benches-peers --bench http`, with a
//! part of a row's name after `--` to run only that.
//!
//! Each server is a process of its own with one thread, which this program starts; the client is
//! this process. On Linux, server and client run on a processor each. The servers take turns, and a
//! cell is the least of several runs: other work on the machine makes caches cold.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::http2::{self, SendRequest};
use picot_benches_peers::descriptors::raise;
use picot_benches_peers::http::{ANSWER, CPU_TIME, SERVERS, serve};
use picot_hyper::{Io, LoopExecutor};
use picot_loop::spawn;

const REQUESTS: usize = 60_000;
const IDLE: usize = 5_000;
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
    pin(0, 1);
    let mut rows: Vec<(String, Measure)> = Vec::new();
    for connections in [1, 64, 1_000] {
        let measure: Measure = Box::new(move |server| http1(server, connections));
        rows.push((format!("HTTP/1, {connections} connections, ns a request"), measure));
    }
    for streams in [1, 64] {
        let measure: Measure = Box::new(move |server| http2(server, streams));
        rows.push((format!("HTTP/2, {streams} streams of one connection, ns a request"), measure));
    }
    rows.push(("resident bytes an idle connection".to_string(), Box::new(idle)));
    println!("| | {} |", SERVERS.join(" | "));
    println!("|---|{}", "---:|".repeat(SERVERS.len()));
    for (title, measure) in rows.iter().filter(|(title, _)| title.contains(&filter)) {
        let mut least: [io::Result<f64>; SERVERS.len()] = [const { Ok(f64::MAX) }; SERVERS.len()];
        for _ in 0..RUNS {
            for (name, least) in SERVERS.iter().zip(&mut least) {
                let figure = Server::start(name).and_then(|server| measure(&server));
                *least = match (&least, figure) {
                    (Ok(known), Ok(figure)) => Ok(known.min(figure)),
                    (_, figure) => figure,
                };
            }
        }
        let cells = least.map(|figure| figure.map_or_else(|error| error.to_string(), |figure| format!("{figure:.0}")));
        println!("| {title} | {} |", cells.join(" | "));
    }
}

type Measure = Box<dyn Fn(&Server) -> io::Result<f64>>;

/// Lets a process run on one processor only: 0 is this one.
#[cfg(target_os = "linux")]
fn pin(process: u32, processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    // With one processor, it stays as it is.
    let _ = rustix::thread::sched_setaffinity(rustix::process::Pid::from_raw(process as i32), &set);
}

#[cfg(not(target_os = "linux"))]
fn pin(_: u32, _: usize) {}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(["--serve", name]).stdout(Stdio::piped()).spawn()?;
        pin(child.id(), 0);
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Server { child, address })
    }

    /// The processor time of the server's thread, in nanoseconds.
    fn time(&self) -> io::Result<f64> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {CPU_TIME} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        answer[answer.len() - ANSWER..].parse().map_err(io::Error::other)
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

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n\r\n";

/// Requests over that many connections at once.
fn http1(server: &Server, connections: usize) -> io::Result<f64> {
    raise(connections)?;
    let each = REQUESTS / connections;
    let address = server.address;
    picot_loop::run(async move {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let mut stream = picot_net::TcpStream::connect(address).await?;
            // Not measured: making the connection, and the first request, whose length is learned.
            let length = first(&mut stream).await?;
            streams.push((stream, length));
        }
        let before = server.time()?;
        let clients: Vec<_> = streams.into_iter().map(|(stream, length)| spawn(client(stream, length, each))).collect();
        let mut streams = Vec::new();
        for client in clients {
            streams.push(client.await.map_err(io::Error::other)??);
        }
        let time = (server.time()? - before) / (each * connections) as f64;
        drop(streams);
        Ok(time)
    })
}

/// The length of the answer.
async fn first(stream: &mut picot_net::TcpStream) -> io::Result<usize> {
    stream.write_all(REQUEST).await?;
    let (mut buffer, mut length) = ([0; 1024], 0);
    while !buffer[..length].ends_with(b"Hello, world!") {
        match stream.read(&mut buffer[length..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    Ok(length)
}

async fn client(stream: picot_net::TcpStream, length: usize, requests: usize) -> io::Result<picot_net::TcpStream> {
    let mut buffer = [0; 1024];
    for _ in 0..requests {
        stream.write_all(REQUEST).await?;
        let mut received = 0;
        while received < length {
            match stream.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => received += read,
            }
        }
    }
    Ok(stream)
}

/// Requests over that many streams of one connection at once.
fn http2(server: &Server, streams: usize) -> io::Result<f64> {
    let each = REQUESTS / streams.max(2);
    let address = server.address;
    picot_loop::run(async move {
        let stream = picot_net::TcpStream::connect(address).await?;
        let (sender, connection) = http2::handshake(LoopExecutor, Io::new(stream)).await.map_err(io::Error::other)?;
        drop(spawn(async move {
            let _ = connection.await;
        }));
        stream_requests(sender.clone(), address, 1).await?;
        let before = server.time()?;
        let clients: Vec<_> = (0..streams).map(|_| spawn(stream_requests(sender.clone(), address, each))).collect();
        for client in clients {
            client.await.map_err(io::Error::other)??;
        }
        Ok((server.time()? - before) / (each * streams) as f64)
    })
}

async fn stream_requests(mut sender: SendRequest<Full<Bytes>>, address: SocketAddr, count: usize) -> io::Result<()> {
    for _ in 0..count {
        let request = Request::get(format!("http://{address}/hello")).body(Full::default()).unwrap();
        let mut body = sender.send_request(request).await.map_err(io::Error::other)?.into_body();
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
            if frame.transpose().map_err(io::Error::other)?.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The resident bytes of a connection that had one request.
fn idle(server: &Server) -> io::Result<f64> {
    raise(IDLE)?;
    let connect = || {
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(REQUEST)?;
        let (mut buffer, mut length) = ([0; 1024], 0);
        while !buffer[..length].ends_with(b"Hello, world!") {
            length += stream.read(&mut buffer[length..])?;
        }
        io::Result::Ok(stream)
    };
    let first: Vec<_> = (0..100).map(|_| connect()).collect::<io::Result<_>>()?;
    let before = server.memory()?;
    let streams: Vec<_> = (0..IDLE).map(|_| connect()).collect::<io::Result<_>>()?;
    let after = server.memory()?;
    drop((first, streams));
    Ok((after - before) / IDLE as f64)
}
