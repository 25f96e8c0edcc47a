//! The handle of a loop on its own thread.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use picot_context::{Closed, Place, Report, TaskId, TaskInfo, Waiting};
use picot_executor::{CallHandle, Hooks, Task, TaskBuilder};
use picot_reactor::{Pollable, Source};

use crate::inner::Inner;
use crate::time::instant::Instant;
use crate::time::timer_handle::TimerHandle;

/// A handle of a loop, on the loop's own thread. For other threads there is [`remote`](LoopHandle::remote).
///
/// It may outlive the loop. What it is asked for after the loop was closed is a mistake of the program, and a panic that
/// says so; [`is_closed`](LoopHandle::is_closed) tells before.
///
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(picot_loop::LoopHandle::current()); // it stays on its thread
/// ```
#[derive(Clone)]
#[doc(alias = "AbstractEventLoop")]
pub struct LoopHandle {
    pub(crate) inner: Rc<Inner>,
}

impl LoopHandle {
    /// Runs `call` in the next turn. Callbacks run in the order in which they were scheduled, in one order with tasks.
    /// Dropping the handle does not cancel the callback.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) -> CallHandle {
        open(self.inner.executor.spawner().call_soon(call))
    }

    /// Runs `call` when `delay` has passed. Dropping the handle does not cancel the callback.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> TimerHandle {
        self.call_at(self.now() + delay, call)
    }

    /// Runs `call` at the time `when`, in the next turn if that has passed. What is due together runs in the order of the
    /// deadlines, and in the order of scheduling where these are equal.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn call_at(&self, when: Instant, call: impl FnOnce() + 'static) -> TimerHandle {
        open(self.before_timer(when));
        TimerHandle::new(&self.inner, when, CallHandle::new(call))
    }

    /// The loop's time. It is read from the loop's clock at each call, so that a delay counts from the call and nothing is
    /// early, however long the step has taken that asks. What is due is found by one time a turn.
    #[doc(alias = "time")]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.inner.clock.now())
    }

    /// Makes a task out of `future`. It is first polled in the next turn. Dropping the task's handle lets it run on.
    ///
    /// A closed loop drops the future at once: the task has then ended as cancelled, with the
    /// reason that the loop was closed.
    #[doc(alias = "create_task")]
    #[doc(alias = "ensure_future")]
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.spawn_at(Location::caller(), None, future)
    }

    /// Spawns a task with a name, which its reports and its errors show.
    #[track_caller]
    pub fn spawn_named<F: Future + 'static>(&self, name: &str, future: F) -> Task<F::Output> {
        self.spawn_at(Location::caller(), Some(name), future)
    }

    pub(crate) fn spawn_at<F: Future + 'static>(&self, place: Place, name: Option<&str>, future: F) -> Task<F::Output> {
        self.inner.executor.spawner().spawn_at(place, name, future)
    }

    /// Sets options of a task before it is spawned, such as whether it starts at once.
    pub fn build_task(&self) -> TaskBuilder<'_> {
        self.inner.executor.spawner().build_task()
    }

    /// The tasks that are not done, in the order in which they were spawned.
    #[doc(alias = "all_tasks")]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.inner.executor.spawner().tasks()
    }

    /// A number for a task that is run inside of another one's step, as a scope does with its children.
    #[doc(hidden)]
    pub fn allocate_id(&self) -> TaskId {
        self.inner.executor.spawner().allocate_id()
    }

    /// Tells the hooks something, if there are any; for those who run tasks inside of another one's step.
    #[doc(hidden)]
    pub fn tell_hooks(&self, tell: impl FnOnce(&dyn Hooks)) {
        self.inner.executor.spawner().tell_hooks(tell);
    }

    /// Counts and times what has run since the last step ended as a step of its own, which is what
    /// [`current`](picot_context::current) says, and reports it if it was slow. For those who run steps inside of steps, as
    /// scopes do; the loop does so itself at the end of each of its own. Returns whether the coarse clock has moved: then it
    /// is time to let others run. Outside of a run there is no step, and this does nothing.
    #[doc(hidden)]
    pub fn end_inner_step(&self) -> bool {
        self.is_running() && self.inner.after_step()
    }

    /// The same, each with the task whose end it awaits, where it does so itself and not through a combinator.
    #[doc(alias = "capture_call_graph")]
    pub fn waiting(&self) -> Vec<Waiting> {
        self.inner.executor.spawner().waiting()
    }

    /// Stops the loop: what is queued in this turn runs, and then the run ends. What was scheduled meanwhile stays for the
    /// next run. A loop that is stopped before it runs makes one turn that waits for nothing. A closed loop has stopped.
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Whether the loop runs, somewhere up this thread's stack.
    pub fn is_running(&self) -> bool {
        self.inner.is_running.get()
    }

    /// Whether the loop is closed, or closing.
    pub fn is_closed(&self) -> bool {
        self.inner.status.is_closed()
    }

    /// Registers an I/O object with the loop's reactor. It must be in non-blocking mode.
    ///
    /// The object belongs to the source, so a borrowed one is refused; share it by an `Rc`.
    ///
    /// ```compile_fail,E0597
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let source;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    /// source = event_loop.handle().register(&socket).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the operating system says; an error of its own if the loop is closed. The object is dropped.
    #[doc(alias = "connect_read_pipe")]
    #[doc(alias = "connect_write_pipe")]
    pub fn register<T: Pollable + 'static>(&self, io: T) -> io::Result<Source<T>> {
        self.check_open().map_err(io::Error::other)?;
        Ok(self.inner.reactor.register(io)?)
    }

    /// Replaces the error hook, which receives the reports of each turn at its end.
    ///
    /// Reports are panics and errors that no joiner took, slow steps, dead ends and failures of the loop
    /// itself. The default hook prints a line on standard error. If the hook panics, the default takes
    /// over for that report.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// event_loop.handle().set_error_hook(|report| eprintln!("my service: {report}"));
    /// ```
    ///
    /// # Panics
    /// If the loop is closed: the hook would never be called.
    #[doc(alias = "set_exception_handler")]
    #[track_caller]
    pub fn set_error_hook(&self, hook: impl Fn(&Report) + 'static) {
        open(self.check_not_ended());
        self.inner.executor.spawner().set_error_hook(hook);
    }

    /// Queues a report for the error hook. A closed loop prints it at once.
    #[doc(alias = "call_exception_handler")]
    pub fn report(&self, report: Report) {
        self.inner.executor.spawner().report(report);
    }

    /// Restores the default error hook.
    #[doc(alias = "default_exception_handler")]
    pub fn reset_error_hook(&self) {
        self.inner.executor.spawner().reset_error_hook();
    }

    /// To be called before a timer is set: refuses it if the loop is closed, and ends a host's wait
    /// that would be too long for it.
    #[inline]
    pub(crate) fn before_timer(&self, deadline: Instant) -> Result<(), Closed> {
        if self.inner.status.is_plain() {
            return Ok(());
        }
        self.inner.ring_host_for(deadline.nanos());
        self.check_open()
    }

    pub(crate) fn check_open(&self) -> Result<(), Closed> {
        if self.is_closed() { Err(Closed::new()) } else { Ok(()) }
    }

    /// As [`check_open`](LoopHandle::check_open), but while the loop closes it is still there for its hooks.
    pub(crate) fn check_not_ended(&self) -> Result<(), Closed> {
        if self.inner.has_ended.get() { Err(Closed::new()) } else { Ok(()) }
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What a closed loop is asked for is a mistake of the program.
#[track_caller]
pub(crate) fn open<T>(result: Result<T, Closed>) -> T {
    match result {
        Ok(value) => value,
        Err(closed) => panic!("{closed}"),
    }
}
