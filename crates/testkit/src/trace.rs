//! The list of events that a test compares with what it expects.

use std::cell::RefCell;
use std::rc::Rc;

/// A list of events that tasks, callbacks, destructors and the test append to.
///
/// Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    /// Appends an event.
    pub fn add(&self, event: impl ToString) {
        // Outside the borrow, because `to_string` may add an event itself.
        let event = event.to_string();
        self.0.borrow_mut().push(event);
    }

    /// A callback that appends `event`.
    pub fn adds(&self, event: impl ToString) -> impl FnOnce() + 'static {
        let (trace, event) = (self.clone(), event.to_string());
        move || trace.add(event)
    }

    /// A value that appends `event` when it is dropped.
    pub fn on_drop(&self, event: impl ToString) -> OnDrop {
        OnDrop(self.clone(), event.to_string())
    }

    /// The events so far. The list is empty afterwards.
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// The number of events in the list.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Appends an event to a [`Trace`] when it is dropped. Made by [`Trace::on_drop`].
#[derive(Debug)]
pub struct OnDrop(Trace, String);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add(&self.1);
    }
}
