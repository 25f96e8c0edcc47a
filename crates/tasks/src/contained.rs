//! User futures inside futures of this crate, dropped so that a panic in a destructor goes no
//! further.
//!
//! A member that panics in its poll unwinds through the future that holds it, and that drops the
//! member and its siblings. A second panic in one of those destructors would abort the process.
//! Here it becomes a report, and the first panic continues to unwind.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use picot_context::{Kind, Origin, contain};
use pin_project_lite::pin_project;

/// The origin under which a panic in a destructor is reported: the running step, if there is one.
pub(crate) fn origin() -> Origin {
    Origin::running().unwrap_or(Origin::new(Kind::Task))
}

/// Drops the future in `slot`, if there is one. A panic in its destructor is reported.
#[inline]
pub(crate) fn clear<F>(mut slot: Pin<&mut Option<F>>) {
    if std::mem::needs_drop::<F>() {
        if slot.is_some() {
            contain::clear(slot);
        }
    } else {
        slot.set(None);
    }
}

pin_project! {
    /// A future that is dropped as soon as it is done, with its destructor's panic contained.
    pub(crate) struct Contained<F> {
        #[pin]
        slot: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            clear(this.project().slot);
        }
    }
}

impl<F> Contained<F> {
    #[inline]
    pub(crate) fn new(future: F) -> Contained<F> {
        Contained { slot: Some(future) }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut slot = self.project().slot;
        let future = slot.as_mut().as_pin_mut().expect("occupied: a future is not polled after its end");
        let output = ready!(future.poll(cx));
        clear(slot);
        Poll::Ready(output)
    }
}

pin_project! {
    /// A future whose output is mapped by a function.
    ///
    /// An `async` block would drop the future while a panic of its poll unwinds. This type does
    /// not, so the containing code can drop the future by a separate call.
    pub(crate) struct Mapped<F, M> {
        #[pin]
        future: F,
        map: M,
    }
}

impl<F, M> Mapped<F, M> {
    pub(crate) fn new(future: F, map: M) -> Mapped<F, M> {
        Mapped { future, map }
    }
}

impl<F: Future, T, M: Fn(F::Output) -> T> Future for Mapped<F, M> {
    type Output = T;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        this.future.poll(cx).map(&*this.map)
    }
}
