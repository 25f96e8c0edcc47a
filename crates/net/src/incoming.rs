//! The connections of a listener as a stream, which `incoming` returns.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

type Accepting<'a, S> = Pin<Box<dyn Future<Output = io::Result<S>> + 'a>>;

/// The connections of a listener as an endless stream, created by `incoming`.
///
/// The stream continues after an error; the listener's `accept` describes its rest after one.
/// Dropping the stream loses no connection.
///
/// ```
/// use futures_lite::StreamExt;
/// use picot_net::{TcpListener, TcpStream};
///
/// # picot_loop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let mut incoming = listener.incoming();
/// if let Some(stream) = incoming.next().await {
///     assert_eq!(stream?.peer_addr()?, client.local_addr()?);
/// }
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
pub struct Incoming<'a, S> {
    accept: Box<dyn Fn() -> Accepting<'a, S> + 'a>,
    accepting: Option<Accepting<'a, S>>,
}

impl<'a, S> Incoming<'a, S> {
    pub(crate) fn new<F: Future<Output = io::Result<S>> + 'a>(accept: impl Fn() -> F + 'a) -> Incoming<'a, S> {
        Incoming { accept: Box::new(move || Box::pin(accept())), accepting: None }
    }
}

impl<S> Stream for Incoming<'_, S> {
    type Item = io::Result<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<S>>> {
        let this = &mut *self;
        let result = ready!(this.accepting.get_or_insert_with(&this.accept).as_mut().poll(cx));
        this.accepting = None;
        Poll::Ready(Some(result))
    }
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
