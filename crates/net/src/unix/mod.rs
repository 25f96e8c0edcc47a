//! Unix sockets: streams, listeners and datagrams at paths of the file system.

mod datagram;
mod listener;
mod path;
mod stream;

use std::time::Duration;

pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::UnixStream;

/// How long to wait, at first and at most, before a full peer is tried again: the kernel does not report when it has room.
const REST: Duration = Duration::from_millis(1);
const REST_MAX: Duration = Duration::from_millis(50);
