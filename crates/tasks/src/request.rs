//! Requests to cancel: reason, requester and source location; and the token by which code learns of
//! one.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Escaped, Kind, Origin, Place, TaskInfo, WaitInfo, WaitKind, WaitNote, budget, contain};
use picot_loop::CancelReason;

use crate::visits::{Number, visit};

/// A request to cancel: its reason, the task that made it, and where.
///
/// ```
/// use picot_tasks::CancelScope;
///
/// let scope = CancelScope::new();
/// scope.cancel("the user has left");
/// assert!(scope.request_info().unwrap().to_string().starts_with("the user has left (at "));
/// ```
#[derive(Clone, Debug)]
pub struct CancelRequest {
    reason: CancelReason,
    requester: Option<TaskInfo>,
    place: Place,
    /// Unique on this thread.
    number: u64,
}

thread_local! {
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
}

fn next_number() -> u64 {
    LAST_NUMBER.set(LAST_NUMBER.get() + 1);
    LAST_NUMBER.get()
}

impl CancelRequest {
    /// Makes a request by the running step, at `place`.
    pub(crate) fn new(reason: CancelReason, place: Place) -> CancelRequest {
        CancelRequest { reason, requester: picot_context::current(), place, number: next_number() }
    }

    /// Makes a request by a deadline.
    pub(crate) fn by_deadline(place: Place) -> CancelRequest {
        let reason = CancelReason::from("its deadline has passed");
        CancelRequest { reason, requester: None, place, number: next_number() }
    }

    /// Returns the number of the request, unique on its thread.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the reason that the requester gave.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("enough");
    /// assert_eq!(scope.request_info().unwrap().reason().as_str(), "enough");
    /// ```
    pub fn reason(&self) -> &CancelReason {
        &self.reason
    }

    /// Returns the task that made the request; `None` for a callback or a deadline.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("enough"); // outside of any task
    /// assert!(scope.request_info().unwrap().requester().is_none());
    /// ```
    pub fn requester(&self) -> Option<&TaskInfo> {
        self.requester.as_ref()
    }

    /// Returns the source location of the request; for a deadline, that of the scope.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("enough");
    /// assert!(scope.request_info().unwrap().place().file().ends_with(".rs"));
    /// ```
    pub fn place(&self) -> Place {
        self.place
    }
}

/// Writes `not needed (requested by main (task 1, …), at main.rs:7:13)`. Names and reasons are
/// [escaped](Escaped).
impl fmt::Display for CancelRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, place) = (Escaped(&self.reason), Escaped(self.place));
        match &self.requester {
            Some(task) => write!(f, "{reason} (requested by {task}, at {place})"),
            None => write!(f, "{reason} (at {place})"),
        }
    }
}

/// Notifies code that cleans up asynchronously of a request to cancel.
///
/// Made by [`CancelSource::token`], [`CancelScope::token`](crate::CancelScope::token) and
/// [`Scope::token`](crate::Scope::token). A token reports the request only. Whether work that does
/// not listen is dropped at once is a property of the scope; a source drops nothing.
///
/// ```
/// let scope = picot_tasks::CancelScope::new();
/// let token = scope.token();
/// scope.cancel("enough");
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone)]
pub struct CancelToken {
    state: Rc<TokenState>,
}

#[derive(Default)]
struct TokenState {
    request: RefCell<Option<CancelRequest>>,
    waiting: RefCell<Waiters>,
    /// Whether code that may act on the request has seen it.
    is_delivered: Cell<bool>,
    /// Made with the first child, and for a child.
    family: OnceCell<Box<Family>>,
}

/// The tokens above and below a token.
#[derive(Default)]
struct Family {
    /// With the number among its children. A child keeps its parent, which passes requests of the
    /// tokens above on.
    parent: Option<(Rc<TokenState>, Number)>,
    children: RefCell<Children>,
}

/// The children of a token, in the order in which they were made. A tree, so that each leaves it
/// at once.
#[derive(Default)]
struct Children {
    states: BTreeMap<Number, Weak<TokenState>>,
    last: Number,
}

