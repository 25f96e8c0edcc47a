//! One settling leads to the next: a callback settles another deferred, a group settles when its
//! last member does, a dropped closure drops the deferred that it held, a canceller cancels
//! something else.
//!
//! Each runs inside of the one before, which is jQuery's order, up to [`DEPTH`]. What comes deeper
//! is queued, and the deepest one runs the queue when its own work has returned. So a chain of any
//! length costs the stack of `DEPTH` links.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// How many settlings, cancellings and drops may run inside of each other on one thread.
const DEPTH: u32 = 16;

type Work = Box<dyn FnOnce()>;

thread_local! {
    /// How deep the present one is. At `DEPTH` there is one frame on the stack that will run the
    /// queue.
    static PRESENT: Cell<u32> = const { Cell::new(0) };
    static HAS_QUEUED: Cell<bool> = const { Cell::new(false) };
    static QUEUE: RefCell<VecDeque<Work>> = const { RefCell::new(VecDeque::new()) };
}

/// Runs `now`, or if the cascade is as deep as it may be, `later` behind what is queued. Both do
/// the same; `later` owns what it needs, which is made only then.
#[inline]
pub(crate) fn run<L: FnOnce() + 'static>(now: impl FnOnce(), later: impl FnOnce() -> L) {
    let outer = PRESENT.get();
    if outer < DEPTH {
        run_at(outer, outer + 1, now);
    } else {
        queue(Box::new(later()));
    }
}

/// [`run`], for work that owns what it needs anyway.
pub(crate) fn run_owned(work: impl FnOnce() + 'static) {
    let outer = PRESENT.get();
    if outer < DEPTH {
        run_at(outer, outer + 1, work);
    } else {
        queue(Box::new(work));
    }
}

/// Runs `work`, which may drop any number of deferreds, such as a closed host that drops the
/// handlers it is handed. What they lead to is queued, and runs when `work` has returned: each
/// handler holds the deferred of the next.
#[inline]
pub(crate) fn run_flat(work: impl FnOnce()) {
    let outer = PRESENT.get();
    if outer < DEPTH {
        run_at(outer, DEPTH, work);
    } else {
        // The frame that has raised the depth to `DEPTH` runs the queue.
        work();
    }
}

#[inline]
fn run_at(outer: u32, depth: u32, work: impl FnOnce()) {
    struct Restore(u32);

    impl Drop for Restore {
        fn drop(&mut self) {
            PRESENT.set(self.0);
        }
    }

    PRESENT.set(depth);
    let _restore = Restore(outer);
    work();
    if depth == DEPTH && HAS_QUEUED.get() {
        run_queue();
    }
}

#[cold]
fn run_queue() {
    while let Some(work) = QUEUE.with_borrow_mut(VecDeque::pop_front) {
        work();
    }
    HAS_QUEUED.set(false);
    // After a long chain the memory is given back.
    QUEUE.with_borrow_mut(|queue| queue.shrink_to(64));
}

#[cold]
fn queue(work: Work) {
    let mut work = Some(work);
    match QUEUE.try_with(|queue| queue.borrow_mut().extend(work.take())) {
        Ok(()) => HAS_QUEUED.set(true),
        // The thread ends and has dropped its queue already: stack is all that is left.
        Err(_) => work.into_iter().for_each(|work| work()),
    }
}
