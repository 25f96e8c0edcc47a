//! Standard input, output and error as streams.
//!
//! Their descriptors are shared with other processes: a shell, the other parts of a pipeline. A
//! non-blocking mode would be theirs, too. So none is set on them; how that is avoided stands in
//! `descriptor.rs`.

#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
mod lane;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use picot_net::{Lines, Reader};

#[cfg(not(unix))]
use absent::Descriptor;
#[cfg(unix)]
use descriptor::Descriptor;

/// One of the three streams.
#[derive(Clone, Copy, Debug)]
enum Standard {
    Input,
    Output,
    Error,
}

impl Standard {
    fn name(self) -> &'static str {
        match self {
            Standard::Input => "standard input",
            Standard::Output => "standard output",
            Standard::Error => "standard error",
        }
    }

    /// Puts what failed in front of an error.
    fn failed(self, what: &str, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot {what} {}: {error}", self.name()))
    }
}

/// Opens the standard input of the process on this thread's loop.
///
/// It reads a terminal, a pipe, a socket or a file, and leaves the flags of the descriptor as they
/// are, so that a shell or another program that shares it is not disturbed. A read that is pending
/// does not keep the process alive at its end.
///
/// It has no buffer of its own: several of them share the input as processes would.
/// [`std::io::stdin`] has a buffer, and what is in that is not seen here.
///
/// # Errors
/// If the thread has no loop or it is closed, or the descriptor is closed. `Unsupported` on
/// Windows.
///
/// ```no_run
/// # picot_loop::run(async {
/// let mut lines = picot_process::stdin()?.lines();
/// while let Some(line) = lines.next().await {
///     println!("read: {}", line?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[doc(alias = "connect_read_pipe")]
pub fn stdin() -> io::Result<Stdin> {
    Ok(Stdin { descriptor: open(Standard::Input)? })
}

/// Opens the standard output of the process on this thread's loop.
///
/// As [`stdin`], it leaves the flags of the descriptor as they are. It has no buffer of its own;
/// [`std::io::stdout`], which `println!` uses, has one: flush that before.
///
/// # Errors
/// As for [`stdin`].
///
/// ```
/// # #[cfg(unix)]
/// picot_loop::run(async { picot_process::stdout()?.write_all(b"hello\n").await }).unwrap();
/// ```
#[doc(alias = "connect_write_pipe")]
pub fn stdout() -> io::Result<Stdout> {
    Ok(Stdout { descriptor: open(Standard::Output)? })
}

/// Opens the standard error of the process on this thread's loop, otherwise as [`stdout`].
///
/// # Errors
/// As for [`stdin`].
///
/// ```
/// # #[cfg(unix)]
/// picot_loop::run(async { picot_process::stderr()?.write_all(b"trouble\n").await }).unwrap();
/// ```
pub fn stderr() -> io::Result<Stderr> {
    Ok(Stderr { descriptor: open(Standard::Error)? })
}

fn open(standard: Standard) -> io::Result<Descriptor> {
    Descriptor::open(standard).map_err(|error| standard.failed("open", error))
}

/// The standard input; made by [`stdin`].
///
/// It implements [`AsyncRead`]. [`Reader`] gives it a buffer, for lines and separators.
///
/// ```no_run
/// use picot_net::Reader;
///
/// # picot_loop::run(async {
/// let mut input = Reader::new(picot_process::stdin()?);
/// println!("read: {:?}", input.read_line().await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Stdin {
    descriptor: Descriptor,
}

