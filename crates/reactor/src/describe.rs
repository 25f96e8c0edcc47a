//! What a task waits for at an I/O object, in words. The object is asked when a report needs it, so
//! that a wait costs nothing.

use picot_context::{WaitInfo, WaitKind};

use crate::pollable::BorrowedIo;
use crate::ready::Direction;

/// Describes a wait for `direction` of `io`.
pub(crate) fn describe(io: BorrowedIo<'_>, direction: Direction) -> WaitInfo {
    match object(io) {
        Object::Listener(address) => WaitInfo::new(WaitKind::Accept, format!("a client of {address}")),
        Object::Connecting => WaitInfo::new(WaitKind::Connect, "a connection that is being made"),
        Object::Process(end) => WaitInfo::new(WaitKind::Process, end),
        Object::Other(name) => match direction {
            Direction::Read => WaitInfo::new(WaitKind::Read, format!("data from {name}")),
            Direction::Write => WaitInfo::new(WaitKind::Write, format!("room to send to {name}")),
            Direction::Priority => WaitInfo::new(WaitKind::Read, format!("urgent data from {name}")),
        },
    }
}

#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix is asked"))]
enum Object {
    /// A listening socket, and its address.
    Listener(String),
    /// A stream socket without a peer.
    Connecting,
    /// A child process, and the wait for its end.
    Process(String),
    /// Anything else: the peer of a socket, or the descriptor.
    Other(String),
}

#[cfg(unix)]
fn object(io: BorrowedIo<'_>) -> Object {
    use std::os::fd::AsRawFd;

    use rustix::net::{SocketType, getpeername, getsockname, sockopt};

    let Ok(kind) = sockopt::socket_type(io) else { return no_socket(io.as_raw_fd()) };
    let local = || getsockname(io).ok().and_then(|address| text(&address));
    if sockopt::socket_acceptconn(io) == Ok(true) {
        return Object::Listener(local().unwrap_or_else(|| format!("the listener {}", io.as_raw_fd())));
    }
    match getpeername(io) {
        // The peer of a pair, or of a client without a path, has no name.
        Ok(peer) => Object::Other(peer.as_ref().and_then(text).unwrap_or_else(|| format!("socket {}", io.as_raw_fd()))),
        Err(_) if kind == SocketType::STREAM => Object::Connecting,
        Err(_) => Object::Other(match local() {
            Some(address) => format!("a peer of {address}"),
            None => format!("socket {}", io.as_raw_fd()),
        }),
    }
}

/// Describes a descriptor that is no socket. Linux names its kind, and the process of a pidfd.
#[cfg(unix)]
fn no_socket(descriptor: std::os::fd::RawFd) -> Object {
    let name = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
    let name = name.to_string_lossy();
    if name == "anon_inode:[pidfd]" {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
        let process = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or("").trim();
        return Object::Process(format!("the end of the child process {process}"));
    }
    Object::Other(if name.is_empty() {
        format!("descriptor {descriptor}")
    } else {
        format!("{name}, descriptor {descriptor}")
    })
}

/// The text of an address, unless it has none.
#[cfg(unix)]
fn text(address: &rustix::net::SocketAddrAny) -> Option<String> {
    use rustix::net::{SocketAddrUnix, SocketAddrV4, SocketAddrV6};

    if let Ok(v4) = SocketAddrV4::try_from(address.clone()) {
        return Some(v4.to_string());
    }
    if let Ok(v6) = SocketAddrV6::try_from(address.clone()) {
        return Some(v6.to_string());
    }
    let unix = SocketAddrUnix::try_from(address.clone()).ok()?;
    Some(unix.path()?.to_string_lossy().into_owned())
}

#[cfg(not(unix))]
fn object(io: BorrowedIo<'_>) -> Object {
    use std::os::windows::io::AsRawSocket;

    Object::Other(format!("socket {}", io.as_raw_socket()))
}
