//! Cancel scopes: a piece of work that can be cancelled as a whole, from anywhere, or by a deadline.
//!
//! Cancelling drops the work at the end of a poll, never inside of `cancel`, and nothing can swallow it. Which scope ends
//! which work is a matter of identity and not of counting: a scope that is cancelled by itself says so to its caller; one
//! that is cancelled with a scope around it says nothing, and is dropped by that.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use picot_context::Place;
use picot_loop::{CancelReason, Instant, LoopHandle, Sleep, sleep_until};
use pin_project_lite::pin_project;
use slab::Slab;

use crate::request::{CancelRequest, CancelToken, wake};

/// A piece of work that can be cancelled as a whole (trio's `CancelScope`; what asyncio's `timeout` is made of).
///
/// A scope is made, and then [runs](CancelScope::run) one future. Cancelling it drops the future at the end of the poll that
/// runs now, or else at the next turn; so does its deadline. Scopes nest as their runs do: what is run in a scope that is
/// cancelled ends before its first poll, and no deadline is later than that of a scope around it
/// ([`effective_deadline`](CancelScope::effective_deadline)).
///
/// Work that has to clean up asynchronously gets a [`grace`](CancelScope::grace) and listens to the
/// [`token`](CancelScope::token).
///
/// Tasks that were `spawn`ed belong to the loop, not to the scope that ran then. Those of [`scope`](crate::scope) belong to
/// that, and end with it.
///
/// ```
/// use picot_tasks::CancelScope;
///
/// picot_loop::run(async {
///     let scope = CancelScope::new();
///     let other = scope.clone();
///     let _ = picot_loop::spawn(async move { other.cancel("the user has left") });
///     let error = scope.run(std::future::pending::<()>()).await.unwrap_err();
///     assert_eq!(error.reason().as_str(), "the user has left");
/// });
/// ```
#[derive(Clone)]
pub struct CancelScope {
    inner: Rc<Inner>,
}

struct Inner {
    place: Place,
    phase: Cell<Phase>,
    deadline: Cell<Option<Instant>>,
    grace: Option<Duration>,
    /// When the work is dropped that has been asked to end.
    grace_until: Cell<Option<Instant>>,
    token: CancelToken,
    /// Whether the request is this scope's own, and not one of a scope around it.
    is_own: Cell<bool>,
    is_expired: Cell<bool>,
    /// Whoever polls the run.
    runner: Cell<Option<Waker>>,
    /// The scope around this one, and the place among its children.
    parent: RefCell<Option<(CancelScope, usize)>>,
    children: RefCell<Slab<Weak<Inner>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Ended,
}

thread_local! {
    /// The innermost scope whose run is being polled, and the [nesting](picot_context::nesting) of the step that polls it.
    static CURRENT: RefCell<Option<(CancelScope, u32)>> = const { RefCell::new(None) };
}

/// The scope that surrounds what runs now. An eager task, which is polled inside of its spawner's step, is a task of the loop's and
/// has not the spawner's scope.
fn current() -> Option<CancelScope> {
    let current = CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(None);
    current.filter(|(_, nesting)| *nesting == picot_context::nesting()).map(|(scope, _)| scope)
}

/// The time by which whatever runs now is cancelled: the earliest deadline of all scopes and timeouts around it. `None` if
/// none of them has one.
///
/// ```
/// use std::time::Duration;
/// use picot_tasks::{effective_deadline, timeout};
///
/// picot_loop::run(async {
///     assert_eq!(effective_deadline(), None);
///     timeout(Duration::from_secs(5), async {
///         let inner = timeout(Duration::from_secs(60), async { effective_deadline().unwrap() });
///         assert!(inner.await.unwrap() <= picot_loop::Instant::now() + Duration::from_secs(5));
///     })
///     .await
///     .unwrap();
/// });
/// ```
#[doc(alias = "current_effective_deadline")]
pub fn effective_deadline() -> Option<Instant> {
    current()?.effective_deadline()
}

impl CancelScope {
    /// A scope without a deadline.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it notes where it was made")]
    pub fn new() -> CancelScope {
        CancelScope::at(Location::caller(), None)
    }

    /// A scope that is cancelled at `deadline`.
    #[track_caller]
    pub fn with_deadline(deadline: impl Into<Option<Instant>>) -> CancelScope {
        CancelScope::at(Location::caller(), deadline.into())
    }

