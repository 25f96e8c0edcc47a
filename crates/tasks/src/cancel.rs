//! Cancel scopes: work that can be cancelled as a whole, from anywhere or by a deadline.
//!
//! Cancelling drops the work at the end of a poll, never inside `cancel`, and the work cannot
//! swallow it. Which scope ends which work is decided by identity, not by counting: a scope that is
//! cancelled itself returns an error to its caller; one inside a cancelled scope returns nothing,
//! and is dropped by the outer one.

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
use crate::visits::{Number, visit};

/// A scope whose work can be cancelled as a whole (trio's `CancelScope`; what asyncio's `timeout`
/// is made of).
///
/// A scope [runs](CancelScope::run) one future. Cancelling the scope drops the future at the end of
/// the current poll, or else at the next turn; so does its deadline. Scopes nest as their runs do:
/// work that is run inside a cancelled scope ends before its first poll, and no deadline is later
/// than that of an outer scope ([`effective_deadline`](CancelScope::effective_deadline)).
///
/// Work that must clean up asynchronously gets a [`grace`](CancelScope::grace) and listens to the
/// [`token`](CancelScope::token).
///
/// Tasks that were spawned by `spawn` belong to the loop and not to the scope in which `spawn` was
/// called. Children of a [`scope`](crate::scope()) belong to that scope and end with it.
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
    /// The end of the grace, once cancellation was requested.
    grace_until: Cell<Option<Instant>>,
    token: CancelToken,
    /// The request to this scope itself. `token` has it, or an earlier one of an outer scope.
    own: RefCell<Option<CancelRequest>>,
    is_expired: Cell<bool>,
    /// Whether an outer scope drops this scope's work. Updated when a request is made or withdrawn:
    /// asking all outer scopes at each poll took quadratic time in nested scopes.
    is_stopped_above: Cell<bool>,
    /// Whether the run has used up a wake or its timer without effect, because an outer scope was
    /// ending. If that is taken back, the run is woken again.
    owes_poll: Cell<bool>,
    /// Whether an inner run owes a poll because the deadline of this scope had passed.
    is_waited_out: Cell<bool>,
    /// Whether an inner run was woken again since the last poll of this scope's run.
    has_woken_inside: Cell<bool>,
    /// Wakes the task that polls the run.
    runner: Cell<Option<Waker>>,
    /// The next outer scope, and the number of this scope among its children.
    parent: RefCell<Option<(CancelScope, Number)>>,
    children: RefCell<Children>,
}

/// The scopes whose runs are inside the run of another. In a tree, which frees the memory of
/// removed entries.
#[derive(Default)]
struct Children {
    scopes: BTreeMap<Number, Weak<Inner>>,
    last: Number,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Ended,
}

thread_local! {
    /// The innermost scope whose run is being polled, and the [nesting](picot_context::nesting) of
    /// the polling step.
    static CURRENT: RefCell<Option<(CancelScope, u32)>> = const { RefCell::new(None) };
}

/// Returns the innermost scope around the running code.
///
/// An eager task is polled inside its spawner's step, but it is a task of the loop: the spawner's
/// scope is not around it. The nesting of the steps tells the two apart.
fn current() -> Option<CancelScope> {
    let current = CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(None);
    current.filter(|(_, nesting)| *nesting == picot_context::nesting()).map(|(scope, _)| scope)
}

