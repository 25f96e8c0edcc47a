//! TLS over any stream, by rustls: client, server, and the switch in the middle of a connection.
//!
//! rustls implements the protocol. This module adds time limits, defaults and a count of cut
//! connections: certificates are checked against the system's authorities unless the program names
//! others, and no function here turns that off.
//!
//! The feature `tls-ring` or `tls-aws-lc` selects the cryptography. With both, it is AWS-LC, as in
//! rustls itself. A configuration of rustls brings its own.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream as Inner;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use picot_context::{Escaped, budget};
use picot_loop::LoopHandle;

use crate::limit::within;
use crate::operation_error::About;

/// The crate that implements the protocol, for configurations that go further.
pub use futures_rustls::rustls;

/// How long a handshake may take (asyncio's `ssl_handshake_timeout`).
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long closing may take (asyncio's `ssl_shutdown_timeout`).
const SHUTDOWN: Duration = Duration::from_secs(30);

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
struct Limits {
    handshake: Duration,
    shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { handshake: HANDSHAKE, shutdown: SHUTDOWN }
    }
}

/// The protocols in the order of preference, as rustls wants them.
fn protocol_names<P: Into<Vec<u8>>>(protocols: impl IntoIterator<Item = P>) -> Vec<Vec<u8>> {
    let names: Vec<Vec<u8>> = protocols.into_iter().map(Into::into).collect();
    for name in &names {
        let length = name.len();
        assert!((1..=255).contains(&length), "the name of an ALPN protocol has 1 to 255 bytes, and not {length}");
    }
    names
}

/// The inner error of a read after a peer has ended its connection without TLS's `close_notify`.
/// The kind of the outer [`io::Error`] is [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
///
/// Bytes may be missing at the end: an attacker may have cut the connection. Many programs end
/// theirs like this, and a protocol that knows its own end, as HTTP does, loses nothing. So a
/// [`Server`](crate::Server) does not report this error of a handler. It is counted instead, by
/// [`TlsAcceptor::missing_close_notify`] and [`TlsConnector::missing_close_notify`].
///
/// ```
/// # use futures_lite::{AsyncReadExt, future::try_zip};
/// # use picot_net::tls::{TlsAcceptor, TlsConnector};
/// use picot_net::tls::MissingCloseNotify;
///
/// # macro_rules! file {
/// #     ($name:literal) => {
/// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
/// #     };
/// # }
/// # const AUTHORITY: &[u8] = file!("authority.pem");
/// # const CERTIFICATE: &[u8] = file!("localhost.pem");
/// # const KEY: &[u8] = file!("localhost.key");
/// # picot_loop::run(async {
/// # let (near, far) = picot_net::duplex(4096);
/// # let connector = TlsConnector::trusting(AUTHORITY)?;
/// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
/// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
/// let (client, mut server) = handshake.await?;
/// drop(client); // without `close`
/// let error = server.read(&mut [0; 8]).await.unwrap_err();
/// assert!(error.get_ref().is_some_and(|inner| inner.is::<MissingCloseNotify>()));
/// assert_eq!(acceptor.missing_close_notify(), 1);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MissingCloseNotify;

impl MissingCloseNotify {
    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, MissingCloseNotify)
    }

    /// Whether `error` is this one.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<MissingCloseNotify>())
    }
}

impl fmt::Display for MissingCloseNotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer ended the connection without TLS's `close_notify`, so the last bytes may be missing")
    }
}

impl std::error::Error for MissingCloseNotify {}