    /// A scope that is cancelled when `duration`, counted from now, has passed.
    ///
    /// # Panics
    /// If this thread has no loop.
    #[track_caller]
    pub fn with_timeout(duration: impl Into<Option<Duration>>) -> CancelScope {
        CancelScope::at(Location::caller(), duration.into().map(|duration| Instant::now() + duration))
    }

    fn at(place: Place, deadline: Option<Instant>) -> CancelScope {
        CancelScope {
            inner: Rc::new(Inner {
                place,
                phase: Cell::new(Phase::New),
                deadline: Cell::new(deadline),
                grace: None,
                grace_until: Cell::new(None),
                token: CancelToken::new(),
                is_own: Cell::new(false),
                is_expired: Cell::new(false),
                runner: Cell::new(None),
                parent: RefCell::new(None),
                children: RefCell::default(),
            }),
        }
    }

    /// Gives the work time to clean up: being cancelled, it is told by the [`token`](CancelScope::token), goes on, and is
    /// dropped when `duration` has passed since. If it gives a value by then, that stands. A scope around it that is
    /// cancelled without a grace drops it at once, all the same.
    ///
    /// # Panics
    /// If the scope has been cloned or run: this is for making it.
    #[track_caller]
    pub fn grace(mut self, duration: Duration) -> CancelScope {
        let inner = Rc::get_mut(&mut self.inner).filter(|inner| inner.phase.get() == Phase::New);
        inner.expect("a scope gets its grace when it is made, before it is cloned or run").grace = Some(duration);
        self
    }

