//! Reports on their way to the error hook: queued where something went wrong, delivered at the end of the turn.
//!
//! A task's panic is different from the rest: whoever waits for the task gets it instead. If somebody waited when the
//! task ended, the report is held back for one more turn, in which that somebody runs and claims it.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use picot_context::{Kind, Origin, Payload, Report, TaskInfo, catch};

type Hook = Rc<dyn Fn(&Report)>;

#[derive(Default)]
pub(crate) struct Reports {
    pending: RefCell<Vec<Pending>>,
    /// Whether `pending` holds anything: asked every turn.
    any: Cell<bool>,
    hook: RefCell<Option<Hook>>,
}

struct Pending {
    report: Report,
    /// Whether a joiner has yet to run that may claim the panic.
    held_back: bool,
}

impl Pending {
    /// Whether a joiner has been told of the panic.
    fn is_settled(&self) -> bool {
        match &self.report.cause {
            picot_context::Cause::Panic(payload) => payload.is_claimed(),
            _ => false,
        }
    }
}

impl Reports {
    pub(crate) fn push(&self, report: Report) {
        self.add(Pending { report, held_back: false });
    }

    pub(crate) fn task_panicked(&self, task: TaskInfo, payload: Payload, awaited: bool) {
        self.add(Pending { report: Report::panic(Origin::task(task), payload), held_back: awaited });
    }

    /// Whatever runs now has panicked.
    pub(crate) fn running_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::running().unwrap_or(Origin::new(Kind::Loop)), payload));
    }

    pub(crate) fn waker_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::new(Kind::Waker), payload));
    }

    fn add(&self, pending: Pending) {
        self.any.set(true);
        self.pending.borrow_mut().push(pending);
    }

    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.get()
    }

    pub(crate) fn set_hook(&self, hook: Option<Hook>) {
        let old = self.hook.replace(hook);
        drop(old);
    }

    /// Hands to the hook what is not held back.
    #[cold]
    pub(crate) fn deliver(&self) {
        self.any.set(false);
        for pending in self.pending.take() {
            if pending.is_settled() {
                continue;
            }
            if pending.held_back {
                self.add(Pending { held_back: false, ..pending });
                continue;
            }
            let hook = self.hook.borrow().clone();
            let Some(hook) = hook else {
                print(&pending.report);
                continue;
            };
            if let Err(payload) = catch(|| hook(&pending.report)) {
                // The default report cannot fail, and it says what the hook was told, too.
                print(&pending.report);
                print(&Report::panic(Origin::new(Kind::Hook), payload));
            }
        }
    }
}

/// The default hook: a line on standard error. If that is closed there is nobody to tell.
fn print(report: &Report) {
    let _ = writeln!(std::io::stderr(), "picot: {report}");
}