/// Makes the client's side of TLS; an example is at [`TlsStream`]. Clones share the configuration,
/// the resumable sessions and the count of connections without `close_notify`.
///
/// ```
/// use futures_lite::future::try_zip;
/// use picot_net::duplex;
/// use picot_net::tls::{TlsAcceptor, TlsConnector};
///
/// # macro_rules! file {
/// #     ($name:literal) => {
/// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
/// #     };
/// # }
/// # const AUTHORITY: &[u8] = file!("authority.pem");
/// # const CERTIFICATE: &[u8] = file!("localhost.pem");
/// # const KEY: &[u8] = file!("localhost.key");
/// # picot_loop::run(async {
/// let connector = TlsConnector::trusting(AUTHORITY)?;
/// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
/// let (near, far) = duplex(4096); // or two ends of a TCP connection
/// try_zip(connector.connect("localhost", near), acceptor.accept(far)).await?;
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    limits: Limits,
    missing_close_notify: Arc<AtomicU64>,
}

impl TlsConnector {
    /// Makes a connector that trusts the operating system's authorities. A thread of the loop's
    /// blocking lane reads them, so make one connector, and keep it.
    ///
    /// # Errors
    /// If the system has no authorities, or they cannot be read.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ``` no_run
    /// use picot_net::TcpStream;
    /// use picot_net::tls::TlsConnector;
    ///
    /// # picot_loop::run(async {
    /// let connector = TlsConnector::new().await?;
    /// let stream = TcpStream::connect("example.org:443").await?;
    /// let _stream = connector.connect("example.org", stream).await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn new() -> io::Result<TlsConnector> {
        // The certificates are in files, and there may be hundreds.
        let job = LoopHandle::current().try_spawn_blocking(rustls_native_certs::load_native_certs);
        let loaded = job.map_err(io::Error::other)?.await.map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        // Systems often have a few authorities that cannot be parsed. The others are still trusted.
        let (added, _) = roots.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let errors: Vec<_> = loaded.errors.iter().map(ToString::to_string).collect();
            let text = format!(
                "the system has no certificate authorities to trust ({}); install them, or name some by \
                 `TlsConnector::trusting`",
                errors.join("; ")
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(TlsConnector::from_roots(roots))
    }

