//! Every future that completes at once spends the budget of its task, so that a loop around it lets
//! other tasks run.

use std::cell::Cell;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;

use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt};
use picot_context::budget;
use picot_loop::{spawn, yield_now};
use picot_net::{Connections, Reader, Server, TcpListener, TcpStream, UdpSocket, Writer, duplex, lookup, start_server};

use crate::trace::{Trace, soon};
use crate::{alone, pair, run};

/// Many more operations than one budget allows.
const MANY: usize = 2_000;

/// Repeats `operation` beside a task that counts its turns.
async fn beside_a_heartbeat(name: &str, mut operation: impl AsyncFnMut() -> io::Result<()>) -> io::Result<()> {
    let beats = Rc::new(Cell::new(0));
    let heart = spawn({
        let beats = beats.clone();
        async move {
            loop {
                beats.set(beats.get() + 1);
                yield_now().await;
            }
        }
    })
    .cancel_on_drop();
    yield_now().await;
    let begin = beats.get();
    let mut count = 0;
    while beats.get() < begin + 3 {
        soon(operation()).await?;
        count += 1;
        assert!(count < MANY, "{name} occupies the loop");
    }
    drop(heart);
    // Until the heartbeat has stopped.
    yield_now().await;
    Ok(())
}

macro_rules! beside_a_heartbeat {
    ($($name:literal: $operation:expr;)*) => {$(
        beside_a_heartbeat($name, async || {
            let _ = $operation;
            Ok(())
        })
        .await?;
    )*};
}

/// A stream from which `bytes` and then the end can be read.
async fn fed(bytes: &[u8]) -> io::Result<TcpStream> {
    let (client, server) = pair().await?;
    client.write_all(bytes).await?;
    Ok(server)
}

#[test]
fn a_loop_over_any_operation_on_a_stream_lets_other_tasks_run() {
    run(async {
        let (mut stream, _peer) = pair().await?;
        beside_a_heartbeat! {
            "read of nothing": stream.read(&mut []).await?;
            "peek of nothing": stream.peek(&mut []).await?;
            "write_all of nothing": stream.write_all(&[]).await?;
            "write of nothing": AsyncWriteExt::write(&mut stream, &[]).await?;
            "write_vectored of nothing": stream.write_vectored(&[IoSlice::new(&[])]).await?;
            "read_vectored of nothing": stream.read_vectored(&mut []).await?;
            "flush": stream.flush().await?;
            "send_file of nothing": stream.send_file(&File::open("Cargo.toml")?, 5..5).await?;
            "close": stream.close().await?;
        }
        let mut stream = fed(b"x").await?;
        beside_a_heartbeat! {
            "peek": stream.peek(&mut [0]).await?;
        }
        stream.read_exact(&mut [0]).await?;
        beside_a_heartbeat! {
            "read at the end": stream.read(&mut [0]).await?;
        }

        let (mut near, far) = duplex(8);
        beside_a_heartbeat! {
            "memory: write and read of nothing": {
                near.write_all(&[]).await?;
                near.read(&mut []).await?;
            };
            "memory: flush": near.flush().await?;
        }
        drop(far);
        beside_a_heartbeat! {
            "memory: read at the end": near.read(&mut [0]).await?;
            "memory: write to no reader": near.write(b"x").await.unwrap_err();
            "memory: close": near.close().await?;
        }
        Ok(())
    });
}

#[test]
fn a_loop_over_a_full_buffer_lets_other_tasks_run() {
    run(async {
        let bytes = b"line\n".repeat(MANY + 1);
        macro_rules! reading {
            ($($name:literal: $method:ident($($argument:expr),*);)*) => {$(
                let mut reader = Reader::new(fed(&bytes).await?);
                reader.fill_buf().await?;
                beside_a_heartbeat! { $name: reader.$method($($argument),*).await; }
            )*};
        }
        reading! {
            "read_line": read_line();
            "read_exact": read_exact(2);
            "read_exact of nothing": read_exact(0);
            "read_until": read_until(b"\n");
            "read_until_any": read_until_any(&[b"i", b"e\n"]);
            "read": read(&mut [0]);
            "read of nothing": read(&mut []);
            "fill_buf": fill_buf();
        }
        let mut lines = Reader::new(fed(&bytes).await?).lines();
        beside_a_heartbeat! { "lines": lines.next().await; }

        let mut ended = Reader::new(&b""[..]);
        beside_a_heartbeat! {
            "read_line at the end": ended.read_line().await;
            "read_exact at the end": ended.read_exact(1).await.unwrap_err();
            "read_until at the end": ended.read_until(b";").await.unwrap_err();
            "read_to_end at the end": ended.read_to_end().await?;
            "read at the end": ended.read(&mut [0]).await?;
            "fill_buf at the end": ended.fill_buf().await?;
        }
        let mut limited = Reader::new(&b"0123456789;"[..]).with_limit(4);
        beside_a_heartbeat! {
            "read_until beyond the limit": limited.read_until(b";").await.unwrap_err();
        }

        let mut writer = Writer::new(Vec::new());
        beside_a_heartbeat! {
            "write_all of nothing": writer.write_all(&[]).await?;
            "write_all": writer.write_all(b"x").await?;
            "collected": AsyncWriteExt::write(&mut writer, b"x").await?;
            "flush": writer.flush().await?;
            "close": writer.close().await?;
        }
        Ok(())
    });
}

