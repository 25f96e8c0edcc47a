//! Unhandled rejections: which code is going to see a rejection, and the report if none does.
//!
//! Registering a handler, an await or a group does not handle a rejection; it makes a [`Claim`] on
//! it. The claim ends when the code has seen the outcome, or when it is removed, dropped or
//! cancelled before. A rejection without claims that no code has seen is checked again in the next
//! turn, and then reported.

use std::rc::Rc;

use picot_context::Report;

use crate::rejection::Rejection;
use crate::state::Shared;

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// If this is rejected and unseen, checks again in the next turn and then reports it. The turn
    /// in between lets the code that rejects also register what handles it.
    pub(crate) fn check_seen(self: &Rc<Self>) {
        if self.is_unseen() {
            let check = Check(Some(self.clone()));
            self.schedule(self.place, Box::new(move || check.run()));
        }
    }

    /// Whether this is rejected, the rejection needs a report, and no code has seen it or claims
    /// to.
    fn is_unseen(&self) -> bool {
        let Some(Err(rejection)) = self.outcome() else { return false };
        let needs_report = match rejection {
            Rejection::Error(_) | Rejection::Cycle => true,
            // A panic was reported already, and the caller of a cancel knows that it cancelled.
            Rejection::Panicked | Rejection::Cancelled => false,
            // Without a promise nothing could wait, so nothing misses the outcome.
            Rejection::Abandoned => self.is_promised.get(),
        };
        let is_covered = self.is_covered_by_group.get() && self.promise_count.get() == 0;
        needs_report && !self.is_seen.get() && self.claim_count.get() == 0 && !is_covered
    }

    fn report_if_unseen(&self) {
        if !self.is_unseen() {
            return;
        }
        let Some(Err(rejection)) = self.outcome() else { return };
        self.is_seen.set(true);
        self.is_reported.set(true);
        self.host.report(Report::unhandled(self.place, rejection.reason()));
    }

    /// Notes that a handler, an await or a group will see a rejection, unless it
    /// [ends its claim](Shared::unclaim) before.
    pub(crate) fn claim(&self) {
        self.claim_count.set(self.claim_count.get() + 1);
    }

    /// Ends a claim. If it ends unseen, a rejection that nothing else claims is reported.
    pub(crate) fn unclaim(self: &Rc<Self>, has_seen: bool) {
        self.claim_count.set(self.claim_count.get() - 1);
        if has_seen {
            self.is_seen.set(true);
        } else {
            self.check_seen();
        }
    }
}

/// The check in the next turn. A host that closes drops it unrun; then it checks at once, so that
/// rejections of the last turn are reported as well.
struct Check<T: 'static, E: 'static, P: 'static>(Option<Rc<Shared<T, E, P>>>);

impl<T: 'static, E: 'static, P: 'static> Check<T, E, P> {
    fn run(mut self) {
        if let Some(shared) = self.0.take() {
            shared.report_if_unseen();
        }
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Check<T, E, P> {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        // A host that closes abandons everything pending. A report of each would only repeat that.
        if !matches!(shared.outcome(), Some(Err(Rejection::Abandoned))) {
            shared.report_if_unseen();
        }
    }
}

/// A handler's claim on the rejection. Dropping it ends the claim unseen.
pub(crate) struct Claim<T: 'static, E: 'static, P: 'static>(Option<Rc<Shared<T, E, P>>>);

impl<T: 'static, E: 'static, P: 'static> Claim<T, E, P> {
    pub(crate) fn new(shared: &Rc<Shared<T, E, P>>) -> Self {
        shared.claim();
        Claim(Some(shared.clone()))
    }

    /// Ends the claim: the handler sees the outcome, which it finds in the state that this returns.
    pub(crate) fn take(mut self) -> Rc<Shared<T, E, P>> {
        let shared = self.0.take().expect("a claim is taken once, because `take` moves it");
        shared.unclaim(true);
        shared
    }

    /// Whether the rejection was reported already.
    pub(crate) fn is_reported(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.is_reported.get())
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Claim<T, E, P> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.unclaim(false);
        }
    }
}
