//! The reading end of a pipe.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use picot_net::Read;
use picot_net::seam::Receive;
#[cfg(unix)]
use picot_reactor::{Direction, Source};

use super::End;

/// The reading end of a pipe, or what works as one: a FIFO, a character device such as a terminal
/// or a serial line, or a socket. On this thread's loop.
///
/// [`read`](PipeReader::read) needs no trait. For everything else, it implements `AsyncRead` of
/// `futures-io`, also for `&PipeReader`, and [`Reader`](picot_net::Reader) reads lines from it.
/// With the feature `tokio-io` it implements tokio's trait, too. Several tasks can wait for bytes;
/// all of them are woken, and each byte goes to one.
///
/// The end of the stream is read when the last writer has gone.
///
/// ```
/// use picot_net::Reader;
/// use picot_process::{PipeReader, pipe};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let (reader, writer) = pipe()?;
///     writer.write_all(b"one\ntwo\n").await?;
///     drop(writer);
///     let mut reader = Reader::new(reader);
///     assert_eq!(reader.read_line().await?.as_deref(), Some("one"));
///     assert_eq!(reader.read_line().await?.as_deref(), Some("two"));
///     assert_eq!(reader.read_line().await?, None);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "connect_read_pipe")]
#[doc(alias = "ReadTransport")]
pub struct PipeReader {
    end: End,
}

impl PipeReader {
    pub(crate) fn new(end: End) -> PipeReader {
        PipeReader { end }
    }

    /// Takes over a descriptor that is open for reading: an [`OwnedFd`], a [`File`](std::fs::File)
    /// of a FIFO or of a character device, a [`ChildStdout`](std::process::ChildStdout), or a
    /// socket of std. It is put into non-blocking mode; dropping or converting the reader restores
    /// the mode that was there.
    ///
    /// The mode belongs to the open file description, which duplicates of the descriptor share. So
    /// take over one of the duplicates at a time: the first reader that is dropped restores the
    /// mode for all of them, and the others would block their loop. What other processes share,
    /// such as a terminal, is better opened anew.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a regular file or a directory, which no
    /// kernel can wait for; the text says what to use instead. Also if the descriptor is open for
    /// writing only, if this thread has no loop, if that is closed, and the operating system's
    /// errors. The descriptor is closed.
    ///
    /// ```
    /// use picot_process::PipeReader;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (fd, mut peer) = std::os::unix::net::UnixStream::pair()?;
    ///     let reader = PipeReader::from_fd(fd)?;
    ///     std::io::Write::write_all(&mut peer, b"hello")?;
    ///     assert_eq!(reader.read(&mut [0; 8]).await?, 5);
    ///
    ///     let file = std::fs::File::open("/etc/hosts")?;
    ///     let error = PipeReader::from_fd(file).unwrap_err();
    ///     assert!(error.to_string().contains("it is a regular file"));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<PipeReader> {
        Ok(PipeReader::new(End::take_over(fd.into(), Direction::Read)?))
    }

    /// Returns the descriptor in the mode in which [`from_fd`](PipeReader::from_fd) found it. One
    /// that this crate made is put into blocking mode, which other programs expect.
    ///
    /// ```
    /// use std::process::{Command, Stdio};
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     writer.write_all(b"for a child").await?;
    ///     drop(writer);
    ///     let mut wc = Command::new("wc");
    ///     let status = wc.stdin(reader.into_fd()).stdout(Stdio::null()).status()?;
    ///     assert!(status.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn into_fd(self) -> OwnedFd {
        self.end.into_fd().expect("a reader has its descriptor until it is dropped or converted")
    }

    /// Reads available bytes, at most `buffer.len()`, and waits until there are some. Returns their
    /// number; 0 means that the last writer has gone, or that the buffer is empty.
    ///
    /// # Errors
    /// The operating system's error, with the kind of descriptor; always if the loop is closed.
    ///
    /// # If dropped
    /// Nothing was read.
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     writer.write_all(b"hello").await?;
    ///     let mut buffer = [0; 16];
    ///     let length = reader.read(&mut buffer).await?;
    ///     assert_eq!(&buffer[..length], b"hello");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[inline]
    pub fn read<'a>(&'a self, buffer: &'a mut [u8]) -> Read<'a, PipeReader> {
        Read::new(self, buffer)
    }

    /// The descriptor as the reactor knows it, for operations that this type has no method for: see
    /// [`Source::poll_io`].
    ///
    /// ```
    /// use picot_process::pipe;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let (reader, writer) = pipe()?;
    ///     writer.write_all(b"hello").await?;
    ///     reader.source().ready(picot_loop::Direction::Read).await?; // waits, and reads nothing
    ///     assert_eq!(reader.read(&mut [0; 16]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn source(&self) -> &Source<OwnedFd> {
        self.end.open()
    }
}

impl Receive for PipeReader {
    #[inline]
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.end.poll_read(cx, buffer)
    }

    #[inline]
    fn poll_receive_uninit(&self, cx: &mut Context<'_>, buffer: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        self.end.poll_read_uninit(cx, buffer)
    }

    fn poll_receive_vectored(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        self.end.poll_read_vectored(cx, buffers)
    }
}

picot_net::__readable!({} PipeReader, |reader| reader);
picot_net::__readable!({} & PipeReader, |reader| &**reader);

#[cfg(unix)]
impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.open().get_ref().as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for PipeReader {
    fn as_raw_fd(&self) -> RawFd {
        self.end.open().get_ref().as_raw_fd()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PipeReader").field(&self.end).finish()
    }
}
