//! Cancel scopes: a piece of work that can be cancelled as a whole, from anywhere, or by a deadline.
//!
//! Cancelling drops the work at the end of a poll, never inside of `cancel`, and nothing can swallow it. Which scope ends
//! which work is a matter of identity and not of counting: a scope that is cancelled by itself says so to its caller; one
//! that is cancelled with a scope around it says nothing, and is dropped by that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use picot_context::{Place, budget};
use picot_loop::{CancelReason, Instant, LoopError, LoopHandle, Sleep};
use pin_project_lite::pin_project;

use crate::contained::{self, Contained};
use crate::cooperate::{Gate, is_spent};
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
    /// The request that was made to this scope itself. The token has it, or that of a scope around if it came first.
    own: RefCell<Option<CancelRequest>>,
    is_expired: Cell<bool>,
    /// Whether a scope around this one drops its work. Kept here, and changed when a request is made or taken back: to ask
    /// all scopes around at each poll took quadratic time in nested scopes.
    is_stopped_above: Cell<bool>,
    /// Whether the run has used up a wake, or its timer, without an effect, because a scope around it was ending. If that is
    /// taken back, the run is woken again.
    owes_poll: Cell<bool>,
    /// Whether a run inside of this scope owes a poll because the deadline of this scope had passed.
    is_waited_out: Cell<bool>,
    /// Whether a run inside of this one was woken again since this one was last polled.
    has_woken_inside: Cell<bool>,
    /// Wakes the task that polls the run.
    runner: Cell<Option<Waker>>,
    /// The scope around this one, and the number among its children.
    parent: RefCell<Option<(CancelScope, u64)>>,
    children: RefCell<Children>,
}

/// The scopes whose runs are inside of another's. In a tree, whose size is that of what is in it.
#[derive(Default)]
struct Children {
    scopes: BTreeMap<u64, Weak<Inner>>,
    last: u64,
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

/// The innermost scope around what runs now. An eager task is polled inside of its spawner's step, but it is a task of the
/// loop's: the spawner's scope is not around it.
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
        // A closure has no caller: one that panicked would point here.
        #[expect(clippy::manual_map, reason = "see above")]
        let deadline = match duration.into() {
            Some(duration) => Some(Instant::now() + duration),
            None => None,
        };
        CancelScope::at(Location::caller(), deadline)
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
                own: RefCell::new(None),
                is_expired: Cell::new(false),
                is_stopped_above: Cell::new(false),
                owes_poll: Cell::new(false),
                is_waited_out: Cell::new(false),
                has_woken_inside: Cell::new(false),
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

    /// Runs `future` in this scope. If the future gives a value in the poll in which it is cancelled, that value stands. A
    /// deadline never throws away a value that is there: the future is polled before its end, once at least, and once more
    /// if the budget of its step was spent.
    ///
    /// # Errors
    /// [`CancelError`] if the scope was cancelled or its deadline has passed. The future has been dropped by then.
    ///
    /// # Panics
    /// If the scope was run before: make another one. When polled, if there is a deadline and the thread has no loop; the
    /// message names the place where the scope was made.
    ///
    /// # If dropped
    /// So is the future.
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        assert!(self.inner.phase.get() == Phase::New, "a cancel scope runs one future, once; make another scope");
        self.inner.phase.set(Phase::Running);
        let future = Some(Contained::new(future.into_future()));
        Run { future, scope: self.clone(), timer: None, is_started: false, is_overdue: false, gate: Gate::default() }
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
    /// the request by a token. Work that was woken in vain meanwhile is woken again.
    pub fn withdraw(&self) -> bool {
        let number = self.inner.own.borrow().as_ref().map(CancelRequest::number);
        let Some(number) = number.filter(|_| self.inner.phase.get() != Phase::Ended) else { return false };
        let scopes = self.subtree();
        let has_it = |scope: &CancelScope| scope.inner.token.number() == Some(number);
        if scopes.iter().any(|scope| has_it(scope) && scope.inner.token.is_delivered()) {
            return false;
        }
        self.inner.own.replace(None);
        self.inner.is_expired.set(false);
        self.inner.grace_until.set(None);
        // From the outside to the inside: a request of a scope around that came later is the next one.
        for scope in scopes.iter().filter(|scope| has_it(scope)) {
            let own = scope.inner.own.borrow().clone();
            scope.inner.token.replace(own.or_else(|| scope.parent()?.request_info()));
        }
        refresh(&scopes);
        wake_again(&scopes);
        true
    }

