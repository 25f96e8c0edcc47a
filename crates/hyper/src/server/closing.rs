//! `Closing`: how handlers and connections see that their server closes.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use picot_loop::Local;
use picot_net::seam::Condition;

/// Shows handlers, and tasks that they have spawned, that their server closes.
///
/// For what would not end by itself: a stream of events, a WebSocket, a long poll. It is `Send` and
/// `Sync`, so that it can be in the state of an axum application; it works on the server's thread.
///
/// ```
/// use std::time::Duration;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use picot_hyper::{Body, HttpServer};
/// use picot_net::TcpListener;
///
/// # picot_loop::run(async {
/// let builder = HttpServer::builder();
/// let closing = builder.closing();
/// let long_poll = service_fn(move |_: Request<Body>| {
///     let closing = closing.clone();
///     async move {
///         closing.wait().await;
///         Ok::<_, std::convert::Infallible>(Response::new(Body::from("no news")))
///     }
/// });
/// let server = builder.serve(TcpListener::bind("127.0.0.1:0").await?, long_poll)?;
/// server.close();
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct Closing {
    inner: Arc<Local<Inner>>,
}

#[derive(Default)]
struct Inner {
    is_closing: Cell<bool>,
    changed: Condition,
}

impl Closing {
    pub(super) fn new() -> Closing {
        Closing { inner: Arc::new(Local::new(Inner::default())) }
    }

    pub(super) fn begin(&self) {
        // The server may be dropped on another thread by mistake; then it leaks, as its loop does.
        let Some(inner) = self.inner.try_get() else { return };
        if !inner.is_closing.replace(true) {
            inner.changed.notify();
        }
    }

    /// As [`wait`](Closing::wait), for a connection, which lives on the server's thread.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Unpin {
        let inner = &**self.inner;
        inner.changed.until(|| inner.is_closing.get())
    }

    /// Whether the server closes or is closed.
    ///
    /// # Panics
    /// On another thread than the server's.
    ///
    /// ```
    /// use picot_hyper::HttpServer;
    ///
    /// let closing = HttpServer::builder().closing();
    /// assert!(!closing.is_closing());
    /// ```
    pub fn is_closing(&self) -> bool {
        self.inner.is_closing.get()
    }

    /// Waits until the server closes. The future is `Send`; a poll on another thread panics.
    ///
    /// # Panics
    /// When polled, on another thread than the server's.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use futures_lite::future::poll_once;
    /// use picot_hyper::HttpServer;
    ///
    /// # picot_loop::run(async {
    /// let closing = HttpServer::builder().closing();
    /// assert!(poll_once(closing.wait()).await.is_none(), "there is no server that could close");
    /// # });
    /// ```
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = self.inner.clone();
        Local::new(async move { inner.changed.until(|| inner.is_closing.get()).await })
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_closing = self.inner.try_get().map(|inner| inner.is_closing.get());
        f.debug_struct("Closing").field("is_closing", &is_closing).finish()
    }
}
