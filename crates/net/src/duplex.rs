//! The common part of stream sockets of all families: the I/O traits, halves, and ways to end a
//! connection.
//!
//! `Duplex` reads and writes by shared reference, so that one task can read while another writes.
//! Its two directions are traits of their own, `Receive` and `Transmit`. The macros here implement
//! the traits of `futures-io` (and of tokio, with the feature `tokio-io`) on top of these: for all
//! kinds of sockets, for their halves, and for the pipes of `picot-process`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::task::{Context, Poll};

/// A stream socket of this crate: [`TcpStream`](crate::TcpStream) or
/// [`UnixStream`](crate::UnixStream).
///
/// Other crates cannot implement it. Use it as a bound for code that takes either of them.
///
/// ```
/// use std::net::Shutdown;
/// use picot_net::{Duplex, TcpListener, TcpStream};
///
/// fn say_goodbye(stream: &impl Duplex) -> std::io::Result<()> {
///     stream.shutdown(Shutdown::Write)
/// }
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     say_goodbye(&server)?;
///     assert_eq!(client.read(&mut [0; 8]).await?, 0);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub trait Duplex: Sealed + 'static {
    /// Ends one or both directions. After the end of the writing direction, the peer reads an end
    /// of stream; `close` of `AsyncWrite` does the same.
    ///
    /// # Errors
    /// The operating system's error. A connection that has ended already is no error.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

/// What only this crate's streams have. As a supertrait, it keeps other crates from implementing
/// `Duplex`.
#[doc(hidden)]
pub trait Sealed: Receive + Transmit {
    /// Whether the socket belongs to the process that this one was forked from.
    #[doc(hidden)]
    fn is_forked(&self) -> bool;
}

/// The reading direction of a stream. [`Read`](crate::Read) and the reading traits are built on it.
#[doc(hidden)]
pub trait Receive {
    #[doc(hidden)]
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Receives into memory that need not be initialized. After `Ok(n)`, the first `n` bytes of
    /// `buffer` are: they are what the kernel has written.
    ///
    /// For libraries whose buffers are not initialized, such as hyper.
    #[doc(hidden)]
    fn poll_receive_uninit(&self, cx: &mut Context<'_>, buffer: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>;
    #[doc(hidden)]
    fn poll_receive_vectored(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>>;
}

/// The writing direction of a stream. [`WriteAll`](crate::WriteAll) and the writing traits are
/// built on it.
#[doc(hidden)]
pub trait Transmit {
    #[doc(hidden)]
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    #[doc(hidden)]
    fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

/// Turns the error of a socket that is not connected any more into success: its directions have
/// ended.
pub(crate) fn unless_ended(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Ends the writing direction: what closing a stream or its writing half does.
pub(crate) fn end(stream: &impl Duplex) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)
}

/// Implements [`Duplex`] for a type with a field `source`, whose object reads and writes by
/// reference.
///
/// `$pair` is the hidden part of the examples: lines of a doctest that connect two streams of the
/// type, `near` and `far`.
macro_rules! duplex {
    ($type:ty, pair: $pair:literal) => {
        impl $crate::duplex::Sealed for $type {
            fn is_forked(&self) -> bool {
                self.source.is_forked()
            }
        }

        impl $crate::duplex::Receive for $type {
            // Always inlined, like its callers: for a small message, a function call costs as much
            // as the rest of this path. The callers check for an empty buffer, each where it costs
            // least.
            #[inline(always)]
            fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                self.source.poll_transfer(cx, Direction::Read, buffer.len(), |stream| $crate::transfer::receive(stream, buffer))
            }

            #[inline]
            fn poll_receive_uninit(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [std::mem::MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                self.source.poll_transfer(cx, Direction::Read, buffer.len(), |stream| {
                    $crate::transfer::receive_uninit(stream, buffer)
                })
            }

            fn poll_receive_vectored(
                &self,
                cx: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let length = buffers.iter().map(|buffer| buffer.len()).sum();
                if length == 0 {
                    return $crate::operation::poll_nothing(cx, Ok(0));
                }
                let many = buffers.len() > $crate::transfer::SLICES;
                let receive = |stream: &_| $crate::transfer::receive_vectored(stream, buffers);
                if many {
                    return self.source.poll_io(cx, Direction::Read, receive);
                }
                self.source.poll_transfer(cx, Direction::Read, length, receive)
            }
        }

        impl $crate::duplex::Transmit for $type {
            #[inline(always)]
            fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.source.poll_transfer(cx, Direction::Write, bytes.len(), |stream| $crate::transfer::send(stream, bytes))
            }

            fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
                let length = slices.iter().map(|slice| slice.len()).sum();
                if length == 0 {
                    return $crate::operation::poll_nothing(cx, Ok(0));
                }
                let send = |stream: &_| $crate::transfer::send_vectored(stream, slices);
                if slices.len() > $crate::transfer::SLICES {
                    return self.source.poll_io(cx, Direction::Write, send);
                }
                self.source.poll_transfer(cx, Direction::Write, length, send)
            }
        }

        impl $type {
            /// Receives available bytes, at most `buffer.len()`, and waits until there are some.
            /// Returns their number; 0 means the end of the stream, or an empty buffer.
            ///
            /// It takes a shared reference, so that one task can read while another writes. `read`
            /// of the extension traits does the same.
            ///
            /// # Errors
            /// The operating system's error, with the name of the connection.
            ///
            /// # If dropped
            /// Nothing was read.
            ///
            /// ```
            /// # picot_loop::run(async {
            #[doc = $pair]
            /// near.write_all(b"hello").await?;
            /// let mut buffer = [0; 16];
            /// let length = far.read(&mut buffer).await?;
            /// assert_eq!(&buffer[..length], b"hello");
            /// # std::io::Result::Ok(())
            /// # })
            /// # .unwrap();
            /// ```
            #[doc(alias = "sock_recv")]
            #[doc(alias = "recv")]
            #[inline]
            pub fn read<'a>(&'a self, buffer: &'a mut [u8]) -> $crate::inherent::Read<'a, $type> {
                $crate::inherent::Read::new(self, buffer)
            }

            /// Writes all of `bytes`. Returns when the kernel has taken all of them, which is the
            /// back-pressure.
            ///
            /// It takes a shared reference, so that one task can write while another reads.
            /// `write_all` of the extension traits does the same.
            ///
            /// # Errors
            /// The operating system's error, with the name of the connection: for example that the
            /// peer has reset it.
            ///
            /// # If dropped
            /// A part may be sent; [`unsent`]($crate::WriteAll::unsent) returns the rest. A
            /// [`Writer`]($crate::Writer) keeps the rest, and sends it with the next write.
            ///
            /// ```
            /// # picot_loop::run(async {
            #[doc = $pair]
            /// near.write_all(b"hello").await?;
            /// drop(near);
            /// assert_eq!(picot_net::Reader::new(far).read_to_end().await?, b"hello");
            /// # std::io::Result::Ok(())
            /// # })
            /// # .unwrap();
            /// ```
            #[doc(alias = "sock_sendall")]
            #[doc(alias = "sendall")]
            #[inline]
            pub fn write_all<'a>(&'a self, bytes: &'a [u8]) -> $crate::inherent::WriteAll<'a, $type> {
                $crate::inherent::WriteAll::new(self, bytes)
            }
        }

        impl $crate::duplex::Duplex for $type {
            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                let stream = self.source.get_ref();
                $crate::duplex::unless_ended(stream.shutdown(how))
                    .map_err(|error| $crate::transfer::failed(stream, "end", error))
            }
        }

