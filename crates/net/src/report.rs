//! Telling the loop's error hook what has gone wrong with a connection, and with which.

use picot_context::{Cause, Escaped, Kind, Origin, Report, TaskInfo};
use socket2::{SockAddr, SockRef};

/// Under the name of the task that runs.
pub(crate) fn report(cause: Cause) {
    tell(Origin::running().unwrap_or(Origin::new(Kind::Task)), cause);
}

/// Under a name of its own: for a connection without a task. The task that runs serves many, so its name says little; its place
/// stands.
pub(crate) fn report_as(name: &str, cause: Cause) {
    let task = picot_context::current().map(|task| TaskInfo::new(task.id(), Some(name), task.place()));
    tell(task.map_or(Origin::new(Kind::Task), Origin::task), cause);
}

fn tell(origin: Origin, cause: Cause) {
    if let Some(host) = picot_context::host() {
        host.report(Report::new(origin, cause));
    }
}

/// The name of a connection: after its peer. A peer of a Unix socket seldom has a path, and one that has gone has no address
/// any more; then it is this end's.
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

/// The path of a Unix socket, or its abstract name behind an `@`; `None` if it has neither. A peer picks its name, so control
/// characters are escaped.
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
