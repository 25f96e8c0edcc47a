//! The list of the turn's hooks.
//!
//! A hook is found by its id without a walk, because each is looked up again before it is called:
//! an earlier one may have removed it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use picot_context::Place;

/// When a hook runs, relative to the event poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Idle,
    Prepare,
    Check,
}

#[derive(Default)]
pub(crate) struct Hooks {
    /// By id, which is the order in which they were added.
    all: RefCell<BTreeMap<u64, Hook>>,
    /// The number of hooks. Cached, because every turn reads it.
    count: Cell<usize>,
    /// The number of idle hooks among them.
    idle_count: Cell<usize>,
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
        self.all.borrow_mut().insert(id, Hook { id, moment, place, call: Rc::new(RefCell::new(call)) });
        self.count.set(self.count.get() + 1);
        self.idle_count.set(self.idle_count.get() + usize::from(moment == Moment::Idle));
        id
    }

    pub(crate) fn remove(&self, id: u64) -> bool {
        let removed = self.all.borrow_mut().remove(&id);
        let Some(hook) = &removed else { return false };
        self.count.set(self.count.get() - 1);
        self.idle_count.set(self.idle_count.get() - usize::from(hook.moment == Moment::Idle));
        // `removed` is dropped at the end, with no borrow live: its captures are user code and may
        // add a hook.
        true
    }

    /// Whether an idle hook keeps the loop from waiting.
    #[inline]
    pub(crate) fn has_idle_hook(&self) -> bool {
        self.idle_count.get() != 0
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Clones the hooks of one moment, because a hook may add or remove hooks while they run.
    pub(crate) fn at(&self, moment: Moment) -> Vec<Hook> {
        self.all.borrow().values().filter(|hook| hook.moment == moment).cloned().collect()
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.all.borrow().contains_key(&id)
    }

    /// Takes all hooks out, in the order in which they were added. The caller drops them, with no
    /// borrow live.
    pub(crate) fn take(&self) -> impl Iterator<Item = Hook> + use<> {
        self.count.set(0);
        self.idle_count.set(0);
        self.all.take().into_values()
    }
}