        $crate::duplex::readable!({} $type, |stream| stream);
        $crate::duplex::readable!({} &$type, |stream| &**stream);
        $crate::duplex::writable!({} $type, |stream| stream, |closed| $crate::duplex::end(&*closed));
        $crate::duplex::writable!({} &$type, |stream| &**stream, |closed| $crate::duplex::end(&**closed));
    };
}

/// Implements the reading traits for a type, by the [`Receive`] that it holds.
///
/// Exported for `picot-process`, whose feature `tokio-io` includes this crate's.
#[doc(hidden)]
#[macro_export]
macro_rules! __readable {
    ({$($generics:tt)*} $type:ty, |$this:ident| $duplex:expr) => {
        impl<$($generics)*> futures_io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                // The kernel waits for data even if there is no room for it.
                if buffer.is_empty() {
                    return $crate::seam::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::seam::Receive::poll_receive($duplex, cx, buffer)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::seam::Receive::poll_receive_vectored($duplex, cx, buffers)
            }
        }

        #[cfg(feature = "tokio-io")]
        impl<$($generics)*> tokio::io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                if buffer.remaining() == 0 {
                    return $crate::seam::poll_nothing(cx, Ok(()));
                }
                let $this = &*self;
                $crate::seam::poll_fill(buffer, |memory| $crate::seam::Receive::poll_receive_uninit($duplex, cx, memory))
            }
        }
    };
}

/// Implements the writing traits for a type, by the [`Transmit`] that it holds. Flushing does
/// nothing, because written bytes are in the kernel. Closing does what the last argument says, with
/// a mutable reference to the value.
///
/// Exported as `__readable` is.
#[doc(hidden)]
#[macro_export]
macro_rules! __writable {
    ({$($generics:tt)*} $type:ty, |$this:ident| $duplex:expr, |$closed:ident| $close:expr) => {
        impl<$($generics)*> futures_io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                // `WriteAll`, which calls `poll_send` itself, has a check of its own.
                if bytes.is_empty() {
                    return $crate::seam::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::seam::Transmit::poll_send($duplex, cx, bytes)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::seam::Transmit::poll_send_vectored($duplex, cx, slices)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::seam::poll_nothing(cx, Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $closed = self.get_mut();
                $crate::seam::poll_call(cx, || $close)
            }
        }

        #[cfg(feature = "tokio-io")]
        impl<$($generics)*> tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                // `WriteAll`, which calls `poll_send` itself, has a check of its own.
                if bytes.is_empty() {
                    return $crate::seam::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::seam::Transmit::poll_send($duplex, cx, bytes)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::seam::Transmit::poll_send_vectored($duplex, cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::seam::poll_nothing(cx, Ok(()))
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $closed = self.get_mut();
                $crate::seam::poll_call(cx, || $close)
            }
        }
    };
}

pub(crate) use {__readable as readable, __writable as writable, duplex};
