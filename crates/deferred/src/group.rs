//! The common part of all groups: the members, the count of pending ones, and the end of a group.
//!
//! A group knows its members by index and counts the pending ones. So each settling of a member
//! takes the same time, however many members there are, and allocates nothing.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

use picot_context::{Kind, Origin, Report, catch};

use crate::deferred::{Deferred, current_host};
use crate::promise::Promise;
use crate::rejection::Rejection;
use crate::state::{Callback, MemberObserver, Outcome, Shared, State};
use crate::upstream::{GROUP_NUMBER, ReleaseList, Upstream};

/// The members of a group, of any types. Dropping them deregisters the group.
pub(crate) trait Members: 'static {
    fn count(&self) -> usize;

    /// Registers the group at the member of this index if that is pending. Runs no user code.
    ///
    /// Returns a settled member, and the number for the registration there: the caller registers
    /// the group without a borrow of the members, because that runs user code.
    fn register(&self, index: usize, group: Rc<dyn MemberObserver>) -> Option<(Rc<dyn Observed>, u64)>;

    /// Called on the members of a settled group whose outcomes it has not taken: the group handles
    /// their rejections.
    fn cover(&self);

    /// Deregisters the group, and appends the members to `list`, to be cancelled if nothing else
    /// waits for them.
    fn release(self, list: &mut ReleaseList);
}

/// The state of a member, of any types.
pub(crate) trait Observed {
    /// Calls `group` when this is settled; at once if it is settled already.
    fn observe(self: Rc<Self>, number: u64, group: Rc<dyn MemberObserver>, index: usize);
}

impl<T: 'static, E: 'static, P: 'static> Observed for Shared<T, E, P> {
    fn observe(self: Rc<Self>, number: u64, group: Rc<dyn MemberObserver>, index: usize) {
        self.add_callback(number, Callback::Member(group, index));
    }
}

/// A promise that a group waits for, with a claim on its rejection. Dropping it deregisters the
/// group.
pub(crate) struct Member<T: 'static, E: 'static, P: 'static> {
    /// `None` after the member was taken apart.
    promise: Option<Promise<T, E, P>>,
    /// The number of the registration, or 0 before there is one.
    number: Cell<u64>,
}

impl<T: 'static, E: 'static, P: 'static> Member<T, E, P> {
    pub(crate) fn new(promise: Promise<T, E, P>) -> Self {
        promise.shared.claim();
        Member { promise: Some(promise), number: Cell::new(0) }
    }

    pub(crate) fn shared(&self) -> &Rc<Shared<T, E, P>> {
        &self.promise.as_ref().expect("a member is taken apart only when it is consumed").shared
    }

    pub(crate) fn state(&self) -> State {
        self.shared().state()
    }

    /// See [`Members::register`].
    pub(crate) fn register(&self, index: usize, group: Rc<dyn MemberObserver>) -> Option<(Rc<dyn Observed>, u64)> {
        let shared = self.shared();
        let number = shared.next_number();
        self.number.set(number);
        if !shared.is_pending() {
            return Some((shared.clone(), number));
        }
        shared.add_callback(number, Callback::Member(group, index));
        None
    }

    /// See [`Members::cover`].
    pub(crate) fn cover(&self) {
        let shared = self.shared();
        if shared.is_pending() {
            shared.is_covered_by_group.set(true);
        } else {
            shared.is_seen.set(true);
        }
    }

    /// Ends the registration and the claim.
    fn take(&mut self, has_seen: bool) -> Option<Promise<T, E, P>> {
        let promise = self.promise.take()?;
        let shared = &promise.shared;
        match shared.outcome() {
            // A value needs no claim, and the pass of callbacks has reached the registration, or
            // will.
            Some(Ok(_)) => {}
            Some(Err(_)) => shared.unclaim(has_seen),
            None => {
                shared.remove_callback(self.number.get());
                shared.unclaim(has_seen);
            }
        }
        Some(promise)
    }

    /// Ends the registration, and returns the member for a [`ReleaseList`].
    pub(crate) fn release(mut self) -> Option<(Rc<dyn Upstream>, u64)> {
        let promise = self.take(false)?;
        let shared: Rc<Shared<T, E, P>> = promise.into_shared();
        Some((shared, GROUP_NUMBER))
    }
}