    /// Runs `future` in this scope. What gives a value in the poll in which it is cancelled, or in which its deadline
    /// passes, gives that value.
    ///
    /// # Errors
    /// [`CancelError`] if the scope was cancelled or its deadline has passed. The future has been dropped by then.
    ///
    /// # Panics
    /// If the scope was run before: make another one. When polled, if there is a deadline and the thread has no loop.
    ///
    /// # If dropped
    /// So is the future.
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        assert!(self.inner.phase.get() == Phase::New, "a cancel scope runs one future, once; make another scope");
        self.inner.phase.set(Phase::Running);
        Run { future: Some(future.into_future()), scope: self.clone(), timer: None, is_started: false }
    }

    /// Asks for the work to be cancelled, and says whether it still could be: `false` if it has ended. The first reason
    /// stays. A scope that has not been run yet will end before the first poll.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.inner.phase.get() == Phase::Ended {
            return false;
        }
        self.request(CancelRequest::new(reason.into(), Location::caller()));
        true
    }

    /// Takes the request to cancel back, and says whether that was still possible: not if the work has ended, or was told of
    /// the request by a token.
    pub fn withdraw(&self) -> bool {
        let is_possible = self.inner.phase.get() != Phase::Ended && self.inner.is_own.get();
        let is_withdrawn = is_possible && self.withdraw_tokens();
        if is_withdrawn {
            self.inner.is_own.set(false);
            self.inner.is_expired.set(false);
            self.inner.grace_until.set(None);
        }
        is_withdrawn
    }

    /// Moves the deadline, or takes it away.
    ///
    /// # Errors
    /// [`RescheduleError`] if the scope does not run, or was cancelled.
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) -> Result<(), RescheduleError> {
        match self.inner.phase.get() {
            Phase::New => return Err(RescheduleError::NotRunning),
            Phase::Ended => return Err(RescheduleError::Ended),
            Phase::Running if self.inner.is_own.get() => return Err(RescheduleError::Cancelled),
            Phase::Running => {}
        }
        self.inner.deadline.set(deadline.into());
        self.wake_runner();
        Ok(())
    }

    /// The scope's own deadline.
    #[doc(alias = "when")]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline.get()
    }

    /// The time by which the work is cancelled: the scope's deadline, or that of a scope around it if it is earlier. While
    /// the work is being cancelled with a grace, the end of that.
    pub fn effective_deadline(&self) -> Option<Instant> {
        let own = self.inner.grace_until.get().or(self.inner.deadline.get());
        let outer = self.parent().and_then(|parent| parent.effective_deadline());
        [own, outer].into_iter().flatten().min()
    }

    /// Whether the scope, or one around it, was cancelled.
    #[doc(alias = "cancel_called")]
    pub fn is_cancelled(&self) -> bool {
        self.inner.token.is_set()
    }

    /// Whether the scope's own deadline has passed before its work was done.
    #[doc(alias = "expired")]
    pub fn is_expired(&self) -> bool {
        self.inner.is_expired.get()
    }

    /// The request to cancel, if there is one: why, by whom, and where.
    pub fn request_info(&self) -> Option<CancelRequest> {
        self.inner.token.peek()
    }

    /// Tells code of the request that cleans up asynchronously; see [`grace`](CancelScope::grace).
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::with_timeout(Duration::from_millis(1)).grace(Duration::from_secs(5));
    ///     let token = scope.token();
    ///     let work = async {
    ///         token.cancelled().await;
    ///         picot_loop::yield_now().await; // says goodbye to its peer
    ///         "goodbye"
    ///     };
    ///     assert_eq!(scope.run(work).await.unwrap(), "goodbye");
    /// });
    /// ```
    pub fn token(&self) -> CancelToken {
        self.inner.token.clone()
    }

    fn parent(&self) -> Option<CancelScope> {
        self.inner.parent.borrow().as_ref().map(|(parent, _)| parent.clone())
    }

    fn request(&self, request: CancelRequest) {
        self.inner.is_own.set(true);
        self.tell(&request);
        self.wake_runner();
    }

    /// Tells the tokens of this scope and of those inside of it.
    fn tell(&self, request: &CancelRequest) {
        self.inner.token.set(request.clone());
        for child in self.children() {
            child.tell(request);
        }
    }

    fn children(&self) -> Vec<CancelScope> {
        let children = self.inner.children.borrow();
        children.iter().filter_map(|(_, child)| child.upgrade()).map(|inner| CancelScope { inner }).collect()
    }

    /// Takes the request back from the tokens that have it from here, unless one of them was heard.
    fn withdraw_tokens(&self) -> bool {
        let heirs = self.heirs();
        if !self.is_cancelled() || heirs.iter().any(|heir| heir.inner.token.is_delivered()) {
            return false;
        }
        heirs.iter().for_each(|heir| heir.inner.token.withdraw());
        true
    }

    /// This scope and those inside of it that have their request from it.
    fn heirs(&self) -> Vec<CancelScope> {
        let mut heirs = vec![self.clone()];
        for child in self.children() {
            if !child.inner.is_own.get() {
                heirs.extend(child.heirs());
            }
        }
        heirs
    }

    fn wake_runner(&self) {
        if let Some(runner) = self.inner.runner.take() {
            wake(runner);
        }
    }

    /// Whether the work is to be dropped, because of a request to this scope.
    fn is_stopped(&self) -> bool {
        self.inner.is_own.get() && (self.inner.grace.is_none() || self.is_due(self.inner.grace_until.get()))
    }

    /// Whether a scope around this one drops its work.
    fn is_stopped_above(&self) -> bool {
        self.parent().is_some_and(|parent| parent.is_stopped() || parent.is_stopped_above())
    }

    /// Whether a scope around this one drops its work, or is about to because its deadline has passed.
    fn is_ending_above(&self) -> bool {
        self.parent().is_some_and(|parent| {
            let is_ending = parent.inner.grace.is_none() && parent.is_due(parent.deadline());
            is_ending || parent.is_stopped() || parent.is_ending_above()
        })
    }

    fn is_due(&self, time: Option<Instant>) -> bool {
        let now = || LoopHandle::try_current().ok().map(|handle| handle.now());
        time.is_some_and(|time| now().is_some_and(|now| time <= now))
    }

    /// The scope around this one is the one whose run is being polled.
    fn link(&self) {
        let outer = current();
        let is_known = match (&*self.inner.parent.borrow(), &outer) {
            (None, None) => true,
            (Some((known, _)), Some(outer)) => Rc::ptr_eq(&known.inner, &outer.inner),
            _ => false,
        };
        if is_known {
            return;
        }
        self.unlink();
        if let Some(outer) = outer {
            let key = outer.inner.children.borrow_mut().insert(Rc::downgrade(&self.inner));
            if let Some(request) = outer.inner.token.peek() {
                self.tell(&request);
            }
            self.inner.parent.replace(Some((outer, key)));
        }
    }

    fn unlink(&self) {
        if let Some((parent, key)) = self.inner.parent.take() {
            parent.inner.children.borrow_mut().remove(key);
        }
    }

    /// The work has ended, in whatever way.
    fn end(&self) {
        self.inner.phase.set(Phase::Ended);
        self.unlink();
        drop(self.inner.runner.take());
    }

    /// The deadline has passed, which only the run itself finds out: it need not be woken.
    fn expire(&self) {
        self.inner.is_expired.set(true);
        self.inner.is_own.set(true);
        self.tell(&CancelRequest::by_deadline(self.inner.place));
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("deadline", &self.deadline())
            .field("request", &self.request_info())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Work in a cancel scope; made by [`CancelScope::run`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Run<F> {
        #[pin]
        future: Option<F>,
        scope: CancelScope,
        timer: Option<Sleep>,
        is_started: bool,
    }

    impl<F> PinnedDrop for Run<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.scope.inner.phase.get() == Phase::Running {
                let is_expired = *this.is_started && this.scope.is_due(this.scope.deadline());
                this.scope.inner.is_expired.set(this.scope.is_expired() || is_expired);
                this.scope.end();
            }
        }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, CancelError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let scope = self.scope.clone();
        scope.link();
        let known = scope.inner.runner.take().filter(|known| known.will_wake(cx.waker()));
        scope.inner.runner.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
        let is_first = !self.is_started;
        if is_first && scope.is_due(scope.deadline()) {
            scope.expire();
        }
        // What was not polled yet has nothing to clean up, and gets no grace.
        if scope.is_stopped() || (is_first && scope.inner.is_own.get()) {
            return Poll::Ready(self.cancelled());
        }
        if scope.is_stopped_above() {
            // That is further up the stack, and drops this next.
            return Poll::Pending;
        }
        *self.as_mut().project().is_started = true;
        if let Poll::Ready(value) = self.as_mut().poll_inside(cx) {
            self.as_mut().project().future.set(None);
            scope.end();
            return Poll::Ready(Ok(value));
        }
        if scope.is_stopped() {
            return Poll::Ready(self.cancelled());
        }
        self.poll_timer(cx)
    }
}

