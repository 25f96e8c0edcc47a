//! Closing: everything that is left is dropped, on this thread, and counted.
//!
//! The hard part is a waker that another thread is just using. Between the moment in which it has marked its task as
//! scheduled and the moment in which it has pushed it, the task is in nobody's queue, and no second wake can bring it
//! there. So close waits for that push, with yields and up to a bound; a task that has not come by then is leaked and
//! counted, because to drop it anywhere else could drop it on the wrong thread.

use std::sync::Arc;

use picot_context::TaskInfo;

use crate::error::CancelReason;
use crate::extras::extra;
use crate::flag_guard::FlagGuard;
use crate::remote::inbox::Drain;
use crate::remote::item::RemoteItem;
use crate::run::batch::run_item;
use crate::run::current::Steps;
use crate::run::queue::Item;
use crate::shared::{Local, Phase, Shared};
use crate::task::meta::Ready;
use crate::task::state::flag;

/// How often close yields to threads that are in the middle of a wake. Each yield is a system call; a thread that was
/// preempted there for longer than all of them together is in trouble.
const YIELDS: usize = 100_000;

/// What was still there when an executor was closed.
///
/// ```
/// let executor = picot_executor::Executor::new();
/// drop(executor.spawn(std::future::pending::<()>()));
/// executor.call_soon(|| ());
/// let report = executor.close();
/// for task in &report.tasks {
///     println!("{task} had not ended");
/// }
/// assert_eq!((report.tasks.len(), report.callbacks, report.leaked), (1, 1, 0));
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClosedTasks {
    /// The tasks that had not ended, in the order in which they were spawned. Their futures have been dropped. A
    /// [`Root`](crate::Root) is not among them: it is its caller's to drop.
    pub tasks: Vec<TaskInfo>,
    /// How many callbacks had not run. They have been dropped.
    pub callbacks: usize,
    /// How many tasks had to be leaked, because a thread was stopped in the middle of waking them.
    pub leaked: usize,
}

impl ClosedTasks {
    /// Whether nothing was left.
    ///
    /// ```
    /// let executor = picot_executor::Executor::new();
    /// executor.block_on(async {});
    /// assert!(executor.close().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.callbacks == 0 && self.leaked == 0
    }
}

#[track_caller]
pub(crate) fn close(shared: &Arc<Shared>, local: &Local) -> ClosedTasks {
    let mut report = ClosedTasks::default();
    if local.phase.get() == Phase::Closed {
        return report;
    }
    assert!(!local.running.get(), "a step cannot close the executor that runs it; let it end first, or stop the loop");
    local.phase.set(Phase::Closing);
    let _running = FlagGuard::new(&local.running);
    // A section ends here: what it has held back is dropped with the rest.
    local.end_section();

    report.tasks = mark_all(local);
    shared.inbox.drain(YIELDS, &mut Closing { shared, local, report: &mut report });
    local.phase.set(Phase::Closed);
    shared.drop_spare(local);
    // Counted last: what has come at the last moment was dropped here all the same.
    report.leaked = local.table.borrow().owned_len();
    // One that its caller still has is not polled any more.
    local.root.end();
    // Wakers may hold what is left of the executor for long, and on any thread: it holds no memory of its own.
    local.queue.free();
    local.held.free();
    if report.leaked == 0 {
        drop(local.table.take());
    } else {
        end_waits_for_leaked(local);
    }
    if local.reports.any() {
        local.reports.deliver();
        // Once more, for those held back: who waited for these has been dropped.
        local.reports.deliver();
    }
    // Both are foreign code, also in their drops. The custom hook is gone by then, so panics there
    // go to the default hook.
    local.reports.set_hook(None);
    local.extras.set_hooks(None, &local.reports);
    local.reports.deliver_last();
    report
}

/// The owner of the inbox, as it drops what comes out of that and what is queued.
struct Closing<'a> {
    shared: &'a Arc<Shared>,
    local: &'a Local,
    report: &'a mut ClosedTasks,
}

impl Drain<RemoteItem> for Closing<'_> {
    /// A task that another thread has just spawned is made, so that whoever waits for it hears of its end, and is counted as
    /// one that was left.
    fn accept(&mut self, item: RemoteItem) {
        match item {
            RemoteItem::Spawn(request) => {
                self.report.tasks.push(request.start(self.shared, None, Some(CancelReason::LOOP_CLOSED)))
            }
            item => self.shared.accept(self.local, item),
        }
    }

    fn run(&mut self) -> bool {
        while let Some(item) = self.local.queue.pop() {
            drop_item(self.local, item, self.report);
        }
        self.local.table.borrow().owned_len() == 0
    }
}

/// Whoever waits for a task that was leaked would wait for ever: it asks again, and is told that the loop is closed.
fn end_waits_for_leaked(local: &Local) {
    let joiners = local.table.borrow_mut().take_joiners();
    for joiner in joiners {
        local.wake_joiner(joiner);
    }
}

/// Queues each task that is not queued or on its way. Returns what is known of them.
fn mark_all(local: &Local) -> Vec<TaskInfo> {
    let table = local.table.borrow();
    table.wake_all();
    let mut tasks = table.infos();
    tasks.retain(|task| local.root.id() != Some(task.id()));
    tasks
}

fn drop_item(local: &Local, item: Item<Ready>, report: &mut ClosedTasks) {
    match item {
        Item::Task(task) => {
            // The step finds the mark, and drops the future.
            task.meta().set(flag::CANCELLED);
            let item = Item::Task(task);
            let watched = local.uses(extra::HOOKS);
            if watched {
                run_item::<true>(local, item, &Steps::new(), None, &mut |_| ());
            } else {
                run_item::<false>(local, item, &Steps::new(), None, &mut |_| ());
            }
        }
        Item::Call(call) => {
            report.callbacks += usize::from(call.is_pending());
            // Cancelled rather than dropped: whoever still has its handle must not keep alive what it held.
            call.cancel_with(|discard| local.contain(discard));
        }
        // It is its caller's to drop.
        Item::Root => {}
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::executor::Executor;

    /// A thread that is stopped for ever between marking a task and pushing it looks like this from here: the task is
    /// marked, and in no queue.
    #[test]
    #[cfg_attr(miri, ignore = "it leaks on purpose, which Miri reports; and it yields a hundred thousand times")]
    fn a_task_that_somebody_holds_in_the_middle_of_a_wake_is_leaked_and_counted_and_its_waiters_are_told() {
        let (executor, other) = (Executor::new(), Executor::new());
        let held = Rc::new(());
        let inside = held.clone();
        let task = executor.spawn(async move { drop(inside) });
        let waiter = other.spawn(async move { task.await.unwrap_err().to_string() });
        other.run_until_stalled();
        let Some(Item::Task(held_task)) = executor.spawner().local().queue.pop() else { panic!("it is queued") };
        let report = executor.close();
        assert_eq!((report.tasks.len(), report.leaked), (1, 1));
        let text = other.block_on(async { waiter.await.unwrap() });
        assert!(text.contains("could not be dropped"), "{text}");
        // The thread goes on, elsewhere: what it pushes comes back, and is leaked there.
        let shared = executor.shared().clone();
        drop(executor);
        std::thread::spawn(move || crate::task::meta::schedule(held_task.into_runnable())).join().unwrap();
        assert_eq!(shared.leaked.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(Rc::strong_count(&held), 2, "leaked, not dropped on the wrong thread");
    }
}
