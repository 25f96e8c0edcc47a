//! HTTP servers: limits, protocols, and a graceful end.
//!
//! [`picot_net::Server`] accepts connections and runs a task for each. This module gives each task
//! a connection of hyper, with time limits, and ends the connections in order when the server
//! closes.

mod builder;
mod closing;
mod connection;
mod counts;
mod service;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use picot_loop::{LoopHandle, TaskId, TaskInfo, sleep};
use picot_net::{Listener, ServerBuilder};
use slab::Slab;

use crate::body::{Body, BoxError};
use crate::executor::LoopExecutor;
use crate::io::HttpStream;
use crate::tower::TowerService;
pub use builder::HttpServerBuilder;
pub use closing::Closing;
pub use counts::Counts;
pub use service::RequestBody;

/// Serves HTTP/1 and HTTP/2 on a listener, with the limits of [`HttpServer::builder`].
///
/// The service is any [`hyper::service::Service`], such as a
/// [`service_fn`](hyper::service::service_fn). It need not be `Send`. Its requests have a [`Body`],
/// or hyper's [`Incoming`](hyper::body::Incoming).
///
/// # Errors
/// If the listener has no address, or this thread has no loop, or it is closed.
///
/// ```
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use picot_hyper::{Body, serve};
/// use picot_net::TcpListener;
///
/// async fn hello(request: Request<Body>) -> Result<Response<Body>, std::convert::Infallible> {
///     Ok(Response::new(format!("hello from {}\n", request.uri().path()).into()))
/// }
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let server = serve(listener, service_fn(hello))?;
///     println!("listening at http://{}", server.local_addrs()[0]);
///     // A program would call `server.wait_closed()` here, and `shutdown` on Ctrl-C.
///     assert!(server.shutdown(std::time::Duration::from_secs(10)).await.is_empty());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[track_caller]
pub fn serve<L, S, B, R>(listener: impl Into<ServerBuilder<L>>, service: S) -> io::Result<HttpServer>
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
    HttpServer::builder().serve(listener, service)
}

/// As [`serve`], with a service of tower: axum's `Router`, for example.
///
/// # Errors
/// As [`serve`].
///
/// ```
/// use picot_hyper::{Body, serve_tower};
/// use picot_net::TcpListener;
///
/// # picot_loop::run(async {
/// # let router = Hello;
/// // `router` is a service of tower, such as axum's.
/// let server = serve_tower(TcpListener::bind("127.0.0.1:0").await?, router)?;
/// # drop(server);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// # use picot_hyper::hyper::{Request, Response};
/// # #[derive(Clone)]
/// # struct Hello;
/// # impl tower_service::Service<Request<Body>> for Hello {
/// #     type Response = Response<Body>;
/// #     type Error = std::convert::Infallible;
/// #     type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;
/// #     fn poll_ready(
/// #         &mut self,
/// #         _: &mut std::task::Context<'_>,
/// #     ) -> std::task::Poll<Result<(), Self::Error>> {
/// #         std::task::Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<Body>) -> Self::Future {
/// #         std::future::ready(Ok(Response::new(Body::empty())))
/// #     }
/// # }
/// ```
#[track_caller]
pub fn serve_tower<L, S, R>(listener: impl Into<ServerBuilder<L>>, service: S) -> io::Result<HttpServer>
where
    L: Listener,
    L::Stream: HttpStream,
    S: tower_service::Service<Request<Body>, Response = Response<R>> + Clone + 'static,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    R: http_body::Body + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    serve(listener, TowerService::new(service))
}

/// A server of HTTP/1 and HTTP/2, made by [`serve`] or a [builder](HttpServer::builder).
///
/// Each connection is a task, which has the source location of the call that started the server,
/// and the name of the peer. With HTTP/2, each request is a task besides.
///
/// # Errors of connections
/// - An error that a peer causes (malformed or incomplete requests, resets, time-outs) ends its
///   connection, and is [counted](HttpServer::counts).
///   [`report_peer_errors`](HttpServerBuilder::report_peer_errors) reports each, too.
/// - An error of the service or of a response's body ends the connection, with HTTP/2 the stream,
///   and is reported to the loop's error hook under the name of the peer.
/// - A panic of the service does the same.
///
/// # The end
/// [`close`](HttpServer::close) accepts nothing more. Requests in flight are finished, and idle
/// connections end at once. [`shutdown`](HttpServer::shutdown) does this with a deadline. A handler
/// sees it by [`closing`](HttpServerBuilder::closing). A server that is dropped closes.
///
/// ```
/// use std::time::Duration;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use picot_hyper::{Body, HttpServer};
/// use picot_net::TcpListener;
///
/// # picot_loop::run(async {
/// let server = HttpServer::builder().header_timeout(Duration::from_secs(5)).serve(
///     TcpListener::bind("127.0.0.1:0").await?,
///     service_fn(|_: Request<Body>| async {
///         Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
///     }),
/// )?;
/// assert_eq!(server.connections(), 0);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[must_use = "a server that is dropped is closed"]
pub struct HttpServer {
    inner: picot_net::Server,
    shared: Rc<Shared>,
}

