//! Which observers of the executor are set: the program's hooks, and the loop's own recorders.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use picot_executor::Hooks;

use crate::diagnose::steps::StepRecorder;
use crate::diagnose::trace::TraceRecorder;

/// The observers that are set, beside the watchdog.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) program: RefCell<Option<Rc<dyn Hooks>>>,
    pub(crate) steps: RefCell<Option<Rc<StepRecorder>>>,
    pub(crate) trace: RefCell<Option<Rc<TraceRecorder>>>,
    /// Whether there is a trace recorder. Phases of the turn test only this.
    pub(crate) traces: Cell<bool>,
}

impl Observers {
    /// Calls `record` if a trace is recorded.
    #[inline]
    pub(crate) fn trace(&self, record: impl FnOnce(&TraceRecorder)) {
        if self.traces.get() {
            self.trace_on(record);
        }
    }

    #[cold]
    fn trace_on(&self, record: impl FnOnce(&TraceRecorder)) {
        let recorder = self.trace.borrow().clone();
        if let Some(recorder) = recorder {
            record(&recorder);
        }
    }
}
