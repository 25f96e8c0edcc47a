//! `Local`: a value of any type that may be sent and shared, because only its own thread uses it.
//!
//! The value is in its own allocation. A drop on another thread leaks that whole allocation, so a
//! pinned value never loses its memory before its destructor has run: the drop guarantee of `Pin`
//! holds.

use std::fmt;
use std::marker::PhantomPinned;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::bound::Bound;

const TAKEN: &str = "only `try_into_inner` takes the value, and it consumes this";

/// The number of values that were leaked, by all threads.
static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// A value that stays on the thread that made it, inside of types that want `Send` or `Sync`.
///
/// Many libraries require `Send` although one thread runs everything: for a handler of a web
/// framework, a type-erased future, a value in a shared map. `Local<T>` is `Send` and `Sync` for
/// any `T`. In exchange, each access compares the thread, which costs a few instructions, and the
/// value is boxed.
///
/// It derefs to the value, and is a future, a stream, a reader or a writer if the value is one. The
/// features `futures`, `tokio-io` and `hyper` of this crate add the traits of those crates.
///
/// # Panics
/// Each access and each poll panics on a thread other than the one that made it, except
/// [`try_get`](Local::try_get) and [`try_into_inner`](Local::try_into_inner).
///
/// # If dropped
/// On its own thread, the value is dropped. On another thread it is leaked and
/// [counted](Local::leaked): the destructor of the value must not run there, and a panic instead
/// would abort the process if another panic is already unwinding.
///
/// ```
/// use std::rc::Rc;
/// use picot_executor::Local;
///
/// fn needs_send<T: Send + 'static>(value: T) -> Box<dyn std::any::Any + Send> {
///     Box::new(value)
/// }
///
/// let shared = Rc::new(42); // not `Send`
/// let any = needs_send(Local::new(shared.clone()));
/// let local = any.downcast::<Local<Rc<i32>>>().unwrap();
/// assert_eq!(***local, 42);
/// ```
///
/// Another thread cannot use the value:
///
/// ```
/// let local = picot_executor::Local::new(std::rc::Rc::new(42));
/// std::thread::scope(|scope| {
///     scope.spawn(|| assert!(local.try_get().is_none()));
/// });
/// ```
///
/// Pinning is structural: it is `Unpin` only if the value is.
///
/// ```compile_fail,E0277
/// fn unpin<T: Unpin>(_: T) {}
/// unpin(picot_executor::Local::new(std::marker::PhantomPinned));
/// ```
pub struct Local<T> {
    /// Only `try_into_inner` and a drop on another thread take it.
    value: Option<Bound<Box<T>>>,
    /// A `Box` may be moved though its value may not, so the box would make this `Unpin` always.
    _pinned: PhantomPinned,
}

// Pinning is structural. `Bound` makes this `Send` and `Sync`, whatever the value is.
impl<T: Unpin> Unpin for Local<T> {}

impl<T> Local<T> {
    /// Binds `value` to this thread.
    ///
    /// ```
    /// let mut local = picot_executor::Local::new(String::from("a"));
    /// local.push('b');
    /// assert_eq!(*local, "ab");
    /// ```
    pub fn new(value: T) -> Local<T> {
        Local { value: Some(Bound::new(Box::new(value))), _pinned: PhantomPinned }
    }

    /// The value, or `None` on another thread.
    ///
    /// ```
    /// let local = picot_executor::Local::new(7);
    /// assert_eq!(local.try_get(), Some(&7));
    /// ```
    pub fn try_get(&self) -> Option<&T> {
        self.value.as_ref().expect(TAKEN).get().map(|value| &**value)
    }

    /// Takes the value out.
    ///
    /// # Errors
    /// With `self`, unchanged, on another thread.
    ///
    /// ```
    /// let local = picot_executor::Local::new(7);
    /// assert_eq!(local.try_into_inner().unwrap(), 7);
    /// ```
    pub fn try_into_inner(mut self) -> Result<T, Local<T>> {
        match self.value.take().expect(TAKEN).into_inner() {
            Ok(value) => Ok(*value),
            Err(bound) => {
                self.value = Some(bound);
                Err(self)
            }
        }
    }

