//! What stream sockets have in common, whatever family they are of: the I/O traits, halves, and ways to end.
//!
//! `Duplex` reads and writes by shared reference, so that one task reads while another writes; the traits of `futures-io`
//! (and of tokio, with the feature `tokio-io`) are put on top of it here, once for all kinds of sockets and their halves.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::task::{Context, Poll};

/// A stream socket of this crate: [`TcpStream`](crate::TcpStream) or [`UnixStream`](crate::UnixStream). It cannot be
/// implemented elsewhere.
pub trait Duplex: Sealed + 'static {
    /// Ends one or both directions. Ending the writing direction lets the peer read the end; that is what `close` of
    /// `AsyncWrite` does.
    ///
    /// # Errors
    /// What the operating system says; but a connection that has ended already is fine.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

/// The operations behind the traits, for this crate only.
pub trait Sealed {
    /// Whether the socket belongs to the process that this one was forked from.
    #[doc(hidden)]
    fn is_forked(&self) -> bool;
    #[doc(hidden)]
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    #[doc(hidden)]
    fn poll_receive_vectored(&self, cx: &mut Context<'_>, buffers: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>>;
    #[doc(hidden)]
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    #[doc(hidden)]
    fn poll_send_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

/// So many slices every system takes in one call. Of more, std hands on as many as the system takes; then fewer bytes than
/// there are do not mean that the socket has no more, or no more room.
pub(crate) const SLICES: usize = 16;

/// A socket that is not connected any more has nothing left to end.
pub(crate) fn unless_ended(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Implements [`Duplex`] for a type with a field `source`, whose object reads and writes by reference.
macro_rules! duplex {
    ($type:ty) => {
        impl $crate::duplex::Sealed for $type {
            fn is_forked(&self) -> bool {
                self.source.is_forked()
            }

            // Always in line, as what calls it: for a small message a call costs as much as all else that is done here.
            #[inline(always)]
            fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                self.source.poll_transfer(cx, Direction::Read, buffer.len(), |stream| $crate::transfer::receive(stream, buffer))
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
                let many = buffers.len() > $crate::duplex::SLICES;
                let receive = |stream: &_| $crate::transfer::receive_vectored(stream, buffers);
                if many {
                    return self.source.poll_io(cx, Direction::Read, receive);
                }
                self.source.poll_transfer(cx, Direction::Read, length, receive)
            }

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
                if slices.len() > $crate::duplex::SLICES {
                    return self.source.poll_io(cx, Direction::Write, send);
                }
                self.source.poll_transfer(cx, Direction::Write, length, send)
            }
        }

        impl $type {
            /// Reads what has come, as much as fits into `buffer`, and waits until there is something. Returns the number of
            /// bytes; 0 is the end of the stream, or of a buffer without room.
            ///
            /// By shared reference, so that one task may read while another writes. `read` of the extension traits does the
            /// same.
            ///
            /// # Errors
            /// What the operating system says.
            ///
            /// # If dropped
            /// Nothing was read.
            #[doc(alias = "sock_recv")]
            #[doc(alias = "recv")]
            #[inline]
            pub fn read<'a>(&'a self, buffer: &'a mut [u8]) -> $crate::inherent::Read<'a, $type> {
                $crate::inherent::Read::new(self, buffer)
            }

            /// Writes all of `bytes`. Returns when everything is the kernel's, which is the back-pressure.
            ///
            /// By shared reference, so that one task may write while another reads. `write_all` of the extension traits does
            /// the same.
            ///
            /// # Errors
            /// What the operating system says, for example that the peer has reset the connection.
            ///
            /// # If dropped
            /// What has gone out is with the peer's kernel; [`unsent`]($crate::WriteAll::unsent) is the rest. A
            /// [`Writer`]($crate::Writer) keeps that, and sends it with the next write.
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
        $crate::duplex::writable!({} $type, |stream| stream);
        $crate::duplex::writable!({} &$type, |stream| &**stream);
    };
}

/// Puts the reading traits on a type, by way of the [`Duplex`] that it holds.
macro_rules! readable {
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
                    return $crate::operation::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::duplex::Sealed::poll_receive($duplex, cx, buffer)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::duplex::Sealed::poll_receive_vectored($duplex, cx, buffers)
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
                    return $crate::operation::poll_nothing(cx, Ok(()));
                }
                let $this = &*self;
                $crate::duplex::Sealed::poll_receive($duplex, cx, buffer.initialize_unfilled()).map_ok(|read| buffer.advance(read))
            }
        }
    };
}

/// Puts the writing traits on a type, by way of the [`Duplex`] that it holds. There is nothing to flush: what was written is
/// the kernel's. Closing ends the writing direction.
macro_rules! writable {
    ({$($generics:tt)*} $type:ty, |$this:ident| $duplex:expr) => {
        impl<$($generics)*> futures_io::AsyncWrite for $type {
            #[inline]
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                // `WriteAll`, which is in line everywhere, has its own check.
                if bytes.is_empty() {
                    return $crate::operation::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::duplex::Sealed::poll_send($duplex, cx, bytes)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::duplex::Sealed::poll_send_vectored($duplex, cx, slices)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::operation::poll_nothing(cx, Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                $crate::operation::poll_call(cx, || $crate::duplex::Duplex::shutdown($duplex, std::net::Shutdown::Write))
            }
        }

        #[cfg(feature = "tokio-io")]
        impl<$($generics)*> tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                // `WriteAll`, which is in line everywhere, has its own check.
                if bytes.is_empty() {
                    return $crate::operation::poll_nothing(cx, Ok(0));
                }
                let $this = &*self;
                $crate::duplex::Sealed::poll_send($duplex, cx, bytes)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = &*self;
                $crate::duplex::Sealed::poll_send_vectored($duplex, cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::operation::poll_nothing(cx, Ok(()))
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = &*self;
                $crate::operation::poll_call(cx, || $crate::duplex::Duplex::shutdown($duplex, std::net::Shutdown::Write))
            }
        }
    };
}

pub(crate) use {duplex, readable, writable};
