//! Reports errors of connections to the loop's error hook, with the name of the connection.

use picot_context::{Cause, Escaped, Kind, Origin, Report, TaskInfo};
use socket2::{SockAddr, SockRef};

/// Reports under the name of the running task.
pub(crate) fn report(cause: Cause) {
    send(Origin::running().unwrap_or(Origin::new(Kind::Task)), cause);
}

/// Reports under `name`, for a connection without a task of its own.
///
/// The running task serves many connections, so only its source location is reported.
pub(crate) fn report_as(name: &str, cause: Cause) {
    let task = picot_context::current().map(|task| TaskInfo::new(task.id(), Some(name), task.place()));
    send(task.map_or(Origin::new(Kind::Task), Origin::task), cause);
}

fn send(origin: Origin, cause: Cause) {
    if let Some(host) = picot_context::host() {
        host.report(Report::new(origin, cause));
    }
}

/// Names a connection after its peer, or after this end if the peer has no address.
///
/// The peer of a Unix socket rarely has a path, and a peer that has gone no longer has an address.
pub(crate) fn connection_name(socket: &SockRef<'_>) -> String {
    let of = |address: SockAddr| match address.as_socket() {
        Some(address) => Some(address.to_string()),
        None => unix_name(&address),
    };
    if let Some(peer) = socket.peer_addr().ok().and_then(of) {
        return format!("connection of {peer}");
    }
    match socket.local_addr().ok().and_then(of) {
        Some(local) => format!("connection at {local}"),
        None => "connection without a name".to_string(),
    }
}

/// The path of a Unix socket, or its abstract name after an `@`; `None` if it has neither.
///
/// The peer chooses its name, so control characters are escaped.
#[cfg(unix)]
pub(crate) fn unix_name(address: &SockAddr) -> Option<String> {
    if let Some(path) = address.as_pathname() {
        return Some(Escaped(path.display()).to_string());
    }
    let name = address.as_abstract_namespace()?;
    Some(format!("@{}", Escaped(String::from_utf8_lossy(name))))
}

#[cfg(not(unix))]
pub(crate) fn unix_name(_: &SockAddr) -> Option<String> {
    None
}
