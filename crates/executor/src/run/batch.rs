//! A batch of steps: takes items from the queue and runs them.

use std::pin::Pin;

use picot_context::Step;

use crate::extras::extra;
use crate::flag_guard::FlagGuard;
use crate::run::call::CallHandle;
use crate::run::current::Steps;
use crate::run::queue::Item;
use crate::run::root::AnyRoot;
use crate::shared::{Local, Phase};
use crate::task::meta::Ready;
use crate::task::state::flag;

/// Runs the items that are queued now, at most `max` of them. Returns how many ran.
#[inline]
pub(crate) fn run_queued(
    local: &Local,
    max: usize,
    mut root: Option<Pin<&mut dyn AnyRoot>>,
    steps: &Steps,
    after: &mut impl FnMut(Step),
) -> usize {
    if local.uses(extra::SECTION) {
        local.set_aside();
    }
    let count = local.queue.len().min(max);
    if local.uses(extra::SHUFFLE) {
        local.extras.random.shuffle(&local.queue, count);
    }
    // Counted to report only the items that ran.
    let mut held = 0;
    for done in 0..count {
        // The queue runs dry early only if an exclusive section began in this batch.
        let Some(place) = local.queue.pop_place() else { return done - held };
        match place {
            // The common case: a task, with no extra in use.
            Some(task) if !local.extras.any() => run_task::<false>(local, task, steps, after),
            place => held += usize::from(!run_place(local, place, steps, reborrow(&mut root), after)),
        }
    }
    count - held
}

/// The root for one item. By value, so that it passes in registers: a reference to the variable
/// would keep it in memory, written again in each batch.
#[inline]
pub(crate) fn reborrow<'a>(root: &'a mut Option<Pin<&mut dyn AnyRoot>>) -> Option<Pin<&'a mut dyn AnyRoot>> {
    match root {
        Some(root) => Some(root.as_mut()),
        None => None,
    }
}

/// Runs the item of a slot, unless an exclusive section holds it. Returns whether it ran.
#[inline(never)]
fn run_place(
    local: &Local,
    place: Option<Ready>,
    steps: &Steps,
    root: Option<Pin<&mut dyn AnyRoot>>,
    after: &mut impl FnMut(Step),
) -> bool {
    let Some(item) = local.queue.item_of(place) else { return true };
    if !local.extras.any() {
        run_item::<false>(local, item, steps, root, after);
        return true;
    }
    if local.must_hold(&item) {
        local.hold(item);
        return false;
    }
    local.extras.set(extra::SECTION_ENDED, false);
    run_item::<true>(local, item, steps, root, after);
    true
}

/// Runs one item in a step of its own. `WATCHED` is whether there may be hooks.
#[inline]
pub(crate) fn run_item<const WATCHED: bool>(
    local: &Local,
    item: Item<Ready>,
    steps: &Steps,
    root: Option<Pin<&mut dyn AnyRoot>>,
    after: &mut impl FnMut(Step),
) {
    match item {
        Item::Task(task) => run_task::<WATCHED>(local, task, steps, after),
        Item::Call(call) => run_call::<WATCHED>(local, &call, steps, after),
        // The item may belong to an earlier root, which is gone.
        Item::Root if !local.root.dequeue() => {}
        Item::Root => {
            if let Some(root) = root {
                run_root::<WATCHED>(local, root, steps, after);
            }
        }
    }
}

#[inline]
pub(crate) fn run_task<const WATCHED: bool>(local: &Local, task: Ready, steps: &Steps, after: &mut impl FnMut(Step)) {
    let step = task.meta().step();
    steps.begin_task(task.meta());
    before::<WATCHED>(local, step);
    task.poll();
    ended::<WATCHED>(local, step, after);
    if local.ended.get() {
        local.wake_joiner_of_ended();
    }
}

fn run_call<const WATCHED: bool>(local: &Local, call: &CallHandle, steps: &Steps, after: &mut impl FnMut(Step)) {
    let Some(details) = call.start() else { return };
    let step = Step::callback(call.place());
    steps.begin(step, details);
    before::<WATCHED>(local, step);
    // User code runs here, contained; no borrow is live.
    local.contain(|| call.invoke());
    if call.has_details() {
        local.contain(|| call.clear_locals());
    }
    local.drop_made();
    ended::<WATCHED>(local, step, after);
}

fn run_root<const WATCHED: bool>(
    local: &Local,
    mut root: Pin<&mut dyn AnyRoot>,
    steps: &Steps,
    after: &mut impl FnMut(Step),
) {
    let (step, details) = root.as_mut().step();
    steps.begin(step, details);
    // Set while the root is polled, so that it counts as the current task.
    let _polled = FlagGuard::new(&local.root.is_polled);
    before::<WATCHED>(local, step);
    root.poll_step();
    ended::<WATCHED>(local, step, after);
}

#[inline]
fn before<const WATCHED: bool>(local: &Local, step: Step) {
    if WATCHED {
        local.hook(|hooks| hooks.before_step(step));
    }
}

#[inline]
fn ended<const WATCHED: bool>(local: &Local, step: Step, after: &mut impl FnMut(Step)) {
    if WATCHED {
        local.hook(|hooks| hooks.after_step(step));
    }
    after(step);
}

/// Polls a new task at once, inside the current step, whose state is restored afterwards.
pub(crate) fn run_inside(local: &Local, task: Ready) {
    let _running = FlagGuard::new(&local.running);
    // The outer step may have ended its task already, with a joiner that is yet to be woken.
    let outer = (local.ended.take(), local.joiner.take());
    let steps = Steps::new();
    if local.uses(extra::HOOKS) {
        run_task::<true>(local, task, &steps, &mut |_| ());
    } else {
        run_task::<false>(local, task, &steps, &mut |_| ());
    }
    local.ended.set(outer.0);
    local.joiner.set(outer.1);
}

/// Ends a task that was spawned on a closed executor: drops its future here, in a step of its own.
#[cold]
#[inline(never)]
pub(crate) fn end_unstarted(local: &Local, task: Ready) {
    // The step finds the mark and drops the future without polling it.
    task.meta().set(flag::CANCELLED);
    run_inside(local, task);
    if local.phase.get() == Phase::Closed {
        // A closed executor keeps no memory, and no later turn delivers its reports. A table with
        // tasks that close had to leak stays.
        let is_unused = local.table.borrow().len() == 0;
        if is_unused {
            drop(local.table.take());
        }
        local.deliver_if_closed();
    }
}
