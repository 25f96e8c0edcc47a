//! The tasks that watch sources for readers and writers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use picot_executor::Task;
use picot_reactor::{Direction, Source};

/// The watching tasks, by direction and the address of the source. Each task holds its source, so
/// the address is not reused while the entry exists.
#[derive(Default)]
pub(crate) struct Watches(RefCell<HashMap<(usize, Direction), Task<()>>>);

impl Watches {
    pub(crate) fn key<T>(source: &Rc<Source<T>>, direction: Direction) -> (usize, Direction) {
        (Rc::as_ptr(source).addr(), direction)
    }

    pub(crate) fn set(&self, key: (usize, Direction), task: Task<()>) {
        // Cancelled and dropped after the borrow ends: the callback's captures are user code.
        let old = self.0.borrow_mut().insert(key, task);
        if let Some(old) = old {
            old.cancel("another callback replaced it");
        }
    }

    pub(crate) fn remove(&self, key: (usize, Direction)) -> bool {
        let task = self.0.borrow_mut().remove(&key);
        task.is_some_and(|task| task.cancel("the callback was removed"))
    }

    /// Drops the handles. The tasks themselves end when the executor closes.
    pub(crate) fn clear(&self) {
        drop(self.0.take());
    }
}
