//! Requests to cancel: who asked for it, where, and why; and the token by which code finds out.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use picot_context::{Kind, Origin, Place, Report, TaskInfo, catch};
use picot_loop::CancelReason;
use slab::Slab;

/// A request to cancel: why, by whom, and where it was made.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    reason: CancelReason,
    requester: Option<TaskInfo>,
    place: Place,
}

impl CancelRequest {
    /// A request that the running step makes at `place`.
    pub(crate) fn new(reason: CancelReason, place: Place) -> CancelRequest {
        CancelRequest { reason, requester: picot_context::current(), place }
    }

    /// A request that nobody makes.
    pub(crate) fn by_deadline(place: Place) -> CancelRequest {
        CancelRequest { reason: CancelReason::from("its deadline has passed"), requester: None, place }
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

/// `not needed any more (asked for by main (task 1, …) at src/main.rs:7:13)`.
impl fmt::Display for CancelRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.requester {
            Some(task) => write!(f, "{} (asked for by {task}, at {})", self.reason, self.place),
            None => write!(f, "{} (at {})", self.reason, self.place),
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
    /// Whoever waits; without a waker once that was woken.
    waiting: RefCell<Slab<Option<Waker>>>,
    /// Whether somebody was told of the request.
    is_delivered: Cell<bool>,
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
        // Out of the list before they are woken: they may be anybody's code.
        let wakers: Vec<_> = self.state.waiting.borrow_mut().iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        wakers.into_iter().for_each(wake);
        true
    }

    /// The request, without telling anybody of it.
    pub(crate) fn peek(&self) -> Option<CancelRequest> {
        self.state.request.borrow().clone()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state.request.borrow().is_some()
    }

    /// Whether somebody was told of the request.
    pub(crate) fn is_delivered(&self) -> bool {
        self.state.is_delivered.get()
    }

    /// Takes the request back.
    pub(crate) fn withdraw(&self) {
        self.state.request.take();
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("request", &self.peek()).finish()
    }
}

/// Wakes; a panic in that, which would keep the others from being woken, is a report.
pub(crate) fn wake(waker: Waker) {
    if let (Err(payload), Some(host)) = (catch(move || waker.wake()), picot_context::host()) {
        host.report(Report::panic(Origin::new(Kind::Waker), payload));
    }
}

/// Waits for a request to cancel; made by [`CancelToken::cancelled`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct TokenCancelled {
    state: Rc<TokenState>,
    /// The place among those that wait.
    key: Option<usize>,
}

impl Future for TokenCancelled {
    type Output = CancelRequest;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CancelRequest> {
        let this = &mut *self;
        if let Some(request) = this.state.request.borrow().clone() {
            this.state.is_delivered.set(true);
            return Poll::Ready(request);
        }
        // Both cloning and dropping a waker may be anybody's code, so the list is not borrowed then.
        let waker = cx.waker().clone();
        let mut waiting = this.state.waiting.borrow_mut();
        let old = match this.key.and_then(|key| waiting.get_mut(key)) {
            Some(known) => known.replace(waker),
            None => {
                this.key = Some(waiting.insert(Some(waker)));
                None
            }
        };
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for TokenCancelled {
    fn drop(&mut self) {
        let waker = self.key.map(|key| self.state.waiting.borrow_mut().remove(key));
        drop(waker);
    }
}

impl fmt::Debug for TokenCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCancelled").finish_non_exhaustive()
    }
}