    /// Makes a connector that trusts only these authorities, given as PEM: for a company's own, or
    /// for tests.
    ///
    /// # Errors
    /// If there is no certificate, or one is malformed.
    ///
    /// ```
    /// use picot_net::tls::TlsConnector;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let _connector = TlsConnector::trusting(AUTHORITY)?;
    /// assert!(TlsConnector::trusting(b"no certificate").is_err());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn trusting(pem: &[u8]) -> io::Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(invalid).about(format_args!("trust a certificate authority"))?;
        }
        Ok(TlsConnector::from_roots(roots))
    }

    fn from_roots(roots: RootCertStore) -> TlsConnector {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of all default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config).into()
    }

    /// Limits the time of a handshake. The default is 60 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::duplex;
    /// use picot_net::tls::TlsConnector;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let connector = TlsConnector::trusting(AUTHORITY)?;
    /// let connector = connector.handshake_timeout(Duration::from_millis(5));
    /// let (near, _far) = duplex(4096); // a server that does not answer
    /// let error = connector.connect("localhost", near).await.map(drop).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsConnector {
        self.limits.handshake = limit;
        self
    }

    /// Limits the time of [`TlsStream::close`]. The default is 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::tls::TlsConnector;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let connector = TlsConnector::trusting(AUTHORITY)?;
    /// let connector = connector.shutdown_timeout(Duration::from_secs(5));
    /// # drop(connector);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn shutdown_timeout(mut self, limit: Duration) -> TlsConnector {
        self.limits.shutdown = limit;
        self
    }

    /// Names the application protocols that this side speaks (ALPN), the preferred one first. A
    /// handshake fails if the server names protocols as well, and none of them is the same.
    /// [`TlsStream::alpn_protocol`] returns the result, and has an example.
    ///
    /// # Panics
    /// If a name is empty, or longer than 255 bytes.
    ///
    /// ```
    /// use picot_net::tls::TlsConnector;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # fn main() -> std::io::Result<()> {
    /// let side = TlsConnector::trusting(AUTHORITY)?.alpn_protocols(["h2", "http/1.1"]);
    /// # drop(side);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "set_alpn_protocols")]
    pub fn alpn_protocols<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> TlsConnector {
        Arc::make_mut(&mut self.config).alpn_protocols = protocol_names(protocols);
        self
    }

    /// How many connections of this connector and its clones have ended without TLS's
    /// `close_notify`, as far as a read has found it; [`MissingCloseNotify`] says more, and has an
    /// example.
    ///
    /// ```
    /// use picot_net::tls::TlsConnector;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # fn main() -> std::io::Result<()> {
    /// let side = TlsConnector::trusting(AUTHORITY)?;
    /// assert_eq!(side.missing_close_notify(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn missing_close_notify(&self) -> u64 {
        self.missing_close_notify.load(Ordering::Relaxed)
    }

    /// Begins TLS on a stream: on a new connection, or in the middle of a conversation (asyncio's
    /// `start_tls`). The server's certificate must be for `name`, a host name or an address.
    ///
    /// No byte of the peer's TLS messages may have been read before. A [`Reader`](crate::Reader)
    /// whose buffer is empty has read none of them.
    ///
    /// # Errors
    /// If `name` is not a valid name; if the certificate is not trusted, or is for another name;
    /// any other error of rustls;
    /// [`TimedOut`](io::ErrorKind::TimedOut) after the limit; the stream's errors. Each names
    /// `name`. The stream is dropped.
    ///
    /// # If dropped
    /// The stream is dropped.
    ///
    /// ```
    /// use futures_lite::future::try_zip;
    /// use picot_net::duplex;
    /// use picot_net::tls::{TlsAcceptor, TlsConnector};
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let (near, far) = duplex(4096);
    /// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// # let server = acceptor.accept(far);
    /// let connector = TlsConnector::trusting(AUTHORITY)?;
    /// let (client, _server) = try_zip(connector.connect("localhost", near), server).await?;
    /// assert!(client.connection().peer_certificates().is_some());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "start_tls")]
    pub async fn connect<S>(&self, name: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = async {
            let name = ServerName::try_from(name.to_string()).map_err(invalid)?;
            futures_rustls::TlsConnector::from(self.config.clone()).connect(name, stream).await
        };
        let stream = within(Some(self.limits.handshake), "the TLS handshake", handshake).await;
        let stream = stream.about(format_args!("begin TLS with {}", Escaped(name)))?;
        Ok(TlsStream::new(stream.into(), self.limits, &self.missing_close_notify))
    }
}

/// Makes a connector with a configuration of rustls, for all that has no method here: certificates
/// of clients, checks of the program's own, versions and cipher suites.
///
/// ```
/// use std::sync::Arc;
/// use picot_net::tls::TlsConnector;
/// use picot_net::tls::rustls::{ClientConfig, RootCertStore};
///
/// # #[cfg(feature = "tls-ring")]
/// # use picot_net::tls::rustls::crypto::ring as cryptography;
/// # #[cfg(not(feature = "tls-ring"))]
/// # use picot_net::tls::rustls::crypto::aws_lc_rs as cryptography;
/// let provider = Arc::new(cryptography::default_provider());
/// let config = ClientConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()
///     .unwrap()
///     .with_root_certificates(RootCertStore::empty())
///     .with_no_client_auth();
/// let connector = TlsConnector::from(Arc::new(config));
/// # drop(connector);
/// ```
impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> TlsConnector {
        TlsConnector { config, limits: Limits::default(), missing_close_notify: Arc::default() }
    }
}

/// Makes the server's side of TLS; an example is at [`TlsStream`]. Clones share the configuration
/// and the count of connections without `close_notify`.
///
/// ```
/// use futures_lite::future::try_zip;
/// use picot_net::duplex;
/// use picot_net::tls::{TlsAcceptor, TlsConnector};
///
/// # macro_rules! file {
/// #     ($name:literal) => {
/// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
/// #     };
/// # }
/// # const AUTHORITY: &[u8] = file!("authority.pem");
/// # const CERTIFICATE: &[u8] = file!("localhost.pem");
/// # const KEY: &[u8] = file!("localhost.key");
/// # picot_loop::run(async {
/// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
/// let connector = TlsConnector::trusting(AUTHORITY)?;
/// let (near, far) = duplex(4096); // or two ends of a TCP connection
/// try_zip(acceptor.accept(far), connector.connect("localhost", near)).await?;
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    limits: Limits,
    missing_close_notify: Arc<AtomicU64>,
}

