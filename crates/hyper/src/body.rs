//! Bodies of requests and responses.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use picot_context::Escaped;
use picot_loop::{Local, LoopHandle, Sleep, sleep};

use crate::file::FileBody;

/// Any error, as hyper and tower pass them on.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request or a response: received, in memory, a file, a stream, or any other body.
///
/// A server gives it to its service with a time limit: if the peer sends nothing for that long
/// while the service waits for more, the body fails as [`TimedOut`](io::ErrorKind::TimedOut).
///
/// It is `Send` and `Sync`, as axum and others require. Bodies with state of the loop (a file, a
/// stream, a time limit) panic if they are polled on another thread.
///
/// ```
/// use picot_hyper::Body;
///
/// # picot_loop::run(async {
/// assert_eq!(Body::from("hello").bytes(1024).await?, "hello");
/// assert!(Body::from("hello").bytes(4).await.is_err(), "longer than the limit");
/// # Ok::<(), picot_hyper::BoxError>(())
/// # })
/// # .unwrap();
/// ```
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Received(Received),
    File(Local<FileBody>),
    Other(Local<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Unpin>>),
}

/// A body that hyper receives.
struct Received {
    body: Incoming,
    idle: Option<Duration>,
    /// The end of the current wait. Made when a wait begins.
    alarm: Option<Local<Sleep>>,
    /// Called once the body is at its end; dropped if the body is dropped before that.
    at_end: Option<Local<Box<dyn FnOnce()>>>,
}

impl Body {
    /// Makes a body without bytes.
    ///
    /// ```
    /// use http_body::Body as _;
    ///
    /// assert!(picot_hyper::Body::empty().is_end_stream());
    /// ```
    pub const fn empty() -> Body {
        Body(Kind::Empty)
    }

    /// Makes a body of any other body. It need not be `Send`.
    ///
    /// ```
    /// use picot_hyper::Body;
    ///
    /// let _body = Body::new(String::from("a string is a body, too"));
    /// ```
    pub fn new<B>(body: B) -> Body
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        Body(Kind::Other(Local::new(Box::new(Mapped { body: Box::pin(body) }))))
    }

    /// Makes a body of the pieces of a stream, sent as they come: for server-sent events, and for
    /// content that is made on the way.
    ///
    /// The peer's speed limits the stream: it is polled when there is room to send.
    ///
    /// ```
    /// use futures_lite::stream;
    /// use picot_hyper::Body;
    ///
    /// # picot_loop::run(async {
    /// let pieces = ["one ", "two"].map(|piece| Ok::<_, std::io::Error>(piece.into()));
    /// assert_eq!(Body::stream(stream::iter(pieces)).bytes(64).await?, "one two");
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn stream<S, E>(stream: S) -> Body
    where
        S: Stream<Item = Result<Bytes, E>> + 'static,
        E: Into<BoxError>,
    {
        Body(Kind::Other(Local::new(Box::new(Streamed { stream: Box::pin(stream) }))))
    }

    /// Makes a body of the file at `path`.
    ///
    /// A thread of the loop's blocking lane opens it, and later reads it in pieces of 64 KiB. At
    /// most two pieces are in memory, however long the file is.
    ///
    /// # Errors
    /// The operating system's error with the path; and if the path is no regular file.
    ///
    /// # Panics
    /// When polled, if this thread has no loop, or on another thread than the one that called.
    ///
    /// # If dropped
    /// The file is closed once it is open.
    ///
    /// ```
    /// use picot_hyper::Body;
    ///
    /// # picot_loop::run(async {
    /// let manifest = Body::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).await?;
    /// assert!(manifest.bytes(65536).await?.starts_with(b"[package]"));
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn open<P: AsRef<Path>>(path: P) -> impl Future<Output = io::Result<Body>> + Send + use<P> {
        let path = path.as_ref().to_path_buf();
        // `Send` is for handlers of axum.
        Local::new(async move {
            let opened = path.clone();
            let open = move || {
                let file = File::open(&opened)?;
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
                }
                Ok((file, metadata.len()))
            };
            let job = LoopHandle::current().try_spawn_blocking(open).map_err(io::Error::other)?;
            match job.await.map_err(io::Error::other)? {
                Ok((file, length)) => Ok(Body::file(file, length)),
                Err(error) => {
                    let text = format!("cannot open {}: {error}", Escaped(path.display()));
                    Err(io::Error::new(error.kind(), text))
                }
            }
        })
    }

    /// Makes a body of the next `length` bytes of an open file, read as [`open`](Body::open) does.
    ///
    /// If the file ends earlier, the body fails.
    ///
    /// ```
    /// use picot_hyper::Body;
    ///
    /// # picot_loop::run(async {
    /// let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    /// assert_eq!(Body::file(file, 9).bytes(64).await?, "[package]");
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn file(file: File, length: u64) -> Body {
        Body(Kind::File(Local::new(FileBody::new(file, length))))
    }

    pub(crate) fn received(body: Incoming, idle: Option<Duration>) -> Body {
        Body(Kind::Received(Received { body, idle, alarm: None, at_end: None }))
    }

    /// A received body that calls `at_end` when it was read to its end.
    #[cfg(feature = "client")]
    pub(crate) fn received_then(body: Incoming, at_end: impl FnOnce() + 'static) -> Body {
        use http_body::Body as _;
        if body.is_end_stream() {
            at_end();
            return Body::empty();
        }
        let at_end: Box<dyn FnOnce()> = Box::new(at_end);
        Body(Kind::Received(Received { body, idle: None, alarm: None, at_end: Some(Local::new(at_end)) }))
    }

    /// The same body, which owns `guard` until it is dropped.
    #[cfg(feature = "client")]
    pub(crate) fn with_guard(self, guard: impl Unpin + 'static) -> Body {
        Body(Kind::Other(Local::new(Box::new(Guarded { body: self, _guard: guard }))))
    }

    /// Waits for the whole body, and returns it. It may have at most `limit` bytes.
    ///
    /// # Errors
    /// The body's error; and if there are more than `limit` bytes, which is found out as early as
    /// the peer says so.
    ///
    /// # If dropped
    /// The rest of the body is lost, and with HTTP/1 the connection.
    ///
    /// ```
    /// use picot_hyper::Body;
    ///
    /// # picot_loop::run(async {
    /// assert_eq!(Body::from(vec![1, 2]).bytes(2).await?, &[1, 2][..]);
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn bytes(self, limit: usize) -> Result<Bytes, BoxError> {
        use http_body::Body as _;
        let mut body = self;
        let too_large = || format!("the body has more than the allowed {limit} bytes").into();
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            if first.len() + rest.len() + data.len() > limit {
                return Err(too_large());
            }
            // Most bodies have one piece, which needs no copy.
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    /// As [`bytes`](Body::bytes), as text.
    ///
    /// # Errors
    /// As [`bytes`](Body::bytes); and if the body is not UTF-8.
    ///
    /// # If dropped
    /// As [`bytes`](Body::bytes).
    ///
    /// ```
    /// use picot_hyper::Body;
    ///
    /// # picot_loop::run(async {
    /// assert_eq!(Body::from("hello").text(1024).await?, "hello");
    /// # Ok::<(), picot_hyper::BoxError>(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn text(self, limit: usize) -> Result<String, BoxError> {
        Ok(String::from_utf8(self.bytes(limit).await?.into())?)
    }
}

