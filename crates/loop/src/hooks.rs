//! The list of the turn's hooks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use picot_context::Place;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Idle,
    Prepare,
    Check,
}

#[derive(Default)]
pub(crate) struct Hooks {
    all: RefCell<Vec<Hook>>,
    /// The number of hooks, and of idle hooks among them: read in every turn.
    count: Cell<usize>,
    idling: Cell<usize>,
    last_id: Cell<u64>,
}

#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    moment: Moment,
    pub(crate) place: Place,
    pub(crate) call: Rc<RefCell<dyn FnMut()>>,
}

impl Hooks {
    pub(crate) fn add(&self, moment: Moment, place: Place, call: impl FnMut() + 'static) -> u64 {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        self.all.borrow_mut().push(Hook { id, moment, place, call: Rc::new(RefCell::new(call)) });
        self.update_counts();
        id
    }

    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut all = self.all.borrow_mut();
        let removed = all.iter().position(|hook| hook.id == id).map(|index| all.remove(index));
        drop(all);
        self.update_counts();
        // Dropped last: a destructor of what it holds is foreign code and may add a hook.
        removed.is_some()
    }

    fn update_counts(&self) {
        let all = self.all.borrow();
        self.count.set(all.len());
        self.idling.set(all.iter().filter(|hook| hook.moment == Moment::Idle).count());
    }

    /// Whether an idle hook keeps the loop from waiting.
    #[inline]
    pub(crate) fn is_idling(&self) -> bool {
        self.idling.get() != 0
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Copies of the hooks of one kind.
    pub(crate) fn of(&self, moment: Moment) -> Vec<Hook> {
        self.all.borrow().iter().filter(|hook| hook.moment == moment).cloned().collect()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.all.borrow().iter().any(|hook| hook.id == id)
    }

    /// Takes all hooks out, for the caller to drop.
    pub(crate) fn take(&self) -> Vec<Hook> {
        let all = self.all.take();
        self.update_counts();
        all
    }
}