#[test]
fn a_loop_over_datagrams_and_ended_connections_lets_other_tasks_run() {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let (one, other) = (socket.local_addr()?, std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
        beside_a_heartbeat! {
            "connect": socket.connect(one).await?;
            "send_to elsewhere": socket.send_to(b"x", other).await.unwrap_err();
            "peek_from": {
                socket.send(b"x").await?;
                socket.peek_from(&mut [0]).await?;
            };
        }
        let connections = Connections::new()?;
        let transport = connections.adopt(fed(b"").await?, Trace::default());
        soon(transport.closed()).await;
        beside_a_heartbeat! {
            "closed": transport.closed().await;
            "wait_empty": connections.wait_empty().await;
        }
        #[cfg(unix)]
        {
            let (near, _far) = picot_net::UnixDatagram::pair()?;
            let folder = picot_testkit::Folder::new("nowhere");
            let nowhere = folder.join("no-such-socket");
            beside_a_heartbeat! {
                "a datagram to nowhere": near.send_to(b"x", &nowhere).await.unwrap_err();
                "connect to nowhere": picot_net::UnixStream::connect(&nowhere).await.unwrap_err();
            }
        }
        Ok(())
    });
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn a_loop_over_data_that_tls_has_decrypted_lets_other_tasks_run() {
    run(async {
        let (mut client, mut server) = crate::tls::connected().await?;
        client.write_all(&[7; 4 * MANY]).await?;
        client.flush().await?;
        beside_a_heartbeat! {
            "read": server.read_exact(&mut [0]).await?;
            "read of nothing": server.read(&mut []).await?;
            "write": client.write_all(b"x").await?;
            "flush": client.flush().await?;
        }
        Ok(())
    });
}

#[test]
fn a_loop_over_any_connect_bind_lookup_or_wait_for_a_server_lets_other_tasks_run() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = Server::builder().bind("127.0.0.1:0").await?.serve(|_, _| async { Ok(()) })?;
        server.close();
        server.wait_closed().await;
        beside_a_heartbeat! {
            "accept": {
                let _client = std::net::TcpStream::connect(address)?;
                listener.accept().await?;
            };
            "incoming": {
                let _client = std::net::TcpStream::connect(address)?;
                listener.incoming().next().await.expect("it has no end")?;
            };
            "lookup of a number": lookup(address).await?;
            "lookup of no address": lookup("no-port").await.unwrap_err();
            "bind": TcpListener::bind(alone(2)).await?;
            "bind in use": TcpListener::bind(address).await.unwrap_err();
            "bind of datagrams": UdpSocket::bind(alone(2)).await?;
            "connect that is refused at once": TcpStream::connect("255.255.255.255:1").await.unwrap_err();
            "connect to no address": TcpStream::connect("no-port").await.unwrap_err();
            "bind of a server": Server::builder().bind(alone(2)).await?;
            "start_server in use": start_server(address, |_, _| async { Ok(()) }).await.unwrap_err();
            "wait_closed": server.wait_closed().await;
            "shutdown": server.shutdown(std::time::Duration::ZERO).await;
            "serve_forever": server.serve_forever().await.unwrap_err();
        }
        #[cfg(unix)]
        {
            use picot_net::{UnixListener, UnixStream};
            let folder = picot_testkit::Folder::new("heartbeat");
            let path = folder.join("socket");
            let listener = UnixListener::bind(&path)?;
            beside_a_heartbeat! {
                "bind at a path": {
                    drop(UnixListener::bind(path.with_extension("listener")));
                    poll_fn(budget::poll_left).await;
                };
                "bind of datagrams at a path": {
                    drop(picot_net::UnixDatagram::bind(path.with_extension("datagrams")));
                    poll_fn(budget::poll_left).await;
                };
                "accept at a path": {
                    let _client = std::os::unix::net::UnixStream::connect(&path)?;
                    listener.accept().await?;
                };
                "connect to a path": UnixStream::connect("/nowhere/at").await.unwrap_err();
                "connect to no path": UnixStream::connect("").await.unwrap_err();
            }
        }
        Ok(())
    });
}
