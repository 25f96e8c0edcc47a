//! Options for connecting, listening and datagram sockets, beyond the defaults of `connect` and
//! `bind`.
//!
//! One file for each kind: a file imports the socket that it makes, and that socket imports the
//! file for its defaults. In one file, all kinds of sockets would import each other.

pub(crate) mod connect;
pub(crate) mod listen;
pub(crate) mod udp;

use std::io;

use socket2::Socket;

/// Lets several sockets use one port. Where that is impossible, the error says what to do
/// `instead`.
#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn reuse_port(socket: &Socket, _instead: &str) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(any(not(unix), target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
fn reuse_port(_socket: &Socket, instead: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("this system does not let several sockets have one port; {instead}"),
    ))
}
