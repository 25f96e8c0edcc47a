//! Which observers of the executor are set: the program's hooks, and the loop's own recorders.

use std::cell::RefCell;
use std::rc::Rc;

use picot_executor::Hooks;

use crate::diagnose::steps::StepRecorder;

/// The observers that are set, beside the watchdog.
#[derive(Default)]
pub(crate) struct Observers {
    pub(crate) program: RefCell<Option<Rc<dyn Hooks>>>,
    pub(crate) steps: RefCell<Option<Rc<StepRecorder>>>,
}