impl TokenState {
    fn family(&self) -> &Family {
        self.family.get_or_init(Box::default)
    }

    /// Leaves the parent, and returns it.
    fn leave_parent(&mut self) -> Option<Rc<TokenState>> {
        let (parent, number) = self.family.get_mut()?.parent.take()?;
        parent.family().children.borrow_mut().states.remove(&number);
        Some(parent)
    }
}

impl Drop for TokenState {
    fn drop(&mut self) {
        // One after the other: a long chain of parents would otherwise overflow the stack.
        let mut parent = self.leave_parent();
        while let Some(mut last) = parent.and_then(Rc::into_inner) {
            parent = last.leave_parent();
        }
    }
}

/// The wakers of the waits, in the order in which the waits began.
///
/// A tree rather than a slab: a wait leaves it at once, it stays in order when numbers are reused,
/// and it frees its memory.
#[derive(Default)]
struct Waiters {
    wakers: BTreeMap<Number, Waker>,
    last: Number,
}

impl CancelToken {
    pub(crate) fn new() -> CancelToken {
        CancelToken { state: Rc::default() }
    }

    /// Returns whether there is a request to cancel. If there is, it counts as delivered, and
    /// cannot be withdrawn.
    ///
    /// ```
    /// assert!(!picot_tasks::CancelScope::new().token().is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.request().is_some()
    }

    /// Returns the request to cancel, if there is one. It then counts as delivered, and cannot be
    /// withdrawn.
    ///
    /// ```
    /// let scope = picot_tasks::CancelScope::new();
    /// scope.cancel("enough");
    /// assert_eq!(scope.token().request().unwrap().reason().as_str(), "enough");
    /// assert!(!scope.withdraw());
    /// ```
    pub fn request(&self) -> Option<CancelRequest> {
        // From now on the request cannot be withdrawn, as the caller may act on it.
        let request = self.state.request.borrow().clone();
        self.state.is_delivered.set(self.state.is_delivered.get() || request.is_some());
        request
    }

    /// Waits for a request to cancel.
    ///
    /// # If dropped
    /// Nothing is lost: the request stays.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let scope = picot_tasks::CancelScope::new();
    ///     scope.cancel("enough");
    ///     assert_eq!(scope.token().cancelled().await.reason().as_str(), "enough");
    /// });
    /// ```
    #[track_caller]
    pub fn cancelled(&self) -> TokenCancelled {
        TokenCancelled { state: self.state.clone(), key: None, place: Location::caller(), note: WaitNote::new() }
    }

    /// Makes a source whose token also gets the requests of this one.
    ///
    /// A request to the child does not reach this token. A child of a token that has a request is
    /// made with it. A child is for a part of the work that can also be cancelled alone.
    ///
    /// ```
    /// use picot_tasks::CancelSource;
    ///
    /// let server = CancelSource::new();
    /// let (one, other) = (server.child(), server.child());
    /// one.cancel("its client has left");
    /// assert!(one.is_cancelled() && !other.is_cancelled() && !server.is_cancelled());
    /// server.cancel("shutting down");
    /// assert_eq!(other.request().unwrap().reason().as_str(), "shutting down");
    /// assert_eq!(one.request().unwrap().reason().as_str(), "its client has left");
    /// ```
    #[doc(alias = "child_token")]
    pub fn child(&self) -> CancelSource {
        // A request that reaches a child cannot be withdrawn, so it counts as delivered.
        if let Some(request) = self.request() {
            let child = CancelSource::new();
            child.token.set(request);
            return child;
        }
        let mut children = self.state.family().children.borrow_mut();
        let number = children.last.next();
        let family = Family { parent: Some((self.state.clone(), number)), ..Family::default() };
        let state = Rc::new(TokenState::default());
        state.family.set(Box::new(family)).unwrap_or_else(|_| unreachable!("the state was made above"));
        children.states.insert(number, Rc::downgrade(&state));
        CancelSource { token: CancelToken { state } }
    }

    /// Sets the request unless there is one. Returns whether it was set.
    pub(crate) fn set(&self, request: CancelRequest) -> bool {
        if self.state.request.borrow().is_some() {
            return false;
        }
        if self.state.family.get().is_some() {
            return self.set_in_family(request);
        }
        self.state.request.replace(Some(request));
        self.wake_waiters();
        true
    }

    /// Sets the request here and in all tokens below that have none.
    #[cold]
    fn set_in_family(&self, request: CancelRequest) -> bool {
        let (mut next, mut reached) = (vec![self.state.clone()], Vec::new());
        // All get the request before any is woken: a wake may run code that asks another one.
        while let Some(state) = next.pop() {
            visit();
            // The tokens below one that has a request have it, too.
            if state.request.borrow().is_some() {
                continue;
            }
            state.request.replace(Some(request.clone()));
            let children = state.family().children.borrow();
            // In reverse, because the last one is taken first.
            let above = next.len();
            next.extend(children.states.values().rev().filter_map(Weak::upgrade));
            let has_children = next.len() > above;
            drop(children);
            state.is_delivered.set(state.is_delivered.get() || has_children);
            reached.push(CancelToken { state });
        }
        reached.iter().for_each(CancelToken::wake_waiters);
        true
    }

    fn wake_waiters(&self) {
        // Taken out of the list first: a wake may run user code, which may use this token.
        let wakers = std::mem::take(&mut self.state.waiting.borrow_mut().wakers);
        wakers.into_values().for_each(wake);
    }

    /// Returns the request without counting it as delivered.
    pub(crate) fn peek(&self) -> Option<CancelRequest> {
        self.state.request.borrow().clone()
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.state.request.borrow().as_ref().map(CancelRequest::number)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state.request.borrow().is_some()
    }

    /// Returns whether code that may act on the request has seen it.
    pub(crate) fn is_delivered(&self) -> bool {
        self.state.is_delivered.get()
    }

    /// Removes the request, and sets another one if there is one.
    pub(crate) fn replace(&self, request: Option<CancelRequest>) {
        let old = self.state.request.replace(request);
        drop(old);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("request", &self.peek()).finish()
    }
}

