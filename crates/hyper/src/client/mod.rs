//! An HTTP client: a bounded pool of connections for HTTP/1 and HTTP/2.

mod connect;
mod error;
mod pool;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use picot_loop::Local;
#[cfg(feature = "__tls")]
use picot_net::tls::TlsConnector;

use crate::body::{Body, BoxError};
pub use error::ClientError;
use pool::{Connection, Key, Options, Pool};

/// Sends requests, and keeps connections for later ones.
///
/// With HTTP/1, each request in flight has a connection, which is kept once its response was read
/// to the end. With HTTP/2 (chosen by ALPN for HTTPS, or by
/// [`http2_only`](ClientBuilder::http2_only)), all requests to a host share one.
///
/// A request is sent a second time only where the server cannot have seen it: if a kept connection
/// ended before the request was written. A request by `GET`, `HEAD`, `OPTIONS` or `TRACE` without a
/// body is also sent again if a kept connection ended before the response began. Everything else is
/// an error, and the caller decides.
///
/// Clones share the connections. A client is `Send` and `Sync`, so that it can be in the state of
/// an axum application, and so are its futures; it works on the thread that made it, and a use on
/// another thread panics.
///
/// It follows no redirects, keeps no cookies, and uses no proxy.
///
/// ```
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use picot_hyper::{Body, Client, serve};
/// use picot_net::TcpListener;
///
/// # picot_loop::run(async {
/// let hello = service_fn(|_: Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
/// });
/// let server = serve(TcpListener::bind("127.0.0.1:0").await?, hello)?;
/// let uri = format!("http://{}/", server.local_addrs()[0]);
///
/// let client = Client::new();
/// let response = client.get(&uri).await?;
/// assert!(response.status().is_success());
/// assert_eq!(response.into_body().text(1024).await?, "hello");
///
/// let request = Request::post(&uri).body("a body")?;
/// assert!(client.request(request).await?.status().is_success());
/// # Ok::<(), picot_hyper::BoxError>(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct Client {
    pool: Arc<Local<Rc<Pool>>>,
}

impl Client {
    /// Makes a client with the defaults of [`Client::builder`].
    ///
    /// ```
    /// let client = picot_hyper::Client::new();
    /// assert_eq!(client.connections(), 0);
    /// ```
    pub fn new() -> Client {
        Client::builder().build()
    }

