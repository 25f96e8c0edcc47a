//! Sockets over loopback, with real peers. Everything runs on the portable reactor path as well, under
//! `--cfg polling_test_poll_backend`.

mod address;
mod connect;
mod data;
mod group;
mod memory;
mod protocol;
mod send_file;
mod server;
mod sockets;
mod storm;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod udp;
#[cfg(unix)]
mod unix;

use std::io;

use picot_net::{TcpListener, TcpStream};

/// Runs a test on a loop of its own; an error of I/O fails it. Nothing may be left, but for a few turns in which servers and
/// sets of connections end that the test has dropped.
fn run(test: impl Future<Output = io::Result<()>>) {
    let event_loop = picot_loop::EventLoop::new().unwrap();
    event_loop.run_until_complete(test).unwrap().unwrap();
    event_loop
        .run_until_complete(async {
            for _ in 0..10 {
                picot_loop::yield_now().await;
            }
        })
        .unwrap();
    let report = event_loop.close().unwrap();
    assert_eq!((report.tasks.len(), report.sources, report.leaked), (0, 0, 0), "{report:?}");
}

/// A connection within one loop.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}
