//! Transports and protocols: connections that call back, for the highest density.
//!
//! A protocol is a value with callbacks; its transport is the connection that calls them. A
//! connection has no task and no read buffer of its own: one task serves a whole set of
//! connections, and reads into memory that they share.

mod connection;
mod connections;
mod flags;
mod outgoing;
mod receive;
mod slots;
mod transport;

use std::io;

pub(crate) use connection::Io;
pub use connections::{Connections, connect_protocol};
pub use outgoing::Outgoing;
pub use transport::Transport;

/// What happens to a connection whose peer has ended its stream; returned by [`Protocol::eof`].
///
/// ```
/// use picot_net::{Eof, Protocol, Server, TcpStream, Transport};
/// use futures_lite::AsyncReadExt;
///
/// /// Answers at the end of the stream.
/// #[derive(Default)]
/// struct Sum(u32);
///
/// impl Protocol for Sum {
///     fn data(&mut self, _: &Transport, data: &[u8]) {
///         self.0 += data.iter().map(|byte| u32::from(*byte)).sum::<u32>();
///     }
///
///     fn eof(&mut self, transport: &Transport) -> Eof {
///         let _ = transport.write(self.0.to_string().as_bytes());
///         Eof::Close // after the answer was sent
///     }
/// }
///
/// picot_loop::run(async {
///     let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(Sum::default)?;
///     let mut client = TcpStream::connect(server.local_addrs()[0]).await?;
///     client.write_all(&[1, 2, 3]).await?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     let mut text = String::new();
///     client.read_to_string(&mut text).await?;
///     assert_eq!(text, "6");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eof {
    /// Closes the connection after all unsent bytes.
    #[default]
    Close,
    /// Keeps the connection open for writing until the transport is closed. A reset by the peer
    /// ends it with an error, even if nothing is written.
    KeepWriting,
}

/// The callbacks of a connection, in this order: [`made`](Protocol::made) once,
/// [`data`](Protocol::data) any number of times, [`eof`](Protocol::eof) at most once,
/// [`lost`](Protocol::lost) once.
///
/// Callbacks run on the loop's thread, one at a time, and never inside a call to the transport:
/// what such a call causes, for example [`pause_writing`](Protocol::pause_writing), comes after the
/// callback that made the call. A callback that panics ends its connection: the error hook receives
/// the panic, and then `lost` is called with an error. Each callback receives the transport, so a
/// protocol need not keep it.
///
/// ```
/// use picot_net::{Protocol, Server, TcpStream, Transport};
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data(&mut self, transport: &Transport, data: &[u8]) {
///         let _ = transport.write(data); // `lost` reports a connection that has ended
///     }
/// }
///
/// picot_loop::run(async {
///     let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?;
///     let mut client = TcpStream::connect(server.local_addrs()[0]).await?;
///     client.write_all(b"hello").await?;
///     let mut back = [0; 5];
///     client.read_exact(&mut back).await?;
///     assert_eq!(&back, b"hello");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub trait Protocol: 'static {
    /// The connection begins. Nothing is read before this has returned; nor after it, if it pauses
    /// reading.
    #[doc(alias = "connection_made")]
    fn made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Data was received; at least one byte.
    #[doc(alias = "data_received")]
    fn data(&mut self, transport: &Transport, data: &[u8]);

    /// The peer has ended its stream. The returned value decides whether the connection is closed,
    /// which is the default.
    #[doc(alias = "eof_received")]
    fn eof(&mut self, transport: &Transport) -> Eof {
        let _ = transport;
        Eof::Close
    }

    /// The connection has ended; the last callback. There is no error if either side closed it, or
    /// this side aborted it.
    #[doc(alias = "connection_lost")]
    fn lost(&mut self, error: Option<io::Error>) {
        drop(error);
    }

    /// There are more unsent bytes than the high mark. Write no more until
    /// [`resume_writing`](Protocol::resume_writing).
    ///
    /// It is called after the callback whose writes exceeded the mark. So a callback that writes in
    /// a loop checks
    /// [`unsent`](Transport::unsent) itself, and continues in `resume_writing`:
    ///
    /// ```
    /// use picot_net::{Protocol, Transport};
    ///
    /// /// Sends a long text.
    /// struct Sender(std::vec::IntoIter<String>);
    ///
    /// impl Protocol for Sender {
    ///     fn made(&mut self, transport: &Transport) {
    ///         self.resume_writing(transport);
    ///     }
    ///
    ///     fn data(&mut self, _: &Transport, _: &[u8]) {}
    ///
    ///     fn resume_writing(&mut self, transport: &Transport) {
    ///         // Up to above the high mark, so that `resume_writing` is called again.
    ///         while transport.unsent() <= 64 * 1024 {
    ///             match self.0.next() {
    ///                 Some(line) => drop(transport.write(line.as_bytes())),
    ///                 None => return transport.close(),
    ///             }
    ///         }
    ///     }
    /// }
    /// #
    /// # picot_loop::run(async {
    /// #     let lines: Vec<_> = (0..10_000).map(|n| format!("{n:0>99}\n")).collect();
    /// #     let server = picot_net::Server::builder().bind("127.0.0.1:0").await?;
    /// #     let server = server.serve_protocol(move || Sender(lines.clone().into_iter()))?;
    /// #     let mut client = picot_net::TcpStream::connect(server.local_addrs()[0]).await?;
    /// #     let mut all = Vec::new();
    /// #     futures_lite::AsyncReadExt::read_to_end(&mut client, &mut all).await?;
    /// #     assert_eq!(all.len(), 1_000_000);
    /// #     std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    fn pause_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// The unsent bytes are down to the low mark. Writing may continue.
    fn resume_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }
}

