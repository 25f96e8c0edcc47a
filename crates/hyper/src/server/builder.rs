//! The options of an HTTP server.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use picot_loop::LoopHandle;
use picot_net::{Listener, ServerBuilder};
use slab::Slab;

use super::closing::Closing;
use super::connection::{self, Ended, Open};
use super::counts::{Counts, Failure};
use super::service::{Counted, RequestBody};
use super::{HttpServer, Protocols, Shared};
use crate::body::BoxError;
use crate::executor::LoopExecutor;
use crate::io::HttpStream;
use crate::timer::{LONGEST, LoopTimer};
#[cfg(feature = "__tls")]
use picot_net::tls::TlsAcceptor;

/// The time that a peer may be silent, by default.
const SILENCE: Duration = Duration::from_secs(30);

/// Options of an [`HttpServer`]. The defaults are limits for a server on the open internet.
///
/// | option | default |
/// |---|---|
/// | [`max_connections`](HttpServerBuilder::max_connections) | 10 000 |
/// | [`header_timeout`](HttpServerBuilder::header_timeout) | 30 s |
/// | [`body_timeout`](HttpServerBuilder::body_timeout) | 30 s |
/// | [`write_timeout`](HttpServerBuilder::write_timeout) | 30 s |
/// | [`max_headers`](HttpServerBuilder::max_headers) | 100 |
/// | [`max_header_bytes`](HttpServerBuilder::max_header_bytes) | 64 KiB |
/// | [`max_streams`](HttpServerBuilder::max_streams) of HTTP/2 | 200 |
/// | [`max_resets`](HttpServerBuilder::max_resets) of HTTP/2 | 20 by the peer, 1024 by errors |
/// | [`ping`](HttpServerBuilder::ping) of HTTP/2 | after 30 s, 20 s for the answer |
///
/// ```
/// use std::time::Duration;
/// use picot_hyper::HttpServer;
///
/// let limit = Duration::from_secs(5);
/// let _builder = HttpServer::builder().max_connections(100).header_timeout(limit);
/// ```
#[must_use = "nothing is served until `serve` is called"]
pub struct HttpServerBuilder {
    protocols: Protocols,
    max_connections: usize,
    header_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    max_headers: usize,
    max_header_bytes: usize,
    max_streams: u32,
    max_resets: (usize, usize),
    ping: Option<(Duration, Duration)>,
    report_peer_errors: bool,
    closing: Closing,
    #[cfg(feature = "__tls")]
    tls: Option<TlsAcceptor>,
}

impl HttpServerBuilder {
    pub(super) fn new() -> HttpServerBuilder {
        HttpServerBuilder {
            protocols: Protocols::Both,
            max_connections: 10_000,
            header_timeout: SILENCE,
            body_timeout: SILENCE,
            write_timeout: SILENCE,
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            max_streams: 200,
            max_resets: (20, 1024),
            ping: Some((SILENCE, Duration::from_secs(20))),
            report_peer_errors: false,
            closing: Closing::new(),
            #[cfg(feature = "__tls")]
            tls: None,
        }
    }

    /// Limits how many connections may be open at once. Further ones wait in the listener's
    /// backlog. The default is 10 000; the process's limit of descriptors may be lower.
    ///
    /// # Panics
    /// If it is 0.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().max_connections(100);
    /// ```
    pub fn max_connections(self, max: usize) -> Self {
        assert!(max > 0, "a server with room for no connection would accept nothing");
        HttpServerBuilder { max_connections: max, ..self }
    }

    /// Limits how long a peer may take for the head of a request, from the moment at which the
    /// server waits for it. So it also limits how long a connection of HTTP/1 may be idle. The
    /// default is 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = picot_hyper::HttpServer::builder();
    /// let _builder = builder.header_timeout(Duration::from_secs(5));
    /// ```
    pub fn header_timeout(self, limit: Duration) -> Self {
        HttpServerBuilder { header_timeout: limit, ..self }
    }

    /// Limits how long a peer may send nothing while the service waits for more of a request's
    /// [`Body`](crate::Body). The default is 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = picot_hyper::HttpServer::builder();
    /// let _builder = builder.body_timeout(Duration::from_secs(5));
    /// ```
    pub fn body_timeout(self, limit: Duration) -> Self {
        HttpServerBuilder { body_timeout: limit, ..self }
    }

    /// Limits how long a connection may wait for a peer that takes none of the bytes to send. The
    /// default is 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = picot_hyper::HttpServer::builder();
    /// let _builder = builder.write_timeout(Duration::from_secs(5));
    /// ```
    pub fn write_timeout(self, limit: Duration) -> Self {
        HttpServerBuilder { write_timeout: limit, ..self }
    }

    /// Limits the number of header lines of a request of HTTP/1. More are answered by 431. The
    /// default is 100.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().max_headers(50);
    /// ```
    pub fn max_headers(self, max: usize) -> Self {
        HttpServerBuilder { max_headers: max, ..self }
    }

