//! Sockets over loopback, with real peers. All tests run on the portable path of the reactor as
//! well, with `--cfg polling_test_poll_backend`.

mod address;
#[cfg(unix)]
mod allocations;
mod auto_traits;
#[cfg(unix)]
mod broken_pipe;
mod closed;
mod connect;
mod data;
mod endings;
#[cfg(unix)]
mod forked;
#[cfg(unix)]
mod forked_halves;
mod gone;
mod group;
mod heartbeat;
#[cfg(target_os = "linux")]
mod marks;
mod memory;
mod names;
mod nothing;
mod protocol;
mod reader_model;
mod run;
mod send_file;
mod server;
mod sockets;
mod streams;
#[cfg(target_os = "linux")]
mod subjects;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
mod tls;
#[cfg(feature = "tokio-io")]
mod tokio_io;
mod trace;
mod udp;
#[cfg(unix)]
mod unix;
mod waiters;
mod wakers;
mod writing;

use std::io;

use picot_net::{TcpListener, TcpStream};
use run::run;

/// A connection within one loop.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}

/// A port of a host that only the test with this number binds, so that no other test takes the port
/// after the test has closed it. Where loopback is a single address, another test may take it.
fn alone(test: u8) -> String {
    let host = if cfg!(target_os = "linux") { test } else { 1 };
    format!("127.0.0.{host}:0")
}