impl<F: Future> Run<F> {
    fn poll_inside(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("a run is not polled after its end");
        let _outer = Outer::enter(this.scope);
        future.poll(cx)
    }

    /// Waits for the deadline, and then for the end of the grace.
    fn poll_timer(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, CancelError>> {
        loop {
            let this = self.as_mut().project();
            let inner = &this.scope.inner;
            if let (true, None, Some(grace)) = (inner.is_own.get(), inner.grace_until.get(), inner.grace) {
                inner.grace_until.set(Some(Instant::now() + grace));
            }
            let Some(time) = inner.grace_until.get().or(inner.deadline.get()) else {
                *this.timer = None;
                return Poll::Pending;
            };
            if this.timer.as_ref().is_none_or(|timer| timer.deadline() != time) {
                *this.timer = Some(sleep_until(time));
            }
            let timer = this.timer.as_mut().expect("it was just set");
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if !inner.is_own.get() {
                inner.is_expired.set(true);
                if this.scope.is_ending_above() {
                    // Of two deadlines that pass together, the outer one is the error.
                    return Poll::Pending;
                }
                this.scope.expire();
            }
            if this.scope.is_stopped() {
                return Poll::Ready(self.cancelled());
            }
        }
    }

    /// Drops the work, and says that it was cancelled.
    fn cancelled(mut self: Pin<&mut Self>) -> Result<F::Output, CancelError> {
        let mut this = self.as_mut().project();
        this.future.set(None);
        this.scope.end();
        let request = this.scope.request_info().expect("a scope that is stopped has a request");
        Err(CancelError { request })
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Restores the scope around the current one, also while unwinding.
struct Outer(Option<(CancelScope, u32)>);

impl Outer {
    fn enter(scope: &CancelScope) -> Outer {
        let entered = (scope.clone(), picot_context::nesting());
        Outer(CURRENT.with(|current| current.replace(Some(entered))))
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        let inner = CURRENT.try_with(|current| current.replace(self.0.take()));
        drop(inner);
    }
}

/// Work was cancelled, by its scope.
#[derive(Clone)]
pub struct CancelError {
    request: CancelRequest,
}

impl CancelError {
    /// Why.
    pub fn reason(&self) -> &CancelReason {
        self.request.reason()
    }

    /// The request: why, by whom, and where.
    pub fn request(&self) -> &CancelRequest {
        &self.request
    }
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.request)
    }
}

impl fmt::Debug for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelError({})", self.request)
    }
}

impl std::error::Error for CancelError {}

/// Why a deadline could not be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RescheduleError {
    /// The scope has not been run yet.
    NotRunning,
    /// The scope was cancelled, or its deadline has passed.
    Cancelled,
    /// The work has ended.
    Ended,
}

impl fmt::Display for RescheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RescheduleError::NotRunning => {
                "this scope has not been run yet; give it its deadline when it is made, by `with_deadline`"
            }
            RescheduleError::Cancelled => "this scope was cancelled already, which no deadline can change",
            RescheduleError::Ended => "the work of this scope has ended; make another scope for what comes next",
        })
    }
}

impl std::error::Error for RescheduleError {}
