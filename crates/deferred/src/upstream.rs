//! The link from a promise to its sources. A cancel travels along it, from a promise up to the work
//! that nothing else waits for.

use std::rc::Rc;

/// What is still to be released, the next one last. Each comes with the number under which it knows
/// the promise that waited.
pub(crate) type ReleaseList = Vec<(Rc<dyn Upstream>, u64)>;

/// The number under which a group knows its promise. The numbers of handlers are larger.
pub(crate) const GROUP_NUMBER: u64 = 0;

/// The source of a promise: another promise, or the members of a group.
pub(crate) trait Upstream {
    /// Ends the wait with this number. If nothing else waits, cancels this as well, and appends
    /// what it waits for to `list`.
    ///
    /// The caller works the list off in a loop, because a recursion would overflow the stack in a
    /// long chain.
    fn release(self: Rc<Self>, number: u64, list: &mut ReleaseList);

    /// Called on a group whose last promise was dropped. It releases its members, but cancels only
    /// those that have a canceller. Other implementors do nothing.
    fn drop_members(&self) {}
}
