//! The two calls that every message pays for: receiving from a stream socket, and sending to it.
//!
//! On Linux they go straight to the kernel. The C library's way there, by which std goes, is longer than all that this crate
//! does for a small message.

use std::io;

#[cfg(not(target_os = "linux"))]
pub(crate) use by_std::{receive, send};
#[cfg(target_os = "linux")]
pub(crate) use direct::{receive, send};

#[cfg(target_os = "linux")]
mod direct {
    use std::os::fd::AsFd;

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendFlags};

    use super::io;

    #[inline]
    pub(crate) fn receive(stream: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::net::recv(stream, buffer, RecvFlags::empty()) {
            Ok((_, received)) => Ok(received),
            Err(error) => failed(error),
        }
    }

    #[inline]
    pub(crate) fn send(stream: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        // As std does it: a peer that is gone is an error, and no signal.
        match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => Ok(sent),
            Err(error) => failed(error),
        }
    }

    /// Out of line, or every message would pay for making an error of what is none.
    #[cold]
    #[inline(never)]
    fn failed(error: Errno) -> io::Result<usize> {
        Err(error.into())
    }
}

#[cfg(not(target_os = "linux"))]
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
