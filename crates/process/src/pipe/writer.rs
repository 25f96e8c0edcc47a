//! The writing end of a pipe.

use std::fmt;
use std::io::{self, IoSlice};
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use picot_net::WriteAll;
use picot_net::seam::Transmit;
#[cfg(unix)]
use picot_reactor::{Direction, Source};

use super::End;
#[cfg(unix)]
use super::end::closed;

/// The writing end of a pipe, or what works as one: a FIFO, a character device such as a terminal
/// or a serial line, or a socket. On this thread's loop.
///
/// [`write_all`](PipeWriter::write_all) needs no trait, and takes a shared reference. For
/// everything else, it implements `AsyncWrite` of `futures-io`, and [`Writer`](picot_net::Writer)
/// collects pieces for it. With the feature `tokio-io` it implements tokio's trait, too. Several
/// tasks can write; what each writes may be cut by the others.
///
/// Dropping or closing the writer closes the descriptor. The reader then reads the end of the
/// stream, unless another descriptor of the pipe is still open for writing.
///
/// Writing to a pipe whose last reader has gone is a [`BrokenPipe`](io::ErrorKind::BrokenPipe)
/// error, and [`closed`](PipeWriter::closed) waits for that. The kernel raises `SIGPIPE` as well,
/// which programs in Rust ignore. In a host that is not written in Rust and has not ignored the
/// signal, it ends the process: pipes, unlike sockets, have no flag against it.
///
/// ```
/// use picot_process::pipe;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let (reader, writer) = pipe()?;
///     drop(reader);
///     writer.closed().await?;
///     let error = writer.write_all(b"to no reader").await.unwrap_err();
///     assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "connect_write_pipe")]
#[doc(alias = "WriteTransport")]
pub struct PipeWriter {
    end: End,
}

impl PipeWriter {
    pub(crate) fn new(end: End) -> PipeWriter {
        PipeWriter { end }
    }

    /// Takes over a descriptor that is open for writing: an [`OwnedFd`], a [`File`](std::fs::File)
    /// of a FIFO or of a character device, a [`ChildStdin`](std::process::ChildStdin), or a socket
    /// of std. It is put into non-blocking mode; dropping, closing or converting the writer
    /// restores the mode that was there. [`PipeReader::from_fd`](crate::PipeReader::from_fd) says
    /// what this means for duplicates.
    ///
    /// # Errors
    /// As for [`PipeReader::from_fd`](crate::PipeReader::from_fd), and if the descriptor is open
    /// for reading only.
    ///
    /// ```
    /// use picot_process::{PipeReader, PipeWriter};
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (one, other) = std::os::unix::net::UnixStream::pair()?;
    ///     let (reader, writer) = (PipeReader::from_fd(one)?, PipeWriter::from_fd(other)?);
    ///     writer.write_all(b"hello").await?;
    ///     assert_eq!(reader.read(&mut [0; 8]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<PipeWriter> {
        Ok(PipeWriter::new(End::take_over(fd.into(), Direction::Write)?))
    }

    /// Returns the descriptor in the mode in which [`from_fd`](PipeWriter::from_fd) found it. One
    /// that this crate made is put into blocking mode, which other programs expect.
    ///
    /// # Errors
    /// If the writer was closed by `AsyncWrite`.
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     let mut echo = std::process::Command::new("echo");
    ///     assert!(echo.arg("hello").stdout(writer.into_fd()?).status()?.success());
    ///     assert_eq!(reader.read(&mut [0; 16]).await?, 6);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.end.into_fd().ok_or_else(closed)
    }

    /// Writes all of `bytes`. Returns when the kernel has taken all of them, which is the
    /// back-pressure.
    ///
    /// # Errors
    /// The operating system's error, with the kind of descriptor;
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the last reader has gone, or if the writer was
    /// closed. Always if the loop is closed.
    ///
    /// # If dropped
    /// A part may be written; [`unsent`](WriteAll::unsent) returns the rest. A
    /// [`Writer`](picot_net::Writer) keeps the rest, and writes it with the next write.
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     writer.write_all(b"hello").await?;
    ///     assert_eq!(reader.read(&mut [0; 16]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[inline]
    pub fn write_all<'a>(&'a self, bytes: &'a [u8]) -> WriteAll<'a, PipeWriter> {
        WriteAll::new(self, bytes)
    }

    /// Waits until the last reader has gone.
    ///
    /// # Errors
    /// If the writer was closed, or the loop is closed.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     drop(reader);
    ///     writer.closed().await?;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn closed(&self) -> io::Result<()> {
        self.end.gone().await
    }

    /// The descriptor as the reactor knows it, for operations that this type has no method for: see
    /// [`Source::poll_io`].
    ///
    /// # Errors
    /// If the writer was closed by `AsyncWrite`.
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (_reader, writer) = pipe()?;
    ///     writer.source()?.ready(picot_loop::Direction::Write).await?; // there is room
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn source(&self) -> io::Result<&Source<OwnedFd>> {
        self.end.source()
    }
}

impl Transmit for PipeWriter {
    #[inline]
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.end.poll_write(cx, bytes)
    }

    fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.end.poll_write_vectored(cx, slices)
    }
}

// Not for references: closing needs the value.
picot_net::__writable!({} PipeWriter, |writer| writer, |closed| {
    closed.end.close();
    Ok(())
});

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeWriter").field(&self.end).finish()
    }
}