impl TlsAcceptor {
    /// Makes an acceptor with a certificate and its private key, both as PEM. The server's
    /// certificate comes first, then those that lead to the authority. Clients need no certificate.
    ///
    /// # Errors
    /// If the certificates or the key are malformed, or do not belong together.
    ///
    /// ```
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let _acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// assert!(TlsAcceptor::new(CERTIFICATE, b"no key").is_err());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn new(certificates_pem: &[u8], key_pem: &[u8]) -> io::Result<TlsAcceptor> {
        let key =
            PrivateKeyDer::from_pem_slice(key_pem).map_err(invalid).about(format_args!("read the private key"))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of all default versions")
            .with_no_client_auth()
            .with_single_cert(certificates(certificates_pem)?, key)
            .map_err(invalid)
            .about(format_args!("serve TLS with this certificate and private key"))?;
        Ok(Arc::new(config).into())
    }

    /// Limits the time of a handshake. The default is 60 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::duplex;
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let acceptor = acceptor.handshake_timeout(Duration::from_millis(5));
    /// let (_near, far) = duplex(4096); // a client that does not begin
    /// let error = acceptor.accept(far).await.map(drop).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsAcceptor {
        self.limits.handshake = limit;
        self
    }

    /// Limits the time of [`TlsStream::close`]. The default is 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let acceptor = acceptor.shutdown_timeout(Duration::from_secs(5));
    /// # drop(acceptor);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn shutdown_timeout(mut self, limit: Duration) -> TlsAcceptor {
        self.limits.shutdown = limit;
        self
    }

    /// Names the application protocols that this side speaks (ALPN), the preferred one first. A
    /// handshake fails if the client names protocols as well, and none of them is the same.
    /// [`TlsStream::alpn_protocol`] returns the result, and has an example.
    ///
    /// # Panics
    /// If a name is empty, or longer than 255 bytes.
    ///
    /// ```
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # fn main() -> std::io::Result<()> {
    /// let side = TlsAcceptor::new(CERTIFICATE, KEY)?.alpn_protocols(["h2", "http/1.1"]);
    /// # drop(side);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "set_alpn_protocols")]
    pub fn alpn_protocols<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> TlsAcceptor {
        Arc::make_mut(&mut self.config).alpn_protocols = protocol_names(protocols);
        self
    }

    /// How many connections of this acceptor and its clones have ended without TLS's
    /// `close_notify`, as far as a read has found it; [`MissingCloseNotify`] says more, and has an
    /// example.
    ///
    /// ```
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # fn main() -> std::io::Result<()> {
    /// let side = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// assert_eq!(side.missing_close_notify(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn missing_close_notify(&self) -> u64 {
        self.missing_close_notify.load(Ordering::Relaxed)
    }

    /// Begins TLS on a stream: on a new connection, or in the middle of a conversation.
    ///
    /// # Errors
    /// The error of rustls, for example that the client does not trust the certificate;
    /// [`TimedOut`](io::ErrorKind::TimedOut) after the limit; the stream's errors. The stream is
    /// dropped.
    ///
    /// # If dropped
    /// The stream is dropped.
    ///
    /// ``` no_run
    /// use picot_net::Server;
    /// use picot_net::tls::TlsAcceptor;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let server = Server::builder().bind("127.0.0.1:7007").await?.serve(move |stream, _peer| {
    ///     let acceptor = acceptor.clone();
    ///     async move {
    ///         let mut stream = acceptor.accept(stream).await?;
    ///         futures_lite::AsyncWriteExt::write_all(&mut stream, b"hello").await?;
    ///         stream.close().await
    ///     }
    /// })?;
    /// server.serve_forever().await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "start_tls")]
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = futures_rustls::TlsAcceptor::from(self.config.clone()).accept(stream);
        let stream = within(Some(self.limits.handshake), "the TLS handshake", handshake).await;
        let stream = stream.about(format_args!("begin TLS with a client"))?;
        Ok(TlsStream::new(stream.into(), self.limits, &self.missing_close_notify))
    }
}

