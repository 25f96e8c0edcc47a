//! Several tasks that wait in one direction of one object: all of them are served.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use futures_lite::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use picot_loop::{spawn, yield_now};
use picot_net::{Reader, UdpSocket, Writer, duplex};

use crate::trace::soon;
use crate::{pair, run};

type Wait = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Three, so that one waiter is neither first nor last.
const COUNT: usize = 3;

/// Starts `COUNT` tasks that wait. After each call of `feed`, `served` more of them must be done,
/// and the others still wait.
async fn check(
    name: &str,
    wait: impl Fn() -> Wait,
    served: usize,
    mut feed: impl AsyncFnMut() -> io::Result<()>,
) -> io::Result<()> {
    let done = Rc::new(Cell::new(0));
    let tasks: Vec<_> = (0..COUNT)
        .map(|_| {
            let (wait, done) = (wait(), done.clone());
            spawn(async move {
                wait.await?;
                done.set(done.get() + 1);
                io::Result::Ok(())
            })
        })
        .collect();
    for _ in 0..3 {
        yield_now().await;
    }
    for expected in (0..COUNT).step_by(served) {
        assert_eq!(done.get(), expected, "{name}");
        feed().await?;
        let at_least = (expected + served).min(COUNT);
        soon(async {
            while done.get() < at_least {
                yield_now().await;
            }
        })
        .await;
    }
    for task in tasks {
        task.await.unwrap()?;
    }
    Ok(())
}

/// A wait on an object that it shares with the other waits.
macro_rules! waits {
    ($shared:ident, $operation:expr) => {
        || {
            let $shared = $shared.clone();
            Box::pin(async move { $operation.await.map(drop) }) as Wait
        }
    };
}

/// Reads one byte through the trait. The object is borrowed only during each poll, so that several
/// tasks can wait.
async fn read_byte(stream: &RefCell<impl AsyncRead + Unpin>) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *stream.borrow_mut()).poll_read(cx, &mut [0])).await
}

async fn write_some(stream: &RefCell<impl AsyncWrite + Unpin>) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *stream.borrow_mut()).poll_write(cx, &[0; 1 << 16])).await
}

async fn fill(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let bytes = vec![0; 1 << 20];
    while let Some(written) = futures_lite::future::poll_once(stream.write_all(&bytes)).await {
        written?;
        yield_now().await;
    }
    Ok(())
}

