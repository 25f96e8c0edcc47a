//! Nested settlings without deep stacks.
//!
//! One settling can lead to the next: a callback settles another deferred, a group settles with its
//! last member, a dropped closure drops the deferred that it captured, a canceller cancels another
//! promise. Each runs inside the one before, which is jQuery's order, down to [`MAX_DEPTH`]. Deeper
//! ones are queued, and the level at the limit runs the queue when its own work has returned. So a
//! chain of any length needs the stack of `MAX_DEPTH` levels.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// How many settlings, cancels and drops may be nested on one thread.
///
/// Code that is written by hand nests a few levels, and keeps jQuery's order. Sixteen levels of
/// callbacks fit into the smallest stacks in use (the tests run with 256 KiB).
const MAX_DEPTH: u32 = 16;

/// Where a queue of a long chain has grown, it keeps the memory of this many entries.
const KEPT_CAPACITY: usize = 64;

type Work = Box<dyn FnOnce()>;

thread_local! {
    /// The current depth. At `MAX_DEPTH` there is one frame on the stack that will run the queue.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Whether `QUEUE` has entries. A `Cell` is cheaper to read than the queue behind its borrow.
    static HAS_QUEUED: Cell<bool> = const { Cell::new(false) };
    static QUEUE: RefCell<VecDeque<Work>> = const { RefCell::new(VecDeque::new()) };
}

/// Runs `now`, or at the depth limit queues what `later` makes. Both do the same work; `later`
/// makes an owned closure for it, whose cost arises only in a deep chain.
#[inline]
pub(crate) fn run_or_queue<L: FnOnce() + 'static>(now: impl FnOnce(), later: impl FnOnce() -> L) {
    let outer = DEPTH.get();
    if outer < MAX_DEPTH {
        run_at(outer, outer + 1, now);
    } else {
        queue(Box::new(later()));
    }
}

/// [`run_or_queue`] for work that owns its data anyway.
pub(crate) fn run_owned(work: impl FnOnce() + 'static) {
    let outer = DEPTH.get();
    if outer < MAX_DEPTH {
        run_at(outer, outer + 1, work);
    } else {
        queue(Box::new(work));
    }
}

/// Runs `work` and queues everything that it leads to, until `work` has returned.
///
/// For work that may drop a chain of deferreds: a closed host drops the handler that it is handed,
/// that handler owns the deferred of the next promise, and so on.
#[inline]
pub(crate) fn run_flat(work: impl FnOnce()) {
    let outer = DEPTH.get();
    if outer < MAX_DEPTH {
        run_at(outer, MAX_DEPTH, work);
    } else {
        // The frame that raised the depth to `MAX_DEPTH` runs the queue.
        work();
    }
}

#[inline]
fn run_at(outer: u32, depth: u32, work: impl FnOnce()) {
    /// Restores the depth also if `work` panics.
    struct Restore(u32);

    impl Drop for Restore {
        fn drop(&mut self) {
            DEPTH.set(self.0);
        }
    }

    DEPTH.set(depth);
    let _restore = Restore(outer);
    work();
    // The queue runs before the depth is restored, so that its entries queue what they lead to
    // instead of nesting it.
    if depth == MAX_DEPTH && HAS_QUEUED.get() {
        run_queue();
    }
}

#[cold]
fn run_queue() {
    // One entry per borrow: an entry runs user code, which may queue more.
    while let Some(work) = QUEUE.with_borrow_mut(VecDeque::pop_front) {
        work();
    }
    HAS_QUEUED.set(false);
    QUEUE.with_borrow_mut(|queue| queue.shrink_to(KEPT_CAPACITY));
}

#[cold]
fn queue(work: Work) {
    let mut work = Some(work);
    match QUEUE.try_with(|queue| queue.borrow_mut().extend(work.take())) {
        Ok(()) => HAS_QUEUED.set(true),
        // The thread is ending and has dropped its queue. Nesting is the only way left.
        Err(_) => work.into_iter().for_each(|work| work()),
    }
}
