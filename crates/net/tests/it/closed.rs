//! Operations on a closed loop, pending or new, fail at once.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use picot_loop::{EventLoop, spawn};
use picot_net::{
    ConnectOptions, Connections, Reader, Server, TcpListener, TcpStream, UdpSocket, Writer, lookup, open_connection,
    start_server,
};

use crate::pair;

type Pending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// The result of each function.
type Results = Vec<(&'static str, io::Result<()>)>;

/// Starts every operation when it is dropped, which happens while its loop closes.
struct Late(Rc<RefCell<Results>>);

impl Drop for Late {
    fn drop(&mut self) {
        let mut begun: Vec<(&'static str, Pending)> = vec![
            ("TcpStream::connect", Box::pin(async { TcpStream::connect("127.0.0.1:1").await.map(drop) })),
            ("connect to a name", Box::pin(async { TcpStream::connect("localhost:1").await.map(drop) })),
            (
                "ConnectOptions::connect",
                Box::pin(async {
                    ConnectOptions::new().timeout(Duration::from_secs(1)).connect("127.0.0.1:1").await.map(drop)
                }),
            ),
            ("open_connection", Box::pin(async { open_connection("127.0.0.1:1").await.map(drop) })),
            ("TcpListener::bind", Box::pin(async { TcpListener::bind("127.0.0.1:0").await.map(drop) })),
            ("UdpSocket::bind", Box::pin(async { UdpSocket::bind("127.0.0.1:0").await.map(drop) })),
            ("lookup", Box::pin(async { lookup("localhost:1").await.map(drop) })),
            ("ServerBuilder::bind", Box::pin(async { Server::builder().bind("127.0.0.1:0").await.map(drop) })),
            ("start_server", Box::pin(async { start_server("127.0.0.1:0", |_, _| async { Ok(()) }).await.map(drop) })),
        ];
        #[cfg(unix)]
        {
            use picot_net::{UnixDatagram, UnixListener, UnixStream};
            begun.push(("UnixListener::bind", Box::pin(async { UnixListener::bind("/nowhere/at").map(drop) })));
            begun.push(("UnixDatagram::bind", Box::pin(async { UnixDatagram::bind("/nowhere/at").map(drop) })));
            begun.push(("UnixStream::connect", Box::pin(async { UnixStream::connect("/nowhere/at").await.map(drop) })));
        }
        for (name, future) in begun {
            let result = block_on(poll_once(future)).expect(name);
            self.0.borrow_mut().push((name, result));
        }
    }
}

#[test]
fn operations_that_start_while_the_loop_closes_fail_at_once_and_name_the_cause() {
    let (event_loop, results) = (EventLoop::new().unwrap(), Rc::new(RefCell::new(Vec::new())));
    let late = Late(results.clone());
    event_loop
        .run_until_complete(async {
            drop(spawn(async move {
                let _late = late;
                std::future::pending::<()>().await;
            }));
            picot_loop::yield_now().await;
        })
        .unwrap();
    event_loop.close().unwrap();
    let results = results.take();
    assert!(results.len() >= 9);
    for (name, result) in results {
        let error = result.expect_err(name).to_string();
        assert!(error.contains("the loop is closed"), "{name}: {error}");
    }
}

/// Polls futures on one loop, closes that loop, and awaits them on another one, where each must end
/// at once.
fn outlive(begin: impl AsyncFnOnce(&mut Vec<(&'static str, Pending)>) -> io::Result<()>) {
    outlive_from(true, begin);
}

/// As [`outlive`]. Unless `is_polled`, the futures are first polled when their loop is closed.
fn outlive_from(is_polled: bool, begin: impl AsyncFnOnce(&mut Vec<(&'static str, Pending)>) -> io::Result<()>) {
    let mut pending: Vec<(&'static str, Pending)> = Vec::new();
    let first = EventLoop::new().unwrap();
    first
        .run_until_complete(async {
            begin(&mut pending).await?;
            for (name, future) in pending.iter_mut().filter(|_| is_polled) {
                assert!(poll_once(future).await.is_none(), "{name} has nothing to wait for");
            }
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    drop(first);
    let second = EventLoop::new().unwrap();
    second
        .run_until_complete(async {
            for (name, future) in pending {
                let ended = within_a_few_turns(future).await;
                assert!(ended.expect(name).is_err(), "{name} succeeds on a closed loop");
            }
        })
        .unwrap();
}

/// `None` if it has not ended within a few turns.
async fn within_a_few_turns<T>(future: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut future = future;
    for _ in 0..10 {
        if let Some(value) = poll_once(&mut future).await {
            return Some(value);
        }
        picot_loop::yield_now().await;
    }
    None
}

#[test]
fn closing_the_loop_ends_its_servers() {
    outlive(async |pending| {
        for (by_protocol, waits_forever) in [(false, false), (false, true), (true, false), (true, true)] {
            let server = Server::builder().bind("127.0.0.1:0").await?;
            let server = match by_protocol {
                true => server.serve_protocol(crate::trace::Trace::default)?,
                false => server.serve(|stream, _| async move { stream.read(&mut [0; 8]).await.map(drop) })?,
            };
            let address = server.local_addrs()[0];
            let client = TcpStream::connect(address).await?;
            while server.clients() == 0 {
                picot_loop::yield_now().await;
            }
            // One server for each kind of wait, because the end of `serve_forever` closes its
            // server.
            pending.push(match waits_forever {
                true => (
                    "Server::serve_forever",
                    Box::pin(async move {
                        let _client = client;
                        let error = server.serve_forever().await.unwrap_err();
                        assert!(error.to_string().contains(&address.to_string()), "{error}");
                        Err(error)
                    }),
                ),
                false => (
                    "Server::wait_closed",
                    Box::pin(async move {
                        let _client = client;
                        server.wait_closed().await;
                        assert!(server.is_closed() && server.clients() == 0 && server.local_addrs().is_empty());
                        server.serve_forever().await
                    }),
                ),
            });
        }
        Ok(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn accepts_connects_and_lookups_end_with_their_loop() {
    outlive(async |pending| {
        let full = picot_net::ListenOptions::new().backlog(0).bind("127.0.0.1:0").await?;
        let address = full.local_addr()?;
        let filling = TcpStream::connect(address).await?;
        pending.push((
            "TcpStream::connect",
            Box::pin(async move {
                let _open = (full, filling);
                TcpStream::connect(address).await.map(drop)
            }),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        pending.push(("TcpListener::accept", Box::pin(async move { listener.accept().await.map(drop) })));
        pending.push(("lookup", Box::pin(async { lookup("a.name.invalid:1").await.map(drop) })));
        Ok(())
    });
    // And operations that are first awaited after the loop was closed.
    let first = EventLoop::new().unwrap();
    let listener = first.run_until_complete(TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    drop(first);
    let second = EventLoop::new().unwrap();
    let accepted = second.run_until_complete(async { poll_once(listener.accept()).await }).unwrap();
    assert!(accepted.expect("an error at once").is_err());
}

/// Writes until the socket is full. The peer does not read.
async fn fill(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let bytes = vec![0; 1 << 20];
    while let Some(written) = poll_once(stream.write_all(&bytes)).await {
        written?;
        picot_loop::yield_now().await;
    }
    Ok(())
}

/// Futures of one kind of stream. `$pair` makes a stream and its peer, which each future keeps, so
/// that it waits.
macro_rules! stream_io {
    ($pending:ident, $pair:expr) => {{
        macro_rules! reads {
            ($name:literal, |$stream:ident| $read:expr) => {
                let (mut $stream, peer) = $pair;
                $pending.push((
                    $name,
                    Box::pin(async move {
                        let _peer = peer;
                        let _ = &mut $stream;
                        $read.map(drop).map_err(io::Error::from)
                    }),
                ));
            };
        }
        macro_rules! writes {
            ($name:literal, |$stream:ident| $write:expr) => {
                let (mut $stream, peer) = $pair;
                fill(&mut $stream).await?;
                $pending.push((
                    $name,
                    Box::pin(async move {
                        let (_peer, bytes) = (peer, vec![0; 1 << 20]);
                        let bytes: &[u8] = &bytes;
                        let _ = &mut $stream;
                        let write: io::Result<()> = $write(bytes).await;
                        write
                    }),
                ));
            };
        }
        reads!("read", |stream| stream.read(&mut [0]).await);
        reads!("AsyncRead::read", |stream| AsyncReadExt::read(&mut stream, &mut [0]).await);
        reads!("read_vectored", |stream| stream.read_vectored(&mut [IoSliceMut::new(&mut [0])]).await);
        reads!("source().readable", |stream| stream.source().readable().await);
        reads!("ReadHalf::read", |stream| {
            let (mut half, _other) = stream.split();
            half.read(&mut [0]).await
        });
        reads!("Reader::read", |stream| Reader::new(stream).read(&mut [0]).await);
        reads!("Reader::read_line", |stream| Reader::new(stream).read_line().await);
        reads!("Reader::read_exact", |stream| Reader::new(stream).read_exact(1).await);
        reads!("Reader::read_until", |stream| Reader::new(stream).read_until(b";").await);
        reads!("Reader::read_to_end", |stream| Reader::new(stream).read_to_end().await);
        reads!("Reader::lines", |stream| Reader::new(stream).lines().try_next().await);
        writes!("write_all", |stream| async |bytes| stream.write_all(bytes).await);
        writes!("AsyncWrite::write", |stream| async |bytes| {
            AsyncWriteExt::write(&mut stream, bytes).await.map(drop)
        });
        writes!("write_vectored", |stream| async |bytes| {
            stream.write_vectored(&[IoSlice::new(bytes)]).await.map(drop)
        });
        writes!("WriteHalf::write_all", |stream| async |bytes| {
            let (_other, mut half) = stream.split();
            half.write_all(bytes).await
        });
        writes!("Writer::write_all", |stream| async |bytes| Writer::new(stream).write_all(bytes).await);
        writes!("Writer::flush", |stream| async |bytes| {
            let mut writer = Writer::new(stream);
            writer.put(bytes);
            writer.flush().await
        });
        writes!("Writer::close", |stream| async |bytes| {
            let mut writer = Writer::new(stream);
            writer.put(bytes);
            writer.close().await
        });
    }};
}

/// Every operation of the data path, whether it waited when its loop was closed, or began after
/// that.
#[test]
fn io_of_a_closed_loop_is_an_error_at_once() {
    for is_polled in [true, false] {
        outlive_from(is_polled, async |pending| {
            stream_io!(pending, pair().await?);
            macro_rules! more {
                ($($name:literal: ($($kept:ident),*) $operation:expr;)*) => {$(
                    pending.push(($name, Box::pin(async move {
                        let _kept = ($(&$kept),*);
                        $operation.map(drop)
                    })));
                )*};
            }
            let (stream, peer) = pair().await?;
            let (mut full, full_peer) = pair().await?;
            fill(&mut full).await?;
            let file = File::open("Cargo.toml")?;
            let (udp, udp_other, udp_third) = (
                UdpSocket::bind("127.0.0.1:0").await?,
                UdpSocket::bind("127.0.0.1:0").await?,
                UdpSocket::bind("127.0.0.1:0").await?,
            );
            more! {
                "peek": (peer) stream.peek(&mut [0]).await;
                "send_file": (full_peer) full.send_file(&file, 0..9).await;
                "UdpSocket::recv": () udp.recv(&mut [0]).await;
                "UdpSocket::recv_from": () udp_other.recv_from(&mut [0]).await;
                "UdpSocket::peek_from": () udp_third.peek_from(&mut [0]).await;
            }
            // Waits for the end of connections return, and nothing can be written any more.
            let (connections, (stream, peer)) = (Connections::new()?, pair().await?);
            let transport = connections.adopt(stream, crate::trace::Trace::default());
            let other = transport.clone();
            more! {
                "Transport::closed": (peer) {
                    transport.closed().await;
                    assert!(transport.is_closing());
                    transport.write(b"x")
                };
                "Connections::wait_empty": () {
                    connections.wait_empty().await;
                    other.local_addr()
                };
            }
            Ok(())
        });
    }
}

#[cfg(unix)]
#[test]
fn io_on_unix_sockets_of_a_closed_loop_is_an_error_at_once() {
    use picot_net::{UnixDatagram, UnixListener, UnixStream};

    for is_polled in [true, false] {
        let folder = picot_testkit::Folder::new("closed");
        outlive_from(is_polled, async |pending| {
            stream_io!(pending, UnixStream::pair()?);
            let (one, one_peer) = UnixDatagram::pair()?;
            let (two, two_peer) = UnixDatagram::pair()?;
            let (sender, receiver) = UnixDatagram::pair()?;
            while poll_once(sender.send(b"x")).await.is_some() {
                picot_loop::yield_now().await;
            }
            let path = folder.join("datagrams");
            let (full, unbound) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
            while poll_once(unbound.send_to(b"x", &path)).await.is_some() {
                picot_loop::yield_now().await;
            }
            pending.push(("recv", Box::pin(async move { (&one_peer, one.recv(&mut [0]).await).1.map(drop) })));
            pending
                .push(("recv_from", Box::pin(async move { (&two_peer, two.recv_from(&mut [0]).await).1.map(drop) })));
            pending.push(("send", Box::pin(async move { (&receiver, sender.send(b"x").await).1.map(drop) })));
            pending.push(("send_to", Box::pin(async move { (&full, unbound.send_to(b"x", &path).await).1.map(drop) })));
            let listening = folder.join("listener");
            let listener = UnixListener::bind(&listening)?;
            pending.push(("accept", Box::pin(async move { listener.accept().await.map(drop) })));
            Ok(())
        });
    }
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn tls_of_a_closed_loop_is_an_error_at_once() {
    for is_polled in [true, false] {
        outlive_from(is_polled, async |pending| {
            let (acceptor, connector) = (crate::tls::acceptor()?, crate::tls::connector()?);
            let (one, one_peer) = pair().await?;
            let (two, two_peer) = pair().await?;
            pending.push(("accept", Box::pin(async move { (&one_peer, acceptor.accept(one).await).1.map(drop) })));
            pending.push((
                "connect",
                Box::pin(async move { (&two_peer, connector.connect("localhost", two).await).1.map(drop) }),
            ));
            let (mut reading, reading_peer) = crate::tls::connected().await?;
            pending.push((
                "read",
                Box::pin(async move { (&reading_peer, reading.read_exact(&mut [0; 8]).await).1.map(drop) }),
            ));
            let (mut writing, writing_peer) = crate::tls::connected().await?;
            fill(&mut writing).await?;
            pending.push((
                "write",
                Box::pin(async move { (&writing_peer, writing.write_all(&[0; 1 << 16]).await).1.map(drop) }),
            ));
            let (mut closing, closing_peer) = crate::tls::connected().await?;
            fill(&mut closing).await?;
            pending.push(("close", Box::pin(async move { (&closing_peer, closing.close().await).1 })));
            Ok(())
        });
    }
}
