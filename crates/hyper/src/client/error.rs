//! Errors of a client, which name the request.

use std::error::Error;
use std::fmt;
use std::io;

use http::{Method, Uri};
use picot_context::Escaped;

use crate::body::BoxError;

/// A request failed. The text names its method and URI, without a password.
///
/// ```
/// use picot_hyper::Client;
///
/// # picot_loop::run(async {
/// let error = Client::new().get("http://127.0.0.1:1/missing").await.unwrap_err();
/// assert!(error.to_string().starts_with("cannot GET http://127.0.0.1:1/missing: "));
/// assert!(error.is_connect());
/// # });
/// ```
#[derive(Debug)]
pub struct ClientError {
    request: Box<str>,
    is_connect: bool,
    source: BoxError,
}

impl ClientError {
    pub(super) fn new(method: &Method, uri: &Uri, is_connect: bool, source: BoxError) -> ClientError {
        let text = uri.to_string();
        // What stands before an `@` is a name and a password.
        let text = match (uri.authority().map(http::uri::Authority::as_str), text.split_once("://")) {
            (Some(authority), Some((scheme, rest))) if authority.contains('@') => {
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}{}", &rest[authority.len()..])
            }
            _ => text,
        };
        ClientError { request: Escaped(format_args!("{method} {text}")).to_string().into(), is_connect, source }
    }

    pub(super) fn invalid_uri(method: &Method, uri: &str, source: BoxError) -> ClientError {
        let request = Escaped(format_args!("{method} {uri}")).to_string().into();
        ClientError { request, is_connect: false, source }
    }

    /// Whether no connection was made, so that the server has seen nothing of the request.
    ///
    /// ```
    /// use picot_hyper::Client;
    ///
    /// # picot_loop::run(async {
    /// assert!(Client::new().get("http://127.0.0.1:1/").await.unwrap_err().is_connect());
    /// assert!(!Client::new().get("no uri").await.unwrap_err().is_connect());
    /// # });
    /// ```
    pub fn is_connect(&self) -> bool {
        self.is_connect
    }

    /// The operating system's or the stream's error, if that is the cause.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use picot_hyper::Client;
    ///
    /// # picot_loop::run(async {
    /// let error = Client::new().get("http://127.0.0.1:1/").await.unwrap_err();
    /// assert_eq!(error.io().unwrap().kind(), ErrorKind::ConnectionRefused);
    /// # });
    /// ```
    pub fn io(&self) -> Option<&io::Error> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.source);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref() {
                return Some(error);
            }
            cause = error.source();
        }
        None
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.request, self.source)?;
        // hyper's errors do not contain their causes.
        let mut cause = self.source.downcast_ref::<hyper::Error>().and_then(Error::source);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
