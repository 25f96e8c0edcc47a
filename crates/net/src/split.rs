//! The two halves of a stream socket, for two owners.

use std::fmt;
use std::net::Shutdown;
use std::rc::Rc;

use crate::duplex::{Duplex, readable, writable};
use crate::inherent::{Read, WriteAll};

/// The reading half of a stream; made by `split`.
pub struct ReadHalf<S: Duplex> {
    stream: Rc<S>,
}

/// The writing half of a stream; made by `split`. Dropping it ends the writing direction, so that the peer reads an end.
pub struct WriteHalf<S: Duplex> {
    /// `None` only while it is taken apart.
    stream: Option<Rc<S>>,
}

pub(crate) fn split<S: Duplex>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let stream = Rc::new(stream);
    (ReadHalf { stream: stream.clone() }, WriteHalf { stream: Some(stream) })
}

impl<S: Duplex> WriteHalf<S> {
    /// Writes all of `bytes`, as [`TcpStream::write_all`](crate::TcpStream::write_all).
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// [`unsent`](WriteAll::unsent) is what has not gone out.
    #[inline]
    pub fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a, S> {
        WriteAll::new(self.stream(), bytes)
    }

    fn stream(&self) -> &Rc<S> {
        self.stream.as_ref().expect("a half that was taken apart is gone")
    }
}

impl<S: Duplex> ReadHalf<S> {
    /// Reads what has come, as [`TcpStream::read`](crate::TcpStream::read).
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// Nothing was read.
    #[inline]
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Read<'a, S> {
        Read::new(&self.stream, buffer)
    }

    /// Puts the two halves of a stream together again.
    ///
    /// # Errors
    /// With both halves, if they are of different streams.
    pub fn unite(self, mut write: WriteHalf<S>) -> Result<S, (ReadHalf<S>, WriteHalf<S>)> {
        if !Rc::ptr_eq(&self.stream, write.stream()) {
            return Err((self, write));
        }
        drop(write.stream.take());
        Rc::try_unwrap(self.stream).map_err(|_| unreachable!("a stream has two halves, and both are here"))
    }
}

/// The stream that both halves are of: its addresses and options.
impl<S: Duplex> AsRef<S> for ReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

/// The stream that both halves are of: its addresses and options.
impl<S: Duplex> AsRef<S> for WriteHalf<S> {
    fn as_ref(&self) -> &S {
        self.stream()
    }
}

readable!({S: Duplex} ReadHalf<S>, |half| &*half.stream);
writable!({S: Duplex} WriteHalf<S>, |half| &**half.stream());

impl<S: Duplex> Drop for WriteHalf<S> {
    fn drop(&mut self) {
        // A child that was forked shares the socket with its parent, which goes on writing.
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_forked()) {
            // An error is lost here; a caller who needs it closes the half first.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

impl<S: Duplex + fmt::Debug> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.stream).finish()
    }
}

impl<S: Duplex + fmt::Debug> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(self.stream()).finish()
    }
}
