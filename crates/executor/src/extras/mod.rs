//! Features that most executors never use: hooks, a shuffled order, an exclusive section.
//!
//! One word of bits records which of them are in use. While it is zero, a step pays one branch for
//! all of them.

pub(crate) mod hooks;
pub(crate) mod reports;
pub(crate) mod section;
pub(crate) mod section_state;
pub(crate) mod shuffle;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use picot_context::{Kind, Origin, Report, catch};

use crate::extras::hooks::Hooks;
use crate::extras::reports::Reports;
use crate::extras::section_state::SectionState;
use crate::extras::shuffle::Random;

/// The bits of [`Extras::used`].
pub(crate) mod extra {
    pub(crate) const HOOKS: u8 = 1;
    pub(crate) const SHUFFLE: u8 = 2;
    pub(crate) const SECTION: u8 = 4;
    /// A section has ended since the last step began.
    pub(crate) const SECTION_ENDED: u8 = 8;
}

#[derive(Default)]
pub(crate) struct Extras {
    /// Which of the fields below are in use.
    used: Cell<u8>,
    hooks: RefCell<Option<Rc<dyn Hooks>>>,
    pub(crate) random: Random,
    pub(crate) section: SectionState,
}

impl Extras {
    /// Whether anything here is in use.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.used.get() != 0
    }

    #[inline]
    pub(crate) fn uses(&self, extras: u8) -> bool {
        self.used.get() & extras != 0
    }

    pub(crate) fn set(&self, extra: u8, on: bool) {
        let others = self.used.get() & !extra;
        self.used.set(if on { others | extra } else { others });
    }

    pub(crate) fn set_hooks(&self, hooks: Option<Rc<dyn Hooks>>, reports: &Reports) {
        self.set(extra::HOOKS, hooks.is_some());
        let old = self.hooks.replace(hooks);
        contain_hook(reports, move || drop(old));
    }

    /// Calls one of the hooks, if there are any.
    #[cold]
    pub(crate) fn hook(&self, reports: &Reports, call: impl FnOnce(&dyn Hooks)) {
        // Cloned, so that no borrow is live while the hook runs: it may replace the hooks.
        let hooks = self.hooks.borrow().clone();
        let Some(hooks) = hooks else { return };
        contain_hook(reports, || call(&*hooks));
        // A hook may have replaced the hooks, so this may be the last reference, whose drop may
        // panic.
        contain_hook(reports, move || drop(hooks));
    }
}

fn contain_hook(reports: &Reports, f: impl FnOnce()) {
    if let Err(payload) = catch(f) {
        let mut origin = Origin::running().unwrap_or(Origin::new(Kind::Hook));
        origin.kind = Kind::Hook;
        reports.push(Report::panic(origin, payload));
    }
}