    /// Moves the deadline, or takes it away.
    ///
    /// # Errors
    /// [`RescheduleError`] if the scope does not run, or was cancelled.
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) -> Result<(), RescheduleError> {
        match self.inner.phase.get() {
            Phase::New => return Err(RescheduleError::NotRunning),
            Phase::Ended => return Err(RescheduleError::Ended),
            Phase::Running if self.is_own() => return Err(RescheduleError::Cancelled),
            Phase::Running => {}
        }
        self.inner.deadline.set(deadline.into());
        self.wake_runner();
        if self.inner.is_waited_out.take() {
            wake_again(&self.subtree());
        }
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
        let own = |scope: &CancelScope| scope.inner.grace_until.get().or(scope.inner.deadline.get());
        self.chain().filter_map(|scope| own(&scope)).min()
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

    /// This scope, and those around it.
    fn chain(&self) -> impl Iterator<Item = CancelScope> + use<> {
        std::iter::successors(Some(self.clone()), CancelScope::parent)
    }

    fn is_own(&self) -> bool {
        self.inner.own.borrow().is_some()
    }

    /// The first request stays.
    fn request(&self, request: CancelRequest) {
        if self.is_own() {
            return;
        }
        self.inner.own.replace(Some(request.clone()));
        self.spread(&request);
        self.wake_runner();
    }

    /// Brings the request to the tokens of this scope and of those inside of it.
    fn spread(&self, request: &CancelRequest) {
        let scopes = self.subtree();
        refresh(&scopes);
        for scope in scopes {
            scope.inner.token.set(request.clone());
            if !self.is_cancelled() {
                // The setting wakes, a waker is foreign code, and that has taken the request back.
                return;
            }
        }
    }

    /// This scope and those inside of it, the outer ones first. Without recursion, which nested scopes would cost stack.
    fn subtree(&self) -> Vec<CancelScope> {
        let mut scopes = vec![self.clone()];
        let mut next = 0;
        while let Some(scope) = scopes.get(next) {
            let children: Vec<_> = scope.inner.children.borrow().scopes.values().filter_map(Weak::upgrade).collect();
            scopes.extend(children.into_iter().map(|inner| CancelScope { inner }));
            next += 1;
        }
        scopes
    }

    fn wake_runner(&self) {
        if let Some(runner) = self.inner.runner.take() {
            wake(runner);
        }
    }

    /// Whether a request to this scope drops its work at once.
    fn is_stopping(&self) -> bool {
        self.is_own() && self.inner.grace.is_none()
    }

    /// Whether the work is to be dropped, because of a request to this scope.
    fn is_stopped(&self) -> bool {
        self.is_own() && (self.inner.grace.is_none() || self.is_due(self.inner.grace_until.get()))
    }

    /// The nearest scope around this one that drops its work, or is about to because its deadline has passed.
    fn ending_above(&self) -> Option<CancelScope> {
        self.chain().skip(1).find(|scope| {
            let is_expiring = scope.inner.grace.is_none() && scope.is_due(scope.deadline());
            is_expiring || scope.is_stopped()
        })
    }

    /// This thread's loop, for a deadline.
    fn handle(&self) -> LoopHandle {
        let no_loop = |error: LoopError| -> ! {
            panic!(
                "the scope made at {} has a deadline, for which it needs a loop when it is polled: {error}",
                self.inner.place
            )
        };
        LoopHandle::try_current().unwrap_or_else(|error| no_loop(error))
    }

    fn now(&self) -> Instant {
        self.handle().now()
    }

    fn sleep_until(&self, time: Instant) -> Sleep {
        // It knows its loop, and so cannot panic.
        self.handle();
        picot_loop::sleep_until(time)
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
            let mut children = outer.inner.children.borrow_mut();
            children.last += 1;
            let number = children.last;
            children.scopes.insert(number, Rc::downgrade(&self.inner));
            drop(children);
            let request = outer.request_info();
            self.inner.parent.replace(Some((outer, number)));
            if let Some(request) = request {
                return self.spread(&request);
            }
        }
        if self.inner.children.borrow().scopes.is_empty() {
            refresh(std::slice::from_ref(self));
        } else {
            refresh(&self.subtree());
        }
    }

    fn unlink(&self) {
        if let Some((parent, number)) = self.inner.parent.take() {
            parent.inner.children.borrow_mut().scopes.remove(&number);
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
        let request = CancelRequest::by_deadline(self.inner.place);
        self.inner.own.replace(Some(request.clone()));
        self.spread(&request);
    }
}

