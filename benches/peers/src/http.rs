//! HTTP servers for the bench of the same name: hyper on tokio's current-thread runtime in its
//! usual setup, and picot-hyper with its defaults. Both answer each request with the same bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};

/// The servers by name.
pub const SERVERS: [&str; 3] = ["picot-hyper", "tokio", "tokio, no time-outs"];

/// The path whose answer is the processor time of the server's thread, in nanoseconds.
pub const CPU_TIME: &str = "/cpu";

/// The length of all other answers' bodies.
pub const ANSWER: usize = 13;

/// Serves as `name` until the process is killed. The first line on standard output is the address.
pub fn serve(name: &str) {
    match name {
        "picot-hyper" => picot_loop::run(picot()),
        "tokio" => tokio_server::run(true),
        "tokio, no time-outs" => tokio_server::run(false),
        other => panic!("there is no server {other:?}"),
    }
}

fn tell(address: SocketAddr) {
    println!("{address}");
}

/// The time that this thread has run, user and system.
#[cfg(target_os = "linux")]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
fn thread_time() -> Duration {
    Duration::ZERO
}

fn answer(path: &str) -> Response<Full<Bytes>> {
    if path == CPU_TIME {
        // Padded, so that its length is known.
        return Response::new(Full::from(format!("{:013}", thread_time().as_nanos())));
    }
    Response::new(Full::from("Hello, world!"))
}

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(answer(request.uri().path()))
}

async fn picot() {
    let listener = picot_net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = picot_hyper::HttpServer::builder().max_connections(100_000);
    let server = builder
        .serve(
            listener,
            service_fn(|request: Request<picot_hyper::Body>| async move {
                Ok::<_, Infallible>(answer(request.uri().path()))
            }),
        )
        .unwrap();
    tell(server.local_addrs()[0]);
    server.wait_closed().await;
}

mod tokio_server {
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    use hyper_util::server::conn::auto;

    use super::*;

    pub(super) fn run(has_timeouts: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(has_timeouts));
    }

    async fn serve(has_timeouts: bool) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell(listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let io = TokioIo::new(stream);
            tokio::spawn(async move {
                // As hyper's examples do it for both protocols on one port.
                let mut builder = auto::Builder::new(TokioExecutor::new());
                if has_timeouts {
                    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
                    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
                }
                let _ = builder.serve_connection_with_upgrades(io, service_fn(handle)).await;
            });
        }
    }
}