/// Makes an acceptor with a configuration of rustls, for all that has no method here: a certificate
/// for each name that clients ask for (SNI), by the configuration's resolver; certificates of
/// clients; tickets.
///
/// ```
/// use std::sync::Arc;
/// use picot_net::tls::TlsAcceptor;
/// use picot_net::tls::rustls::ServerConfig;
/// use picot_net::tls::rustls::server::ResolvesServerCertUsingSni;
///
/// # #[cfg(feature = "tls-ring")]
/// # use picot_net::tls::rustls::crypto::ring as cryptography;
/// # #[cfg(not(feature = "tls-ring"))]
/// # use picot_net::tls::rustls::crypto::aws_lc_rs as cryptography;
/// let provider = Arc::new(cryptography::default_provider());
/// let by_name = ResolvesServerCertUsingSni::new(); // and `add` a certificate for each name
/// let config = ServerConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()
///     .unwrap()
///     .with_no_client_auth()
///     .with_cert_resolver(Arc::new(by_name));
/// let acceptor = TlsAcceptor::from(Arc::new(config));
/// # drop(acceptor);
/// ```
impl From<Arc<ServerConfig>> for TlsAcceptor {
    fn from(config: Arc<ServerConfig>) -> TlsAcceptor {
        TlsAcceptor { config, limits: Limits::default(), missing_close_notify: Arc::default() }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    // Named here: rustls's default for the process may be missing, or set by another crate.
    #[cfg(feature = "tls-aws-lc")]
    use rustls::crypto::aws_lc_rs::default_provider;
    #[cfg(not(feature = "tls-aws-lc"))]
    use rustls::crypto::ring::default_provider;
    Arc::new(default_provider())
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(invalid)
        .about(format_args!("read the certificates"))?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no certificate in the PEM text"));
    }
    Ok(found)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// TLS over another stream. It implements the traits of `futures-io` (and of tokio, with the
/// feature `tokio-io`). Written bytes may stay in its buffer until it is flushed.
///
/// An end of the inner stream without TLS's own end is an error, [`MissingCloseNotify`], because an
/// attacker may have cut the connection. Each read after it returns the error again.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt, future::try_zip};
/// use picot_net::duplex;
/// use picot_net::tls::{TlsAcceptor, TlsConnector};
///
/// # macro_rules! file {
/// #     ($name:literal) => {
/// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
/// #     };
/// # }
/// # const AUTHORITY: &[u8] = file!("authority.pem");
/// # const CERTIFICATE: &[u8] = file!("localhost.pem");
/// # const KEY: &[u8] = file!("localhost.key");
/// picot_loop::run(async {
///     let connector = TlsConnector::trusting(AUTHORITY)?;
///     let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
///     let (near, far) = duplex(4096); // or two ends of a TCP connection
///     let both = try_zip(connector.connect("localhost", near), acceptor.accept(far));
///     let (mut client, mut server) = both.await?;
///     client.write_all(b"hello").await?;
///     client.flush().await?;
///     let mut buffer = [0; 5];
///     server.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"hello");
///     client.close().await
/// })
/// .unwrap();
/// ```
pub struct TlsStream<S> {
    inner: Inner<S>,
    limits: Limits,
    /// Whether a read has found the end of the inner stream before TLS's own.
    is_cut: bool,
    missing_close_notify: Arc<AtomicU64>,
}

impl<S> TlsStream<S> {
    fn new(inner: Inner<S>, limits: Limits, missing_close_notify: &Arc<AtomicU64>) -> TlsStream<S> {
        TlsStream { inner, limits, is_cut: false, missing_close_notify: missing_close_notify.clone() }
    }

