//! Echo over loopback: servers of one thread each, and the client that drives and measures them.
//!
//! Every server is the plainest one of its runtime: accept, spawn, read into a buffer of 4096
//! bytes, write it all back. By protocol there is nothing to spawn, and the buffer is one that all
//! connections share.

mod client;
mod raw;
mod servers;

pub use client::{Cost, Server};
use servers::{compio, monoio_epoll, monoio_uring, picot, picot_protocol, smol, tokio};

/// The message's size in bytes.
pub const MESSAGE: usize = 64;

/// The size of a server's buffer in bytes.
const BUFFER: usize = 4096;

/// A server: it calls `ready` with its port, and then serves for ever.
type Serve = fn(ready: &dyn Fn(u16));

/// All servers, by the name in the table.
pub const SERVERS: &[(&str, Serve)] = &[
    ("raw epoll", raw::serve),
    ("picot", picot),
    ("picot protocol", picot_protocol),
    ("tokio", tokio),
    ("smol", smol),
    ("monoio epoll", monoio_epoll),
    ("monoio io_uring", monoio_uring),
    ("compio io_uring", compio),
];
