//! A list of events that callbacks and the test write to in turn.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

#[derive(Clone, Default)]
pub(crate) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(crate) fn add(&self, event: impl Debug) {
        self.0.borrow_mut().push(format!("{event:?}").replace(['"', '\\'], ""));
    }

    /// A callback that records an event with its argument.
    pub(crate) fn note<T: Debug + ?Sized>(&self, name: &'static str) -> impl FnOnce(&T) + 'static {
        let trace = self.clone();
        move |value| trace.add(format!("{name} {value:?}"))
    }

    /// As [`note`](Trace::note), for `always`.
    pub(crate) fn outcome<T: Debug, E: Debug>(&self, name: &'static str) -> impl FnOnce(Result<&T, &E>) + 'static {
        let trace = self.clone();
        move |value| trace.add(format!("{name} {value:?}"))
    }

    /// Returns the events so far, and removes them.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

pub(crate) type Deferred = picot_deferred::Deferred<i32, &'static str>;