impl Received {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        use http_body::Body as _;
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.alarm = None;
            if self.at_end.is_some() && (frame.is_none() || self.body.is_end_stream()) {
                self.end();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(idle) = self.idle else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Local::new(sleep(idle)));
        ready!(Pin::new(alarm).poll(cx));
        self.alarm = None;
        let text = format!("the peer sent nothing of the body for {idle:?}");
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, text).into())))
    }
}

impl Received {
    /// Calls what waits for the end of the body.
    #[cold]
    fn end(&mut self) {
        // On the thread that made it: a poll elsewhere panics before.
        if let Some(Ok(at_end)) = self.at_end.take().map(Local::try_into_inner) {
            at_end();
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Received(received) => received.poll_frame(cx),
            Kind::File(file) => file.poll_frame(cx),
            Kind::Other(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Received(received) => received.body.is_end_stream(),
            Kind::File(file) => file.left() == 0,
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Received(received) => received.body.size_hint(),
            Kind::File(file) => SizeHint::with_exact(file.left()),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

macro_rules! from_bytes {
    ($($type:ty),+) => {
        $(impl From<$type> for Body {
            fn from(bytes: $type) -> Body {
                let bytes = Bytes::from(bytes);
                if bytes.is_empty() { Body::empty() } else { Body(Kind::Full(bytes)) }
            }
        })+
    };
}

from_bytes!(Bytes, Vec<u8>, &'static [u8], String, &'static str);

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

/// A received body without a time limit.
impl From<Incoming> for Body {
    fn from(body: Incoming) -> Body {
        Body::received(body, None)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(_) => "in memory",
            Kind::Received(_) => "received",
            Kind::File(_) => "a file",
            Kind::Other(_) => "another body",
        };
        f.debug_tuple("Body").field(&format_args!("{kind}")).finish()
    }
}

/// A body that owns something until it is dropped.
#[cfg(feature = "client")]
struct Guarded<G> {
    body: Body,
    _guard: G,
}

#[cfg(feature = "client")]
impl<G: Unpin> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body with its error in a box.
struct Mapped<B> {
    body: Pin<Box<B>>,
}

impl<B> http_body::Body for Mapped<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The pieces of a stream as a body.
struct Streamed<S> {
    stream: Pin<Box<S>>,
}

impl<S, E> http_body::Body for Streamed<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.stream.as_mut().poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(Into::into)))
    }
}
