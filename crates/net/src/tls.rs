//! TLS over any stream, by rustls: client, server, and the switch in the middle of a connection.
//!
//! What is ours are the limits of time and the defaults: certificates are checked against the system's authorities unless
//! others are named, and nothing here turns that off. The protocol is rustls's.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
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

/// The crate behind, for configurations that go further.
pub use futures_rustls::rustls;

/// How long a handshake may take (asyncio's `ssl_handshake_timeout`).
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How long closing may take (asyncio's `ssl_shutdown_timeout`).
const SHUTDOWN: Duration = Duration::from_secs(30);

/// The limits of time of a connection.
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

/// Makes the client's side of TLS. Clones share the configuration and the sessions that can be resumed.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    limits: Limits,
}

impl TlsConnector {
    /// A connector that trusts the authorities which the operating system trusts. These are read on a thread of the loop's
    /// blocking lane: make one connector, and keep it.
    ///
    /// # Errors
    /// If the system has no authorities, or they cannot be read.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// # If dropped
    /// Nothing happens.
    pub async fn new() -> io::Result<TlsConnector> {
        let job = LoopHandle::current().try_spawn_blocking(rustls_native_certs::load_native_certs);
        let loaded = job.map_err(io::Error::other)?.await.map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        // Some that cannot be parsed are usual, and no reason to trust none.
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

    /// A connector that trusts these authorities, given as PEM, and no others: for a company's own, or for tests.
    ///
    /// # Errors
    /// If there is no certificate, or one that is none.
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

    /// How long a handshake may take; a minute unless set.
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsConnector {
        self.limits.handshake = limit;
        self
    }

    /// How long [`TlsStream::close`] may take; half a minute unless set.
    pub fn shutdown_timeout(mut self, limit: Duration) -> TlsConnector {
        self.limits.shutdown = limit;
        self
    }

    /// Begins TLS on a stream: on one that was just connected, or in the middle of a conversation (asyncio's `start_tls`).
    /// The server's certificate must be for `name`, a host name or an address.
    ///
    /// Nothing that the peer has sent for TLS may have been read by then; a [`Reader`](crate::Reader) whose buffer is empty
    /// has read nothing too much.
    ///
    /// # Errors
    /// If `name` is no name; if the certificate is not trusted, or for another name; what else rustls says;
    /// [`TimedOut`](io::ErrorKind::TimedOut) after the limit; what the stream says. The stream is dropped.
    ///
    /// # If dropped
    /// The stream is dropped.
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
        Ok(TlsStream { inner: stream.into(), limits: self.limits })
    }
}

/// A connector with a configuration of one's own.
impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> TlsConnector {
        TlsConnector { config, limits: Limits::default() }
    }
}

/// Makes the server's side of TLS. Clones share the configuration.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    limits: Limits,
}

impl TlsAcceptor {
    /// An acceptor with a certificate and its private key, as PEM: first the server's certificate, then those that lead to
    /// the authority. It asks clients for no certificate.
    ///
    /// # Errors
    /// If these are no certificates or no key, or do not belong together.
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

    /// How long a handshake may take; a minute unless set.
    pub fn handshake_timeout(mut self, limit: Duration) -> TlsAcceptor {
        self.limits.handshake = limit;
        self
    }

    /// How long [`TlsStream::close`] may take; half a minute unless set.
    pub fn shutdown_timeout(mut self, limit: Duration) -> TlsAcceptor {
        self.limits.shutdown = limit;
        self
    }

    /// Begins TLS on a stream: on one that was just accepted, or in the middle of a conversation.
    ///
    /// # Errors
    /// What rustls says, for example that the client does not trust the certificate; [`TimedOut`](io::ErrorKind::TimedOut)
    /// after the limit; what the stream says. The stream is dropped.
    ///
    /// # If dropped
    /// The stream is dropped.
    #[doc(alias = "start_tls")]
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = futures_rustls::TlsAcceptor::from(self.config.clone()).accept(stream);
        let stream = within(Some(self.limits.handshake), "the TLS handshake", handshake).await;
        let stream = stream.about(format_args!("begin TLS with a client"))?;
        Ok(TlsStream { inner: stream.into(), limits: self.limits })
    }
}

/// An acceptor with a configuration of one's own.
impl From<Arc<ServerConfig>> for TlsAcceptor {
    fn from(config: Arc<ServerConfig>) -> TlsAcceptor {
        TlsAcceptor { config, limits: Limits::default() }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
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

/// A stream that speaks TLS over another one. Reading and writing go by the traits of `futures-io` (and of tokio, with
/// the feature `tokio-io`); written data may wait in
/// it until it is flushed.
///
/// An end of the stream without TLS's own end is an error
/// ([`UnexpectedEof`](io::ErrorKind::UnexpectedEof)): somebody may have cut it.
pub struct TlsStream<S> {
    inner: Inner<S>,
    limits: Limits,
}

impl<S> TlsStream<S> {
    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0
    }

    /// What rustls knows of the connection: the peer's certificates, the protocol version and cipher suite, what ALPN has
    /// chosen.
    #[doc(alias = "get_extra_info")]
    pub fn connection(&self) -> &rustls::CommonState {
        self.inner.get_ref().1
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Sends what was written, then TLS's end, and ends the writing direction of the stream below.
    ///
    /// # Errors
    /// What the stream below says; [`TimedOut`](io::ErrorKind::TimedOut) after the limit. The stream is of no use any more
    /// then.
    ///
    /// # If dropped
    /// The stream is of no use any more.
    pub async fn close(&mut self) -> io::Result<()> {
        let limit = self.limits.shutdown;
        let closing = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_close(cx));
        within(Some(limit), "closing TLS", closing).await
    }
}

/// One operation of the stream, which spends the task's budget: most of them only move bytes between the caller's buffer and
/// that of rustls, and a loop over these would keep all other tasks waiting. Where `is_empty` says that there is nothing to
/// move, nothing is waited for.
fn poll_counted<T: Default>(
    cx: &mut Context<'_>,
    is_empty: bool,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    ready!(budget::poll_left(cx));
    let result = if is_empty { Ok(T::default()) } else { ready!(operation(cx)) };
    budget::spend();
    Poll::Ready(result)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        poll_counted(cx, buffer.is_empty(), |cx| Pin::new(&mut self.get_mut().inner).poll_read(cx, buffer))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_empty = buffers.iter().all(|buffer| buffer.is_empty());
        poll_counted(cx, is_empty, |cx| Pin::new(&mut self.get_mut().inner).poll_read_vectored(cx, buffers))
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
