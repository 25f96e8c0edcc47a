//! What a server counts, and which count an error of a connection belongs to.

use std::error::Error;
use std::io;

/// What a server has counted since it started; [`HttpServer::counts`](crate::HttpServer::counts)
/// returns it.
///
/// ```
/// use picot_hyper::server::Counts;
///
/// fn line(counts: Counts) -> String {
///     format!("{} requests on {} connections", counts.requests, counts.connections)
/// }
///
/// assert_eq!(line(Counts::default()), "0 requests on 0 connections");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The connections that were accepted.
    pub connections: u64,
    /// The requests whose head was read.
    pub requests: u64,
    /// The connections that ended because the peer sent something that is not HTTP, or more than
    /// a limit allows. Floods of HTTP/2 resets are among them.
    pub malformed: u64,
    /// The connections that ended because the peer was too slow: it did not send a head, or did not
    /// take a response.
    pub timed_out: u64,
    /// The connections that the peer closed or reset before a request or response was complete.
    pub disconnected: u64,
    /// The handshakes of TLS that failed.
    pub handshakes_failed: u64,
    /// The connections that an error of the service or of a response's body ended.
    pub failed: u64,
}

/// Why a connection ended early.
#[derive(Debug)]
pub(super) enum Failure {
    Malformed,
    TimedOut,
    Disconnected,
    #[cfg(feature = "__tls")]
    Handshake,
    /// An error of the program, which is reported.
    Service,
}

impl Failure {
    pub(super) fn of(error: &hyper::Error) -> Failure {
        if error.is_user() {
            return Failure::Service;
        }
        if error.is_timeout() {
            return Failure::TimedOut;
        }
        if let Some(error) = io_error(error) {
            return Failure::of_io(error);
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Failure::Disconnected;
        }
        Failure::Malformed
    }

    pub(super) fn of_io(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::TimedOut { Failure::TimedOut } else { Failure::Disconnected }
    }

    pub(super) fn count(&self, counts: &mut Counts) {
        let count = match self {
            Failure::Malformed => &mut counts.malformed,
            Failure::TimedOut => &mut counts.timed_out,
            Failure::Disconnected => &mut counts.disconnected,
            #[cfg(feature = "__tls")]
            Failure::Handshake => &mut counts.handshakes_failed,
            Failure::Service => &mut counts.failed,
        };
        *count += 1;
    }
}

/// The error of the stream in hyper's error.
fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        source = error.source();
    }
    None
}
