//! tokio's I/O traits, for all streams: reads into uninitialized buffers, and the traits of streams
//! that are not sockets on top of those of futures-io.

use std::io;
use std::mem::MaybeUninit;
use std::task::{Poll, ready};

use tokio::io::ReadBuf;

/// Reads into the free part of `buffer`, without clearing it first. `receive` is the
/// `poll_receive_uninit` of a stream.
#[allow(unsafe_code)]
#[inline]
pub fn poll_fill(
    buffer: &mut ReadBuf<'_>,
    receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<()>> {
    // SAFETY: no byte of the buffer may become uninitialized. The kernel writes bytes into the
    // memory or leaves them alone.
    let memory = unsafe { buffer.unfilled_mut() };
    let room = memory.len();
    let received = ready!(receive(memory))?;
    assert!(received <= room, "a receive returns at most as many bytes as there is room");
    // SAFETY: the kernel has written the first `received` bytes, as `Receive` demands of its
    // implementations, which are all of this project.
    unsafe { buffer.assume_init(received) };
    buffer.advance(received);
    Poll::Ready(Ok(()))
}

/// Implements tokio's traits for a type that implements both of futures-io. It reads by the type's
/// `poll_take`, which passes on the bytes that it holds.
macro_rules! by_futures_io {
    ({$($generics:tt)*} $type:ty) => {
        impl<$($generics)*> tokio::io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let room = buffer.remaining();
                self.get_mut().poll_take(cx, room, |bytes| buffer.put_slice(bytes))
            }
        }

        impl<$($generics)*> tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write(self, cx, bytes)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                futures_io::AsyncWrite::poll_write_vectored(self, cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                futures_io::AsyncWrite::poll_close(self, cx)
            }
        }
    };
}

pub(crate) use by_futures_io;
