//! Streams as hyper reads and writes them.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use hyper::rt::{Read, ReadBuf, Write};
use picot_hyper::{AnyStream, FuturesIo, HttpStream, Io};
use picot_net::{TcpStream, duplex};
use picot_testkit::poll_once;

use crate::{listener, run};

/// Reads once, into `room` bytes that are not initialized, behind `before` bytes that are filled.
async fn read<S: HttpStream>(io: &mut Io<S>, before: usize, room: usize) -> io::Result<Vec<u8>> {
    let mut memory = vec![MaybeUninit::uninit(); before + room];
    let mut buffer = ReadBuf::uninit(&mut memory);
    buffer.unfilled().put_slice(&vec![b'-'; before]);
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled())).await?;
    Ok(buffer.filled().to_vec())
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = listener().await;
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

#[test]
fn a_socket_fills_memory_that_is_not_initialized() {
    run(async |_| {
        let (near, far) = pair().await;
        let mut io = Io::new(near);
        far.write_all(b"hello world").await.unwrap();
        assert_eq!(read(&mut io, 0, 5).await.unwrap(), b"hello");
        assert_eq!(read(&mut io, 2, 64).await.unwrap(), b"-- world");
        assert_eq!(read(&mut io, 0, 0).await.unwrap(), b"", "no room is no wait");
        drop(far);
        assert_eq!(read(&mut io, 1, 64).await.unwrap(), b"-", "the end");
    });
    #[cfg(unix)]
    run(async |_| {
        let (near, far) = picot_net::UnixStream::pair().unwrap();
        let mut io = Io::new(near);
        far.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut io, 1, 64).await.unwrap(), b"-hello");
    });
}

#[test]
fn bytes_that_were_received_before_come_first() {
    run(async |_| {
        let (near, far) = pair().await;
        far.write_all(b"world").await.unwrap();
        let mut io = Io::new(near).with_received(&b"hello "[..]);
        assert_eq!(read(&mut io, 0, 4).await.unwrap(), b"hell");
        assert_eq!(read(&mut io, 0, 64).await.unwrap(), b"o ");
        assert_eq!(read(&mut io, 0, 64).await.unwrap(), b"world");
    });
}

/// Keeps the largest buffer that a read was given.
struct Measured<S>(S, usize);

impl<S: futures_io::AsyncRead + Unpin> futures_io::AsyncRead for Measured<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(buffer.iter().all(|byte| *byte == 0), "the buffer was cleared");
        let poll = Pin::new(&mut self.0).poll_read(cx, buffer);
        self.1 = self.1.max(buffer.len());
        poll
    }
}

impl<S: futures_io::AsyncWrite + Unpin> futures_io::AsyncWrite for Measured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn another_stream_clears_only_what_a_read_is_likely_to_fill() {
    run(async |_| {
        let (near, mut far) = duplex(1 << 20);
        let mut io = Io::new(AnyStream(Measured(near, 0)));
        let mut memory = vec![MaybeUninit::uninit(); 256 * 1024];
        let mut buffer = ReadBuf::uninit(&mut memory);
        let poll = |io: &mut Io<_>, buffer: &mut ReadBuf<'_>| {
            poll_once(std::pin::pin!(poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled()))))
        };
        assert!(poll(&mut io, &mut buffer).is_pending());
        far.write_all(&[b'x'; 200_000]).await.unwrap();
        let mut sizes = Vec::new();
        while buffer.filled().len() < 200_000 {
            let before = buffer.filled().len();
            assert!(poll(&mut io, &mut buffer).is_ready());
            sizes.push(buffer.filled().len() - before);
        }
        assert_eq!(sizes[..7], [1, 2, 4, 8, 16, 32, 64].map(|size| size * 1024));
        assert!(buffer.filled().iter().all(|byte| *byte == b'x'));
        // A wait makes the next read small again.
        assert!(poll(&mut io, &mut buffer).is_pending());
        far.write_all(&[b'y'; 5000]).await.unwrap();
        assert_eq!(read(&mut io, 0, 8192).await.unwrap().len(), 1024);
        assert_eq!(io.into_inner().0.1, 64 * 1024);
    });
}

#[test]
fn slices_are_written_by_one_call() {
    run(async |_| {
        let (near, far) = pair().await;
        let mut io = Io::new(near);
        assert!(io.is_write_vectored());
        let slices = [IoSlice::new(b"hello "), IoSlice::new(b"world")];
        let written = poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &slices)).await.unwrap();
        assert_eq!(written, 11);
        poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await.unwrap();
        assert_eq!(picot_net::Reader::new(far).read_to_end().await.unwrap(), b"hello world");
    });
}

#[test]
fn a_stream_of_hyper_is_one_of_futures_io_again() {
    run(async |_| {
        let (near, far) = pair().await;
        let mut stream = FuturesIo::new(Io::new(near).with_received(&b"be"[..]));
        far.write_all(b"fore").await.unwrap();
        let mut buffer = [0; 6];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"before");
        stream.write_all(b"after").await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(picot_net::Reader::new(far).read_to_end().await.unwrap(), b"after");
    });
}

#[test]
fn an_io_is_send_and_panics_on_another_thread() {
    run(async |_| {
        let io = Io::new(duplex(64).0);
        let thread = std::thread::spawn(move || {
            // What does not reach the stream works everywhere.
            assert!(io.is_write_vectored());
            io
        });
        let mut io = thread.join().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8];
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = poll_fn(|cx| Pin::new(&mut io).poll_read(cx, buffer.unfilled()));
            let read = std::panic::AssertUnwindSafe(|| poll_once(std::pin::pin!(read)).is_ready());
            let payload = std::panic::catch_unwind(read).unwrap_err();
            (io, payload.downcast_ref::<String>().unwrap().clone())
        });
        // Back here, so that it is dropped by its own thread.
        let (_io, text) = thread.join().unwrap();
        assert!(text.contains("was used on another thread than the one that made it"), "{text}");
    });
}
