//! Unix sockets: streams, listeners and datagrams at paths of the file system.

mod datagram;
mod listener;
mod path;
mod stream;

use std::time::Duration;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

/// The first and the longest pause before a full peer is tried again, because the kernel does not
/// report when the peer has room.
const REST: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(50);
