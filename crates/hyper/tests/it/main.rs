//! Servers and clients over loopback, with peers that speak HTTP by hand where it matters.

mod bodies;
#[cfg(feature = "client")]
mod client;
mod end;
mod io;
mod limits;
mod messages;
mod server;
mod timer;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
mod tls;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use picot_context::Cause;
use picot_hyper::{Body, BoxError, Io, LoopExecutor};
use picot_loop::{EventLoop, LoopHandle, VirtualClock, spawn, yield_now};
use picot_net::{TcpListener, TcpStream};

type Reports = Rc<RefCell<Vec<String>>>;

/// Runs a test on a loop of its own. A report that the test does not take fails it. Nothing may be
/// left at the end, after the turns in which dropped servers end.
fn run(test: impl AsyncFnOnce(Reports)) {
    run_on(EventLoop::builder(), test);
}

/// As [`run`], under a virtual clock: time passes when there is nothing else to do.
fn run_virtual(test: impl AsyncFnOnce(Reports)) {
    run_on(EventLoop::builder().clock(&VirtualClock::new()), test);
}

fn run_on(builder: picot_loop::Builder, test: impl AsyncFnOnce(Reports)) {
    let event_loop = builder.build().unwrap();
    let reports = Reports::default();
    let notes = reports.clone();
    event_loop.handle().set_error_hook(move |report| {
        // A busy machine can cause a slow step anywhere.
        if !matches!(report.cause, Cause::SlowStep(..)) {
            notes.borrow_mut().push(report.to_string());
        }
    });
    event_loop.run_until_complete(test(reports.clone())).unwrap();
    let turns = async {
        for _ in 0..10_000 {
            // The root of this run is not among the tasks.
            if LoopHandle::current().tasks().is_empty() {
                break;
            }
            yield_now().await;
        }
    };
    event_loop.run_until_complete(turns).unwrap();
    assert_eq!(*reports.borrow(), [""; 0], "reports that the test does not expect");
    let report = event_loop.close().unwrap();
    assert_eq!((report.tasks.len(), report.sources, report.leaked), (0, 0, 0), "{report:?}");
}

/// Runs other tasks until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Answers with the method, the path and the length of the request's body.
async fn describe(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let length = body.bytes(1 << 20).await?.len();
    Ok(Response::new(format!("{} {} {length}", head.method, head.uri.path()).into()))
}

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new("hello".into()))
}

/// A client that speaks HTTP/1 by hand.
struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.unwrap(), received: Vec::new() }
    }

    async fn send(&self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Receives more; false at the end of the stream, also at a reset.
    async fn receive(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let length = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..length]);
        length > 0
    }

    /// Receives a response with a content length, and returns its status and body.
    async fn response(&mut self) -> (u16, String) {
        loop {
            let text = String::from_utf8(self.received.clone()).unwrap();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.unwrap_or_else(|| panic!("{head:?} has no length")).parse().unwrap();
                if rest.len() >= length {
                    self.received = rest.as_bytes()[length..].to_vec();
                    return (head[9..12].parse().unwrap(), rest[..length].to_string());
                }
            }
            assert!(self.receive().await, "the connection ended after {text:?}");
        }
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.response().await
    }

    /// Receives until the connection ends, and returns everything.
    async fn rest(mut self) -> String {
        while self.receive().await {}
        String::from_utf8(self.received).unwrap()
    }
}

type Http2 = SendRequest<Full<Bytes>>;

/// Connects with HTTP/2, by hyper's client. The connection lives in a task of its own.
async fn connect_http2(address: SocketAddr) -> Http2 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(LoopExecutor, Io::new(stream)).await.unwrap();
    drop(spawn(async move {
        let _ = connection.await;
    }));
    sender
}

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("http://a{path}")).body(Full::from(body)).unwrap()
}

async fn text(response: hyper::Result<Response<Incoming>>) -> String {
    Body::from(response.unwrap().into_body()).text(1 << 20).await.unwrap()
}

/// The names of the tasks that are not done.
fn tasks() -> Vec<String> {
    LoopHandle::current().tasks().iter().map(ToString::to_string).collect()
}
