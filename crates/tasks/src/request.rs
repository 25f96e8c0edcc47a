//! Requests to cancel: who asked for it, where, and why; and the token by which code finds out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Escaped, Kind, Origin, Place, TaskInfo, budget, contain};
use picot_loop::CancelReason;

/// A request to cancel: why, by whom, and where it was made.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    reason: CancelReason,
    requester: Option<TaskInfo>,
    place: Place,
    /// Tells it from others of this thread.
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
    /// A request that the running step makes at `place`.
    pub(crate) fn new(reason: CancelReason, place: Place) -> CancelRequest {
        CancelRequest { reason, requester: picot_context::current(), place, number: next_number() }
    }

    /// A request that a deadline makes.
    pub(crate) fn by_deadline(place: Place) -> CancelRequest {
        let reason = CancelReason::from("its deadline has passed");
        CancelRequest { reason, requester: None, place, number: next_number() }
    }

    /// Tells the request from others of its thread.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Why, in the words of whoever made it.
    pub fn reason(&self) -> &CancelReason {
        &self.reason
    }

    /// The task that made it; none if that was a callback, or a deadline.
    pub fn requester(&self) -> Option<&TaskInfo> {
        self.requester.as_ref()
    }

    /// Where it was made; for a deadline, where the scope was made.
    pub fn place(&self) -> Place {
        self.place
    }
}

/// `not needed any more (asked for by main (task 1, …) at src/main.rs:7:13)`. Names and reasons are [escaped](Escaped).
impl fmt::Display for CancelRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, place) = (Escaped(&self.reason), Escaped(self.place));
        match &self.requester {
            Some(task) => write!(f, "{reason} (asked for by {task}, at {place})"),
            None => write!(f, "{reason} (at {place})"),
        }
    }
}

/// Tells code that cleans up asynchronously that it should end; made by [`CancelScope::token`](crate::CancelScope::token)
/// and [`Scope::token`](crate::Scope::token).
///
/// What it speaks of is a request. Whether work that does not listen is dropped at once is the scope's affair, not the
/// token's.
#[derive(Clone)]
pub struct CancelToken {
    state: Rc<TokenState>,
}

#[derive(Default)]
struct TokenState {
    request: RefCell<Option<CancelRequest>>,
    waiting: RefCell<Waiters>,
    /// Whether the request was handed to code that may act on it.
    is_delivered: Cell<bool>,
}

/// The wakers of those that wait, in the order in which they began to wait. A tree rather than a slab: a waiter leaves it at
/// once, it stays in order when numbers are reused, and it gives its memory back.
#[derive(Default)]
struct Waiters {
    wakers: BTreeMap<u64, Waker>,
    last: u64,
}

impl CancelToken {
    pub(crate) fn new() -> CancelToken {
        CancelToken { state: Rc::default() }
    }

    /// Whether there is a request to cancel.
    pub fn is_cancelled(&self) -> bool {
        self.request().is_some()
    }

    /// The request to cancel, if there is one.
    pub fn request(&self) -> Option<CancelRequest> {
        let request = self.state.request.borrow().clone();
        self.state.is_delivered.set(self.state.is_delivered.get() || request.is_some());
        request
    }

    /// Waits for a request to cancel.
    ///
    /// # If dropped
    /// Nothing happens.
    pub fn cancelled(&self) -> TokenCancelled {
        TokenCancelled { state: self.state.clone(), key: None }
    }

    /// The first request stays. Returns whether this is it.
    pub(crate) fn set(&self, request: CancelRequest) -> bool {
        if self.state.request.borrow().is_some() {
            return false;
        }
        self.state.request.replace(Some(request));
        self.wake_waiters();
        true
    }

    fn wake_waiters(&self) {
        // Out of the list before they are woken: a waker is foreign code.
        let wakers = std::mem::take(&mut self.state.waiting.borrow_mut().wakers);
        wakers.into_values().for_each(wake);
    }

    /// The request, without counting as its delivery.
    pub(crate) fn peek(&self) -> Option<CancelRequest> {
        self.state.request.borrow().clone()
    }

    pub(crate) fn number(&self) -> Option<u64> {
        self.state.request.borrow().as_ref().map(CancelRequest::number)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state.request.borrow().is_some()
    }

    /// Whether the request was handed to code that may act on it.
    pub(crate) fn is_delivered(&self) -> bool {
        self.state.is_delivered.get()
    }

    /// Takes the request back, and puts another in its place if there is one.
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

/// Wakes; a panic in that, which would keep the others from being woken, is a report.
pub(crate) fn wake(waker: Waker) {
    contain::call(|| Origin::new(Kind::Waker), move || waker.wake());
}

/// Waits for a request to cancel; made by [`CancelToken::cancelled`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct TokenCancelled {
    state: Rc<TokenState>,
    /// The number among those that wait.
    key: Option<u64>,
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
        // A waker is foreign code, also in its clone and its drop: the list is not borrowed then, and the request is looked for
        // again after the clone, which may have made it.
        let waker = cx.waker().clone();
        if let Some(request) = self.take_request() {
            return Poll::Ready(request);
        }
        let mut waiting = self.state.waiting.borrow_mut();
        let key = self.key.unwrap_or(waiting.last + 1);
        waiting.last = waiting.last.max(key);
        let old = waiting.wakers.insert(key, waker);
        drop(waiting);
        self.key = Some(key);
        drop(old);
        Poll::Pending
    }
}

impl Drop for TokenCancelled {
    fn drop(&mut self) {
        let waker = self.key.and_then(|key| self.state.waiting.borrow_mut().wakers.remove(&key));
        drop(waker);
    }
}

impl fmt::Debug for TokenCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCancelled").finish_non_exhaustive()
    }
}
