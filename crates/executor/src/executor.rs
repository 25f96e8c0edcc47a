//! The executor: owns the queue and runs it, one step at a time.
//!
//! It has no policy: its driver decides how often to check other threads, and when and how long to
//! sleep. [`Executor::block_on`] is the one driver in this crate.

use std::fmt;
use std::panic::{Location, RefUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Waker;

use parking::Parker;
use picot_context::{Closed, Place, Step};

use crate::close::ClosedTasks;
use crate::extras::extra;
use crate::flag_guard::FlagGuard;
use crate::remote::handle::Remote;
use crate::run::batch::{reborrow, run_queued};
use crate::run::call::CallHandle;
use crate::run::current::Steps;
use crate::run::root::{AnyRoot, Root};
use crate::shared::{Local, Shared};
use crate::spawner::Spawner;
use crate::task::handle::Task;

/// Runs tasks and callbacks on the thread that made it, in the order in which they became ready.
///
/// # If dropped
/// The executor is closed, and the report of remaining tasks is dropped. Call
/// [`close`](Executor::close) for the report.
///
/// ```
/// use picot_executor::Executor;
///
/// let executor = Executor::new();
/// executor.call_soon(|| println!("first"));
/// let task = executor.spawn(async { println!("second") });
/// executor.block_on(async { task.await.unwrap() });
/// ```
pub struct Executor {
    spawner: Spawner,
    /// The parker of [`block_on`](Executor::block_on); `None` if a foreign loop sleeps.
    parker: Option<Parker>,
}

// Unwind safe like the shared state; the parker is a token and a condition.
impl RefUnwindSafe for Executor {}

impl Executor {
    /// The most items that [`take_remote`](Executor::take_remote) takes in one call.
    ///
    /// ```
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::new();
    /// let remote = executor.remote();
    /// let push = move || (0..=Executor::PER_TAKE).for_each(|_| remote.call_soon(|| ()).unwrap());
    /// std::thread::spawn(push).join().unwrap();
    /// assert_eq!(executor.take_remote(), Executor::PER_TAKE);
    /// assert!(executor.has_remote(), "one item is left");
    /// ```
    pub const PER_TAKE: usize = 512;

    /// An executor that sleeps by parking its thread, in [`block_on`](Executor::block_on).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// assert_eq!(executor.block_on(async { 6 * 7 }), 42);
    /// ```
    pub fn new() -> Executor {
        let (parker, unparker) = parking::pair();
        Executor { spawner: Spawner::new(Shared::new(unparker.into())), parker: Some(parker) }
    }

    /// An executor for a loop that sleeps elsewhere, such as in a reactor. `interrupt` must end
    /// that sleep, from any thread. It is woken only between [`fall_asleep`](Executor::fall_asleep)
    /// and the drop of the value that it returns.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::task::Wake;
    /// use std::thread::{self, Thread};
    /// use picot_executor::Executor;
    ///
    /// struct Unpark(Thread);
    ///
    /// impl Wake for Unpark {
    ///     fn wake(self: Arc<Self>) {
    ///         self.0.unpark();
    ///     }
    /// }
    ///
    /// let executor = Executor::with_interrupt(Arc::new(Unpark(thread::current())).into());
    /// let remote = executor.remote();
    /// let spawn = move || drop(remote.spawn(|| async { println!("from another thread") }));
    /// let other = thread::spawn(spawn);
    /// while executor.run_until_stalled() == 0 {
    ///     if let Some(_asleep) = executor.fall_asleep() {
    ///         thread::park(); // whatever this loop waits by
    ///     }
    /// }
    /// other.join().unwrap();
    /// ```
    pub fn with_interrupt(interrupt: Waker) -> Executor {
        Executor { spawner: Spawner::new(Shared::new(interrupt)), parker: None }
    }

    #[inline]
    fn local(&self) -> &Local {
        self.spawner.local()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.spawner.shared
    }

    /// The handle that makes tasks on this thread.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone(); // for tasks that make others
    /// executor.block_on(async move {
    ///     let child = spawner.spawn(async { 7 });
    ///     assert_eq!(child.await.unwrap(), 7);
    /// });
    /// ```
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// The handle for other threads.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// let call = || println!("on the executor's thread");
    /// std::thread::spawn(move || remote.call_soon(call)).join().unwrap().unwrap();
    /// assert_eq!(executor.run_until_stalled(), 1);
    /// ```
    pub fn remote(&self) -> Remote {
        self.spawner.remote()
    }

    /// Makes a task from `future` and queues it; see [`Spawner::spawn`].
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let executor = picot_executor::Executor::new();
    /// let shared = Rc::new(5); // not `Send`, which no task needs to be
    /// let task = executor.spawn(async move { *shared + 1 });
    /// assert!(!task.is_finished(), "nothing runs inside of `spawn`");
    /// assert_eq!(executor.block_on(async { task.await.unwrap() }), 6);
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        self.spawner.spawn_at(Location::caller(), None, future)
    }

    /// Spawns a task with a name, which its reports and its errors show.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn_named("fetch", async { panic!("no such page") });
    /// let error = executor.block_on(async { task.await.unwrap_err() });
    /// assert_eq!(error.name(), Some("fetch"));
    /// ```
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &str, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        self.spawner.spawn_at(Location::caller(), Some(name), future)
    }

    /// Runs `call` in a later turn; see [`Spawner::call_soon`].
    ///
    /// # Panics
    /// If the executor was closed.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    ///
    /// let executor = picot_executor::Executor::new();
    /// let order = Rc::new(RefCell::new(vec![]));
    /// for name in ["first", "second"] {
    ///     let order = order.clone();
    ///     executor.call_soon(move || order.borrow_mut().push(name));
    /// }
    /// executor.run_until_stalled();
    /// assert_eq!(*order.borrow(), ["first", "second"]);
    /// ```
    #[track_caller]
    pub fn call_soon(&self, call: impl FnOnce() + 'static) -> CallHandle {
        open(self.spawner.call_soon(call))
    }

    /// Runs the first task or callback of the queue. Returns whether there was one.
    ///
    /// # Panics
    /// If called from inside of a step, or while a [`Root`] lives.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.call_soon(|| ());
    /// assert!(executor.step());
    /// assert!(!executor.step());
    /// ```
    #[track_caller]
    pub fn step(&self) -> bool {
        self.run_batch(1) == 1
    }

    /// Runs the items that are queued now, at most `max`. Items that they schedule wait for the
    /// next call. Returns the number of items that ran.
    ///
    /// # Panics
    /// As for [`step`](Executor::step).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.call_soon(move || drop(spawner.call_soon(|| println!("in the next batch"))));
    /// executor.call_soon(|| ());
    /// assert_eq!(executor.run_batch(usize::MAX), 2);
    /// assert_eq!(executor.run_batch(usize::MAX), 1);
    /// ```
    #[track_caller]
    pub fn run_batch(&self, max: usize) -> usize {
        self.run_batch_with(max, None, |_| ())
    }

    /// Runs batches, takes items from other threads in between, and delivers reports, until nothing
    /// is left to do. Returns the number of items that ran.
    ///
    /// # Panics
    /// As for [`step`](Executor::step).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let task = executor.spawn(async { "done" });
    /// assert_eq!(executor.run_until_stalled(), 1);
    /// assert!(task.is_finished());
    /// ```
    #[track_caller]
    pub fn run_until_stalled(&self) -> usize {
        let mut count = 0;
        loop {
            self.take_remote();
            count += self.run_batch(usize::MAX);
            self.deliver_reports();
            if !self.has_work() && !self.has_remote() {
                return count;
            }
        }
    }

    /// Runs `future` and everything else until it is done, and sleeps while there is nothing to do.
    /// The future is a task with the name `main`. Its panic resumes here.
    ///
    /// # Panics
    /// - With the panic of the future.
    /// - If called from inside of a step of this executor, or while a [`Root`] lives.
    /// - If the executor is closed, or if a hook closes it meanwhile.
    /// - If the executor was made [`with_interrupt`](Executor::with_interrupt): then its loop
    ///   drives it.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let text = String::from("it may borrow what is around it");
    /// let length = executor.block_on(async {
    ///     assert_eq!(picot_context::current().unwrap().given_name(), Some("main"));
    ///     text.len()
    /// });
    /// assert_eq!(length, text.len());
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let parker = self.parker.as_ref().expect("the loop that this executor was made for drives it; use its `run_…`");
        let mut root = pin!(self.root(Location::caller(), future));
        let local = self.local();
        loop {
            self.take_remote();
            self.run_batches(usize::MAX, Some(root.as_mut()), |_| (), |_| true);
            self.deliver_reports();
            if let Some(output) = root.as_mut().take_output() {
                return output;
            }
            if !self.has_work() {
                assert!(
                    local.check_open().is_ok(),
                    "this executor was closed by a hook, under the future that it runs"
                );
                if let Some(_asleep) = self.fall_asleep() {
                    parker.park();
                }
            }
        }
    }

    /// Prepares `future` as the future that the executor runs for, and queues it. There is one root
    /// at a time.
    ///
    /// # Panics
    /// If there is one already, from inside of a step, or if the executor was closed.
    ///
    /// ```
    /// use std::panic::Location;
    /// use std::pin::pin;
    ///
    /// let executor = picot_executor::Executor::new();
    /// let mut root = pin!(executor.root(Location::caller(), async { "done" }));
    /// let output = loop {
    ///     executor.run_batch_with(usize::MAX, Some(root.as_mut()), |_| ());
    ///     executor.deliver_reports();
    ///     if let Some(output) = root.as_mut().take_output() {
    ///         break output;
    ///     }
    ///     // Here a loop waits, and then takes what came from other threads.
    /// };
    /// assert_eq!(output, "done");
    /// ```
    #[track_caller]
    pub fn root<F: Future>(&self, place: Place, future: F) -> Root<F> {
        Root::new(self.shared(), future, place)
    }

    /// [`run_batch`](Executor::run_batch) for loops: polls `root` in its turn, and calls `after` at
    /// the end of each step, while that step is still the [current](picot_context::running) one.
    ///
    /// # Panics
    /// If called from inside of a step, or without the root while one lives. A panic of `after` is
    /// passed on; the rest of the batch stays for the next one.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// drop(executor.spawn(async {}));
    /// executor.call_soon(|| ());
    /// let mut steps = Vec::new();
    /// executor.run_batch_with(usize::MAX, None, |step| steps.push(step.task_id().is_some()));
    /// assert_eq!(steps, [true, false], "a task, and a callback");
    /// ```
    #[inline]
    #[track_caller]
    pub fn run_batch_with(&self, max: usize, root: Option<Pin<&mut dyn AnyRoot>>, after: impl FnMut(Step)) -> usize {
        self.check_batch(root.is_some());
        self.run_batches(max, root, after, |_| false)
    }

    /// [`run_batch_with`](Executor::run_batch_with) without a limit, again and again, while there
    /// is nothing else to do in between. Returns the number of items that the last batch ran.
    ///
    /// Ends if nothing is queued, if the root is done, if there are reports to deliver, or if
    /// another thread has pushed an item. Before each further batch, it calls `again` with the
    /// number of items that the one before ran, and ends if that returns `false`.
    ///
    /// # Panics
    /// As for [`run_batch_with`](Executor::run_batch_with).
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// executor.call_soon(move || drop(spawner.call_soon(|| println!("in the second batch"))));
    /// executor.call_soon(|| ());
    /// let mut batches = Vec::new();
    /// let last = executor.run_batches_with(None, |_| (), |count| {
    ///     batches.push(count);
    ///     true
    /// });
    /// assert_eq!((batches, last), (vec![2], 1));
    /// ```
    #[inline]
    #[track_caller]
    pub fn run_batches_with(
        &self,
        root: Option<Pin<&mut dyn AnyRoot>>,
        after: impl FnMut(Step),
        again: impl FnMut(usize) -> bool,
    ) -> usize {
        self.check_batch(root.is_some());
        self.run_batches(usize::MAX, root, after, again)
    }

    /// # Panics
    /// If a batch cannot begin.
    #[inline]
    #[track_caller]
    fn check_batch(&self, has_root: bool) {
        let local = self.local();
        local.check_idle();
        assert!(
            has_root || !local.root.is_taken(),
            "a root lives, which would miss its turn; run the batch with it, by `run_batch_with`"
        );
    }

    #[inline]
    fn run_batches(
        &self,
        max: usize,
        mut root: Option<Pin<&mut dyn AnyRoot>>,
        mut after: impl FnMut(Step),
        mut again: impl FnMut(usize) -> bool,
    ) -> usize {
        let local = self.local();
        let _running = FlagGuard::new(&local.running);
        if local.ended.get() {
            // `after` panicked at the end of the previous step.
            local.wake_joiner_of_ended();
        }
        let steps = Steps::new();
        loop {
            let count = run_queued(local, max, reborrow(&mut root), &steps, &mut after);
            let is_over = local.root.is_done.get() || self.ready() == 0 || local.reports.any() || self.has_remote();
            if is_over || !again(count) {
                return count;
            }
        }
    }

    /// The number of queued items. Items of other threads that were not taken yet do not count, and
    /// neither do those that an [exclusive section](Spawner::exclusive) holds back.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.call_soon(|| ());
    /// drop(executor.spawn(async {}));
    /// assert_eq!(executor.ready(), 2);
    /// ```
    #[inline]
    pub fn ready(&self) -> usize {
        let local = self.local();
        if local.uses(extra::SECTION) {
            local.set_aside();
        }
        local.queue.len()
    }

    /// Whether there is anything to do on this thread: a queued item, or a report to deliver.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// assert!(!executor.has_work());
    /// executor.call_soon(|| ());
    /// assert!(executor.has_work());
    /// ```
    #[inline]
    pub fn has_work(&self) -> bool {
        self.ready() != 0 || self.local().reports.any()
    }

    /// Whether an [exclusive section](Spawner::exclusive) is active, or has ended in the current or
    /// the last step.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let spawner = executor.spawner().clone();
    /// drop(executor.spawn(async move { drop(spawner.exclusive().await) }));
    /// drop(executor.spawn(async {}));
    /// executor.step();
    /// assert!(executor.was_exclusive());
    /// executor.step();
    /// assert!(!executor.was_exclusive());
    /// ```
    #[inline]
    pub fn was_exclusive(&self) -> bool {
        self.local().uses(extra::SECTION | extra::SECTION_ENDED)
    }

    /// Whether another thread has pushed an item that was not taken yet.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// std::thread::spawn(move || remote.call_soon(|| ())).join().unwrap().unwrap();
    /// assert!(executor.has_remote() && !executor.has_work());
    /// ```
    #[inline]
    pub fn has_remote(&self) -> bool {
        self.shared().inbox.is_notified()
    }

    /// The number of items from other threads that were not taken yet.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// let push = move || (0..3).for_each(|_| remote.call_soon(|| ()).unwrap());
    /// std::thread::spawn(push).join().unwrap();
    /// assert_eq!(executor.remote_len(), 3);
    /// ```
    pub fn remote_len(&self) -> usize {
        self.shared().inbox.len()
    }

    /// Queues the items that other threads have pushed by now, at most
    /// [`PER_TAKE`](Executor::PER_TAKE). Returns their number. Costs one plain load if there are
    /// none.
    ///
    /// The rest stays for the next turn, and [`has_remote`](Executor::has_remote) stays true. So
    /// threads that push faster than this one runs do not block anything else.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// std::thread::spawn(move || remote.call_soon(|| ())).join().unwrap().unwrap();
    /// assert_eq!((executor.take_remote(), executor.ready()), (1, 1));
    /// assert_eq!(executor.take_remote(), 0);
    /// ```
    #[inline]
    pub fn take_remote(&self) -> usize {
        if !self.has_remote() {
            return 0;
        }
        let local = self.local();
        self.shared().inbox.take(Executor::PER_TAKE, |item| self.shared().accept(local, item))
    }

    /// Delivers the reports of this turn to the error hook. Call it at the end of a turn. Returns
    /// whether there were any.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.spawner().set_error_hook(|report| assert!(report.to_string().contains("boom")));
    /// executor.call_soon(|| panic!("boom"));
    /// executor.run_batch(usize::MAX);
    /// assert!(executor.deliver_reports());
    /// assert!(!executor.deliver_reports());
    /// ```
    #[inline]
    pub fn deliver_reports(&self) -> bool {
        let any = self.local().reports.any();
        if any {
            self.local().reports.deliver();
        }
        any
    }

    /// Announces that the thread is about to wait. From then on other threads interrupt it, until
    /// the returned value is dropped. Returns `None` if they have pushed an item already; take it
    /// instead of waiting.
    ///
    /// If the returned value is leaked, the next push still interrupts, without need.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// let remote = executor.remote();
    /// if let Some(_asleep) = executor.fall_asleep() {
    ///     // Wait here for I/O, timers, and the interrupt.
    /// }
    /// std::thread::spawn(move || remote.call_soon(|| ())).join().unwrap().unwrap();
    /// assert!(executor.fall_asleep().is_none(), "there is something to take first");
    /// ```
    pub fn fall_asleep(&self) -> Option<Asleep<'_>> {
        let local = self.local();
        // To free memory calls the allocator, which is foreign code and may have woken a task.
        if local.rest() && self.has_work() {
            return None;
        }
        if local.uses(extra::HOOKS) {
            local.hook(|hooks| hooks.park());
            // Made before the check, so that `unpark` follows `park` for either result.
            let asleep = Asleep { executor: self };
            let waits = !self.has_work() && local.check_open().is_ok() && self.shared().inbox.fall_asleep();
            return waits.then_some(asleep);
        }
        self.shared().inbox.fall_asleep().then_some(Asleep { executor: self })
    }

    /// Announces that a foreign loop waits instead of this executor. Returns whether it may wait.
    ///
    /// Until [`end_guest_wait`](Executor::end_guest_wait), the
    /// [interrupt](Executor::with_interrupt) is called when the executor gets something to do: by
    /// other threads, as around [`fall_asleep`](Executor::fall_asleep), and on this thread for the
    /// first queued item and the first report. Returns `false` if there is something to do already;
    /// then nothing is announced.
    ///
    /// The interrupt must only end the wait; it must not call the executor.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use picot_executor::Executor;
    ///
    /// struct Bell(AtomicUsize);
    /// impl std::task::Wake for Bell {
    ///     fn wake(self: Arc<Bell>) {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let bell = Arc::new(Bell(AtomicUsize::new(0)));
    /// let executor = Executor::with_interrupt(bell.clone().into());
    /// assert!(executor.begin_guest_wait());
    /// executor.call_soon(|| ()); // a callback of the foreign loop, while that waits
    /// executor.call_soon(|| ());
    /// assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    /// executor.end_guest_wait();
    /// assert_eq!(executor.run_until_stalled(), 2);
    /// ```
    pub fn begin_guest_wait(&self) -> bool {
        if self.has_work() {
            return false;
        }
        let Some(asleep) = self.fall_asleep() else { return false };
        std::mem::forget(asleep); // `end_guest_wait` wakes up
        let (local, interrupt) = (self.local(), &self.shared().interrupt);
        local.reports.arm(Some(interrupt.clone()));
        local.queue.arm(interrupt.clone());
        true
    }

    /// Ends the wait that [`begin_guest_wait`](Executor::begin_guest_wait) announced: the executor
    /// is about to run.
    ///
    /// ```
    /// use std::task::Waker;
    /// use picot_executor::Executor;
    ///
    /// let executor = Executor::with_interrupt(Waker::noop().clone());
    /// assert!(executor.begin_guest_wait(), "there is nothing to do");
    /// // Here the foreign loop waits.
    /// executor.end_guest_wait();
    /// assert_eq!(executor.run_until_stalled(), 0);
    /// ```
    pub fn end_guest_wait(&self) {
        let local = self.local();
        local.reports.arm(None);
        drop(local.queue.disarm());
        drop(Asleep { executor: self });
    }

    /// Shuffles each batch by a sequence that depends on the seed alone; `None` ends that. The same
    /// seed and the same program give the same order again. Code that wrongly relies on an order
    /// among items that became ready together fails under some of a few hundred seeds.
    /// [`step`](Executor::step) then picks any queued item.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use picot_executor::Executor;
    ///
    /// let order = |seed| {
    ///     let executor = Executor::new();
    ///     executor.shuffle(Some(seed));
    ///     let order = Rc::new(RefCell::new(Vec::new()));
    ///     for n in 0..8 {
    ///         let order = order.clone();
    ///         executor.call_soon(move || order.borrow_mut().push(n));
    ///     }
    ///     executor.run_until_stalled();
    ///     order.take()
    /// };
    /// assert_eq!(order(1), order(1));
    /// assert_ne!(order(1), order(2));
    /// ```
    pub fn shuffle(&self, seed: Option<u64>) {
        let extras = &self.local().extras;
        extras.set(extra::SHUFFLE, seed.is_some());
        extras.random.set_seed(seed.unwrap_or(0));
    }

    /// Closes the executor: refuses new items, and drops all tasks and callbacks that are left.
    ///
    /// Callbacks are dropped without running. The future of each task is dropped in a step of its
    /// own: first those in the queue, in its order, then the others in spawn order. Their
    /// destructors may wake, cancel and spawn; a task that they spawn ends at once. Waiters on
    /// other threads and executors get a cancellation.
    ///
    /// Wakers may be used after that, on any thread; they do nothing. Closing twice has no effect.
    /// A [`Root`] that still lives is not polled any more, and its caller drops it.
    ///
    /// # Panics
    /// If called from inside of a step.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// drop(executor.spawner().spawn_named("server", std::future::pending::<()>()));
    /// executor.run_until_stalled();
    /// let report = executor.close();
    /// assert_eq!(report.tasks[0].given_name(), Some("server"));
    /// assert!(executor.spawn(async {}).is_finished(), "cancelled at once");
    /// ```
    #[track_caller]
    pub fn close(&self) -> ClosedTasks {
        crate::close::close(self.shared(), self.local())
    }
}

#[track_caller]
fn open<T>(result: Result<T, Closed>) -> T {
    match result {
        Ok(value) => value,
        Err(closed) => panic!("{closed}"),
    }
}

impl Default for Executor {
    fn default() -> Executor {
        Executor::new()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("tasks", &self.local().table.borrow().len())
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}

/// The time in which other threads interrupt the wait of the executor; see
/// [`Executor::fall_asleep`].
///
/// ```
/// let executor = picot_executor::Executor::new();
/// let asleep = executor.fall_asleep().expect("there is nothing to do");
/// // The wait stands here.
/// drop(asleep);
/// assert!(!executor.has_remote());
/// ```
#[derive(Debug)]
#[must_use = "the executor is awake again at once if this is dropped"]
pub struct Asleep<'a> {
    executor: &'a Executor,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.executor.shared().inbox.wake_up();
        let local = self.executor.local();
        if local.uses(extra::HOOKS) {
            local.hook(|hooks| hooks.unpark());
        }
    }
}
