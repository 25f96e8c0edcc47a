//! Reports on their way to the error hook: queued where something went wrong, delivered at the end of the turn.
//!
//! A task's panic is different from the rest: whoever waits for the task gets it instead. If somebody waited when the
//! task ended, the report is held back for one more turn, in which that somebody runs and claims it.
//!
//! The hook runs in the context of what went wrong, as asyncio's handler does: that step is the current one, and its
//! task-locals are visible.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use picot_context::{Details, Kind, Origin, Payload, Report, Step, TaskInfo, catch, enter};

type Hook = Rc<dyn Fn(&Report)>;

#[derive(Default)]
pub(crate) struct Reports {
    pending: RefCell<Vec<Pending>>,
    /// Whether `pending` holds anything: asked every turn.
    any: Cell<bool>,
    hook: RefCell<Option<Hook>>,
}

/// The step in which something went wrong, if it was one, and a snapshot of its locals.
#[derive(Clone)]
pub(crate) struct Scene {
    step: Option<Step>,
    details: Option<Rc<Details>>,
}

impl Scene {
    /// That of what runs now.
    pub(crate) fn now() -> Scene {
        Scene { step: picot_context::running(), details: picot_context::inherited(None) }
    }
}

struct Pending {
    report: Report,
    scene: Scene,
    /// Whether a joiner has yet to run that may claim the panic.
    held_back: bool,
}

impl Reports {
    pub(crate) fn push(&self, report: Report) {
        self.put(Pending { report, scene: Scene::now(), held_back: false });
    }

    /// A task has panicked, in this context. `awaited` is whether somebody waited for it.
    pub(crate) fn task_panicked(&self, task: TaskInfo, scene: Scene, payload: Payload, awaited: bool) {
        self.put(Pending { report: Report::panic(Origin::task(task), payload), scene, held_back: awaited });
    }

    /// Whatever runs now has panicked.
    pub(crate) fn running_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::running().unwrap_or(Origin::new(Kind::Loop)), payload));
    }

    pub(crate) fn waker_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::new(Kind::Waker), payload));
    }

    fn put(&self, pending: Pending) {
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
            let Pending { report, scene, held_back } = pending;
            if held_back && !is_settled(&report) {
                self.put(Pending { report, scene, held_back: false });
                continue;
            }
            // What the locals hold may be anybody's code, also when it is dropped.
            let told = catch(|| {
                let _entered = scene.step.map(|step| enter(step, scene.details));
                if !is_settled(&report) {
                    self.tell(&report);
                }
            });
            if let Err(payload) = told {
                print(&report);
                print(&Report::panic(Origin::new(Kind::Hook), payload));
            }
        }
    }

    fn tell(&self, report: &Report) {
        let hook = self.hook.borrow().clone();
        match hook {
            // If it panics, the default takes over, which cannot fail, and says what the hook was told, too.
            Some(hook) => hook(report),
            None => print(report),
        }
    }
}

/// Whether a joiner has been told of the panic.
fn is_settled(report: &Report) -> bool {
    match &report.cause {
        picot_context::Cause::Panic(payload) => payload.is_claimed(),
        _ => false,
    }
}

/// The default hook: a line on standard error. If that is closed there is nobody to tell.
fn print(report: &Report) {
    let _ = writeln!(std::io::stderr(), "picot: {report}");
}