/// Reads in a task of its own until that task is dropped, because more data is in flight and the
/// budget of a step ends.
fn drain<S: 'static>(peer: &Rc<S>) -> impl Sized + use<S>
where
    for<'a> &'a S: AsyncRead + Unpin,
{
    let peer = peer.clone();
    let reading = async move {
        let mut buffer = vec![0; 1 << 16];
        while (&*peer).read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    spawn(reading).cancel_on_drop()
}

/// Checks writes to a full stream, whose peer begins to read when all writers wait.
macro_rules! check_write {
    ($name:expr, $peer:ident, $write:expr) => {
        let ($peer, mut reading) = (Rc::new($peer), None);
        check($name, $write, COUNT, async || {
            reading = Some(drain(&$peer));
            Ok(())
        })
        .await?;
        drop(reading);
    };
}

macro_rules! check_stream {
    ($family:literal, $pair:expr) => {
        let (stream, peer) = $pair;
        let stream = Rc::new(stream);
        let mut send = async || peer.write_all(b"x").await;
        check(concat!($family, ": read"), waits!(stream, stream.read(&mut [0])), 1, &mut send).await?;
        // A read that filled its buffer leaves the stream readable; a pending read does not.
        assert!(futures_lite::future::poll_once(stream.read(&mut [0])).await.is_none());
        let readable = waits!(stream, stream.source().readable());
        check(concat!($family, ": readable"), readable, COUNT, &mut send).await?;
        stream.read(&mut [0; 8]).await?;
        // Two waits of one task, which has one waker.
        let (mut one, mut other) = ([0], [0]);
        let both = futures_lite::future::try_zip(stream.read(&mut one), stream.read(&mut other));
        let feed = async {
            yield_now().await;
            peer.write_all(b"xy").await
        };
        soon(futures_lite::future::try_zip(both, feed)).await?;

        let (stream, peer) = $pair;
        let (read, write) = stream.split();
        let read = Rc::new(RefCell::new(read));
        let mut send = async || peer.write_all(b"x").await;
        check(concat!($family, ": read of a half"), waits!(read, read_byte(&read)), 1, &mut send).await?;
        drop(write);

        let (stream, peer) = $pair;
        let reader = Rc::new(RefCell::new(Reader::new(stream)));
        let mut send = async || peer.write_all(b"x").await;
        check(concat!($family, ": read of a reader"), waits!(reader, read_byte(&reader)), 1, &mut send).await?;
        let filled = waits!(reader, async {
            poll_fn(|cx| Pin::new(&mut *reader.borrow_mut()).poll_fill_buf(cx).map_ok(|bytes| bytes.len())).await
        });
        check(concat!($family, ": fill_buf of a reader"), filled, COUNT, &mut send).await?;

        let (mut stream, peer) = $pair;
        fill(&mut stream).await?;
        let stream = Rc::new(stream);
        let write = waits!(stream, stream.write_all(&[0; 1 << 10]));
        check_write!(concat!($family, ": write_all"), peer, write);

        let (mut stream, peer) = $pair;
        fill(&mut stream).await?;
        let stream = Rc::new(stream);
        let writable = waits!(stream, stream.source().writable());
        check_write!(concat!($family, ": writable"), peer, writable);

        let (mut stream, peer) = $pair;
        fill(&mut stream).await?;
        let (_read, write) = stream.split();
        let write = Rc::new(RefCell::new(write));
        let wait = waits!(write, write_some(&write));
        check_write!(concat!($family, ": write of a half"), peer, wait);

        let (mut stream, peer) = $pair;
        fill(&mut stream).await?;
        let mut writer = Writer::new(stream);
        writer.put(&[0; 1 << 16]);
        let writer = Rc::new(RefCell::new(writer));
        let flushed = waits!(writer, poll_fn(|cx| Pin::new(&mut *writer.borrow_mut()).poll_flush(cx)));
        check_write!(concat!($family, ": flush of a writer"), peer, flushed);
    };
}

#[test]
fn all_tasks_that_wait_on_a_tcp_stream_are_served() {
    run(async {
        check_stream!("TCP", pair().await?);
        let (stream, peer) = pair().await?;
        let stream = Rc::new(stream);
        check("peek", waits!(stream, stream.peek(&mut [0])), COUNT, async || peer.write_all(b"x").await).await?;

        let (mut stream, peer) = pair().await?;
        fill(&mut stream).await?;
        let (stream, file) = (Rc::new(stream), Rc::new(File::open("Cargo.toml")?));
        let send = || {
            let (stream, file) = (stream.clone(), file.clone());
            Box::pin(async move { stream.send_file(&file, 0..9).await.map(drop) }) as Wait
        };
        check_write!("send_file", peer, send);
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn all_tasks_that_wait_on_a_unix_stream_are_served() {
    run(async {
        check_stream!("Unix", picot_net::UnixStream::pair()?);
        Ok(())
    });
}

#[test]
fn all_tasks_that_wait_on_a_stream_in_memory_are_served() {
    run(async {
        let (near, mut far) = duplex(COUNT);
        let near = Rc::new(RefCell::new(near));
        check("read", waits!(near, read_byte(&near)), 1, async || far.write_all(b"x").await).await?;
        far.write_all(&[0; COUNT]).await?;
        poll_fn(|cx| Pin::new(&mut *near.borrow_mut()).poll_write(cx, &[0; COUNT])).await?;
        let byte = waits!(near, poll_fn(|cx| Pin::new(&mut *near.borrow_mut()).poll_write(cx, b"x")));
        check("write", byte, 1, async || far.read_exact(&mut [0]).await).await
    });
}

#[test]
fn all_tasks_that_wait_on_a_datagram_socket_are_served() {
    run(async {
        let (socket, peer) = (Rc::new(UdpSocket::bind("127.0.0.1:0").await?), UdpSocket::bind("127.0.0.1:0").await?);
        let address = socket.local_addr()?;
        let mut send = async || peer.send_to(b"x", address).await.map(drop);
        check("recv", waits!(socket, socket.recv(&mut [0])), 1, &mut send).await?;
        check("recv_from", waits!(socket, socket.recv_from(&mut [0])), 1, &mut send).await?;
        check("peek_from", waits!(socket, socket.peek_from(&mut [0])), COUNT, &mut send).await
    });
}

#[cfg(unix)]
#[test]
fn all_tasks_that_wait_on_a_unix_datagram_socket_are_served() {
    use picot_net::UnixDatagram;

    run(async {
        let (socket, peer) = UnixDatagram::pair()?;
        let socket = Rc::new(socket);
        let mut send = async || peer.send(b"x").await.map(drop);
        check("recv", waits!(socket, socket.recv(&mut [0])), 1, &mut send).await?;
        check("recv_from", waits!(socket, socket.recv_from(&mut [0])), 1, &mut send).await?;
        while futures_lite::future::poll_once(socket.send(b"x")).await.is_some() {
            yield_now().await;
        }
        // The kernel reports room only when much of the sender's buffer is free.
        let (peer, mut receiving) = (Rc::new(peer), None);
        check("send", waits!(socket, socket.send(b"x")), COUNT, async || {
            let peer = peer.clone();
            let receive = async move { while peer.recv(&mut [0]).await.is_ok() {} };
            receiving = Some(spawn(receive).cancel_on_drop());
            Ok(())
        })
        .await?;
        drop(receiving);
        Ok(())
    });
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn all_tasks_that_wait_on_tls_are_served() {
    run(async {
        let (stream, mut peer) = crate::tls::connected().await?;
        let stream = Rc::new(RefCell::new(stream));
        check("read", waits!(stream, read_byte(&stream)), 1, async || {
            peer.write_all(b"x").await?;
            peer.flush().await
        })
        .await
    });
}
