//! The calls that move bytes: receiving from a stream socket, and sending to it.
//!
//! On Linux they go straight to the kernel. The C library's way there, by which std goes, is longer than all that this crate
//! does for a small message. Other Unixes have the same calls, through their C libraries.
//!
//! Sending to a peer that has gone raises `SIGPIPE`, which ends a process that has not ignored it, as a host in C may not
//! have. So every call here that sends carries the flag against that. `write` and `writev`, by which std sends several slices,
//! cannot carry it.

use std::io;

#[cfg(unix)]
pub(crate) use by_rustix::{receive, send, send_vectored};
#[cfg(not(unix))]
pub(crate) use by_std::{receive, send, send_vectored};

#[cfg(unix)]
mod by_rustix {
    use std::io::IoSlice;
    use std::os::fd::AsFd;

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

    use socket2::SockRef;

    use super::io;
    use crate::operation_error::About;
    use crate::report::connection_name;

    /// A peer that has gone is an error, and no signal. Where this is no flag, it is an option of the socket that std sets.
    #[cfg(not(target_vendor = "apple"))]
    const NOSIGNAL: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    const NOSIGNAL: SendFlags = SendFlags::empty();

    #[inline]
    pub(crate) fn receive(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::net::recv(stream, buffer, RecvFlags::empty()) {
            Ok((_, received)) => Ok(received),
            Err(error) => Err(failed(stream, "receive", error)),
        }
    }

    #[inline]
    pub(crate) fn send(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(stream, bytes, NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(error) => Err(failed(stream, "send", error)),
        }
    }

    /// The most slices that one call takes; of more it sends the first.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    const MOST: usize = 1024;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    const MOST: usize = crate::duplex::SLICES;

    pub(crate) fn send_vectored(stream: &impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Without the empty ones in front: a call that sends nothing of `MOST` of these would look like a full stream.
        let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or(slices.len());
        let slices = &slices[first..];
        let slices = &slices[..slices.len().min(MOST)];
        rustix::net::sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), NOSIGNAL)
            .map_err(|error| failed(stream, "send", error))
    }

    /// Names the connection, unless the error only says to try again. Out of line, so that messages do not pay for it.
    #[cold]
    #[inline(never)]
    fn failed(stream: &impl AsFd, operation: &str, error: Errno) -> io::Error {
        let is_final = !matches!(error, Errno::AGAIN | Errno::INTR);
        let error = io::Error::from(error);
        if is_final {
            return error.about(format_args!("{operation} on the {}", connection_name(&SockRef::from(stream))));
        }
        error
    }
}

#[cfg(not(unix))]
mod by_std {
    use std::io::{IoSlice, Read, Write};

    use super::io;

    pub(crate) fn receive<S>(mut stream: &S, buffer: &mut [u8]) -> io::Result<usize>
    where
        for<'a> &'a S: Read,
    {
        stream.read(buffer)
    }

    pub(crate) fn send<S>(mut stream: &S, bytes: &[u8]) -> io::Result<usize>
    where
        for<'a> &'a S: Write,
    {
        stream.write(bytes)
    }

    pub(crate) fn send_vectored<S>(mut stream: &S, slices: &[IoSlice<'_>]) -> io::Result<usize>
    where
        for<'a> &'a S: Write,
    {
        stream.write_vectored(slices)
    }
}
