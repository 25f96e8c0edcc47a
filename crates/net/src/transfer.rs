//! The two calls that every message pays for: receiving from a stream socket, and sending to it.
//!
//! On Linux they go straight to the kernel. The C library's way there, by which std goes, is longer than all that this crate
//! does for a small message. Other Unixes have the same calls, through their C libraries.

use std::io;

#[cfg(unix)]
pub(crate) use by_rustix::{receive, send};
#[cfg(not(unix))]
pub(crate) use by_std::{receive, send};

#[cfg(unix)]
mod by_rustix {
    use std::os::fd::AsFd;

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendFlags};

    use super::io;

    /// As std does it: a peer that is gone is an error, and no signal. Where it is no flag, it is an option that std sets.
    #[cfg(not(target_vendor = "apple"))]
    const NOSIGNAL: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    const NOSIGNAL: SendFlags = SendFlags::empty();

    #[inline]
    pub(crate) fn receive(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::net::recv(stream, buffer, RecvFlags::empty()) {
            Ok((_, received)) => Ok(received),
            Err(error) => Err(failed(error)),
        }
    }

    #[inline]
    pub(crate) fn send(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        match rustix::net::send(stream, bytes, NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(error) => Err(failed(error)),
        }
    }

    /// Out of line, or every message would pay for making an error of what is none.
    #[cold]
    #[inline(never)]
    fn failed(error: Errno) -> io::Error {
        error.into()
    }
}

#[cfg(not(unix))]
mod by_std {
    use std::io::{Read, Write};

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
}
