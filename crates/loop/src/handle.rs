//! The handle of a loop on its own thread.

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use picot_context::{Closed, Host, Place, Report, TaskId, TaskInfo, Waiting};
use picot_executor::{CallHandle, Hooks, Task, TaskBuilder};
use picot_reactor::{Pollable, Source};

use crate::inner::Inner;
use crate::time::clock::Anchor;
use crate::time::instant::Instant;
use crate::time::timer_handle::TimerHandle;

/// A handle of a loop on its own thread. For other threads there is [`remote`](LoopHandle::remote).
///
/// A handle may outlive the loop. Using a closed loop is a bug of the program, and most methods
/// panic then; check [`is_closed`](LoopHandle::is_closed) before if it may happen.
///
/// What it offers:
/// - callbacks: [`call_soon`](Self::call_soon), [`call_later`](Self::call_later),
///   [`call_at`](Self::call_at)
/// - tasks: [`spawn`](Self::spawn), [`spawn_named`](Self::spawn_named),
///   [`build_task`](Self::build_task), [`spawn_blocking`](Self::spawn_blocking),
///   [`try_spawn_blocking`](Self::try_spawn_blocking)
/// - I/O: [`register`](Self::register), [`add_reader`](Self::add_reader),
///   [`add_writer`](Self::add_writer), [`remove_reader`](Self::remove_reader),
///   [`remove_writer`](Self::remove_writer)
/// - time: [`now`](Self::now)
/// - the loop: [`current`](Self::current), [`try_current`](Self::try_current),
///   [`remote`](Self::remote), [`stop`](Self::stop), [`is_running`](Self::is_running),
///   [`is_closed`](Self::is_closed)
/// - errors: [`set_error_hook`](Self::set_error_hook),
///   [`reset_error_hook`](Self::reset_error_hook), [`report`](Self::report)
/// - inspection: [`tasks`](Self::tasks), [`waiting`](Self::waiting), [`metrics`](Self::metrics),
///   [`set_hooks`](Self::set_hooks), [`reset_hooks`](Self::reset_hooks)
/// - hooks of the turn: [`on_prepare`](Self::on_prepare), [`on_check`](Self::on_check),
///   [`on_idle`](Self::on_idle)
///
/// ```
/// use picot_loop::{LoopHandle, run};
///
/// run(async {
///     let handle = LoopHandle::current();
///     handle.call_soon(|| println!("a callback"));
///     handle.spawn(async { println!("a task") }).await.unwrap();
/// });
/// ```
///
/// It is not `Send`:
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
    /// Runs `call` in the next turn.
    ///
    /// Callbacks and tasks run in one queue, first in, first out. Dropping the handle does not
    /// cancel the callback.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// event_loop.handle().call_soon(|| println!("soon"));
    /// event_loop.handle().call_soon(|| unreachable!()).cancel();
    /// event_loop.turn(None).unwrap();
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) -> CallHandle {
        expect_open(self.inner.executor.spawner().call_soon(call))
    }

    /// As [`call_soon`](LoopHandle::call_soon), for a callback that the user's code registered at
    /// `place` before, such as a signal handler. Reports show that place.
    ///
    /// # Errors
    /// [`Closed`] if the loop is closed; the callback is dropped.
    #[doc(hidden)]
    pub fn call_soon_at(&self, place: Place, call: impl FnOnce() + 'static) -> Result<(), Closed> {
        self.inner.executor.spawner().run_later(place, Box::new(call))
    }

    /// Runs `call` when `delay` has passed. Dropping the handle does not cancel the callback.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.handle().call_later(Duration::from_millis(1), move || handle.stop());
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn call_later(&self, delay: Duration, call: impl FnOnce() + 'static) -> TimerHandle {
        self.call_at(self.now() + delay, call)
    }

    /// Runs `call` at the time `when`, or in the next turn if that time has passed.
    ///
    /// Callbacks that are due together run in the order of their deadlines. Equal deadlines run in
    /// the order of scheduling.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let timer = handle.call_at(handle.now(), || println!("due at once"));
    /// event_loop.turn(None)?;
    /// assert!(!timer.cancel()); // it has run
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn call_at(&self, when: Instant, call: impl FnOnce() + 'static) -> TimerHandle {
        // Before the callback is stored: on a closed loop it is dropped by the panic.
        expect_open(self.before_timer(when));
        TimerHandle::new(&self.inner, when, CallHandle::new(call))
    }

    /// Returns the loop's time, read from its clock at this call.
    ///
    /// So a delay counts from the call, and no timer is early, however long the calling step has
    /// taken. Within a turn, all due timers are found at one reading of the clock.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// picot_loop::run(async {
    ///     let handle = picot_loop::LoopHandle::current();
    ///     let start = handle.now();
    ///     picot_loop::sleep(Duration::from_millis(1)).await;
    ///     assert!(handle.now() - start >= Duration::from_millis(1));
    /// });
    /// ```
    #[doc(alias = "time")]
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.inner.clock.now())
    }

    /// The readings that relate the loop's clock to std's.
    pub(crate) fn anchor(&self) -> Anchor {
        *self.inner.anchor.get_or_init(|| Anchor::now(&self.inner.clock))
    }

    /// Spawns a task. Its first poll is in the next turn.
    ///
    /// Dropping the returned handle detaches the task: it runs on. On a closed loop the future is
    /// dropped at once, and the task has ended as cancelled, with the reason that the loop is
    /// closed.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// let task = event_loop.handle().spawn(async { 6 * 7 });
    /// assert_eq!(event_loop.run_until_complete(task)?.unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "create_task")]
    #[doc(alias = "ensure_future")]
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Task<F::Output> {
        self.spawn_at(Location::caller(), None, future)
    }

    /// Spawns a task with a name, which reports and errors show.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// let task = event_loop.handle().spawn_named("fetch", async { 7 });
    /// assert_eq!(task.name().as_deref(), Some("fetch"));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[track_caller]
    pub fn spawn_named<F: Future + 'static>(&self, name: &str, future: F) -> Task<F::Output> {
        self.spawn_at(Location::caller(), Some(name), future)
    }

    pub(crate) fn spawn_at<F: Future + 'static>(&self, place: Place, name: Option<&str>, future: F) -> Task<F::Output> {
        self.inner.executor.spawner().spawn_at(place, name, future)
    }

    /// Returns a builder for a task with options, such as an eager start.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// let task = event_loop.handle().build_task().name("eager").eager().spawn(async { 7 });
    /// assert!(task.is_finished()); // it ran to its end within `spawn`
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    pub fn build_task(&self) -> TaskBuilder<'_> {
        self.inner.executor.spawner().build_task()
    }

    /// The former name of [`build_task`](LoopHandle::build_task).
    #[doc(hidden)]
    #[deprecated(note = "it is called `build_task` now")]
    pub fn task(&self) -> TaskBuilder<'_> {
        self.build_task()
    }

    /// Returns the tasks that are not done, in the order in which they were spawned.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// # let handle = event_loop.handle();
    /// let _task = handle.spawn_named("idle", std::future::pending::<()>());
    /// assert_eq!(handle.tasks()[0].given_name(), Some("idle"));
    /// # Ok::<(), picot_loop::LoopError>(())
    /// ```
    #[doc(alias = "all_tasks")]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.inner.executor.spawner().tasks()
    }

    /// A task id for a child that runs inside its parent's step, such as a scope's.
    #[doc(hidden)]
    pub fn allocate_id(&self) -> TaskId {
        self.inner.executor.spawner().allocate_id()
    }

    /// Calls `tell` with the program's hooks, if it has any. For children inside a parent's step.
    #[doc(hidden)]
    pub fn tell_hooks(&self, tell: impl FnOnce(&dyn Hooks)) {
        self.inner.executor.spawner().tell_hooks(tell);
    }

    /// Ends a step inside of a step: counts and times it, and reports it if it was slow.
    ///
    /// For combinators that run children inside their parent's step, such as scopes. The loop does
    /// the same at the end of each step of its own. Returns true if the coarse clock has ticked:
    /// then it is time to yield. Does nothing outside of a run.
    #[doc(hidden)]
    pub fn end_inner_step(&self) -> bool {
        self.is_running() && self.inner.after_step()
    }

    /// Whether the loop runs under a virtual clock, for the texts of errors about time.
    #[doc(hidden)]
    pub fn has_virtual_clock(&self) -> bool {
        self.inner.clock.as_virtual().is_some()
    }

    /// The tasks that wait, in spawn order, each with what it waits for. For everything else about
    /// them, see [`dump`](LoopHandle::dump).
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// # let handle = event_loop.handle();
    /// let slow = handle.spawn_named("slow", std::future::pending::<()>());
    /// let _waiter = handle.spawn_named("waiter", async move { slow.await });
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// assert!(handle.waiting()[1].to_string().ends_with(" waits for task 1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "capture_call_graph")]
    pub fn waiting(&self) -> Vec<Waiting> {
        self.inner.waiting()
    }

    /// Stops the loop: the run ends after this turn.
    ///
    /// Everything that is queued in this turn runs first. What was scheduled meanwhile stays for
    /// the next run. A loop that is stopped before it runs makes one turn, which does not wait.
    /// Stopping a closed loop does nothing.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.handle().call_soon(move || handle.stop());
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Whether the loop is running. Then the caller is a callback or a task of the loop.
    ///
    /// ```
    /// picot_loop::run(async { assert!(picot_loop::LoopHandle::current().is_running()) });
    /// ```
    pub fn is_running(&self) -> bool {
        self.inner.is_running.get()
    }

    /// Whether the loop is closed or closing.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.close()?;
    /// assert!(handle.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.inner.status.is_closed()
    }

    /// Registers an I/O object, in non-blocking mode, with the loop's reactor.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use picot_loop::{LoopHandle, run};
    ///
    /// # run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// let listener = LoopHandle::current().register(listener)?;
    /// # let client = std::net::TcpStream::connect(listener.get_ref().local_addr()?)?;
    /// listener.readable().await?;
    /// let (stream, peer) = listener.get_ref().accept()?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// The source owns the object, so a borrowed one is refused. To share it, register an `Rc`.
    ///
    /// ```compile_fail,E0597
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let source;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    /// source = event_loop.handle().register(&socket).unwrap();
    /// ```
    ///
    /// # Errors
    /// An error of the operating system, or an error of its own if the loop is closed. The object
    /// is dropped.
    #[doc(alias = "connect_read_pipe")]
    #[doc(alias = "connect_write_pipe")]
    pub fn register<T: Pollable + 'static>(&self, io: T) -> io::Result<Source<T>> {
        self.check_open().map_err(io::Error::other)?;
        Ok(self.inner.reactor.register(io)?)
    }

    /// Replaces the error hook, which receives the reports of each turn at its end.
    ///
    /// Reports are panics and errors that no joiner took, slow steps, dead ends and failures of the
    /// loop itself. The default hook prints a line on standard error. If the hook panics, the
    /// default takes over for that report.
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
        expect_open(self.check_not_ended());
        self.inner.executor.spawner().set_error_hook(hook);
    }

    /// Queues a report for the error hook. A closed loop prints it at once.
    ///
    /// ```
    /// use std::io;
    /// use picot_loop::{Cause, Kind, LoopHandle, Origin, Report};
    ///
    /// # picot_loop::run(async {
    /// let error = io::Error::other("the cache is corrupt");
    /// LoopHandle::current().report(Report::new(Origin::new(Kind::Task), Cause::Io(error)));
    /// # });
    /// ```
    #[doc(alias = "call_exception_handler")]
    pub fn report(&self, report: Report) {
        self.inner.executor.spawner().report(report);
    }

    /// Restores the default error hook, which prints to standard error.
    ///
    /// ```
    /// let event_loop = picot_loop::EventLoop::new().unwrap();
    /// event_loop.handle().set_error_hook(|_| ());
    /// event_loop.handle().reset_error_hook();
    /// ```
    #[doc(alias = "default_exception_handler")]
    pub fn reset_error_hook(&self) {
        self.inner.executor.spawner().reset_error_hook();
    }

    /// Checks that a timer can be set, and ends a host's wait that would be too long for it.
    ///
    /// To be called before each insertion into the timers.
    #[inline]
    pub(crate) fn before_timer(&self, deadline: Instant) -> Result<(), Closed> {
        // The hot path: one test for both exceptions.
        if self.inner.status.timers_need_no_check() {
            return Ok(());
        }
        self.inner.wake_host_for_timer(deadline.nanos());
        self.check_open()
    }

    pub(crate) fn check_open(&self) -> Result<(), Closed> {
        if self.is_closed() { Err(Closed::new()) } else { Ok(()) }
    }

    /// As [`check_open`](LoopHandle::check_open), but allows a loop that is closing: it still calls
    /// its hooks.
    pub(crate) fn check_not_ended(&self) -> Result<(), Closed> {
        if self.inner.is_close_over.get() { Err(Closed::new()) } else { Ok(()) }
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Panics on a closed loop: using one is a bug of the program.
#[track_caller]
pub(crate) fn expect_open<T>(result: Result<T, Closed>) -> T {
    match result {
        Ok(value) => value,
        Err(closed) => panic!("{closed}"),
    }
}