    /// The inner stream.
    ///
    /// ```
    /// # use futures_lite::future::try_zip;
    /// # use picot_net::tls::{TlsAcceptor, TlsConnector};
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// # let listener = picot_net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let near = picot_net::TcpStream::connect(listener.local_addr()?).await?;
    /// # let (far, _) = listener.accept().await?;
    /// # let connector = TlsConnector::trusting(AUTHORITY)?;
    /// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
    /// let (client, _server) = handshake.await?;
    /// assert_eq!(client.get_ref().peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0
    }

    /// The application protocol that both sides agreed on by ALPN; `None` if a side named none.
    ///
    /// ```
    /// # use futures_lite::future::try_zip;
    /// # use picot_net::tls::{TlsAcceptor, TlsConnector};
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// # let (near, far) = picot_net::duplex(4096);
    /// let connector = TlsConnector::trusting(AUTHORITY)?.alpn_protocols(["h2", "http/1.1"]);
    /// let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?.alpn_protocols(["http/1.1"]);
    /// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
    /// let (client, server) = handshake.await?;
    /// assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
    /// assert_eq!(server.alpn_protocol(), client.alpn_protocol());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "selected_alpn_protocol")]
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.connection().alpn_protocol()
    }

    /// The host name that the client asked for (SNI). `None` on the client's side, and if the
    /// client named none, as for an address.
    ///
    /// The client chooses the name. rustls has checked that it is a valid one, and that the
    /// configuration has a certificate to answer with.
    ///
    /// ```
    /// # use futures_lite::future::try_zip;
    /// # use picot_net::tls::{TlsAcceptor, TlsConnector};
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// # let (near, far) = picot_net::duplex(4096);
    /// # let connector = TlsConnector::trusting(AUTHORITY)?;
    /// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
    /// let (_client, server) = handshake.await?;
    /// assert_eq!(server.server_name(), Some("localhost"));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "sni_callback")]
    pub fn server_name(&self) -> Option<&str> {
        match &self.inner {
            Inner::Client(_) => None,
            Inner::Server(stream) => stream.get_ref().1.server_name(),
        }
    }

    /// The state of rustls: the peer's certificates, the protocol version and the cipher suite.
    ///
    /// ```
    /// # use futures_lite::future::try_zip;
    /// # use picot_net::tls::{TlsAcceptor, TlsConnector};
    /// use picot_net::tls::rustls::ProtocolVersion;
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// # let (near, far) = picot_net::duplex(4096);
    /// # let connector = TlsConnector::trusting(AUTHORITY)?;
    /// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
    /// let (client, _server) = handshake.await?;
    /// assert_eq!(client.connection().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn connection(&self) -> &rustls::CommonState {
        self.inner.get_ref().1
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Sends unsent bytes and TLS's own end, and then ends the writing direction of the inner
    /// stream.
    ///
    /// # Errors
    /// The inner stream's errors; [`TimedOut`](io::ErrorKind::TimedOut) after the limit. Drop the
    /// stream after an error.
    ///
    /// # If dropped
    /// A part of TLS's end may be sent. Drop the stream.
    ///
    /// ```
    /// # use futures_lite::{AsyncReadExt, future::try_zip};
    /// # use picot_net::tls::{TlsAcceptor, TlsConnector};
    ///
    /// # macro_rules! file {
    /// #     ($name:literal) => {
    /// #         include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    /// #     };
    /// # }
    /// # const AUTHORITY: &[u8] = file!("authority.pem");
    /// # const CERTIFICATE: &[u8] = file!("localhost.pem");
    /// # const KEY: &[u8] = file!("localhost.key");
    /// # picot_loop::run(async {
    /// # let (near, far) = picot_net::duplex(4096);
    /// # let connector = TlsConnector::trusting(AUTHORITY)?;
    /// # let acceptor = TlsAcceptor::new(CERTIFICATE, KEY)?;
    /// let handshake = try_zip(connector.connect("localhost", near), acceptor.accept(far));
    /// let (mut client, mut server) = handshake.await?;
    /// client.close().await?;
    /// assert_eq!(server.read(&mut [0; 16]).await?, 0, "the end, which TLS has confirmed");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn close(&mut self) -> io::Result<()> {
        let limit = self.limits.shutdown;
        let closing = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_close(cx));
        within(Some(limit), "closing TLS", closing).await
    }
}