/// Makes a request to cancel, without a scope and without a loop (tokio's `CancellationToken`).
///
/// Its [tokens](CancelSource::token) notify code of the request; it drops nothing. Clones make one
/// and the same request. Where the work itself is to be dropped, a
/// [`CancelScope`](crate::CancelScope) needs no listener. It derefs to [`CancelToken`] for the
/// methods that listen.
///
/// ```
/// use picot_tasks::CancelSource;
///
/// picot_loop::run(async {
///     let source = CancelSource::new();
///     let token = source.token();
///     let worker = picot_loop::spawn(async move {
///         let request = token.cancelled().await;
///         format!("stopped: {}", request.reason())
///     });
///     source.cancel("shutting down");
///     assert_eq!(worker.await.unwrap(), "stopped: shutting down");
/// });
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "CancellationToken")]
pub struct CancelSource {
    token: CancelToken,
}

impl CancelSource {
    /// Creates a source without a request.
    ///
    /// ```
    /// assert!(!picot_tasks::CancelSource::new().is_cancelled());
    /// ```
    pub fn new() -> CancelSource {
        CancelSource { token: CancelToken::new() }
    }

    /// Makes the request, also to the [children](CancelToken::child). Returns `false` if there was
    /// one before, which stays.
    ///
    /// ```
    /// let source = picot_tasks::CancelSource::new();
    /// assert!(source.cancel("enough"));
    /// assert!(!source.cancel("again"));
    /// assert_eq!(source.request().unwrap().reason().as_str(), "enough");
    /// ```
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        self.token.set(CancelRequest::new(reason.into(), Location::caller()))
    }

    /// Returns a token that notifies code of the request, and cannot make one.
    ///
    /// ```
    /// let source = picot_tasks::CancelSource::new();
    /// let token = source.token();
    /// source.cancel("enough");
    /// assert!(token.is_cancelled());
    /// ```
    pub fn token(&self) -> CancelToken {
        self.token.clone()
    }

    /// Makes a guard that makes the request when it is dropped.
    ///
    /// ```
    /// let source = picot_tasks::CancelSource::new();
    /// let token = source.token();
    /// drop(source.cancel_on_drop());
    /// assert_eq!(token.request().unwrap().reason().as_str(), "its guard was dropped");
    /// ```
    #[track_caller]
    #[doc(alias = "drop_guard")]
    pub fn cancel_on_drop(self) -> CancelGuard {
        CancelGuard { source: Some(self), place: Location::caller() }
    }
}

