//! Waiting until a child reports that it is ready.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::budget;
use picot_loop::{CancelReason, JoinError};

use crate::child::Child;
use crate::request::wake;

/// The child's half of [`Scope::start`](crate::Scope::start): reports that the child is ready.
///
/// If it is dropped without [`ready`](Started::ready), the start ends when the child does.
///
/// ```
/// use picot_tasks::{Scope, Started, scope};
///
/// async fn serve(started: Started<u16>) {
///     started.ready(8080);
/// }
///
/// picot_loop::run(async {
///     let port = scope(async |s: Scope<'_, ()>| Ok(s.start(serve).await.unwrap().0));
///     assert_eq!(port.await.unwrap(), 8080);
/// });
/// ```
pub struct Started<V> {
    signal: Rc<StartSignal<V>>,
}

/// The state that the child and its starter share.
pub(crate) struct StartSignal<V> {
    value: Cell<Option<V>>,
    starter: RefCell<Option<Waker>>,
}

impl<V> Started<V> {
    pub(crate) fn new() -> (Started<V>, Rc<StartSignal<V>>) {
        let signal = Rc::new(StartSignal { value: Cell::new(None), starter: RefCell::new(None) });
        (Started { signal: signal.clone() }, signal)
    }

    /// Reports that the child is ready, and passes `value` to the starter. If the starter has gone,
    /// the value is dropped.
    ///
    /// ```
    /// use picot_tasks::{Scope, Started, scope};
    ///
    /// picot_loop::run(async {
    ///     let value = scope(async |s: Scope<'_, ()>| {
    ///         let start = s.start(async |started: Started<&str>| started.ready("listening"));
    ///         let (value, _child) = start.await.unwrap();
    ///         Ok(value)
    ///     });
    ///     assert_eq!(value.await.unwrap(), "listening");
    /// });
    /// ```
    #[doc(alias = "task_status")]
    pub fn ready(self, value: V) {
        self.signal.value.set(Some(value));
        let starter = self.signal.starter.take();
        if let Some(starter) = starter {
            wake(starter);
        }
    }
}

impl<V> fmt::Debug for Started<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// Waits until a child reports that it is ready; made by [`Scope::start`](crate::Scope::start).
///
/// ```
/// use picot_tasks::{Scope, Started, scope};
///
/// picot_loop::run(async {
///     let result = scope(async |s: Scope<'_, ()>| {
///         let start = s.start(async |_started: Started<()>| ()); // ends without a report
///         assert!(start.await.is_err());
///         Ok(())
///     });
///     result.await.unwrap();
/// });
/// ```
#[must_use = "dropping this cancels the child"]
pub struct Start<V, T> {
    signal: Rc<StartSignal<V>>,
    /// `None` once this is done.
    child: Option<Child<T>>,
}

impl<V, T> Unpin for Start<V, T> {}

impl<V, T> Start<V, T> {
    pub(crate) fn new(signal: Rc<StartSignal<V>>, child: Child<T>) -> Start<V, T> {
        Start { signal, child: Some(child) }
    }
}

impl<V, T> Future for Start<V, T> {
    type Output = Result<(V, Child<T>), JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(budget::poll_left(cx));
        if let Some(started) = this.take_started() {
            return Poll::Ready(started);
        }
        let child = this.child.as_mut().expect("present: a start is not polled after its end");
        if let Poll::Ready(outcome) = child.poll_join(cx) {
            let reason = CancelReason::from("it ended without reporting that it was ready");
            let error = outcome.err().unwrap_or_else(|| JoinError::cancelled(child.info(), reason));
            this.child = None;
            return Poll::Ready(Err(error));
        }
        let old = this.signal.starter.replace(Some(cx.waker().clone()));
        drop(old);
        // The waker may run user code in its clone and drop, and that may have reported readiness,
        // so it is checked again.
        this.take_started().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<V, T> Start<V, T> {
    fn take_started(&mut self) -> Option<Result<(V, Child<T>), JoinError>> {
        let value = self.signal.value.take()?;
        budget::spend();
        Some(Ok((value, self.child.take().expect("a start is not polled after its end"))))
    }
}

impl<V, T> Drop for Start<V, T> {
    fn drop(&mut self) {
        let waker = self.signal.starter.take();
        drop(waker);
        if let Some(child) = &self.child {
            child.stop_waiting();
        }
    }
}

impl<V, T> fmt::Debug for Start<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("child", &self.child).finish_non_exhaustive()
    }
}
