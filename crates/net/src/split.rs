//! The two halves of a stream socket, for two owners.

use std::fmt;
use std::net::Shutdown;
use std::rc::Rc;

use crate::duplex::{Duplex, end, readable, writable};
use crate::inherent::{Read, WriteAll};

/// The reading half of a stream; made by [`TcpStream::split`](crate::TcpStream::split), and by
/// `split` of Unix streams.
///
/// ```
/// use picot_net::{TcpListener, TcpStream};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///
///     let (mut read, mut write) = server.split();
///     let echo = picot_loop::spawn(async move {
///         let mut buffer = [0; 16];
///         let length = read.read(&mut buffer).await?;
///         write.write_all(&buffer[..length]).await?;
///         std::io::Result::Ok(read.unite(write).is_ok())
///     });
///     client.write_all(b"hello").await?;
///     let mut back = [0; 16];
///     assert_eq!(client.read(&mut back).await?, 5);
///     assert!(echo.await.unwrap()?);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub struct ReadHalf<S: Duplex> {
    stream: Rc<S>,
}

/// The writing half of a stream; made by [`TcpStream::split`](crate::TcpStream::split), and by
/// `split` of Unix streams.
///
/// Dropping it ends the writing direction, so that the peer reads an end of stream.
///
/// ```
/// use picot_net::{TcpListener, TcpStream};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     let (_read, mut write) = server.split();
///     write.write_all(b"x").await?;
///     drop(write);
///     assert_eq!(client.read(&mut [0; 8]).await?, 1);
///     assert_eq!(client.read(&mut [0; 8]).await?, 0, "the end of the stream");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub struct WriteHalf<S: Duplex> {
    /// `None` only within `unite`.
    stream: Option<Rc<S>>,
}

pub(crate) fn split<S: Duplex>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let stream = Rc::new(stream);
    (ReadHalf { stream: stream.clone() }, WriteHalf { stream: Some(stream) })
}

impl<S: Duplex> WriteHalf<S> {
    /// Writes all of `bytes`, like [`TcpStream::write_all`](crate::TcpStream::write_all).
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// # If dropped
    /// [`unsent`](WriteAll::unsent) returns the bytes that were not sent.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// let (_read, mut write) = server.split();
    /// write.write_all(b"hello").await?;
    /// assert_eq!(client.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[inline]
    pub fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a, S> {
        WriteAll::new(self.stream(), bytes)
    }

    fn stream(&self) -> &Rc<S> {
        self.stream.as_ref().expect("the half has its stream: only `unite` takes it, and consumes the half")
    }
}

impl<S: Duplex> ReadHalf<S> {
    /// Receives available bytes, like [`TcpStream::read`](crate::TcpStream::read).
    ///
    /// # Errors
    /// The operating system's error, with the name of the connection.
    ///
    /// # If dropped
    /// Nothing was read.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// let (mut read, _write) = server.split();
    /// client.write_all(b"hello").await?;
    /// assert_eq!(read.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[inline]
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Read<'a, S> {
        Read::new(&self.stream, buffer)
    }

    /// Makes a stream of its two halves again.
    ///
    /// # Errors
    /// Returns both halves if they belong to different streams.
    ///
    /// ```
    /// use picot_net::{TcpListener, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let (read, write) = stream.split();
    /// let stream = read.unite(write).expect("halves of one stream");
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn unite(self, mut write: WriteHalf<S>) -> Result<S, (ReadHalf<S>, WriteHalf<S>)> {
        if !Rc::ptr_eq(&self.stream, write.stream()) {
            return Err((self, write));
        }
        // Taken out, so that the destructor of the half does not end the writing direction.
        drop(write.stream.take());
        Rc::try_unwrap(self.stream).map_err(|_| unreachable!("a stream has two halves, and both are here"))
    }
}

/// Returns the whole stream, for its addresses and options.
impl<S: Duplex> AsRef<S> for ReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

/// Returns the whole stream, for its addresses and options.
impl<S: Duplex> AsRef<S> for WriteHalf<S> {
    fn as_ref(&self) -> &S {
        self.stream()
    }
}

readable!({S: Duplex} ReadHalf<S>, |half| &*half.stream);
writable!({S: Duplex} WriteHalf<S>, |half| &**half.stream(), |closed| end(&**closed.stream()));

impl<S: Duplex> Drop for WriteHalf<S> {
    fn drop(&mut self) {
        // A forked child shares the socket with its parent, which continues to write.
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_forked()) {
            // The error is lost here; a caller that needs it closes the half first.
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