impl Default for CancelSource {
    fn default() -> CancelSource {
        CancelSource::new()
    }
}

impl Deref for CancelSource {
    type Target = CancelToken;

    fn deref(&self) -> &CancelToken {
        &self.token
    }
}

/// Makes a request to cancel when it is dropped; made by [`CancelSource::cancel_on_drop`]. The
/// request names the place of that call.
///
/// ```
/// let source = picot_tasks::CancelSource::new();
/// let guard: picot_tasks::CancelGuard = source.clone().cancel_on_drop();
/// drop(guard);
/// assert!(source.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "the request is made at once if the guard is dropped"]
pub struct CancelGuard {
    /// `None` once it was disarmed.
    source: Option<CancelSource>,
    place: Place,
}

impl CancelGuard {
    /// Returns the source, and drops the guard without a request.
    ///
    /// ```
    /// let guard = picot_tasks::CancelSource::new().cancel_on_drop();
    /// assert!(!guard.disarm().is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancelSource {
        self.source.take().expect("present: only this takes it, and by value")
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            source.token.set(CancelRequest::new("its guard was dropped".into(), self.place));
        }
    }
}

/// Wakes `waker`. A panic in the wake is reported, so that the other wakers are still called.
pub(crate) fn wake(waker: Waker) {
    contain::call(|| Origin::new(Kind::Waker), move || waker.wake());
}

/// Waits for a request to cancel; made by [`CancelToken::cancelled`].
///
/// ```
/// picot_loop::run(async {
///     let scope = picot_tasks::CancelScope::new();
///     let wait = scope.token().cancelled();
///     scope.cancel("enough");
///     assert_eq!(wait.await.reason().as_str(), "enough");
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct TokenCancelled {
    state: Rc<TokenState>,
    /// The number among the waits.
    key: Option<Number>,
    /// Where it was made.
    place: Place,
    note: WaitNote,
}

impl TokenCancelled {
    fn take_request(&self) -> Option<CancelRequest> {
        let request = self.state.request.borrow().clone()?;
        self.state.is_delivered.set(true);
        budget::spend();
        Some(request)
    }
}

impl Future for TokenCancelled {
    type Output = CancelRequest;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelRequest> {
        ready!(budget::poll_left(cx));
        if let Some(request) = self.take_request() {
            return Poll::Ready(request);
        }
        // A waker may run user code in its clone and its drop. So the list is not borrowed
        // meanwhile, and the request is looked up again after the clone, which may have made it.
        let waker = cx.waker().clone();
        if let Some(request) = self.take_request() {
            return Poll::Ready(request);
        }
        let mut waiting = self.state.waiting.borrow_mut();
        // A wait keeps its place in the order of the wakes.
        let key = self.key.unwrap_or_else(|| waiting.last.next());
        let old = waiting.wakers.insert(key, waker);
        drop(waiting);
        // Set before the drop of the old waker, which may drop or poll other waits.
        self.key = Some(key);
        drop(old);
        let place = self.place;
        self.note.set(|| WaitInfo::new(WaitKind::Cancellation, "a request to cancel").at(place));
        Poll::Pending
    }
}

impl Drop for TokenCancelled {
    fn drop(&mut self) {
        // Dropped after the borrow has ended: a waker's drop is user code.
        let waker = self.key.and_then(|key| self.state.waiting.borrow_mut().wakers.remove(&key));
        drop(waker);
    }
}

impl fmt::Debug for TokenCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCancelled").finish_non_exhaustive()
    }
}
