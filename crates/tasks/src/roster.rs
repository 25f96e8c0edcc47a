//! The children of all scopes of a thread, for reports.
//!
//! A scope may borrow, so no thread-local can refer to it. The roster holds only descriptions, in
//! two slabs, so that a child allocates nothing here.

use std::cell::RefCell;

use picot_context::{Place, Step, TaskId, TaskInfo, WaitInfo, WaitKind, Waits, list_waits_with, running};
use slab::Slab;

struct Roster {
    scopes: Slab<Row>,
    /// Each with the index of its scope.
    children: Slab<(usize, TaskInfo)>,
    is_listed: bool,
}

struct Row {
    /// Where the scope was made.
    place: Place,
    /// The task that polls it.
    parent: Option<TaskId>,
}

thread_local! {
    static ROSTER: RefCell<Roster> =
        const { RefCell::new(Roster { scopes: Slab::new(), children: Slab::new(), is_listed: false }) };
}

/// Changes the roster, unless the thread ends. No code of others runs inside.
fn with<R>(change: impl FnOnce(&mut Roster) -> R) -> Option<R> {
    ROSTER.try_with(|roster| change(&mut roster.borrow_mut())).ok()
}

/// A scope in the roster, until it is dropped.
pub(crate) struct Listed {
    index: Option<usize>,
}

impl Listed {
    pub(crate) fn new(place: Place) -> Listed {
        let index = with(|roster| {
            if !std::mem::replace(&mut roster.is_listed, true) {
                list_waits_with(add_waits);
            }
            roster.scopes.insert(Row { place, parent: None })
        });
        Listed { index }
    }

    /// Records that the running task polls the scope.
    #[inline]
    pub(crate) fn set_parent(&self) {
        let Some(index) = self.index else { return };
        let task = running().as_ref().and_then(Step::task_id);
        with(|roster| roster.scopes[index].parent = task);
    }

    /// Adds a child. Returns its key, for [`remove`].
    pub(crate) fn add(&self, child: TaskInfo) -> Option<usize> {
        let scope = self.index?;
        with(|roster| roster.children.insert((scope, child)))
    }
}

/// Removes a child, which has ended.
pub(crate) fn remove(child: Option<usize>) {
    if let Some(key) = child {
        with(|roster| roster.children.remove(key));
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // The children have ended: nothing outlives its scope.
        if let Some(index) = self.index {
            with(|roster| roster.scopes.remove(index));
        }
    }
}

fn add_waits(waits: &mut Waits) {
    with(|roster| {
        let mut of_scopes: Vec<Vec<TaskId>> = Vec::new();
        for (_, (scope, child)) in &roster.children {
            if of_scopes.len() <= *scope {
                of_scopes.resize_with(scope + 1, Vec::new);
            }
            of_scopes[*scope].push(child.id());
            waits.add_child(roster.scopes[*scope].parent, child.clone());
        }
        for (scope, mut children) in of_scopes.into_iter().enumerate().filter(|(_, children)| !children.is_empty()) {
            let row = &roster.scopes[scope];
            let mut wait = WaitInfo::new(WaitKind::Children, "the children of the scope").made(row.place);
            children.sort_unstable();
            wait.on = children;
            waits.add(row.parent, wait);
        }
    });
}