/// Notes for each scope but the first, which come after those around them, whether one around it drops its work.
fn refresh(scopes: &[CancelScope]) {
    for scope in scopes {
        let is_stopped = |parent: CancelScope| parent.inner.is_stopped_above.get() || parent.is_stopping();
        scope.inner.is_stopped_above.set(scope.parent().is_some_and(is_stopped));
    }
}

/// Wakes the runs that have used up a wake in vain. Those around them are polled once more before their deadlines pass.
fn wake_again(scopes: &[CancelScope]) {
    for scope in scopes.iter().filter(|scope| scope.inner.owes_poll.take()) {
        for outer in scope.chain().skip(1) {
            if outer.inner.has_woken_inside.replace(true) {
                break;
            }
        }
        scope.wake_runner();
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
        future: Option<Contained<F>>,
        scope: CancelScope,
        timer: Option<Sleep>,
        is_started: bool,
        // Whether the deadline has passed while the budget was spent: then the work gets one more poll.
        is_overdue: bool,
        gate: Gate,
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
        let this = self.as_mut().project();
        if !*this.is_overdue {
            ready!(this.gate.poll(cx));
        }
        let scope = this.scope.clone();
        scope.link();
        let known = scope.inner.runner.take().filter(|known| known.will_wake(cx.waker()));
        scope.inner.runner.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
        // What was not polled yet has nothing to clean up, and gets no grace. The end of a grace is looked at after the poll:
        // a value that is there by then stands.
        if scope.is_stopping() || (!*this.is_started && scope.is_own()) {
            return Poll::Ready(self.end());
        }
        if scope.inner.is_stopped_above.get() {
            // The scope that stops it is further up the stack, and drops this next, unless its request is taken back.
            scope.inner.owes_poll.set(true);
            return Poll::Pending;
        }
        scope.inner.owes_poll.set(false);
        scope.inner.has_woken_inside.set(false);
        let is_first = !std::mem::replace(this.is_started, true);
        if let Poll::Ready(value) = self.as_mut().poll_inside(cx) {
            self.as_mut().clear();
            budget::spend();
            return Poll::Ready(Ok(value));
        }
        if scope.is_stopped() {
            return Poll::Ready(self.end());
        }
        self.poll_timer(cx, is_first)
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
    fn poll_timer(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        is_first: bool,
    ) -> Poll<Result<F::Output, CancelError>> {
        loop {
            let this = self.as_mut().project();
            let inner = &this.scope.inner;
            if let (true, None, Some(grace)) = (this.scope.is_own(), inner.grace_until.get(), inner.grace) {
                inner.grace_until.set(Some(this.scope.now() + grace));
            }
            let Some(time) = inner.grace_until.get().or(inner.deadline.get()) else {
                *this.timer = None;
                return Poll::Pending;
            };
            if this.timer.as_ref().is_none_or(|timer| timer.deadline() != time) {
                *this.timer = Some(this.scope.sleep_until(time));
            }
            let timer = this.timer.as_mut().expect("it was just set");
            // A timer takes a turn also if its time has passed. That is not waited for at the first poll.
            let has_passed = is_first && this.scope.is_due(Some(time));
            if !has_passed && Pin::new(timer).poll(cx).is_pending() {
                *this.is_overdue = false;
                return Poll::Pending;
            }
            if (is_spent() || inner.has_woken_inside.get()) && !std::mem::replace(this.is_overdue, true) {
                // Something inside may be ready, and could not be taken: the budget was spent, or a request to a scope around
                // it had come in between.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.scope.is_own() {
                if let Some(ending) = this.scope.ending_above() {
                    // Of two deadlines that pass together, the outer one is the error.
                    ending.inner.is_waited_out.set(true);
                    inner.owes_poll.set(true);
                    return Poll::Pending;
                }
                this.scope.expire();
            }
            if this.scope.is_stopped() {
                return Poll::Ready(self.end());
            }
        }
    }

    /// Drops the work and the timer.
    fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        contained::clear(this.future.as_mut());
        *this.timer = None;
        this.scope.end();
    }

    /// Drops the work, and says that it was cancelled.
    fn end(mut self: Pin<&mut Self>) -> Result<F::Output, CancelError> {
        self.as_mut().clear();
        budget::spend();
        let scope = self.project().scope;
        let own = scope.inner.own.borrow().clone();
        let request = scope.request_info().or(own).expect("a scope that is stopped has a request");
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
