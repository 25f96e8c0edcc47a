//! Requests to cancel: reason, requester and source location; and the token by which code learns of
//! one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Escaped, Kind, Origin, Place, TaskInfo, WaitInfo, WaitKind, WaitNote, budget, contain};
use picot_loop::CancelReason;

use crate::visits::Number;

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
/// Made by [`CancelScope::token`](crate::CancelScope::token) and
/// [`Scope::token`](crate::Scope::token). A token reports the request only. Whether work that does
/// not listen is dropped at once is a property of the scope.
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

    /// Sets the request unless there is one. Returns whether it was set.
    pub(crate) fn set(&self, request: CancelRequest) -> bool {
        if self.state.request.borrow().is_some() {
            return false;
        }
        self.state.request.replace(Some(request));
        self.wake_waiters();
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
