//! Cancelling a promise: the canceller runs, the promise is rejected as cancelled, and what it
//! waited for is released.
//!
//! The cancel travels upwards as long as nothing else waits for the promise there: cancelling
//! `fetch().then(parse)` cancels the fetch. It works through a list and does not recurse, so the
//! length of the chain and the depth of groups cost no stack.

use std::rc::Rc;

use picot_context::Kind;

use crate::cascade;
use crate::rejection::Rejection;
use crate::state::Shared;
use crate::upstream::{GROUP_NUMBER, ReleaseList, Upstream};

impl<T: 'static, E: 'static, P: 'static> Upstream for Shared<T, E, P> {
    fn release(self: Rc<Self>, number: u64, list: &mut ReleaseList) {
        self.remove(number);
        if self.is_pending() && self.is_unwanted() {
            self.cancel_this(list);
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Cancels this and what it waited for. Returns `false` if it was settled already.
    pub(crate) fn cancel(self: &Rc<Self>) -> bool {
        if !self.is_pending() {
            return false;
        }
        let this = self.clone();
        cascade::run_owned(move || {
            let mut list = ReleaseList::new();
            this.cancel_this(&mut list);
            while let Some((upstream, number)) = list.pop() {
                upstream.release(number, &mut list);
            }
        });
        true
    }

    /// Cancels this alone, and appends what it waited for to `list`.
    fn cancel_this(self: &Rc<Self>, list: &mut ReleaseList) {
        // Taken first: the settling below clears it.
        let upstream = self.upstream.take();
        if let Some((place, canceller)) = self.extra().and_then(|extra| extra.canceller.take()) {
            // Counts as one more deferred until this is settled: the canceller may own the last
            // one, whose drop would reject this as abandoned instead of cancelled.
            self.deferred_count.set(self.deferred_count.get() + 1);
            // User code: it may settle this, which makes the settling below a no-op.
            self.contain(Kind::Promise, place, || canceller(self));
            self.settle(Err(Rejection::Cancelled));
            self.deferred_count.set(self.deferred_count.get() - 1);
        } else {
            self.settle(Err(Rejection::Cancelled));
        }
        list.extend(upstream.and_then(|(upstream, number)| Some((upstream.upgrade()?, number))));
    }

    /// Called when the last promise was dropped. Cancels this if it has a canceller and nothing
    /// waits for it; a group then releases its members instead.
    pub(crate) fn last_promise_dropped(self: &Rc<Self>) {
        if !self.is_pending() {
            return;
        }
        let has_canceller = self.extra().is_some_and(|extra| extra.canceller.borrow().is_some());
        let upstream = self.upstream.take();
        let group =
            upstream.as_ref().filter(|(_, number)| *number == GROUP_NUMBER).and_then(|(group, _)| group.upgrade());
        self.upstream.set(upstream);
        if (!has_canceller && group.is_none()) || !self.is_unwanted() {
            return;
        }
        let this = self.clone();
        cascade::run_owned(move || match group {
            Some(group) => {
                // No promise of the group can be made any more, so its rejection need not be
                // reported.
                this.is_seen.set(true);
                group.drop_members();
            }
            // This may have been queued, and a promise may have been made meanwhile.
            None if this.is_unwanted() => _ = this.cancel(),
            None => {}
        });
    }
}