    /// Limits the size of a request's head. With HTTP/1 it is also the size of a connection's
    /// buffers. More is answered by 431. The default is 64 KiB.
    ///
    /// # Panics
    /// If it is less than 8 KiB, or more than 2 GiB.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().max_header_bytes(16 * 1024);
    /// ```
    pub fn max_header_bytes(self, max: usize) -> Self {
        assert!((8192..=1 << 31).contains(&max), "the limit of a request's head is {max} bytes; allow 8 KiB to 2 GiB");
        HttpServerBuilder { max_header_bytes: max, ..self }
    }

    /// Limits how many requests of one HTTP/2 connection may be in flight. The default is 200.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().max_streams(100);
    /// ```
    pub fn max_streams(self, max: u32) -> Self {
        HttpServerBuilder { max_streams: max, ..self }
    }

    /// Limits the resets of HTTP/2 streams on one connection: those that a peer sends before the
    /// server has accepted the stream (the *rapid reset* attack), and those that the server sends
    /// because of a peer's errors. Beyond that, the connection ends. The defaults are 20 and 1024.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().max_resets(10, 100);
    /// ```
    pub fn max_resets(self, by_peer: usize, by_errors: usize) -> Self {
        HttpServerBuilder { max_resets: (by_peer, by_errors), ..self }
    }

    /// Sends a ping on an HTTP/2 connection after each `interval` without a frame, and ends the
    /// connection if there is no answer within `timeout`. The default is 30 s and 20 s; `None`
    /// sends none.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().ping(None);
    /// ```
    pub fn ping(self, interval_and_timeout: Option<(Duration, Duration)>) -> Self {
        HttpServerBuilder { ping: interval_and_timeout, ..self }
    }

    /// Serves HTTP/1 alone. The default is both, as the first bytes or ALPN say.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().http1_only();
    /// ```
    pub fn http1_only(self) -> Self {
        HttpServerBuilder { protocols: Protocols::Http1, ..self }
    }

    /// Serves HTTP/2 alone. The default is both, as the first bytes or ALPN say.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().http2_only();
    /// ```
    pub fn http2_only(self) -> Self {
        HttpServerBuilder { protocols: Protocols::Http2, ..self }
    }

    /// Reports each error that a peer causes to the loop's error hook, too. The default is to count
    /// them, because any peer can cause any number.
    ///
    /// ```
    /// let _builder = picot_hyper::HttpServer::builder().report_peer_errors();
    /// ```
    pub fn report_peer_errors(self) -> Self {
        HttpServerBuilder { report_peer_errors: true, ..self }
    }

    /// Serves HTTPS. The server sets the protocols for ALPN: `h2` and `http/1.1`, or the one that
    /// it is limited to. The acceptor's limit is that of the handshake.
    ///
    /// ```
    /// use picot_hyper::HttpServer;
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// fn https(acceptor: TlsAcceptor) -> picot_hyper::server::HttpServerBuilder {
    ///     HttpServer::builder().tls(acceptor)
    /// }
    /// ```
    #[cfg(feature = "__tls")]
    pub fn tls(self, acceptor: TlsAcceptor) -> Self {
        HttpServerBuilder { tls: Some(acceptor), ..self }
    }

    /// Returns a handle by which handlers see that the server closes. It has an example.
    ///
    /// ```
    /// let closing = picot_hyper::HttpServer::builder().closing();
    /// assert!(!closing.is_closing());
    /// ```
    pub fn closing(&self) -> Closing {
        self.closing.clone()
    }