    /// Returns a builder for a client with options.
    ///
    /// ```
    /// let _client = picot_hyper::Client::builder().max_per_host(4).build();
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            options: Options {
                max_per_host: 16,
                max_total: 256,
                idle_timeout: Duration::from_secs(20),
                connect_timeout: Duration::from_secs(10),
                http2_only: false,
                #[cfg(feature = "__tls")]
                tls: None,
            },
        }
    }

    /// Requests `uri` by `GET`, without a body. It returns when the head of the response has come.
    ///
    /// # Errors
    /// As [`request`](Client::request).
    ///
    /// # Panics
    /// When polled, on another thread than the one that made the client, or without a loop.
    ///
    /// # If dropped
    /// As [`request`](Client::request).
    ///
    /// ``` no_run
    /// # picot_loop::run(async {
    /// let client = picot_hyper::Client::new();
    /// let page = client.get("http://example.org/").await?.into_body().text(1 << 20).await?;
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn get(&self, uri: &str) -> impl Future<Output = Result<Response<Body>, ClientError>> + Send + use<> {
        let request = match uri.parse::<Uri>() {
            Ok(uri) => {
                let mut request = Request::new(Body::empty());
                *request.uri_mut() = uri;
                Ok(request)
            }
            Err(error) => Err(ClientError::invalid_uri(&Method::GET, uri, error.into())),
        };
        let client = self.clone();
        Local::new(async move { client.send(request?).await })
    }

    /// Sends a request, whose URI has a scheme and a host. It returns when the head of the response
    /// has come; the body is received as the caller reads it.
    ///
    /// There is no limit of time but that of the [connection](ClientBuilder::connect_timeout): put
    /// `picot_tasks::timeout` around it.
    ///
    /// # Errors
    /// If the URI has no scheme `http` or `https`, or no host; if connecting fails or takes too
    /// long; an error of the connection or of HTTP. Each names the method and the URI.
    ///
    /// # Panics
    /// When polled, on another thread than the one that made the client, or without a loop.
    ///
    /// # If dropped
    /// The request may have been sent, in part or as a whole. With HTTP/1, its connection is
    /// closed; with HTTP/2, its stream is reset. Dropping a response or its body before its end
    /// does the same.
    ///
    /// ``` no_run
    /// use hyper::Request;
    ///
    /// # picot_loop::run(async {
    /// let client = picot_hyper::Client::new();
    /// let request = Request::put("http://example.org/").header("x", "y").body("content")?;
    /// let status = client.request(request).await?.status();
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn request<B: Into<Body>>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body>, ClientError>> + Send + use<B> {
        let (client, request) = (self.clone(), request.map(Into::into));
        Local::new(async move { client.send(request).await })
    }

    /// The number of open connections, busy and idle.
    ///
    /// # Panics
    /// On another thread than the one that made the client.
    ///
    /// ```
    /// assert_eq!(picot_hyper::Client::new().connections(), 0);
    /// ```
    pub fn connections(&self) -> usize {
        self.pool.open()
    }

    /// The number of connections of HTTP/1 that wait for a request.
    ///
    /// # Panics
    /// On another thread than the one that made the client.
    ///
    /// ```
    /// assert_eq!(picot_hyper::Client::new().idle_connections(), 0);
    /// ```
    pub fn idle_connections(&self) -> usize {
        self.pool.idle()
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ClientError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let fail = |is_connect, error| ClientError::new(&method, &uri, is_connect, error);
        let pool: &Rc<Pool> = &self.pool;
        let host = pool.host(key(&method, &uri).map_err(|error| fail(false, error))?);
        let mut request = Some(request);
        loop {
            let (connection, is_kept) = pool.check_out(&host).await.map_err(|error| fail(true, error))?;
            let mut next = request.take().expect("set before each round");
            prepare(&mut next, &uri, matches!(connection, Connection::Http2(_)));
            let copy = if is_kept { copy(&next) } else { None };
            let mut error = match exchange(connection, next).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // A kept connection may end at any time. Each round uses another one, or a new one,
            // whose error is final.
            let unsent = error.take_message();
            request = match (is_kept, unsent) {
                (true, Some(unsent)) => Some(unsent),
                (true, None) if ended_silently(error.error()) => copy,
                _ => None,
            };
            if request.is_none() {
                return Err(fail(false, error.into_error().into()));
            }
        }
    }
}

type SendError = hyper::client::conn::TrySendError<Request<Body>>;

/// Sends a request on a connection, and gives the connection back when the response is at its end.
async fn exchange(connection: Connection, request: Request<Body>) -> Result<Response<Body>, SendError> {
    match connection {
        Connection::Http2(mut sender) => Ok(sender.try_send_request(request).await?.map(Body::from)),
        Connection::Http1(mut lease) => {
            // hyper drops the body when it was sent. A server may answer before that, and close.
            let (request, sending) = watched(request);
            let response = lease.sender.try_send_request(request).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // The connection belongs to the caller now, by `hyper::upgrade::on`.
                return Ok(response.map(Body::from));
            }
            let check_in = move || {
                if sending.is_none_or(|sending| sending.strong_count() == 0) {
                    lease.check_in();
                }
            };
            Ok(response.map(|body: Incoming| Body::received_then(body, check_in)))
        }
    }
}

/// Lets the second value see when the body of the request was sent. A request without a body needs
/// none.
fn watched(request: Request<Body>) -> (Request<Body>, Option<std::rc::Weak<()>>) {
    use http_body::Body as _;
    if request.body().is_end_stream() {
        return (request, None);
    }
    let sending = Rc::new(());
    let sent = Rc::downgrade(&sending);
    (request.map(|body| body.with_guard(sending)), Some(sent))
}

/// A second request of the same content, if it may be sent twice.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    use http_body::Body as _;
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method());
    if !is_safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Whether a connection ended before the first byte of the response, as far as hyper tells.
fn ended_silently(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || error.is_closed()
}

/// Gives the request the form that the protocol wants.
fn prepare(request: &mut Request<Body>, uri: &Uri, is_http2: bool) {
    if is_http2 {
        *request.uri_mut() = uri.clone();
        *request.version_mut() = Version::HTTP_2;
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = match uri.path_and_query() {
        Some(path) => path.clone().into(),
        None => Uri::from_static("/"),
    };
    if !request.headers().contains_key(HOST) {
        let authority = uri.authority().expect("checked by `key`").as_str();
        let host = authority.rsplit('@').next().unwrap_or(authority);
        // Each character of an authority may be in a header.
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(HOST, host);
        }
    }
}

