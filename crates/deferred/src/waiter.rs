//! The wait of a task for a settling: its waker in the state, and the guard that removes it.

use std::task::Waker;

use picot_context::Kind;

use crate::state::{Later, Shared};

impl<T: 'static, E: 'static, P: 'static> Shared<T, E, P> {
    /// Registers `waker` under `number`, or as a new waiter, whose number it then writes there.
    ///
    /// Returns whether the waiter is registered. It is not if this was settled meanwhile: cloning a
    /// waker runs foreign code, which may settle this, and nothing would wake the waiter then.
    pub(crate) fn wait(&self, number: &mut Option<u64>, waker: &Waker) -> bool {
        let mut later = self.later.borrow_mut();
        let current = number.and_then(|number| later.get_mut(number));
        if matches!(current, Some(Later::Waiter(old)) if old.will_wake(waker)) {
            return true;
        }
        drop(later);
        // Foreign code may run in the clone; no borrow is live.
        let waker = waker.clone();
        if !self.is_pending() {
            self.contain(Kind::Waker, self.place, || drop(waker));
            return false;
        }
        let mut later = self.later.borrow_mut();
        let old = match number.and_then(|number| later.get_mut(number)) {
            Some(old) => Some(std::mem::replace(old, Later::Waiter(waker))),
            None => {
                // Numbered only now: the clone may have added entries, and numbers must grow.
                later.push(*number.insert(self.next_number()), Later::Waiter(waker));
                None
            }
        };
        drop(later);
        // Last, because this drop is foreign code, too. If it settles this, it wakes the new waker.
        self.contain(Kind::Waker, self.place, || drop(old));
        true
    }
}

/// A registered waker of a task. Dropping it removes the waker.
pub(crate) struct Waiter<'a, T: 'static, E: 'static, P: 'static> {
    shared: &'a Shared<T, E, P>,
    number: Option<u64>,
}

impl<'a, T: 'static, E: 'static, P: 'static> Waiter<'a, T, E, P> {
    pub(crate) fn new(shared: &'a Shared<T, E, P>) -> Self {
        Waiter { shared, number: None }
    }

    /// Registers `waker`; see [`Shared::wait`].
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        self.shared.wait(&mut self.number, waker)
    }
}

impl<T: 'static, E: 'static, P: 'static> Drop for Waiter<'_, T, E, P> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.remove(number);
        }
    }
}
