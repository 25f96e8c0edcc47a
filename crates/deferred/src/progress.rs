//! Progress: notifications before the outcome, and the memory of the last one.
//!
//! A notification that is sent by a progress callback waits until the others have had the one before, as in jQuery's
//! `Callbacks`. After the settling nothing is sent, but the last one is still remembered for whoever asks late.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

type Callback<P> = Rc<RefCell<dyn FnMut(&P)>>;

pub(crate) struct Progress<P> {
    callbacks: RefCell<Vec<Callback<P>>>,
    queue: RefCell<VecDeque<Rc<P>>>,
    last: RefCell<Option<Rc<P>>>,
    is_firing: Cell<bool>,
    is_closed: Cell<bool>,
}

impl<P> Default for Progress<P> {
    fn default() -> Self {
        Progress {
            callbacks: RefCell::default(),
            queue: RefCell::default(),
            last: RefCell::default(),
            is_firing: Cell::new(false),
            is_closed: Cell::new(false),
        }
    }
}

impl<P: 'static> Progress<P> {
    /// Adds a callback. It gets the last notification at once, if there was one.
    pub(crate) fn add(&self, callback: impl FnMut(&P) + 'static, contain: impl Fn(&mut dyn FnMut())) {
        let callback: Callback<P> = Rc::new(RefCell::new(callback));
        let last = self.last.borrow().clone();
        if let Some(last) = last {
            contain(&mut || callback.borrow_mut()(&last));
        }
        if !self.is_closed.get() {
            self.callbacks.borrow_mut().push(callback);
        }
    }

    /// Sends a notification to all callbacks, in order.
    pub(crate) fn notify(&self, value: P, contain: impl Fn(&mut dyn FnMut())) {
        self.queue.borrow_mut().push_back(Rc::new(value));
        if self.is_firing.replace(true) {
            return;
        }
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some(value) = next else { break };
            self.last.replace(Some(value.clone()));
            let callbacks = self.callbacks.borrow().clone();
            for callback in callbacks {
                contain(&mut || callback.borrow_mut()(&value));
            }
        }
        self.is_firing.set(false);
    }

    /// Lets the callbacks go; there will be no notification any more.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        drop((self.callbacks.take(), self.queue.take()));
    }
}