    /// Starts to serve; see [`serve`](crate::serve). It listens with a listener of `picot-net`, or
    /// with all of a [`ServerBuilder`], whose limit of connections is replaced by this one's.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    ///
    /// ```
    /// use hyper::service::service_fn;
    /// use hyper::{Request, Response};
    /// use picot_hyper::{Body, HttpServer};
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// let listeners = Server::builder().bind("127.0.0.1:0").await?.bind("127.0.0.2:0").await?;
    /// let server = HttpServer::builder().serve(listeners, service_fn(|_: Request<Body>| async {
    ///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
    /// }))?;
    /// assert_eq!(server.local_addrs().len(), 2);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn serve<L, S, B, R>(self, listeners: impl Into<ServerBuilder<L>>, service: S) -> io::Result<HttpServer>
    where
        L: Listener,
        L::Stream: HttpStream,
        S: Service<Request<B>, Response = Response<R>> + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: RequestBody,
        R: http_body::Body + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let service = Rc::new(service);
        self.serve_with(listeners, move |_| service.clone())
    }

    /// As [`serve`](HttpServerBuilder::serve), with a service for each connection: `make` gets the
    /// peer's address.
    ///
    /// # Errors
    /// As [`serve`](HttpServerBuilder::serve).
    ///
    /// ```
    /// use hyper::service::service_fn;
    /// use hyper::{Request, Response};
    /// use picot_hyper::{Body, HttpServer};
    /// use picot_net::TcpListener;
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let server = HttpServer::builder().serve_with(listener, |peer| {
    ///     let peer = *peer;
    ///     service_fn(move |_: Request<Body>| async move {
    ///         let text = format!("you are {peer}");
    ///         Ok::<_, std::convert::Infallible>(Response::new(Body::from(text)))
    ///     })
    /// })?;
    /// # drop(server);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn serve_with<L, M, S, B, R>(self, listeners: impl Into<ServerBuilder<L>>, make: M) -> io::Result<HttpServer>
    where
        L: Listener,
        L::Stream: HttpStream,
        M: Fn(&L::Peer) -> S + 'static,
        S: Service<Request<B>, Response = Response<R>> + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: RequestBody,
        R: http_body::Body + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        // An error, where the timer would panic.
        LoopHandle::try_current()?;
        let listeners = listeners.into().max_connections(self.max_connections);
        #[cfg(feature = "__tls")]
        let tls = self.tls.clone().map(|acceptor| match self.protocols {
            Protocols::Both => acceptor.alpn_protocols(["h2", "http/1.1"]),
            Protocols::Http1 => acceptor.alpn_protocols(["http/1.1"]),
            Protocols::Http2 => acceptor.alpn_protocols(["h2"]),
        });
        let shared = Rc::new(self.shared());
        let connections = shared.clone();
        let inner = listeners.serve(move |stream: L::Stream, peer: L::Peer| {
            let shared = connections.clone();
            // Made here, so that a panic is reported as one of this connection.
            let service = Counted::<S, B>::new(make(&peer), shared.clone());
            count(&shared, |counts| counts.connections += 1);
            #[cfg(feature = "__tls")]
            let tls = tls.clone();
            async move {
                let _open = Open::new(&shared);
                #[cfg(feature = "__tls")]
                if let Some(acceptor) = tls {
                    return end(&shared, secure(&shared, &acceptor, stream, service).await);
                }
                end(&shared, connection::run(&shared, stream, service, shared.protocols).await)
            }
        })?;
        Ok(HttpServer { inner, shared })
    }

    fn shared(self) -> Shared {
        let timer = LoopTimer::new();
        let mut http1 = http1::Builder::new();
        http1
            .timer(timer.clone())
            .header_read_timeout(self.header_timeout.min(LONGEST))
            .max_headers(self.max_headers)
            .max_header_size(self.max_header_bytes)
            .max_buf_size(self.max_header_bytes);
        let mut http2 = http2::Builder::new(LoopExecutor);
        http2
            .timer(timer)
            .max_header_list_size(u32::try_from(self.max_header_bytes).expect("checked by `max_header_bytes`"))
            .max_concurrent_streams(self.max_streams)
            .max_pending_accept_reset_streams(self.max_resets.0)
            .max_local_error_reset_streams(self.max_resets.1);
        if let Some((interval, timeout)) = self.ping {
            http2.keep_alive_interval(interval.min(LONGEST)).keep_alive_timeout(timeout.min(LONGEST));
        }
        Shared {
            http1,
            http2,
            protocols: self.protocols,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            write_timeout: self.write_timeout,
            report_peer_errors: self.report_peer_errors,
            closing: self.closing,
            counts: Cell::new(Counts::default()),
            tasks: RefCell::new(Slab::new()),
        }
    }
}

/// Serves a connection with TLS. ALPN decides on the protocol; without it, the first bytes do.
#[cfg(feature = "__tls")]
async fn secure<T, S, R>(shared: &Shared, acceptor: &TlsAcceptor, stream: T, service: S) -> Result<(), Ended>
where
    T: HttpStream,
    S: Service<Request<hyper::body::Incoming>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    R: http_body::Body + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    let (mut handshake, mut closing) = (pin!(acceptor.accept(stream)), shared.closing.changed());
    let accepted = poll_fn(|cx| {
        if let Poll::Ready(accepted) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(accepted));
        }
        // A peer within its handshake has sent no request that could be lost.
        Pin::new(&mut closing).poll(cx).map(|()| None)
    });
    let Some(accepted) = accepted.await else { return Ok(()) };
    let stream = accepted.map_err(|error| (Failure::Handshake, error.into()))?;
    let protocols = match (shared.protocols, stream.alpn_protocol()) {
        (Protocols::Both, Some(b"h2")) => Protocols::Http2,
        (Protocols::Both, Some(_)) => Protocols::Http1,
        (protocols, _) => protocols,
    };
    connection::run(shared, stream, service, protocols).await
}

fn count(shared: &Shared, change: impl FnOnce(&mut Counts)) {
    let mut counts = shared.counts.get();
    change(&mut counts);
    shared.counts.set(counts);
}

/// Counts the error of a connection, and returns it if it is to be reported.
fn end(shared: &Shared, result: Result<(), Ended>) -> io::Result<()> {
    let Err((failure, error)) = result else { return Ok(()) };
    count(shared, |counts| failure.count(counts));
    if matches!(failure, Failure::Service) || shared.report_peer_errors {
        return Err(io::Error::other(WithCauses(error)));
    }
    Ok(())
}

/// An error whose text names its causes, too: hyper's says only that the service has failed.
#[derive(Debug)]
struct WithCauses(BoxError);

impl fmt::Display for WithCauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for WithCauses {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Debug for HttpServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServerBuilder")
            .field("protocols", &self.protocols)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
