//! Cancelling: the canceller runs, the promise is rejected as cancelled, and what it waited for is let go.
//!
//! It goes upwards as far as nobody else wants what is there: cancelling `fetch().then(parse)` cancels the fetch. It is a
//! loop and not a recursion, however long the chain.

use std::rc::{Rc, Weak};

use picot_context::Kind;

use crate::deferred::Deferred;
use crate::rejection::Rejection;
use crate::state::Shared;

pub(crate) type Canceller<T, E, P> = Box<dyn FnOnce(&Deferred<T, E, P>)>;

/// Who is to be let go next, and by which number it knows who lets it go.
type Next = Option<(Weak<dyn Upstream>, u64)>;

/// What a promise waits for.
pub(crate) trait Upstream {
    /// Whoever waited under this number does not any more. If nobody else does, this is cancelled, too.
    fn let_go(self: Rc<Self>, number: u64) -> Next;
}

impl<T: 'static, E: 'static, P: 'static> Upstream for Shared<T, E, P> {
    fn let_go(self: Rc<Self>, number: u64) -> Next {
        self.remove(number);
        if self.is_pending() && self.is_unwanted() { self.cancel_this() } else { None }
    }
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Cancels it, unless it is settled. Returns whether it was pending.
    pub(crate) fn cancel(self: &Rc<Self>) -> bool {
        if !self.is_pending() {
            return false;
        }
        let mut next = self.cancel_this();
        while let Some((upstream, number)) = next {
            next = upstream.upgrade().and_then(|upstream| upstream.let_go(number));
        }
        true
    }

    fn cancel_this(self: &Rc<Self>) -> Next {
        let upstream = self.upstream.take();
        let canceller = self.extra().and_then(|extra| extra.canceller.take());
        if let Some(canceller) = canceller {
            let deferred = Deferred::of(self);
            self.contain(Kind::Promise, None, || canceller(&deferred));
            // Before the deferred goes, which would abandon it.
            self.settle(Err(Rejection::Cancelled));
        }
        self.settle(Err(Rejection::Cancelled));
        upstream
    }

    /// Cancels it if it has a canceller and nobody waits any more.
    pub(crate) fn cancel_if_unwanted(self: &Rc<Self>) {
        let can = self.extra().is_some_and(|extra| extra.canceller.borrow().is_some());
        if can && self.is_pending() && self.is_unwanted() {
            self.cancel();
        }
    }
}
