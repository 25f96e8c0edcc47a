//! Closing: drops everything that is left, on the executor's thread, and counts it.
//!
//! The hard part is a waker that another thread is using. Between marking its task as scheduled and
//! pushing it, the task is in no queue, and no second wake can push it. So close waits for that
//! push, with thread yields and up to a limit. A task that has not come by then is leaked and
//! counted: dropping it elsewhere could drop its future on the wrong thread.

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

/// How often close yields to threads that are in the middle of a wake. Each yield is a system call;
/// a thread that stays preempted for all of them is stuck.
const YIELDS: usize = 100_000;

/// The tasks and callbacks that were left when an executor was closed.
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
    /// The tasks that had not ended, in spawn order. Their futures have been dropped. A
    /// [`Root`](crate::Root) is not among them, because its caller drops it.
    pub tasks: Vec<TaskInfo>,
    /// The number of callbacks that had not run. They have been dropped.
    pub callbacks: usize,
    /// The number of tasks that had to be leaked, because a thread stopped in the middle of a wake.
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
    // A second close has nothing to do, and must not count anything again.
    if local.phase.get() == Phase::Closed {
        return report;
    }
    assert!(!local.running.get(), "a step cannot close the executor that runs it; let it end first, or stop the loop");
    // From here on spawns and calls are refused, so that destructors cannot keep the close going.
    local.phase.set(Phase::Closing);
    let _running = FlagGuard::new(&local.running);
    // Ends a section, so that the items that it holds back are dropped with the rest.
    local.end_section();

    report.tasks = mark_all(local);
    shared.inbox.drain(YIELDS, &mut Closing { shared, local, report: &mut report });
    local.phase.set(Phase::Closed);
    shared.drop_spare(local);
    // Counted after the drain: a task that arrived late was dropped there.
    report.leaked = local.table.borrow().owned_len();
    // If its caller still has a root, no later batch polls it.
    local.root.end();
    // Wakers may keep `Shared` alive for a long time and on any thread, so it keeps no memory of
    // its own.
    local.queue.free();
    local.held.free();
    // The table keeps the entries of leaked tasks, to which late wakes on this thread may refer.
    if report.leaked == 0 {
        drop(local.table.take());
    } else {
        end_waits_for_leaked(local);
    }
    if local.reports.any() {
        local.reports.deliver();
        // Delivered twice, because the first delivery holds back panics that a joiner may claim.
        // Those joiners have been dropped.
        local.reports.deliver();
    }
    // Both hooks are foreign code, also in their destructors. The custom hook is gone by now, so
    // panics here go to the default hook.
    local.reports.set_hook(None);
    local.extras.set_hooks(None, &local.reports);
    local.reports.deliver_last();
    report
}

/// Drops the items of the inbox and of the queue.
struct Closing<'a> {
    shared: &'a Arc<Shared>,
    local: &'a Local,
    report: &'a mut ClosedTasks,
}

impl Drain<RemoteItem> for Closing<'_> {
    /// Makes the task that another thread has requested, so that its waiter receives an outcome and
    /// the report counts it.
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

/// Wakes the joiners of leaked tasks, which would wait for ever otherwise. They poll again and get
/// an error.
fn end_waits_for_leaked(local: &Local) {
    let joiners = local.table.borrow_mut().take_joiners();
    // User code may run here, in a foreign waker; the table is not borrowed.
    for joiner in joiners {
        local.wake_joiner(joiner);
    }
}

/// Queues each task that is neither queued nor being pushed. Returns the descriptions of all.
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
            // Cancelled rather than dropped, because a remaining handle would keep the captured
            // values alive.
            call.cancel_with(|discard| local.contain(discard));
        }
        // The caller of the root drops it.
        Item::Root => {}
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::rc::Rc;

    use picot_testkit::WakeCount;

    use super::*;
    use crate::executor::Executor;

    /// A thread that is stopped for ever between marking a task and pushing it looks like this to
    /// the executor: the task is marked, and in no queue.
    #[test]
    #[cfg_attr(miri, ignore = "it leaks on purpose, which Miri reports; and it yields a hundred thousand times")]
    fn close_leaks_and_counts_a_task_whose_wake_never_finishes_and_its_waiters_get_an_error() {
        let (executor, other) = (Executor::new(), Executor::new());
        let held = Rc::new(());
        let inside = held.clone();
        let task = executor.spawn(async move { drop(inside) });
        let waiter = other.spawn(async move { task.await.unwrap_err().to_string() });
        other.run_until_stalled();
        let Some(Item::Task(held_task)) = executor.spawner().local().queue.pop() else { panic!("it is queued") };
        let unwatched = executor.spawn(async {});
        let Some(Item::Task(_never_pushed)) = executor.spawner().local().queue.pop() else { panic!("it is queued") };
        let report = executor.close();
        assert_eq!((report.tasks.len(), report.leaked), (2, 2));
        let wakes = WakeCount::default();
        unwatched.wake_at_end(&wakes.waker());
        assert_eq!(wakes.get(), 1, "a wait that begins after the close learns of it at once");
        let text = other.block_on(async { waiter.await.unwrap() });
        assert!(text.contains("could not be dropped"), "{text}");
        // The other thread continues: the item that it pushes is returned, and is leaked there.
        let shared = executor.shared().clone();
        drop(executor);
        std::thread::spawn(move || crate::task::meta::schedule(held_task.into_runnable())).join().unwrap();
        assert_eq!(shared.leaked.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(Rc::strong_count(&held), 2, "leaked, not dropped on the wrong thread");
    }
}
