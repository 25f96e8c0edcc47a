//! One connection of a server: which protocol it speaks, and its graceful end.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};

use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use picot_loop::sleep;

use super::counts::Failure;
use super::{Protocols, Shared};
use crate::body::BoxError;
use crate::io::{HttpStream, Io};

/// What each connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An error that ends a connection, and what kind it is.
pub(super) type Ended = (Failure, BoxError);

/// Serves one connection until its end.
pub(super) async fn run<T, S, R>(shared: &Shared, stream: T, service: S, protocols: Protocols) -> Result<(), Ended>
where
    T: HttpStream,
    S: Service<http::Request<Incoming>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    R: http_body::Body + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    let mut io = Io::new(stream).write_timeout(shared.write_timeout);
    let is_http2 = match protocols {
        Protocols::Http1 => false,
        // HTTP/2 without a choice waits for the preface, too: hyper does so without a time limit.
        Protocols::Both | Protocols::Http2 => match detect(shared, &mut io).await? {
            Some((first, is_http2)) if is_http2 || protocols == Protocols::Both => {
                io = io.with_received(first);
                is_http2
            }
            Some(_) => return Err((Failure::Malformed, "the peer does not speak HTTP/2".into())),
            None => return Ok(()),
        },
    };
    if is_http2 {
        // In a box: its state is larger than that of HTTP/1, and would be part of each connection.
        let mut connection = Box::pin(shared.http2.serve_connection(io, service));
        drive(shared, connection.as_mut(), http2::Connection::graceful_shutdown).await
    } else {
        let connection = pin!(shared.http1.serve_connection(io, service).with_upgrades());
        drive(shared, connection, http1::UpgradeableConnection::graceful_shutdown).await
    }
}

/// Polls a connection to its end. When the server closes, ends it gracefully.
async fn drive<C>(shared: &Shared, mut connection: Pin<&mut C>, end: impl Fn(Pin<&mut C>)) -> Result<(), Ended>
where
    C: Future<Output = hyper::Result<()>> + ?Sized,
{
    let mut closing = shared.closing.changed();
    let (mut is_registered, mut is_ending) = (false, false);
    let result = poll_fn(|cx| {
        // The task polls this future with one waker, so it is registered once.
        if !is_registered {
            is_registered = true;
            let _ = Pin::new(&mut closing).poll(cx);
        }
        if !is_ending && shared.closing.is_closing() {
            is_ending = true;
            end(connection.as_mut());
        }
        connection.as_mut().poll(cx)
    });
    result.await.map_err(|error| (Failure::of(&error), error.into()))
}

/// Waits for the first bytes of a connection, and returns them, and whether they are the preface of
/// HTTP/2. `None` if the connection ended, or the server closes, before the first byte.
async fn detect<T: HttpStream>(shared: &Shared, io: &mut Io<T>) -> Result<Option<(Vec<u8>, bool)>, Ended> {
    let (mut first, mut alarm) = (Vec::new(), None);
    let mut closing = shared.closing.changed();
    poll_fn(|cx| {
        loop {
            let known = first.len().min(PREFACE.len());
            if first[..known] != PREFACE[..known] {
                return Poll::Ready(Ok(Some((std::mem::take(&mut first), false))));
            }
            if known == PREFACE.len() {
                return Poll::Ready(Ok(Some((std::mem::take(&mut first), true))));
            }
            match io.poll_first(cx, &mut first) {
                Poll::Ready(Ok(0)) if first.is_empty() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(0)) => {
                    let error = "the connection ended within the first line".into();
                    return Poll::Ready(Err((Failure::Disconnected, error)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err((Failure::of_io(&error), error.into()))),
                Poll::Pending => break,
            }
        }
        if first.is_empty() && Pin::new(&mut closing).poll(cx).is_ready() {
            return Poll::Ready(Ok(None));
        }
        let alarm = alarm.get_or_insert_with(|| Box::new(sleep(shared.header_timeout)));
        ready!(Pin::new(&mut **alarm).poll(cx));
        let text = format!("the peer sent no request for {:?}", shared.header_timeout);
        Poll::Ready(Err((Failure::TimedOut, io::Error::new(io::ErrorKind::TimedOut, text).into())))
    })
    .await
}

/// Keeps the task of a connection among the open ones.
pub(super) struct Open {
    shared: Rc<Shared>,
    key: Option<usize>,
}

impl Open {
    /// Of the running task.
    pub(super) fn new(shared: &Rc<Shared>) -> Open {
        let id = picot_context::running().and_then(|step| step.task_id());
        Open { shared: shared.clone(), key: id.map(|id| shared.tasks.borrow_mut().insert(id)) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.tasks.borrow_mut().remove(key);
        }
    }
}
