//! Unix sockets: streams, listeners and datagrams at paths of the file system.

mod datagram;
mod listener;
mod path;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;
