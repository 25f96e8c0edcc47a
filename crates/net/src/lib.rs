#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod duplex;
mod incoming;
mod limit;
mod listener;
mod operation;
mod options;
mod race;
mod resolve;
mod split;
mod stream;
mod udp;
#[cfg(unix)]
mod unix;

pub use address::Address;
pub use duplex::Duplex;
pub use incoming::Incoming;
pub use listener::TcpListener;
pub use options::{ConnectOptions, ListenOptions};
pub use resolve::{Resolve, Resolving, SystemResolver, lookup};
/// The crate whose options of sockets the `socket` methods give.
pub use socket2;
pub use split::{ReadHalf, WriteHalf};
pub use stream::TcpStream;
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UnixDatagram, UnixListener, UnixStream};