/// Where a request goes.
fn key(method: &Method, uri: &Uri) -> Result<Key, BoxError> {
    if method == Method::CONNECT {
        return Err("a client without proxies has no use for CONNECT".into());
    }
    let (is_https, default) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        Some(other) => return Err(format!("the scheme {other:?} is not http or https").into()),
        None => return Err("the URI has no scheme; write http:// or https:// and a host".into()),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("the URI has no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok(Key { is_https, host, port: uri.port_u16().unwrap_or(default) })
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.pool.try_get().map(|pool| pool.open());
        f.debug_struct("Client").field("connections", &connections).finish_non_exhaustive()
    }
}

/// Options of a [`Client`].
///
/// | option | default |
/// |---|---|
/// | [`max_per_host`](ClientBuilder::max_per_host) | 16 |
/// | [`max_total`](ClientBuilder::max_total) | 256 |
/// | [`idle_timeout`](ClientBuilder::idle_timeout) | 20 s |
/// | [`connect_timeout`](ClientBuilder::connect_timeout) | 10 s |
///
/// ```
/// use std::time::Duration;
/// use picot_hyper::Client;
///
/// let _client = Client::builder().max_per_host(4).idle_timeout(Duration::from_secs(5)).build();
/// ```
#[must_use = "it is the builder's client that sends requests"]
pub struct ClientBuilder {
    options: Options,
}

impl ClientBuilder {
    /// Limits the connections of HTTP/1 to one host and port. Further requests wait for one, first
    /// come, first served. The default is 16.
    ///
    /// # Panics
    /// If it is 0.
    ///
    /// ```
    /// let _client = picot_hyper::Client::builder().max_per_host(4).build();
    /// ```
    pub fn max_per_host(mut self, max: usize) -> Self {
        assert!(max > 0, "a client with room for no connection to a host would wait for ever");
        self.options.max_per_host = max;
        self
    }

    /// Limits the connections of the whole client. At the limit, the connection that was idle
    /// longest is closed for a new one. The default is 256.
    ///
    /// A connection of HTTP/2 counts only while it is made. There is one for each host, and it
    /// stays until its server ends it or the client is dropped: a client that meets many hosts with
    /// HTTP/2 is better dropped and made anew from time to time.
    ///
    /// # Panics
    /// If it is 0.
    ///
    /// ```
    /// let _client = picot_hyper::Client::builder().max_total(32).build();
    /// ```
    pub fn max_total(mut self, max: usize) -> Self {
        assert!(max > 0, "a client with room for no connection would wait for ever");
        self.options.max_total = max;
        self
    }

    /// Closes a connection of HTTP/1 that was idle for this long; zero keeps none. The default is
    /// 20 s, which is shorter than what most servers allow. Connections of HTTP/2 are not closed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let _client = picot_hyper::Client::builder().idle_timeout(Duration::from_secs(5)).build();
    /// ```
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.options.idle_timeout = limit;
        self
    }

    /// Limits the time for a connection: the lookup of its name, TCP and TLS. The default is 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_secs(2);
    /// let _client = picot_hyper::Client::builder().connect_timeout(limit).build();
    /// ```
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options.connect_timeout = limit;
        self
    }

    /// Speaks HTTP/2 also where no ALPN chooses it: the server is known to do so.
    ///
    /// ```
    /// let _client = picot_hyper::Client::builder().http2_only().build();
    /// ```
    pub fn http2_only(mut self) -> Self {
        self.options.http2_only = true;
        self
    }

    /// Uses this connector for HTTPS. The client sets the protocols for ALPN. The default trusts
    /// the system's authorities.
    ///
    /// ```
    /// use picot_hyper::Client;
    /// use picot_net::tls::TlsConnector;
    ///
    /// fn client(connector: TlsConnector) -> Client {
    ///     Client::builder().tls(connector).build()
    /// }
    /// ```
    #[cfg(feature = "__tls")]
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.options.tls = Some(connector);
        self
    }

    /// Makes the client.
    ///
    /// ```
    /// let _client = picot_hyper::Client::builder().build();
    /// ```
    pub fn build(self) -> Client {
        Client { pool: Arc::new(Local::new(Pool::new(self.options))) }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("max_per_host", &self.options.max_per_host)
            .field("max_total", &self.options.max_total)
            .finish_non_exhaustive()
    }
}
