//! Sending a file without copying its bytes through the program, where the kernel supports that.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;

use futures_io::AsyncWrite;
use picot_loop::LoopHandle;

use crate::operation::call;
use crate::stream::TcpStream;
use crate::transfer::failed;

/// How many bytes of a file are sent, or read on a thread, at a time. It bounds how long one system
/// call blocks the loop.
const PIECE: u64 = 256 * 1024;

impl TcpStream {
    /// Sends a part of a file. Returns the number of bytes, which is less than the range if the
    /// file ends before.
    ///
    /// The file's own position has no effect, and stays (except on Windows, where it moves).
    ///
    /// On Linux the kernel copies the bytes (`sendfile`). It reads what is not in its cache from
    /// the disk, at most 256 KiB at a time, and the loop is blocked meanwhile. Where the kernel
    /// cannot send this kind of file, and on other systems, a thread of the loop's blocking lane
    /// reads it.
    ///
    /// `sendfile` has no flag against `SIGPIPE`. Rust's runtime ignores that signal; a process in
    /// which it has its default action can be ended by it. A closed peer is noticed before each
    /// piece without the signal, so it is possible only if the peer resets the connection during
    /// the call. Such a process should ignore the signal.
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection. Some bytes may have been sent
    /// before it.
    ///
    /// # If dropped
    /// An unknown number of bytes was sent, so close the connection.
    ///
    /// ```
    /// use futures_lite::AsyncReadExt;
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///     let file = std::fs::File::open("Cargo.toml")?;
    ///     assert_eq!(server.send_file(&file, 0..9).await?, 9);
    ///     let mut start = [0; 9];
    ///     client.read_exact(&mut start).await?;
    ///     assert_eq!(&start, b"[package]");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "sendfile")]
    pub async fn send_file(&self, file: &File, range: Range<u64>) -> io::Result<u64> {
        let Range { start, end } = range;
        if start >= end {
            return call(|| Ok(0)).await;
        }
        #[cfg(target_os = "linux")]
        let start = match kernel::send(self, file, start..end).await? {
            kernel::Sent::All(sent) => return Ok(sent),
            kernel::Sent::Cannot => start,
        };
        self.send_by_reading(file, start..end).await
    }

    /// Reads the file on a thread, and sends what was read. It works on every system.
    async fn send_by_reading(&self, file: &File, range: Range<u64>) -> io::Result<u64> {
        let mut at = range.start;
        while at < range.end {
            let length = PIECE.min(range.end - at) as usize;
            let piece = read_on_a_thread(file, at, length).await;
            let piece = piece.map_err(|error| failed(self.source().get_ref(), "read a file to send on", error))?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let mut stream = self;
                let sent = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, rest)).await?;
                if sent == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[sent..];
            }
        }
        Ok(at - range.start)
    }
}

/// [`read_at`] on a thread of the loop's blocking lane.
async fn read_on_a_thread(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = file.try_clone()?;
    let job = LoopHandle::try_current()?.try_spawn_blocking(move || read_at(&file, at, length));
    job.map_err(io::Error::other)?.await.map_err(io::Error::other)?
}

/// Reads at most `length` bytes at an offset. Returns an empty vector at the end of the file.
fn read_at(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    #[cfg(unix)]
    let read = std::os::unix::fs::FileExt::read_at(file, &mut piece, at)?;
    #[cfg(windows)]
    let read = std::os::windows::fs::FileExt::seek_read(file, &mut piece, at)?;
    piece.truncate(read);
    Ok(piece)
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::fs::File;
    use std::io;
    use std::ops::Range;

    use picot_reactor::Direction;
    use rustix::fs::sendfile;
    use rustix::io::Errno;

    use super::PIECE;
    use crate::operation::operate;
    use crate::operation_error::raw_os_error;
    use crate::stream::TcpStream;
    use crate::transfer::{failed, send as send_bytes};

    pub(super) enum Sent {
        All(u64),
        /// The kernel cannot send this file, and nothing was sent.
        Cannot,
    }

    pub(super) async fn send(stream: &TcpStream, file: &File, range: Range<u64>) -> io::Result<Sent> {
        let mut at = range.start;
        while at < range.end {
            let count = PIECE.min(range.end - at) as usize;
            let sent = operate(stream.source(), Direction::Write, |socket| {
                // Sends nothing. If the peer is closed, it fails without `SIGPIPE`, which
                // `sendfile` would raise.
                send_bytes(socket, &[])?;
                sendfile(socket, file, Some(&mut at), count)
                    .map_err(|error| failed(socket, "send a file on", error.into()))
            });
            match sent.await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if at == range.start && is_unsupported(&error) => return Ok(Sent::Cannot),
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::All(at.saturating_sub(range.start)))
    }

    fn is_unsupported(error: &io::Error) -> bool {
        let known = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::OVERFLOW];
        known.iter().any(|errno| raw_os_error(error) == Some(errno.raw_os_error()))
    }
}

#[cfg(test)]
mod tests {

    use futures_lite::future::{poll_once, try_zip};
    use futures_lite::{AsyncReadExt, StreamExt};

    use super::*;
    use crate::listener::TcpListener;

    /// A connection whose buffers hold less than the file, and the file.
    async fn set_up() -> io::Result<(TcpStream, TcpStream, File, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let server = listener.incoming().next().await.expect("it has no end")?;
        client.socket().set_recv_buffer_size(1 << 16)?;
        server.socket().set_send_buffer_size(1 << 16)?;
        let bytes: Vec<u8> = (0..3_000_000).map(|n| (n % 251) as u8).collect();
        let file = File::open(picot_testkit::Folder::new("send-file").file("content", &bytes))?;
        Ok((client, server, file, bytes))
    }

    #[test]
    fn bytes_read_on_a_thread_arrive_whole_up_to_the_end_of_the_file() {
        picot_loop::run(async {
            let (mut client, server, file, bytes) = set_up().await?;
            let send = async {
                assert_eq!(server.send_by_reading(&file, 0..3_000_000).await?, 3_000_000);
                assert_eq!(server.send_by_reading(&file, 10..20).await?, 10);
                assert_eq!(server.send_by_reading(&file, 2_000_000..4_000_000).await?, 1_000_000);
                assert_eq!(server.send_by_reading(&file, 5_000_000..6_000_000).await?, 0);
                drop(server);
                io::Result::Ok(())
            };
            let mut back = Vec::new();
            try_zip(send, client.read_to_end(&mut back)).await?;
            assert!(back == [&bytes[..], &bytes[10..20], &bytes[2_000_000..]].concat());
            io::Result::Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_send_by_reading_that_is_dropped_halfway_sent_a_prefix() {
        picot_loop::run(async {
            let (mut client, server, file, bytes) = set_up().await?;
            let mut sending = Box::pin(server.send_by_reading(&file, 0..3_000_000));
            // Until some bytes have arrived. Not all have, because the buffers are smaller.
            while poll_once(client.peek(&mut [0])).await.is_none() {
                assert!(poll_once(&mut sending).await.is_none());
                picot_loop::yield_now().await;
            }
            drop(sending);
            drop(server);
            let mut back = Vec::new();
            client.read_to_end(&mut back).await?;
            assert!(!back.is_empty() && back.len() < bytes.len() && back == bytes[..back.len()]);
            io::Result::Ok(())
        })
        .unwrap();
    }
}