impl<T: Clone + 'static, E: 'static, P: 'static> Member<T, E, P> {
    /// The outcome of a member that is settled.
    pub(crate) fn into_outcome(mut self) -> Outcome<T, E> {
        self.take(true).expect("a member is taken apart only when it is consumed").into_outcome()
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Member<T, E, P> {
    fn drop(&mut self) {
        self.take(false);
    }
}

impl<T: 'static, E: 'static, P: 'static> Members for Vec<Member<T, E, P>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn register(&self, index: usize, group: Rc<dyn MemberObserver>) -> Option<(Rc<dyn Observed>, u64)> {
        self[index].register(index, group)
    }

    fn cover(&self) {
        self.iter().for_each(Member::cover);
    }

    fn release(self, list: &mut ReleaseList) {
        // Reversed, because the list is worked off from its end: the first member goes first.
        list.extend(self.into_iter().rev().filter_map(Member::release));
    }
}

/// A group that is not settled yet.
struct PendingGroup<M, D, F, V: 'static, E: 'static> {
    /// `None` after the settling, so that a group that is still referenced holds no values.
    members: RefCell<Option<M>>,
    pending_count: Cell<usize>,
    /// Whether the settling of a member settles the group. Gets whether the member is rejected, and
    /// whether it is the last one.
    is_decisive: D,
    /// Makes the outcome from the members and the index of the decisive one. Returns members whose
    /// outcome it has not taken.
    outcome: F,
    deferred: Deferred<V, E>,
}

/// Makes the promise of a group, which must have at least one member.
#[track_caller]
pub(crate) fn start<M, D, F, V, E>(members: M, is_decisive: D, outcome: F) -> Promise<V, E>
where
    M: Members,
    D: Fn(bool, bool) -> bool + 'static,
    F: Fn(M, usize) -> (Outcome<V, E>, Option<M>) + 'static,
    V: 'static,
    E: 'static,
{
    let count = members.count();
    let group = Rc::new(PendingGroup {
        members: RefCell::new(Some(members)),
        pending_count: Cell::new(count),
        is_decisive,
        outcome,
        deferred: Deferred::from_host(current_host(), Location::caller()),
    });
    let promise = group.deferred.promise();
    let upstream: Weak<PendingGroup<M, D, F, V, E>> = Rc::downgrade(&group);
    promise.shared.upstream.set(Some((upstream, GROUP_NUMBER)));
    for index in 0..count {
        let settled = match &*group.members.borrow() {
            Some(members) => members.register(index, group.clone()),
            // A settled member has settled the group.
            None => break,
        };
        if let Some((member, number)) = settled {
            // This may settle the group and run user code; the borrow above has ended.
            member.observe(number, group.clone(), index);
        }
    }
    promise
}

impl<M, D, F, V, E> MemberObserver for PendingGroup<M, D, F, V, E>
where
    M: Members,
    D: Fn(bool, bool) -> bool,
    F: Fn(M, usize) -> (Outcome<V, E>, Option<M>),
    V: 'static,
    E: 'static,
{
    fn member_settled(&self, index: usize, is_rejected: bool) {
        let left = self.pending_count.get() - 1;
        self.pending_count.set(left);
        if !(self.is_decisive)(is_rejected, left == 0) {
            return;
        }
        // A group that is settled already, or cancelled, has no members.
        let members = self.members.take();
        let Some(members) = members else { return };
        // User code runs here: the clones of values.
        let (outcome, left_over) = catch(|| (self.outcome)(members, index)).unwrap_or_else(|payload| {
            let shared = &self.deferred.shared;
            shared.host.report(Report::panic(Origin::new(Kind::Promise).at(shared.place), payload));
            (Err(Rejection::Panicked), None)
        });
        if let Some(left_over) = &left_over {
            left_over.cover();
        }
        self.deferred.settle(outcome);
        // After the settling: this may cancel them, and their cancellers cannot change the outcome
        // any more.
        drop(left_over);
    }
}

impl<M, D, F, V, E> Upstream for PendingGroup<M, D, F, V, E>
where
    M: Members,
    V: 'static,
    E: 'static,
{
    fn release(self: Rc<Self>, _: u64, list: &mut ReleaseList) {
        // In two statements, so that the borrow ends before user code runs. As below.
        let members = self.members.take();
        if let Some(members) = members {
            members.release(list);
        }
    }

    fn drop_members(&self) {
        let members = self.members.take();
        drop(members);
    }
}