/// A protocol that reads into its own memory, for data that it would copy there anyway.
///
/// Everything else is as for [`Protocol`].
///
/// ```
/// use picot_net::{BufferedProtocol, Server, TcpStream, Transport};
/// use futures_lite::AsyncReadExt;
///
/// /// Counts messages of eight bytes, and answers each by its number.
/// #[derive(Default)]
/// struct Count {
///     message: [u8; 8],
///     filled: usize,
///     count: u32,
/// }
///
/// impl BufferedProtocol for Count {
///     // The missing part of the message, so that no read goes beyond the message.
///     fn buffer(&mut self) -> &mut [u8] {
///         &mut self.message[self.filled..]
///     }
///
///     fn filled(&mut self, transport: &Transport, length: usize) {
///         self.filled += length;
///         if self.filled == self.message.len() {
///             (self.filled, self.count) = (0, self.count + 1);
///             let _ = transport.write(format!("{}\n", self.count).as_bytes());
///         }
///     }
/// }
///
/// picot_loop::run(async {
///     let server = Server::builder().bind("127.0.0.1:0").await?.serve_buffered(Count::default)?;
///     let mut client = TcpStream::connect(server.local_addrs()[0]).await?;
///     client.write_all(b"message1message2mess").await?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     let mut text = String::new();
///     client.read_to_string(&mut text).await?;
///     assert_eq!(text, "1\n2\n");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub trait BufferedProtocol: 'static {
    /// The connection begins; see [`Protocol::made`].
    #[doc(alias = "connection_made")]
    fn made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Returns the memory for the next read. An empty buffer ends the connection with an error.
    #[doc(alias = "get_buffer")]
    fn buffer(&mut self) -> &mut [u8];

    /// The first `length` bytes of the buffer were received; at least one.
    #[doc(alias = "buffer_updated")]
    fn filled(&mut self, transport: &Transport, length: usize);

    /// The peer has ended its stream; see [`Protocol::eof`].
    #[doc(alias = "eof_received")]
    fn eof(&mut self, transport: &Transport) -> Eof {
        let _ = transport;
        Eof::Close
    }

    /// The connection has ended; see [`Protocol::lost`].
    #[doc(alias = "connection_lost")]
    fn lost(&mut self, error: Option<io::Error>) {
        drop(error);
    }

    /// Write no more for now; see [`Protocol::pause_writing`].
    fn pause_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Writing may continue; see [`Protocol::resume_writing`].
    fn resume_writing(&mut self, transport: &Transport) {
        let _ = transport;
    }
}
