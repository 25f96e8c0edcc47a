//! The memory of the last slow steps, for tools.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use picot_context::{Origin, StepTime};

use crate::time::instant::Instant;

/// The maximum number of slow steps that a loop remembers.
const REMEMBERED: usize = 32;

/// A step that exceeded the loop's limit; listed by
/// [`LoopHandle::slow_steps`](crate::LoopHandle::slow_steps).
///
/// ```
/// # let event_loop = picot_loop::EventLoop::new()?;
/// for step in event_loop.handle().slow_steps() {
///     println!("{}. {} took {:?}", step.number, step.origin, step.time.took);
/// }
/// # Ok::<(), picot_loop::LoopError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlowStep {
    /// How many slow steps the loop had by then, this one included.
    pub number: u64,
    /// When it ended.
    pub ended: Instant,
    /// The task or the callback.
    pub origin: Origin,
    /// How long it took, and for how long of that it ran.
    pub time: StepTime,
}

/// The last slow steps of a loop.
#[derive(Default)]
pub(crate) struct SlowSteps {
    last: RefCell<VecDeque<SlowStep>>,
    count: Cell<u64>,
}

impl SlowSteps {
    pub(crate) fn push(&self, ended: Instant, origin: Origin, time: StepTime) {
        let number = self.count.get() + 1;
        self.count.set(number);
        let mut last = self.last.borrow_mut();
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(SlowStep { number, ended, origin, time });
    }

    /// The newest last.
    pub(crate) fn list(&self) -> Vec<SlowStep> {
        self.last.borrow().iter().cloned().collect()
    }
}