    #[track_caller]
    fn get_mut(&mut self) -> &mut T {
        match self.value.as_mut().expect(TAKEN).get_mut() {
            Some(value) => value,
            None => foreign::<T>(),
        }
    }

    /// The pinned value.
    #[track_caller]
    fn project(self: Pin<&mut Self>) -> Pin<&mut T> {
        // SAFETY: Pinning is structural.
        // - `Local` is `Unpin` only if `T` is.
        // - Only `try_into_inner` moves the value, and takes an unpinned `Local` by value.
        // - The value's memory stays until its destructor has run: the own thread drops the box in
        //   place, and other threads leak it.
        unsafe { self.map_unchecked_mut(Local::get_mut) }
    }
}

impl Local<()> {
    /// How many values of any type were leaked, because a `Local` was dropped on a thread that is
    /// not its own.
    ///
    /// ```
    /// use picot_executor::Local;
    ///
    /// let before = Local::leaked();
    /// let local = Local::new(7);
    /// std::thread::spawn(move || drop(local)).join().unwrap();
    /// assert_eq!(Local::leaked(), before + 1);
    /// ```
    pub fn leaked() -> usize {
        LEAKED.load(Ordering::Relaxed)
    }
}

#[cold]
#[track_caller]
fn foreign<T>() -> ! {
    panic!(
        "a `Local<{}>` was used on another thread than the one that made it; send a message to that thread instead, \
         as by a remote handle's `call_soon`",
        std::any::type_name::<T>()
    )
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // The drop of `Bound` leaks what is not of this thread.
        if self.value.as_ref().is_some_and(|value| value.get().is_none()) {
            LEAKED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    #[track_caller]
    fn deref(&self) -> &T {
        match self.try_get() {
            Some(value) => value,
            None => foreign::<T>(),
        }
    }
}

impl<T> DerefMut for Local<T> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        self.get_mut()
    }
}

impl<F: Future> Future for Local<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().poll(cx)
    }
}

impl<T: fmt::Debug> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_get() {
            Some(value) => f.debug_tuple("Local").field(value).finish(),
            None => f.write_str("Local(of another thread)"),
        }
    }
}

#[cfg(feature = "futures")]
mod futures {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_core::Stream;
    use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, IoSlice, IoSliceMut, SeekFrom};

    use super::Local;

    impl<S: Stream> Stream for Local<S> {
        type Item = S::Item;

        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
            self.project().poll_next(cx)
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (**self).size_hint()
        }
    }

    impl<T: AsyncRead> AsyncRead for Local<T> {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            self.project().poll_read(cx, buffer)
        }

        fn poll_read_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffers: &mut [IoSliceMut<'_>],
        ) -> Poll<io::Result<usize>> {
            self.project().poll_read_vectored(cx, buffers)
        }
    }

    impl<T: AsyncBufRead> AsyncBufRead for Local<T> {
        fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.project().poll_fill_buf(cx)
        }

        fn consume(self: Pin<&mut Self>, count: usize) {
            self.project().consume(count);
        }
    }

    impl<T: AsyncSeek> AsyncSeek for Local<T> {
        fn poll_seek(self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
            self.project().poll_seek(cx, to)
        }
    }

    impl<T: AsyncWrite> AsyncWrite for Local<T> {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.project().poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.project().poll_write_vectored(cx, slices)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.project().poll_flush(cx)
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.project().poll_close(cx)
        }
    }
}

#[cfg(feature = "tokio-io")]
mod tokio_io {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Local;

    impl<T: AsyncRead> AsyncRead for Local<T> {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.project().poll_read(cx, buffer)
        }
    }

    impl<T: AsyncWrite> AsyncWrite for Local<T> {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.project().poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.project().poll_write_vectored(cx, slices)
        }

        fn is_write_vectored(&self) -> bool {
            (**self).is_write_vectored()
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.project().poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.project().poll_shutdown(cx)
        }
    }
}