/// Returns the time by which the running code is cancelled: the earliest deadline of all scopes and
/// timeouts around it.
///
/// `None` if there is no deadline.
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
    /// Creates a scope without a deadline.
    ///
    /// ```
    /// assert_eq!(picot_tasks::CancelScope::new().deadline(), None);
    /// ```
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "a default would hide the caller, whose location the scope records")]
    pub fn new() -> CancelScope {
        CancelScope::at(Location::caller(), None)
    }

    /// Creates a scope that is cancelled at `deadline`. `None` means no deadline.
    ///
    /// ```
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::with_deadline(picot_loop::Instant::now());
    ///     assert!(scope.run(std::future::pending::<()>()).await.is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn with_deadline(deadline: impl Into<Option<Instant>>) -> CancelScope {
        CancelScope::at(Location::caller(), deadline.into())
    }

    /// Creates a scope that is cancelled `duration` after this call. `None` means no deadline.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::with_timeout(Duration::from_millis(1));
    ///     assert!(scope.run(std::future::pending::<()>()).await.is_err());
    ///     assert!(scope.is_expired());
    /// });
    /// ```
    #[track_caller]
    pub fn with_timeout(duration: impl Into<Option<Duration>>) -> CancelScope {
        // `map` would call `Instant::now` in a closure, and a panic there would point at this file.
        #[expect(clippy::manual_map, reason = "a closure would hide the caller")]
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

    /// Sets how long the work may clean up after the request to cancel.
    ///
    /// The work learns of the request by the [`token`](CancelScope::token), continues, and is
    /// dropped when `duration` has passed since the request. If it ends before that, its value
    /// counts. An outer scope without a grace still drops it at once.
    ///
    /// # Panics
    /// If the scope was cloned or run before.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::new().grace(Duration::from_secs(5));
    ///     let work = scope.run(async {
    ///         scope.cancel("shutting down");
    ///         picot_loop::yield_now().await;
    ///         "cleaned up"
    ///     });
    ///     assert_eq!(work.await.unwrap(), "cleaned up");
    /// });
    /// ```
    #[track_caller]
    pub fn grace(mut self, duration: Duration) -> CancelScope {
        let inner = Rc::get_mut(&mut self.inner).filter(|inner| inner.phase.get() == Phase::New);
        inner.expect("set the grace of a cancel scope before it is cloned or run").grace = Some(duration);
        self
    }

    /// Runs `future` in this scope.
    ///
    /// If the future ends in the poll in which it is cancelled, its value counts. A deadline never
    /// discards a value that is ready: the future is polled at least once before its end, and once
    /// more if the budget of its step was spent.
    ///
    /// # Errors
    /// [`CancelError`] if the scope was cancelled or its deadline has passed. The future has been
    /// dropped by then.
    ///
    /// # Panics
    /// If the scope was run before. When polled, if there is a deadline and the thread has no loop;
    /// the message names the line where the scope was made.
    ///
    /// # If dropped
    /// The future is dropped.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     assert_eq!(picot_tasks::CancelScope::new().run(async { 1 }).await.unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> Run<F::IntoFuture> {
        assert!(self.inner.phase.get() == Phase::New, "a cancel scope runs one future, once; make another scope");
        self.inner.phase.set(Phase::Running);
        let future = Some(Contained::new(future.into_future()));
        Run { future, scope: self.clone(), timer: None, is_started: false, is_overdue: false, gate: Gate::default() }
    }

    /// Requests the cancellation of the work. Returns `false` if the work has ended.
    ///
    /// The first reason stays. A scope that was not run yet will end before the first poll.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let scope = picot_tasks::CancelScope::new();
    ///     assert!(scope.cancel("not needed"));
    ///     assert!(scope.run(async {}).await.is_err());
    ///     assert!(!scope.cancel("too late"));
    /// });
    /// ```
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.inner.phase.get() == Phase::Ended {
            return false;
        }
        self.request(CancelRequest::new(reason.into(), Location::caller()));
        true
    }

    /// Takes the request to cancel back. Returns whether that was still possible.
    ///
    /// It is not if the work has ended, or if code has learned of the request by a token. Work that
    /// has used up a wake in the meantime is woken again.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let scope = picot_tasks::CancelScope::new();
    ///     scope.cancel("a mistake");
    ///     assert!(scope.withdraw());
    ///     assert!(scope.run(async {}).await.is_ok());
    /// });
    /// ```
    pub fn withdraw(&self) -> bool {
        let number = self.inner.own.borrow().as_ref().map(CancelRequest::number);
        let Some(number) = number.filter(|_| self.inner.phase.get() != Phase::Ended) else { return false };
        let scopes = self.subtree();
        let has_it = |scope: &CancelScope| scope.inner.token.number() == Some(number);
        // Code has seen the request and may already act on it, so it stays.
        if scopes.iter().any(|scope| has_it(scope) && scope.inner.token.is_delivered()) {
            return false;
        }
        self.inner.own.replace(None);
        self.inner.is_expired.set(false);
        self.inner.grace_until.set(None);
        // From the outermost to the innermost: a later request of an outer scope is the next one.
        for scope in scopes.iter().filter(|scope| has_it(scope)) {
            let own = scope.inner.own.borrow().clone();
            scope.inner.token.replace(own.or_else(|| scope.parent()?.request_info()));
        }
        refresh(&scopes);
        wake_again(&scopes);
        true
    }

    /// Moves the deadline; `None` removes it.
    ///
    /// # Errors
    /// [`RescheduleError`] if the scope does not run, or was cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::with_timeout(Duration::from_millis(1));
    ///     let work = scope.run(async {
    ///         scope.reschedule(None).unwrap();
    ///         picot_loop::sleep(Duration::from_millis(2)).await;
    ///     });
    ///     assert!(work.await.is_ok());
    /// });
    /// ```
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) -> Result<(), RescheduleError> {
        match self.inner.phase.get() {
            Phase::New => return Err(RescheduleError::NotRunning),
            Phase::Ended => return Err(RescheduleError::Ended),
            Phase::Running if self.is_own() => return Err(RescheduleError::Cancelled),
            Phase::Running => {}
        }
        // The runner sets its timer anew when it is polled.
        self.inner.deadline.set(deadline.into());
        self.wake_runner();
        // Inner runs left their end to this deadline, and now it is another one.
        if self.inner.is_waited_out.take() {
            wake_again(&self.subtree());
        }
        Ok(())
    }

    /// Returns the scope's own deadline.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let now = picot_loop::Instant::now();
    ///     assert_eq!(picot_tasks::CancelScope::with_deadline(now).deadline(), Some(now));
    /// });
    /// ```
    #[doc(alias = "when")]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline.get()
    }

    /// Returns the time by which the work is cancelled: the scope's deadline, or an earlier one of
    /// an outer scope.
    ///
    /// While the work is being cancelled with a grace, it is the end of the grace.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let now = picot_loop::Instant::now();
    ///     let scope = picot_tasks::CancelScope::with_deadline(now);
    ///     assert_eq!(scope.effective_deadline(), Some(now));
    /// });
    /// ```
    pub fn effective_deadline(&self) -> Option<Instant> {
        let own = |scope: &CancelScope| scope.inner.grace_until.get().or(scope.inner.deadline.get());
        self.chain().filter_map(|scope| own(&scope)).min()
    }

    /// Returns whether the scope or an outer one was cancelled.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("not needed");
    /// assert!(scope.is_cancelled());
    /// ```
    #[doc(alias = "cancel_called")]
    pub fn is_cancelled(&self) -> bool {
        self.inner.token.is_set()
    }

    /// Returns whether the scope's own deadline passed before the work was done.
    ///
    /// ```
    /// assert!(!picot_tasks::CancelScope::new().is_expired());
    /// ```
    #[doc(alias = "expired")]
    pub fn is_expired(&self) -> bool {
        self.inner.is_expired.get()
    }

    /// Returns the request to cancel, if there is one: reason, requester and source location.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("not needed");
    /// assert_eq!(scope.request_info().unwrap().reason().as_str(), "not needed");
    /// ```
    pub fn request_info(&self) -> Option<CancelRequest> {
        self.inner.token.peek()
    }

    /// Returns a token that notifies code of the request, so that it can clean up; see
    /// [`grace`](CancelScope::grace).
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::with_timeout(Duration::from_millis(1));
    ///     let scope = scope.grace(Duration::from_secs(5));
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

    /// Iterates over this scope and the outer ones, from the inside out.
    fn chain(&self) -> impl Iterator<Item = CancelScope> + use<> {
        std::iter::successors(Some(self.clone()), CancelScope::parent).inspect(|_| visit())
    }

    fn is_own(&self) -> bool {
        self.inner.own.borrow().is_some()
    }

    /// Notes a request and wakes the run. The first request stays.
    fn request(&self, request: CancelRequest) {
        // The first request stays: its reason is the cause.
        if self.is_own() {
            return;
        }
        self.inner.own.replace(Some(request.clone()));
        self.spread(&request);
        self.wake_runner();
    }

    /// Sets the request in the tokens of this scope and of the inner ones.
    fn spread(&self, request: &CancelRequest) {
        let scopes = self.subtree();
        refresh(&scopes);
        for scope in scopes {
            scope.inner.token.set(request.clone());
            if !self.is_cancelled() {
                // Setting a token wakes its waits, which may run user code, and that has withdrawn
                // the request.
                return;
            }
        }
    }

    /// Returns this scope and the inner ones, outer before inner. A loop, as recursion could
    /// overflow the stack.
    fn subtree(&self) -> Vec<CancelScope> {
        // A list and not recursion: the depth must not cost stack. Collected first, as the callers
        // run user code, which may add and remove scopes.
        let mut scopes = vec![self.clone()];
        let mut next = 0;
        while let Some(scope) = scopes.get(next) {
            visit();
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

    /// Returns whether a request to this scope drops its work at once.
    fn is_stopping(&self) -> bool {
        self.is_own() && self.inner.grace.is_none()
    }

    /// Returns whether the work must be dropped now, because of a request to this scope.
    fn is_stopped(&self) -> bool {
        self.is_own() && (self.inner.grace.is_none() || self.is_due(self.inner.grace_until.get()))
    }

    /// Returns the nearest outer scope that drops its work, or is about to because its deadline has
    /// passed.
    fn ending_above(&self) -> Option<CancelScope> {
        self.chain().skip(1).find(|scope| {
            let is_expiring = scope.inner.grace.is_none() && scope.is_due(scope.deadline());
            is_expiring || scope.is_stopped()
        })
    }

    /// Returns this thread's loop, which a deadline needs.
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
        // Panics with a better message than `sleep_until` would.
        self.handle();
        picot_loop::sleep_until(time)
    }

    fn is_due(&self, time: Option<Instant>) -> bool {
        let now = || LoopHandle::try_current().ok().map(|handle| handle.now());
        time.is_some_and(|time| now().is_some_and(|now| time <= now))
    }

    /// Makes the scope whose run is being polled the parent of this one.
    fn link(&self) {
        let outer = current();
        let is_known = match (&*self.inner.parent.borrow(), &outer) {
            (None, None) => true,
            (Some((known, _)), Some(outer)) => Rc::ptr_eq(&known.inner, &outer.inner),
            _ => false,
        };
        // Almost always: only the first poll, and a run that was moved into another scope, link.
        if is_known {
            return;
        }
        self.unlink();
        if let Some(outer) = outer {
            let mut children = outer.inner.children.borrow_mut();
            let number = children.last.next();
            children.scopes.insert(number, Rc::downgrade(&self.inner));
            // No borrow may be live: `spread` wakes waits, which may run user code.
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

    /// Marks the work as ended, by its value, a cancel or a drop.
    fn end(&self) {
        self.inner.phase.set(Phase::Ended);
        self.unlink();
        // Clones of the scope may outlive the run. They must not keep the task that ran it.
        drop(self.inner.runner.take());
    }

    /// Notes that the deadline has passed. Only the run itself finds that out, so it needs no wake.
    fn expire(&self) {
        self.inner.is_expired.set(true);
        let request = CancelRequest::by_deadline(self.inner.place);
        self.inner.own.replace(Some(request.clone()));
        self.spread(&request);
    }
}

/// Updates `is_stopped_above` of each scope. `scopes` must list outer scopes before inner ones.
fn refresh(scopes: &[CancelScope]) {
    for scope in scopes {
        visit();
        let is_stopped = |parent: CancelScope| parent.inner.is_stopped_above.get() || parent.is_stopping();
        scope.inner.is_stopped_above.set(scope.parent().is_some_and(is_stopped));
    }
}

/// Wakes the runs that have used up a wake without effect. The outer runs are marked, so that each
/// of them is polled once more before its deadline passes.
fn wake_again(scopes: &[CancelScope]) {
    for scope in scopes.iter().filter(|scope| scope.inner.owes_poll.take()) {
        for outer in scope.chain().skip(1) {
            // The scopes further out have the mark already, so that the walk stays linear.
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
    ///
    /// ```
    /// use picot_tasks::CancelScope;
    ///
    /// picot_loop::run(async {
    ///     let scope = CancelScope::new();
    ///     let run = scope.run(std::future::pending::<()>());
    ///     scope.cancel("before the first poll");
    ///     assert!(run.await.is_err());
    /// });
    /// ```
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Run<F> {
        #[pin]
        future: Option<Contained<F>>,
        scope: CancelScope,
        timer: Option<Sleep>,
        is_started: bool,
        // Whether the deadline has passed while the budget was spent; the work then gets one more
        // poll.
        is_overdue: bool,
        gate: Gate,
    }

    impl<F> PinnedDrop for Run<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.scope.inner.phase.get() == Phase::Running {
                // A deadline that has passed counts even if the run was dropped before it saw that,
                // for example by an outer scope with the same deadline.
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
        // An overdue run gets its last poll also without a budget.
        if !*this.is_overdue {
            ready!(this.gate.poll(cx));
        }
        let scope = this.scope.clone();
        scope.link();
        // Out of the cell while the waker is cloned, which may run user code.
        let known = scope.inner.runner.take().filter(|known| known.will_wake(cx.waker()));
        scope.inner.runner.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
        // Work that was never polled has nothing to clean up and gets no grace. The end of a grace
        // is checked after the poll, so that a value which is ready by then counts.
        if scope.is_stopping() || (!*this.is_started && scope.is_own()) {
            return Poll::Ready(self.end());
        }
        if scope.inner.is_stopped_above.get() {
            // An outer scope drops this run later in this poll, unless its request is withdrawn
            // before.
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
        let future = this.future.as_pin_mut().expect("present: a run is not polled after its end");
        // Restored also if the poll panics.
        let _outer = Outer::enter(this.scope);
        future.poll(cx)
    }

    /// Polls the timer: first for the deadline, and then for the end of the grace.
    fn poll_timer(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        is_first: bool,
    ) -> Poll<Result<F::Output, CancelError>> {
        loop {
            let this = self.as_mut().project();
            let inner = &this.scope.inner;
            // The grace begins when the run sees the request, not when it was made.
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
            let timer = this.timer.as_mut().expect("present: set above");
            // A new timer fires in the next turn at the earliest. A deadline that has passed before
            // the first poll is not delayed so.
            let has_passed = is_first && this.scope.is_due(Some(time));
            if !has_passed && Pin::new(timer).poll(cx).is_pending() {
                *this.is_overdue = false;
                return Poll::Pending;
            }
            if (is_spent() || inner.has_woken_inside.get()) && !std::mem::replace(this.is_overdue, true) {
                // Inner work may be ready without having been polled: the budget was spent, or a
                // request to an outer scope came in between. It gets one more poll before the
                // deadline counts.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.scope.is_own() {
                if let Some(ending) = this.scope.ending_above() {
                    // Of two deadlines that pass together, the outer one becomes the error.
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

    /// Drops the work and returns the error.
    fn end(mut self: Pin<&mut Self>) -> Result<F::Output, CancelError> {
        self.as_mut().clear();
        budget::spend();
        let scope = self.project().scope;
        let own = scope.inner.own.borrow().clone();
        let request = scope.request_info().or(own).expect("present: only a request stops a scope");
        Err(CancelError { request })
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Restores the outer scope as the current one, also while unwinding.
struct Outer(Option<(CancelScope, u32)>);

impl Outer {
    fn enter(scope: &CancelScope) -> Outer {
        let entered = (scope.clone(), picot_context::nesting());
        Outer(CURRENT.with(|current| current.replace(Some(entered))))
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        // The scope may be the last clone, so it is dropped after the borrow of the thread-local.
        let inner = CURRENT.try_with(|current| current.replace(self.0.take()));
        drop(inner);
    }
}

/// The error of work that its cancel scope has ended. By `?` it becomes an `io::Error` of the kind
/// `Other`.
///
/// ```
/// use picot_tasks::CancelScope;
///
/// async fn work(scope: &CancelScope) -> std::io::Result<()> {
///     scope.run(std::future::pending::<()>()).await?;
///     Ok(())
/// }
///
/// picot_loop::run(async {
///     let scope = CancelScope::new();
///     scope.cancel("not needed");
///     assert!(work(&scope).await.unwrap_err().to_string().starts_with("cancelled: not needed"));
/// });
/// ```
#[derive(Clone)]
pub struct CancelError {
    request: CancelRequest,
}

impl CancelError {
    /// Returns the reason of the request.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let scope = picot_tasks::CancelScope::new();
    ///     scope.cancel("not needed");
    ///     assert_eq!(scope.run(async {}).await.unwrap_err().reason().as_str(), "not needed");
    /// });
    /// ```
    pub fn reason(&self) -> &CancelReason {
        self.request.reason()
    }

    /// Returns the request: reason, requester and source location.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let scope = picot_tasks::CancelScope::new();
    ///     scope.cancel("not needed");
    ///     let error = scope.run(async {}).await.unwrap_err();
    ///     assert!(error.request().place().file().ends_with(".rs"));
    /// });
    /// ```
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

impl From<CancelError> for std::io::Error {
    fn from(error: CancelError) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// Why a deadline could not be moved.
///
/// ```
/// use picot_tasks::{CancelScope, RescheduleError};
///
/// assert_eq!(CancelScope::new().reschedule(None), Err(RescheduleError::NotRunning));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RescheduleError {
    /// The scope was not run yet.
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
