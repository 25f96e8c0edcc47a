//! Reports: queued where an error happened, and delivered to the error hook at the end of the turn.
//!
//! A task's panic goes to its joiner instead. If there was a joiner when the task ended, the report
//! is held back for one more turn, in which the joiner runs and claims it.
//!
//! The hook runs in the context of the error, as asyncio's handler does: its step is the current
//! one, and its task-locals are visible.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Cause, Details, Kind, Origin, Payload, Report, Step, TaskInfo, catch, enter, print};

use crate::flag_guard::FlagGuard;

type Hook = Rc<dyn Fn(&Report)>;

#[derive(Default)]
pub(crate) struct Reports {
    pending: RefCell<Vec<Pending>>,
    /// Whether `pending` holds anything. Checked every turn.
    any: Cell<bool>,
    /// Whether a delivery runs further up the stack. Reports that the hook makes meanwhile wait for
    /// its end.
    delivers: Cell<bool>,
    hook: RefCell<Option<Hook>>,
    /// The waker that the next report calls, once: a foreign loop waits instead of the executor,
    /// and a turn must deliver the report.
    armed: Cell<Option<Waker>>,
}

/// The step of the error, if there was one, and a snapshot of its task-locals.
#[derive(Clone)]
pub(crate) struct Scene {
    step: Option<Step>,
    details: Option<Rc<Details>>,
}

impl Scene {
    /// The scene of the current step.
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

    /// Reports a task's panic. `awaited` is whether the task had a joiner.
    pub(crate) fn task_panicked(&self, task: TaskInfo, scene: Scene, payload: Payload, awaited: bool) {
        self.put(Pending { report: Report::panic(Origin::task(task), payload), scene, held_back: awaited });
    }

    /// Reports an error that a task returned and that no waiter took.
    pub(crate) fn unclaimed(&self, task: TaskInfo, cause: Cause) {
        self.push(Report::new(Origin::task(task), cause));
    }

    /// Reports a panic of the current step.
    pub(crate) fn running_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::running().unwrap_or(Origin::new(Kind::Loop)), payload));
    }

    pub(crate) fn waker_panicked(&self, payload: Payload) {
        self.push(Report::panic(Origin::new(Kind::Waker), payload));
    }

    fn put(&self, pending: Pending) {
        self.any.set(true);
        self.pending.borrow_mut().push(pending);
        if let Some(waker) = self.armed.take() {
            waker.wake();
        }
    }

    /// Sets the waker that the next report calls, or removes it.
    pub(crate) fn arm(&self, waker: Option<Waker>) {
        let old = self.armed.replace(waker);
        drop(old);
    }

    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any.get()
    }

    pub(crate) fn set_hook(&self, hook: Option<Hook>) {
        let old = self.hook.replace(hook);
        discard(old);
    }

    /// Delivers the reports that are not held back to the hook. Reports that the hook makes stay
    /// for the next delivery.
    ///
    /// No panic comes out of this: each piece of foreign code (the hook, the texts and the drops of
    /// errors, of locals and of the hook) runs in a `catch` of its own, and no `catch` holds a
    /// second such value while the first may panic.
    #[cold]
    pub(crate) fn deliver(&self) {
        if self.delivers.get() {
            return;
        }
        let _delivers = FlagGuard::new(&self.delivers);
        self.any.set(false);
        // Taken out first, so that the hook can report and no borrow is live while it runs.
        for Pending { report, scene, held_back } in self.pending.take() {
            if held_back && !is_settled(&report) {
                self.put(Pending { report, scene, held_back: false });
            } else {
                self.deliver_one(report, scene);
            }
        }
    }

    fn deliver_one(&self, report: Report, scene: Scene) {
        if !is_settled(&report) {
            let hook = self.hook.borrow().clone();
            match &hook {
                Some(hook) => {
                    let told = catch(|| {
                        let _entered = scene.step.map(|step| enter(step, scene.details.clone()));
                        hook(&report);
                    });
                    if let Err(payload) = told {
                        // The hook panicked, so the default takes over for this report, and prints
                        // the hook's panic too.
                        print(&report);
                        print_panic(payload);
                    }
                }
                None => print(&report),
            }
            discard(hook);
        }
        discard(scene);
        discard(report);
    }

    /// Delivers the reports of a closed executor at once, because no turn will. Reports that the
    /// hook makes meanwhile are printed, because delivering them to the hook might never end.
    pub(crate) fn deliver_last(&self) {
        self.deliver();
        if self.delivers.get() {
            return;
        }
        for Pending { report, scene, .. } in self.pending.take() {
            if !is_settled(&report) {
                print(&report);
            }
            discard(scene);
            discard(report);
        }
        self.any.set(false);
    }
}

/// Drops a value of the hook or of a report. A panic in that is printed rather than reported,
/// because the reporting itself may be what panics.
fn discard<T>(value: T) {
    if let Err(payload) = catch(move || drop(value)) {
        print_panic(payload);
    }
}

#[cold]
fn print_panic(payload: Payload) {
    print(&Report::panic(Origin::new(Kind::Hook), payload));
}

/// Whether a joiner has claimed the panic.
fn is_settled(report: &Report) -> bool {
    match &report.cause {
        Cause::Panic(payload) => payload.is_claimed(),
        _ => false,
    }
}