/// What the connections of a server share.
struct Shared {
    http1: http1::Builder,
    http2: http2::Builder<LoopExecutor>,
    protocols: Protocols,
    header_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
    report_peer_errors: bool,
    closing: Closing,
    counts: Cell<Counts>,
    /// The tasks of the open connections.
    tasks: RefCell<Slab<TaskId>>,
}

/// Which protocols a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocols {
    Both,
    Http1,
    Http2,
}

impl HttpServer {
    /// Returns a builder, whose defaults are limits for a server on the open internet.
    ///
    /// ```
    /// use picot_hyper::HttpServer;
    ///
    /// let _builder = HttpServer::builder().max_connections(1000);
    /// ```
    pub fn builder() -> HttpServerBuilder {
        HttpServerBuilder::new()
    }

    /// The addresses at which it listens; none for a Unix socket or once it is closed.
    ///
    /// ```
    /// use hyper::service::service_fn;
    /// use hyper::{Request, Response};
    /// use picot_hyper::{Body, serve};
    /// use picot_net::TcpListener;
    ///
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// println!("listening at {}", server.local_addrs()[0]);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner.local_addrs()
    }

    /// The number of open connections. An upgraded connection, such as a WebSocket, is not one of
    /// them any more.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// assert_eq!(server.connections(), 0);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn connections(&self) -> usize {
        self.inner.clients()
    }

    /// Returns what the server has counted so far.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// let counts = server.counts();
    /// println!("{} requests, {} malformed", counts.requests, counts.malformed);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn counts(&self) -> Counts {
        self.shared.counts.get()
    }

    /// Returns a handle by which handlers and tasks see that the server closes.
    ///
    /// [`HttpServerBuilder::closing`] returns the same handle before there is a server.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// let closing = server.closing();
    /// server.close();
    /// closing.wait().await;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn closing(&self) -> Closing {
        self.shared.closing.clone()
    }

    /// Whether the server is closed: it accepts nothing more.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// server.close();
    /// assert!(server.is_closed());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Accepts no further connection and no further request. Requests in flight are finished; idle
    /// connections end.
    ///
    /// An idle connection of HTTP/2 ends when its peer has answered, because a request may be on
    /// the way.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// server.close();
    /// server.wait_closed().await;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close(&self) {
        self.inner.close();
        self.shared.closing.begin();
    }

    /// Waits until the server is closed and all its connections have ended.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// server.close();
    /// server.wait_closed().await;
    /// assert_eq!(server.connections(), 0);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn wait_closed(&self) {
        self.inner.wait_closed().await;
    }

    /// Closes the server, and waits until its connections have ended, at most until `deadline` has
    /// passed. What is left then is cancelled, and its peers see a reset.
    ///
    /// Returns the tasks of those connections: their names are the peers. An empty vector means
    /// that every request was finished.
    ///
    /// # If dropped
    /// The server stays closed; no connection is cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use hyper::service::service_fn;
    /// # use hyper::{Request, Response};
    /// # use picot_hyper::{Body, serve};
    /// # use picot_net::TcpListener;
    /// # picot_loop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let service = service_fn(|_: Request<Body>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
    /// # });
    /// let server = serve(listener, service)?;
    /// for task in server.shutdown(Duration::from_secs(10)).await {
    ///     eprintln!("not finished in time: {task}");
    /// }
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> Vec<TaskInfo> {
        self.close();
        let (mut closed, mut end) = (std::pin::pin!(self.wait_closed()), sleep(deadline));
        let is_closed = std::future::poll_fn(|cx| {
            // Polled before the deadline, so that an end at the deadline counts.
            if closed.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(true);
            }
            std::pin::Pin::new(&mut end).poll(cx).map(|()| false)
        });
        if is_closed.await {
            return Vec::new();
        }
        let late: Vec<_> = self.shared.tasks.borrow().iter().map(|(_, id)| *id).collect();
        let mut tasks = LoopHandle::current().tasks();
        tasks.retain(|task| late.contains(&task.id()));
        self.inner.abort_clients();
        self.wait_closed().await;
        tasks
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("local_addrs", &self.local_addrs())
            .field("connections", &self.connections())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
