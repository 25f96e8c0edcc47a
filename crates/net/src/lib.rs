#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "tokio-io"), forbid(unsafe_code))]
#![deny(unsafe_code)]

mod accept;
mod address;
mod condition;
mod descriptor;
mod duplex;
mod freed;
mod group;
#[cfg(target_os = "linux")]
mod hosts;
mod incoming;
mod inherent;
mod limit;
mod listener;
mod memory;
mod open;
mod operation;
mod operation_error;
mod options;
mod protocol;
mod race;
mod read_error;
mod reader;
mod report;
mod resolve;
mod send_file;
mod server;
mod split;
mod stream;
mod streams;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
pub mod tls;
#[cfg(feature = "tokio-io")]
mod tokio_io;
mod transfer;
mod udp;
#[cfg(unix)]
mod unix;
mod writer;

pub use address::Address;
pub use duplex::Duplex;
pub use group::LoopGroup;
pub use incoming::Incoming;
pub use inherent::{Read, WriteAll};
pub use listener::TcpListener;
pub use memory::{DuplexStream, duplex};
pub use operation_error::{OperationError, raw_os_error};
pub use options::connect::ConnectOptions;
pub use options::listen::ListenOptions;
pub use options::udp::UdpOptions;
pub use protocol::{BufferedProtocol, Connections, Eof, Protocol, Transport, connect_protocol};
pub use read_error::ReadError;
pub use reader::{Lines, Reader};
pub use resolve::{Resolve, Resolving, SystemResolver, lookup};
pub use server::{Listener, Server, ServerBuilder};
/// The crate whose options of sockets the `socket` methods give.
pub use socket2;
pub use split::{ReadHalf, WriteHalf};
pub use stream::TcpStream;
pub use streams::{TcpReader, TcpWriter, open_connection, start_server};
#[cfg(unix)]
pub use streams::{UnixReader, UnixWriter, open_unix_connection, start_unix_server};
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UnixDatagram, UnixListener, UnixStream};
pub use writer::Writer;

/// What `picot-process` shares with the streams. Not for other crates: any release may change it.
///
/// A pipe is one direction of a stream. It implements `Receive` or `Transmit`; the macros
/// `__readable` and `__writable` and the futures [`Read`] and [`WriteAll`] do the rest, as for
/// sockets. The protocol of a child process keeps its unsent bytes as those of connections do.
#[doc(hidden)]
pub mod seam {
    pub use crate::condition::Condition;
    pub use crate::duplex::{Receive, Transmit};
    pub use crate::open::open_loop;
    pub use crate::operation::{poll_call, poll_nothing};
    pub use crate::operation_error::About;
    pub use crate::protocol::Outgoing;
    #[cfg(feature = "tokio-io")]
    pub use crate::tokio_io::poll_fill;
    pub use crate::transfer::SLICES;
}
