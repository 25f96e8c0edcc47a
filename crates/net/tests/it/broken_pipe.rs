//! Sending to a peer that has closed is an error and raises no signal, even where `SIGPIPE` has its
//! default action, as in a host written in C: each way to send, in a child process.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use futures_lite::{AsyncWrite, AsyncWriteExt};
use picot_loop::EventLoop;
use picot_net::{Connections, Protocol, TcpStream, Transport, UnixStream, Writer};

use crate::pair;

/// Runs `test` in a child in which `SIGPIPE` has its default action. Returns the signal that ended
/// the child.
fn in_a_child(name: &str, test: impl AsyncFn() -> io::Result<()> + Send + Sync + 'static) -> Option<i32> {
    let mut command = Command::new("true");
    let child = move || EventLoop::new()?.run_until_complete(test()).map_err(io::Error::other)?;
    // SAFETY: std has restored the default action in the child by now. The closure uses its own
    // memory, system calls and the allocator, which no other thread of this process leaves locked
    // across a fork.
    unsafe { command.pre_exec(child) };
    let status = command.status().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(status.success() || status.signal().is_some(), "{name}: {status}");
    status.signal()
}

/// How the peer closes: by a reset at once, or by a reset after its end of stream. Only after the
/// second is the next write a broken pipe at once.
const ENDS: [bool; 2] = [false, true];

/// A connection whose peer has closed.
async fn deserted(ended_before: bool) -> io::Result<TcpStream> {
    let (stream, peer) = pair().await?;
    if ended_before {
        peer.shutdown(std::net::Shutdown::Write)?;
        assert_eq!(stream.read(&mut [0]).await?, 0);
    }
    peer.socket().set_linger(Some(Duration::ZERO))?;
    drop(peer);
    Ok(stream)
}

/// The way of sending fails, however often it is tried.
async fn fails(mut send: impl AsyncFnMut() -> io::Result<()>) -> io::Result<()> {
    // The first write returns the reset; only later writes are a broken pipe.
    for _ in 0..3 {
        match send().await.map_err(|error| error.kind()) {
            Err(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
    }
    Ok(())
}

async fn fails_by_all_traits(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    fails(async || stream.write(b"x").await.map(drop)).await?;
    for count in [1, 2, 16, 17, 2000] {
        let slices = vec![IoSlice::new(b"xy"); count];
        fails(async || poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &slices)).await.map(drop)).await?;
    }
    let mut writer = Writer::new(stream);
    fails(async || writer.write_all(b"x").await).await
}

/// Writes twice for each piece of data, so that the second write uses the vectored call.
struct Twice;

impl Protocol for Twice {
    fn data(&mut self, transport: &Transport, _: &[u8]) {
        let _ = transport.write(b"one");
        let _ = transport.write(b"two");
    }
}

#[test]
fn sending_to_a_peer_that_has_gone_raises_no_signal() {
    let tests = [
        in_a_child("a stream", async || {
            for end in ENDS {
                let stream = deserted(end).await?;
                fails(async || stream.write_all(b"x").await).await?;
                fails_by_all_traits(deserted(end).await?).await?;
                fails_by_all_traits(deserted(end).await?.split().1).await?;
            }
            let (stream, _) = UnixStream::pair()?;
            fails_by_all_traits(stream).await
        }),
        in_a_child("a file", async || {
            let file = File::open("Cargo.toml")?;
            for end in ENDS {
                let stream = deserted(end).await?;
                fails(async || stream.send_file(&file, 0..9).await.map(drop)).await?;
            }
            Ok(())
        }),
        in_a_child("a protocol", async || {
            let connections = Connections::new()?;
            for end in ENDS {
                let (stream, peer) = pair().await?;
                let transport = connections.adopt(stream, Twice);
                peer.write_all(b"x").await?;
                if end {
                    peer.shutdown(std::net::Shutdown::Write)?;
                }
                peer.socket().set_linger(Some(Duration::ZERO))?;
                drop(peer);
                transport.closed().await;
            }
            // The first write is sent, the second waits, and then the peer closes.
            let (one, two) = UnixStream::pair()?;
            let transport = connections.adopt_unix(one, Twice);
            transport.write(b"one")?;
            transport.write(b"two")?;
            drop(two);
            transport.closed().await;
            Ok(())
        }),
    ];
    assert_eq!(tests, [None; 3], "a child was ended by a signal");
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn sending_over_tls_to_a_peer_that_has_gone_raises_no_signal() {
    let signal = in_a_child("TLS", async || {
        for _ in ENDS {
            let (mut stream, peer) = crate::tls::connected().await?;
            peer.get_ref().socket().set_linger(Some(Duration::ZERO))?;
            drop(peer);
            for _ in 0..3 {
                let sent = async {
                    stream.write_all(&[0; 50_000]).await?;
                    stream.flush().await
                };
                if sent.await.is_ok() {
                    return Err(io::ErrorKind::Other.into());
                }
            }
            let _ = stream.close().await;
        }
        Ok(())
    });
    assert_eq!(signal, None);
}

/// Proof that the tests above would notice a signal.
#[test]
fn the_children_of_these_tests_have_the_signals_default_action() {
    let signal = in_a_child("std", async || {
        let (one, two) = std::os::unix::net::UnixStream::pair()?;
        drop(two);
        let slices = [IoSlice::new(b"x")];
        io::Write::write_vectored(&mut &one, &slices).map(drop)
    });
    assert_eq!(signal, Some(13));
}
