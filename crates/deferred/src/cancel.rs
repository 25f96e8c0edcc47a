//! Cancelling: the canceller runs, the promise is rejected as cancelled, and what it waited for is
//! let go.
//!
//! It goes upwards as far as nothing else waits for what is there: cancelling `fetch().then(parse)`
//! cancels the fetch. It is a loop over a list and not a recursion, however long the chain and
//! however deep the groups.

use std::rc::Rc;

use picot_context::{Kind, Place};

use crate::cascade;
use crate::deferred::Deferred;
use crate::rejection::Rejection;
use crate::state::Shared;

type Call<T, E, P> = dyn FnOnce(&Deferred<T, E, P>);

/// What [`Deferred::on_cancel`] has set.
pub(crate) struct Canceller<T: 'static, E: 'static, P: 'static> {
    /// Where it was set.
    pub(crate) place: Place,
    pub(crate) call: Box<Call<T, E, P>>,
}

/// What is still to be let go, the next one last, and by which number each knows what lets it go.
pub(crate) type LetGo = Vec<(Rc<dyn Upstream>, u64)>;

/// The number by which a group knows its promise. Handlers have larger ones.
pub(crate) const GROUP: u64 = 0;

/// What a promise waits for.
pub(crate) trait Upstream {
    /// What waited under this number does not any more. If nothing else does, this is cancelled,
    /// too, and what it waited for is put on the list.
    fn let_go(self: Rc<Self>, number: u64, list: &mut LetGo);

    /// For a group: the last promise of it was dropped. It lets its members go, and cancels none
    /// that has no canceller.
    fn drop_members(&self) {}
}

impl<T: 'static, E: 'static, P: 'static> Upstream for Shared<T, E, P> {
    fn let_go(self: Rc<Self>, number: u64, list: &mut LetGo) {
        self.remove(number);
        if self.is_pending() && self.is_unwanted() {
            self.cancel_this(list);
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Cancels it, unless it is settled. Returns whether it was pending.
    pub(crate) fn cancel(self: &Rc<Self>) -> bool {
        if !self.is_pending() {
            return false;
        }
        let this = self.clone();
        cascade::run_owned(move || {
            let mut list = LetGo::new();
            this.cancel_this(&mut list);
            while let Some((upstream, number)) = list.pop() {
                upstream.let_go(number, &mut list);
            }
        });
        true
    }

    fn cancel_this(self: &Rc<Self>, list: &mut LetGo) {
        let upstream = self.upstream.take();
        let canceller = self.extra().and_then(|extra| extra.canceller.take());
        if let Some(Canceller { place, call }) = canceller {
            let deferred = Deferred::of(self);
            self.contain(Kind::Promise, place, || call(&deferred));
            // Before the deferred goes, which would abandon it.
            self.settle(Err(Rejection::Cancelled));
        }
        self.settle(Err(Rejection::Cancelled));
        list.extend(upstream.and_then(|(upstream, number)| Some((upstream.upgrade()?, number))));
    }

    /// The last promise was dropped. Cancels it if it has a canceller and nothing waits any more; a
    /// group lets its members go then.
    pub(crate) fn last_promise_dropped(self: &Rc<Self>) {
        if !self.is_pending() {
            return;
        }
        let can_cancel = self.extra().is_some_and(|extra| extra.canceller.borrow().is_some());
        let upstream = self.upstream.take();
        let group = upstream.as_ref().filter(|(_, number)| *number == GROUP).and_then(|(group, _)| group.upgrade());
        self.upstream.set(upstream);
        if (!can_cancel && group.is_none()) || !self.is_unwanted() {
            return;
        }
        let this = self.clone();
        cascade::run_owned(move || match group {
            Some(group) => {
                // No promise can be made of it any more, so nothing misses its outcome.
                this.is_seen.set(true);
                group.drop_members();
            }
            None if this.is_unwanted() => _ = this.cancel(),
            None => {}
        });
    }
}
