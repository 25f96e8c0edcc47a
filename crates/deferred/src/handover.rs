//! Handing a handler to the host, which may be closed and drop it.
//!
//! A handler holds the deferred that it was to settle, whose handlers hold further deferreds, and so on. Where the host
//! drops the first, each would drop the next, one inside of the other. So a deferred that is dropped meanwhile is put
//! aside, and abandoned when the host has returned: a chain of a million costs no stack.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Something unsettled whose last deferred was dropped.
pub(crate) trait Abandon {
    fn abandon(self: Rc<Self>);
}

thread_local! {
    static IS_HANDING_OVER: Cell<bool> = const { Cell::new(false) };
    static ABANDONED: RefCell<VecDeque<Rc<dyn Abandon>>> = const { RefCell::new(VecDeque::new()) };
}

/// Calls `hand_over`, and abandons what was dropped inside.
pub(crate) fn to(hand_over: impl FnOnce()) {
    if IS_HANDING_OVER.replace(true) {
        return hand_over();
    }
    let _guard = Guard;
    hand_over();
    while let Some(abandoned) = ABANDONED.with_borrow_mut(VecDeque::pop_front) {
        abandoned.abandon();
    }
}

/// Abandons it: now, or when the host that is just dropping its deferred has returned.
pub(crate) fn abandon(shared: Rc<dyn Abandon>) {
    if IS_HANDING_OVER.get() {
        // Without the list the thread is at its end, and there is nobody left to tell.
        let _ = ABANDONED.try_with(|list| list.borrow_mut().push_back(shared));
    } else {
        shared.abandon();
    }
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        IS_HANDING_OVER.set(false);
    }
}
