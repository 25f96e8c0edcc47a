//! The system calls that move bytes through a stream socket.
//!
//! On Linux they go straight to the kernel: for a small message, the path through the C library,
//! which std takes, has more instructions than the rest of an operation in this crate. Other Unixes
//! offer the same calls through their C libraries.
//!
//! Sending to a peer that has closed its side raises `SIGPIPE`. That ends a process which has not
//! ignored the signal, for example a host written in C. So each call here that sends carries the
//! flag against the signal. `write` and `writev`, which std uses for several slices, have no such
//! flag.

use std::io::{self, IoSliceMut, Read};

use socket2::SockRef;

#[cfg(unix)]
pub(crate) use by_rustix::{receive, receive_uninit, send, send_vectored};
#[cfg(not(unix))]
pub(crate) use by_std::{receive, receive_uninit, send, send_vectored};

use crate::operation_error::About;
use crate::report::connection_name;

/// The number of slices that every system takes in one call. Of more slices, only the first may be
/// used; then a short transfer does not prove that the socket has no more data, or no more room.
pub const SLICES: usize = 16;

/// Receives into several buffers.
pub(crate) fn receive_vectored<S>(mut stream: &S, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>
where
    for<'a> &'a S: Read,
    for<'a> SockRef<'a>: From<&'a S>,
{
    stream.read_vectored(buffers).map_err(|error| failed(stream, "receive on", error))
}

/// Puts the operation and the name of the connection in front of an error, unless the error only
/// says to try again.
///
/// It is out of line, so that successful transfers do not pay for it.
#[cold]
#[inline(never)]
pub(crate) fn failed<S>(stream: &S, operation: &str, error: io::Error) -> io::Error
where
    for<'a> SockRef<'a>: From<&'a S>,
{
    // Callers compare these two, so they stay bare.
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
        return error;
    }
    error.about(format_args!("{operation} the {}", connection_name(&SockRef::from(stream))))
}

#[cfg(unix)]
mod by_rustix {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;

    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

    use super::{failed, io};

    /// Makes sending to a closed peer an error instead of a signal. On Apple's systems, where no
    /// such flag exists, std sets the socket option that has the same effect.
    #[cfg(not(target_vendor = "apple"))]
    const NOSIGNAL: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    const NOSIGNAL: SendFlags = SendFlags::empty();

    #[inline]
    pub(crate) fn receive(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::net::recv(stream, buffer, RecvFlags::empty()) {
            Ok((_, received)) => Ok(received),
            Err(error) => Err(failed(stream, "receive on", error.into())),
        }
    }

    /// Returns how many bytes at the front of `buffer` the kernel has written.
    #[inline]
    pub(crate) fn receive_uninit(stream: &impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        match rustix::net::recv(stream, buffer, RecvFlags::empty()) {
            Ok(((written, _), _)) => Ok(written.len()),
            Err(error) => Err(failed(stream, "receive on", error.into())),
        }
    }

    #[inline]
    pub(crate) fn send(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(stream, bytes, NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(error) => Err(failed(stream, "send on", error.into())),
        }
    }

    /// The most slices that the kernel takes in one call (`IOV_MAX`). Of more slices, the first
    /// `MOST` are sent.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    const MOST: usize = 1024;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    const MOST: usize = super::SLICES;

    pub(crate) fn send_vectored(stream: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Empty slices at the front are skipped: sending `MOST` of them moves 0 bytes, which looks
        // like a full stream.
        let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(slices.len());
        let slices = &slices[first..];
        let slices = &slices[..slices.len().min(MOST)];
        rustix::net::sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), NOSIGNAL)
            .map_err(|error| failed(stream, "send on", error.into()))
    }
}

#[cfg(not(unix))]
mod by_std {
    use std::io::{IoSlice, Read, Write};
    use std::mem::MaybeUninit;

    use socket2::SockRef;

    use super::{failed, io};

    pub(crate) fn receive<S>(mut stream: &S, buffer: &mut [u8]) -> io::Result<usize>
    where
        for<'a> &'a S: Read,
        for<'a> SockRef<'a>: From<&'a S>,
    {
        stream.read(buffer).map_err(|error| failed(stream, "receive on", error))
    }

    /// Returns how many bytes at the front of `buffer` the kernel has written.
    pub(crate) fn receive_uninit<S>(stream: &S, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize>
    where
        for<'a> SockRef<'a>: From<&'a S>,
    {
        SockRef::from(stream).recv(buffer).map_err(|error| failed(stream, "receive on", error))
    }

    pub(crate) fn send<S>(mut stream: &S, bytes: &[u8]) -> io::Result<usize>
    where
        for<'a> &'a S: Write,
        for<'a> SockRef<'a>: From<&'a S>,
    {
        stream.write(bytes).map_err(|error| failed(stream, "send on", error))
    }

    pub(crate) fn send_vectored<S>(mut stream: &S, slices: &[IoSlice<'_>]) -> io::Result<usize>
    where
        for<'a> &'a S: Write,
        for<'a> SockRef<'a>: From<&'a S>,
    {
        stream.write_vectored(slices).map_err(|error| failed(stream, "send on", error))
    }
}
