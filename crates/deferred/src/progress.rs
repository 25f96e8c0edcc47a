//! Progress: notifications before the outcome, and the memory of the last one.
//!
//! A notification that is sent by a progress callback waits until the others have had the one before, and a callback that
//! is added by one gets the same notification behind the others, as in jQuery's `Callbacks`. After the settling nothing is
//! sent, but the last one is still remembered for whoever asks late.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

type Callback<P> = Rc<RefCell<dyn FnMut(&P)>>;

pub(crate) struct Progress<P> {
    callbacks: RefCell<Vec<Callback<P>>>,
    queue: RefCell<VecDeque<Rc<P>>>,
    last: RefCell<Option<Rc<P>>>,
    is_firing: Cell<bool>,
}

impl<P> Default for Progress<P> {
    fn default() -> Self {
        Progress {
            callbacks: RefCell::default(),
            queue: RefCell::default(),
            last: RefCell::default(),
            is_firing: Cell::new(false),
        }
    }
}

impl<P: 'static> Progress<P> {
    /// Adds a callback. It gets the last notification at once, if there was one. With `is_settled`, that is all.
    pub(crate) fn add(&self, callback: impl FnMut(&P) + 'static, is_settled: bool, contain: impl Fn(&mut dyn FnMut())) {
        let callback: Callback<P> = Rc::new(RefCell::new(callback));
        if !is_settled {
            self.callbacks.borrow_mut().push(callback.clone());
        }
        let last = self.last.borrow().clone();
        if let Some(last) = last {
            if is_settled {
                contain(&mut || callback.borrow_mut()(&last));
            } else if !self.is_firing.replace(true) {
                contain(&mut || callback.borrow_mut()(&last));
                self.fire(contain);
            }
        }
    }

    /// Sends a notification to all callbacks, in order.
    pub(crate) fn notify(&self, value: P, contain: impl Fn(&mut dyn FnMut())) {
        self.queue.borrow_mut().push_back(Rc::new(value));
        if !self.is_firing.replace(true) {
            self.fire(contain);
        }
    }

    /// Sends what is queued.
    fn fire(&self, contain: impl Fn(&mut dyn FnMut())) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some(value) = next else { break };
            self.last.replace(Some(value.clone()));
            for index in 0.. {
                let callback = self.callbacks.borrow().get(index).cloned();
                let Some(callback) = callback else { break };
                contain(&mut || callback.borrow_mut()(&value));
            }
        }
        self.is_firing.set(false);
    }

    /// Lets the callbacks go; there will be no notification any more.
    pub(crate) fn close(&self) {
        drop((self.callbacks.take(), self.queue.take()));
    }
}