/// Runs one operation of the stream, and spends the task's budget for it.
///
/// Most operations only move bytes between the caller's buffer and that of rustls, and a loop over
/// these would block all other tasks. If `is_empty`, there is nothing to move, and the
/// operation completes at once.
fn poll_counted<T: Default>(
    cx: &mut Context<'_>,
    is_empty: bool,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    // rustls knows no budget, and one record can satisfy many reads without the socket.
    ready!(budget::poll_left(cx));
    let result = if is_empty { Ok(T::default()) } else { ready!(operation(cx)) };
    budget::spend();
    Poll::Ready(result)
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Reads by `read`. After an end without `close_notify`, each read is that error: the stream
    /// inside would return an ordinary end, after which the bytes before look complete.
    fn poll_uncut(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(Pin<&mut Inner<S>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_cut {
            match ready!(read(Pin::new(&mut self.inner), cx)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_cut = true;
                    self.missing_close_notify.fetch_add(1, Ordering::Relaxed);
                }
                result => return Poll::Ready(result),
            }
        }
        Poll::Ready(Err(MissingCloseNotify::error()))
    }

    /// Reads at most `room` bytes, in pieces: the first byte by a read that may wait, then what
    /// rustls has decrypted. So the bytes go from its buffer to their place, which need not be
    /// initialised.
    #[cfg(feature = "tokio-io")]
    fn poll_take(&mut self, cx: &mut Context<'_>, room: usize, mut put: impl FnMut(&[u8])) -> Poll<io::Result<()>> {
        use std::io::BufRead;

        poll_counted(cx, room == 0, |cx| {
            let mut first = [0];
            let read = ready!(self.poll_uncut(cx, |inner, cx| inner.poll_read(cx, &mut first)))?;
            put(&first[..read]);
            let mut left = room - read;
            let mut decrypted = match &mut self.inner {
                Inner::Client(stream) => stream.get_mut().1.reader(),
                Inner::Server(stream) => stream.get_mut().1.reader(),
            };
            while left > 0 && read > 0 {
                // Without bytes it is an end or an error, which the next read returns.
                let Ok(bytes) = decrypted.fill_buf() else { break };
                let count = bytes.len().min(left);
                if count == 0 {
                    break;
                }
                put(&bytes[..count]);
                decrypted.consume(count);
                left -= count;
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        poll_counted(cx, buffer.is_empty(), |cx| stream.poll_uncut(cx, |inner, cx| inner.poll_read(cx, buffer)))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_empty = buffers.iter().all(|buffer| buffer.is_empty());
        let stream = self.get_mut();
        poll_counted(cx, is_empty, |cx| stream.poll_uncut(cx, |inner, cx| inner.poll_read_vectored(cx, buffers)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_counted(cx, bytes.is_empty(), |cx| Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_empty = slices.iter().all(|slice| slice.is_empty());
        poll_counted(cx, is_empty, |cx| Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_counted(cx, false, |cx| Pin::new(&mut self.get_mut().inner).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_counted(cx, false, |cx| Pin::new(&mut self.get_mut().inner).poll_close(cx))
    }
}

#[cfg(feature = "tokio-io")]
crate::tokio_io::by_futures_io!({S: AsyncRead + AsyncWrite + Unpin} TlsStream<S>);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("stream", self.get_ref()).finish_non_exhaustive()
    }
}
