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

/// Miri can run these, as it cannot run system calls.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receive_fills_the_free_part_and_initializes_no_more_than_it_returns() {
        let mut memory = [MaybeUninit::uninit(); 8];
        let mut buffer = ReadBuf::uninit(&mut memory);
        buffer.put_slice(b"ab");
        let mut receive = |bytes: &[u8]| {
            poll_fill(&mut buffer, |memory| {
                for (slot, byte) in memory.iter_mut().zip(bytes) {
                    slot.write(*byte);
                }
                if bytes.is_empty() { Poll::Pending } else { Poll::Ready(Ok(bytes.len())) }
            })
        };
        assert!(receive(b"").is_pending());
        assert!(matches!(receive(b"cde"), Poll::Ready(Ok(()))));
        assert!(matches!(receive(b"f"), Poll::Ready(Ok(()))));
        assert_eq!((buffer.filled(), buffer.initialized().len()), (&b"abcdef"[..], 6));
        let failed = poll_fill(&mut buffer, |_| Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())));
        assert!(matches!(failed, Poll::Ready(Err(_))));
        assert_eq!(buffer.filled(), b"abcdef");
    }

    #[test]
    #[should_panic(expected = "at most as many bytes as there is room")]
    fn a_receive_that_claims_more_than_the_room_is_refused() {
        let mut memory = [MaybeUninit::uninit(); 2];
        let _ = poll_fill(&mut ReadBuf::uninit(&mut memory), |_| Poll::Ready(Ok(3)));
    }
}
