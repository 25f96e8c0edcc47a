//! Errors that name their subject: which operation failed, and at which address, path or host.
//!
//! The operating system reports a bare number. [`About::about`] puts the operation in front of it,
//! once, at the boundary of a public function; inside, errors stay as they are, so that code can
//! still compare their numbers. The kind of the error is kept, and the number is reachable by
//! [`raw_os_error`].

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use picot_context::Escaped;

use crate::address::Address;

/// An operation that failed, and why: the inner error of what this crate's functions return.
///
/// The kind of the outer [`io::Error`] is that of the operating system's. Its number is found by
/// [`raw_os_error`], because [`io::Error::raw_os_error`] knows errors without a text only.
///
/// ```
/// use std::io::ErrorKind;
/// use picot_net::{OperationError, TcpStream};
///
/// picot_loop::run(async {
///     let error = TcpStream::connect("127.0.0.1:0").await.unwrap_err();
///     assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:0: "));
///     let inner = error.get_ref().unwrap().downcast_ref::<OperationError>().unwrap();
///     assert_eq!(inner.operation(), "connect to 127.0.0.1:0");
///     assert_eq!(inner.error().kind(), error.kind());
///     assert_eq!(inner.error().raw_os_error(), picot_net::raw_os_error(&error));
/// });
/// ```
#[derive(Debug)]
pub struct OperationError {
    operation: Box<str>,
    error: io::Error,
}

impl OperationError {
    /// The operation, with its subject: `connect to 127.0.0.1:80`. Control characters in names and
    /// paths are escaped.
    ///
    /// ```
    /// use picot_net::{OperationError, lookup};
    ///
    /// picot_loop::run(async {
    ///     let error = lookup("no-port").await.unwrap_err();
    ///     let inner = error.get_ref().unwrap().downcast_ref::<OperationError>().unwrap();
    ///     assert_eq!(inner.operation(), "look up no-port");
    /// });
    /// ```
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Why it failed: the operating system's error, or one of this crate's.
    ///
    /// ```
    /// use picot_net::{OperationError, lookup};
    ///
    /// picot_loop::run(async {
    ///     let error = lookup("no-port").await.unwrap_err();
    ///     let inner = error.get_ref().unwrap().downcast_ref::<OperationError>().unwrap();
    ///     assert!(inner.error().to_string().contains("it should be `host:port`"));
    /// });
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.operation, Escaped(&self.error))
    }
}

impl Error for OperationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The operating system's number of an error, also if the error names its operation; `None` if it
/// has none.
///
/// ```
/// use picot_net::{TcpListener, raw_os_error};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let error = TcpListener::bind(listener.local_addr()?).await.unwrap_err();
///     assert_eq!(error.raw_os_error(), None, "std has it only for errors without a text");
///     assert_eq!(raw_os_error(&error), Some(rustix::io::Errno::ADDRINUSE.raw_os_error()));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub fn raw_os_error(error: &io::Error) -> Option<i32> {
    if let Some(number) = error.raw_os_error() {
        return Some(number);
    }
    let mut inner: Option<&(dyn Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(error) = inner {
        match error.downcast_ref::<io::Error>() {
            Some(error) => return raw_os_error(error),
            None => inner = error.source(),
        }
    }
    None
}

/// Names the operation that an error belongs to.
pub trait About {
    /// Puts `cannot {operation}: ` in front of the error. Formats the text only if there is an
    /// error.
    fn about(self, operation: fmt::Arguments<'_>) -> Self;
}

impl About for io::Error {
    #[cold]
    fn about(self, operation: fmt::Arguments<'_>) -> io::Error {
        // Names and paths come from outside, and the text goes into logs.
        let operation = Escaped(operation).to_string().into();
        io::Error::new(self.kind(), OperationError { operation, error: self })
    }
}

impl<T> About for io::Result<T> {
    fn about(self, operation: fmt::Arguments<'_>) -> io::Result<T> {
        self.map_err(|error| error.about(operation))
    }
}

/// The errors of several addresses as one, which names each. Its kind and number are those of the
/// last.
#[derive(Debug)]
pub(crate) struct Attempts(Vec<(SocketAddr, io::Error)>);

impl Attempts {
    /// One error for all attempts at the addresses of `target`. Where that is the address itself,
    /// it is the bare error.
    pub(crate) fn combine(target: &Address, mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
        match failed.last() {
            None => io::Error::new(io::ErrorKind::NotFound, "there is no address to try"),
            Some((address, _)) if target.number() == Some(*address) => failed.remove(0).1,
            Some((_, last)) => io::Error::new(last.kind(), Attempts(failed)),
        }
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for Attempts {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.last().map(|(_, error)| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_number_are_kept_however_deep_the_error_is_wrapped() {
        let bare = || io::Error::from_raw_os_error(2);
        let named = bare().about(format_args!("open it")).about(format_args!("do more"));
        assert_eq!((named.kind(), raw_os_error(&named)), (bare().kind(), Some(2)));
        assert_eq!(named.to_string(), format!("cannot do more: cannot open it: {}", bare()));
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let several =
            Attempts::combine(&"host:1".into(), vec![(address, io::Error::other("first")), (address, bare())]);
        assert_eq!((several.kind(), raw_os_error(&several)), (bare().kind(), Some(2)));
        assert_eq!(several.to_string(), format!("127.0.0.1:1: first; 127.0.0.1:1: {}", bare()));
        let one = || vec![(address, bare())];
        assert_eq!(Attempts::combine(&"host:1".into(), one()).to_string(), format!("127.0.0.1:1: {}", bare()));
        assert_eq!(Attempts::combine(&address.into(), one()).to_string(), bare().to_string());
        assert_eq!(raw_os_error(&io::Error::other("without a number")), None);
    }
}
