//! The hooks of the executor: the program's, and those of the loop's own observers.

use std::rc::Rc;

use picot_context::{Kind, Step, TaskInfo};
use picot_executor::{Exit, Hooks};

use crate::diagnose::observers::Observers;
use crate::diagnose::steps::StepRecorder;
use crate::diagnose::trace::{Trace, TraceRecorder};
use crate::diagnose::watchdog::Watchdog;
use crate::handle::{LoopHandle, expect_open};

/// Calls several hooks one after the other. The program's are the last: they may panic, and the
/// others also observe what it does.
struct Combined(Vec<Rc<dyn Hooks>>);

impl Hooks for Combined {
    fn spawned(&self, task: &TaskInfo) {
        self.0.iter().for_each(|hooks| hooks.spawned(task));
    }

    fn before_step(&self, step: Step) {
        self.0.iter().for_each(|hooks| hooks.before_step(step));
    }

    fn after_step(&self, step: Step) {
        self.0.iter().for_each(|hooks| hooks.after_step(step));
    }

    fn exited(&self, task: &TaskInfo, exit: Exit) {
        self.0.iter().for_each(|hooks| hooks.exited(task, exit));
    }

    fn exclusive(&self, lasts: bool) {
        self.0.iter().for_each(|hooks| hooks.exclusive(lasts));
    }

    fn park(&self) {
        self.0.iter().for_each(|hooks| hooks.park());
    }

    fn unpark(&self) {
        self.0.iter().for_each(|hooks| hooks.unpark());
    }
}

impl Hooks for Watchdog {
    fn before_step(&self, step: Step) {
        self.begin_step(step);
    }

    fn after_step(&self, _: Step) {
        self.end_step();
    }

    fn exclusive(&self, lasts: bool) {
        self.set_exclusive(lasts);
    }
}

impl LoopHandle {
    /// Sets hooks that are called for every task, step and wait. Replaces earlier ones.
    ///
    /// # Panics
    /// If the loop is closed: the hooks would never be called.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use picot_loop::{EventLoop, Hooks, Step};
    ///
    /// #[derive(Default)]
    /// struct Steps(Cell<u32>);
    ///
    /// impl Hooks for Steps {
    ///     fn after_step(&self, _: Step) {
    ///         self.0.set(self.0.get() + 1);
    ///     }
    /// }
    /// let event_loop = EventLoop::new()?;
    /// let steps = Rc::new(Steps::default());
    /// event_loop.handle().set_hooks(steps.clone());
    /// event_loop.run_until_complete(async {})?;
    /// assert_eq!(steps.0.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "set_task_factory")]
    #[track_caller]
    pub fn set_hooks(&self, hooks: Rc<dyn Hooks>) {
        expect_open(self.check_not_ended());
        self.change_hooks(Some(hooks));
    }

    /// Removes the hooks.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().reset_hooks();
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn reset_hooks(&self) {
        self.change_hooks(None);
    }

    fn change_hooks(&self, hooks: Option<Rc<dyn Hooks>>) {
        let old = self.inner.observers.program.replace(hooks);
        self.install_hooks();
        // After the executor has dropped its reference, so this may run the destructor.
        self.inner.contain(Kind::Hook, None, move || drop(old));
    }

    /// Installs the hooks that are set: none, one, or all of them as one.
    pub(crate) fn install_hooks(&self) {
        let spawner = self.inner.executor.spawner();
        let Observers { program, steps, trace, .. } = &self.inner.observers;
        let watchdog = self.inner.watchdog.borrow().clone().map(|watchdog| watchdog as Rc<dyn Hooks>);
        let steps = steps.borrow().clone().map(|steps| steps as Rc<dyn Hooks>);
        let trace = trace.borrow().clone().map(|trace| trace as Rc<dyn Hooks>);
        let mut all: Vec<_> = [watchdog, steps, trace, program.borrow().clone()].into_iter().flatten().collect();
        match all.len() {
            0 => spawner.reset_hooks(),
            1 => spawner.set_hooks(all.remove(0)),
            _ => spawner.set_hooks(Rc::new(Combined(all))),
        }
    }

    /// Begins or ends to measure the steps of each task, which [`dump`](crate::dump()) then shows:
    /// their number, their total and longest time, and the time since the last one.
    ///
    /// Each step then reads the clock twice and looks its task up, which takes 120 ns where a step
    /// that yields takes 50 (`cargo bench -p picot-benches --features loop --bench loop -- yield`).
    /// Without it a step costs nothing more.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// handle.record_steps(true);
    /// drop(handle.spawn(std::future::pending::<()>()));
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// assert_eq!(handle.dump().tasks[0].steps.unwrap().polls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn record_steps(&self, is_on: bool) {
        expect_open(self.check_not_ended());
        let steps = &self.inner.observers.steps;
        if steps.borrow().is_some() == is_on {
            return;
        }
        // Weak: the loop owns the recorder.
        let inner = Rc::downgrade(&self.inner);
        let recorder = StepRecorder::new(move || inner.upgrade().map_or(0, |inner| inner.clock.now()));
        let old = steps.replace(is_on.then(|| Rc::new(recorder)));
        self.install_hooks();
        drop(old);
    }

    /// Begins to record a trace: spawns, steps, wakes, exits, turns, waits, due timers, blocking
    /// jobs and slow steps. The last `capacity` events are kept. A recording that runs begins anew.
    ///
    /// An event takes at most 40 bytes. While a trace is recorded, a step takes 250 ns more, where
    /// one that yields takes 50 (`cargo bench -p picot-benches --features loop --bench loop --
    /// yield`). Without a trace it costs nothing more.
    ///
    /// # Panics
    /// If the loop is closed, or if `capacity` is zero.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().begin_trace(100_000);
    /// event_loop.run_until_complete(async { picot_loop::yield_now().await })?;
    /// let mut json = Vec::new();
    /// event_loop.handle().end_trace().unwrap().write_json(&mut json)?;
    /// // Write it to a file, and open that in https://ui.perfetto.dev.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn begin_trace(&self, capacity: usize) {
        expect_open(self.check_not_ended());
        assert!(capacity != 0, "a trace of no events records nothing: pass the number of events to keep");
        let inner = Rc::downgrade(&self.inner);
        let clock = move || inner.upgrade().map_or(0, |inner| inner.clock.now());
        let recorder = TraceRecorder::new(clock, self.inner.executor.spawner().clone(), capacity);
        self.set_trace(Some(Rc::new(recorder)));
    }

    /// Ends the recording, and returns what was recorded; none if no trace is recorded.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// assert!(event_loop.handle().end_trace().is_none());
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn end_trace(&self) -> Option<Trace> {
        let recorder = self.inner.observers.trace.borrow().clone()?;
        self.set_trace(None);
        Some(recorder.take())
    }

    fn set_trace(&self, recorder: Option<Rc<TraceRecorder>>) {
        let observers = &self.inner.observers;
        observers.traces.set(recorder.is_some());
        let old = observers.trace.replace(recorder);
        self.install_hooks();
        drop(old);
    }
}