impl Stdin {
    /// Reads available bytes, at most `buffer.len()`, and waits until there are some. Returns their
    /// number; 0 means the end of the input, or an empty buffer.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// # If dropped
    /// Nothing was read. Of an input that the kernel cannot poll, such as a file, what a thread has
    /// read by then is returned by the next read.
    ///
    /// ```no_run
    /// # picot_loop::run(async {
    /// let mut buffer = [0; 1024];
    /// let length = picot_process::stdin()?.read(&mut buffer).await?;
    /// println!("read {length} bytes");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll(cx, buffer)).await
    }

    /// Makes a stream of the lines, without their ends. A line has a limit of 64 KiB; for another
    /// one, use [`Reader::with_limit`].
    ///
    /// ```no_run
    /// use futures_lite::StreamExt;
    ///
    /// # picot_loop::run(async {
    /// let lines: Vec<String> = picot_process::stdin()?.lines().try_collect().await?;
    /// println!("{} lines", lines.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn lines(self) -> Lines<Stdin> {
        Reader::new(self).lines()
    }

    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.descriptor.poll_read(cx, buffer).map_err(|error| Standard::Input.failed("read", error))
    }
}

impl AsyncRead for Stdin {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, buffer)
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = std::task::ready!(self.poll(cx, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").finish_non_exhaustive()
    }
}

macro_rules! output {
    ($type:ident, $open:ident, $standard:path) => {
        impl $type {
            /// Writes all of `bytes`. Returns when the kernel has taken all of them.
            ///
            /// # Errors
            /// The operating system's error: for example that the reader of a pipe is gone.
            ///
            /// # If dropped
            /// A part may be written.
            ///
            /// ```
            #[doc = concat!("# use picot_process::", stringify!($open), " as open;")]
            /// # #[cfg(unix)]
            /// picot_loop::run(async { open()?.write_all(b"hello\n").await }).unwrap();
            /// ```
            pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
                while !bytes.is_empty() {
                    let written = poll_fn(|cx| self.poll(cx, bytes)).await?;
                    bytes = &bytes[written..];
                }
                poll_fn(|cx| self.poll_flush(cx)).await
            }

            fn poll(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.descriptor.poll_write(cx, bytes).map_err(|error| $standard.failed("write to", error))
            }

            fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.descriptor.poll_flush(cx).map_err(|error| $standard.failed("write to", error))
            }
        }

        /// Closing only flushes: the descriptor is the process's.
        impl AsyncWrite for $type {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.poll(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                (*self).poll_flush(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                (*self).poll_flush(cx)
            }
        }

        #[cfg(feature = "tokio-io")]
        impl tokio::io::AsyncWrite for $type {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.poll(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                (*self).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                (*self).poll_flush(cx)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    };
}

/// The standard output; made by [`stdout`].
///
/// It implements [`AsyncWrite`]. Where the kernel cannot poll it, a thread writes, and an error
/// may show at the next write or flush.
///
/// ```
/// use futures_lite::AsyncWriteExt;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let mut out = picot_process::stdout()?;
///     out.write(b"hello\n").await?;
///     out.flush().await
/// })
/// .unwrap();
/// ```
pub struct Stdout {
    descriptor: Descriptor,
}

/// The standard error; made by [`stderr`].
///
/// It implements [`AsyncWrite`]. Where the kernel cannot poll it, a thread writes, and an error
/// may show at the next write or flush.
///
/// ```
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let mut log = picot_process::stderr()?;
///     log.write_all(b"started\n").await
/// })
/// .unwrap();
/// ```
pub struct Stderr {
    descriptor: Descriptor,
}

output!(Stdout, stdout, Standard::Output);
output!(Stderr, stderr, Standard::Error);

/// On Windows, the console cannot be polled by the loop.
#[cfg(not(unix))]
mod absent {
    use std::io;
    use std::task::{Context, Poll};

    use super::Standard;

    /// There is no way to make one.
    pub(super) enum Descriptor {}

    impl Descriptor {
        pub(super) fn open(_: Standard) -> io::Result<Descriptor> {
            let text = "the standard streams need Unix: on Windows, use those of `std::io` in `spawn_blocking`";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }

        pub(super) fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            match *self {}
        }

        pub(super) fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            match *self {}
        }

        pub(super) fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match *self {}
        }
    }
}
