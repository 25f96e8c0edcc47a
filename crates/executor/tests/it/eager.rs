//! Eager spawns: the first step runs inside of `spawn`, and everything else is unchanged.

use std::cell::Cell;
use std::rc::Rc;

use picot_executor::{Executor, Spawner, Task};

use crate::trace::{Gate, Trace, quiet_panic, reports, yield_now};

#[test]
fn a_body_that_does_not_suspend_is_done_when_spawn_returns() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let inside = trace.clone();
    let task = executor.spawner().build_task().eager().spawn(async move {
        inside.add("body");
        7
    });
    assert_eq!(trace.take(), ["body"]);
    assert!(task.is_finished());
    assert_eq!((executor.ready(), executor.spawner().tasks().len()), (0, 0));
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 7);
}

#[test]
fn a_body_that_suspends_continues_in_its_turns_as_the_same_task() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    let spawner = executor.spawner().clone();
    let note = |trace: &Trace, what: &str| {
        let name = picot_context::current().map(|task| task.given_name().unwrap_or("?").to_string());
        trace.add(format!("{what} in {name:?}"));
    };
    let inside = trace.clone();
    executor.block_on(async move {
        let event = inside.clone();
        let child = spawner.build_task().name("child").eager().spawn(async move {
            note(&event, "before");
            yield_now().await;
            note(&event, "after");
            picot_context::current().unwrap().id()
        });
        note(&inside, "spawned");
        let child = child;
        let id = child.id();
        assert!(!child.is_finished());
        assert_eq!(child.await.unwrap(), id);
    });
    assert_eq!(trace.take(), ["before in Some(\"child\")", "spawned in Some(\"main\")", "after in Some(\"child\")"]);
}

picot_context::task_local! {
    static HELD: SpawnsInDrop;
}

/// Spawns an eager task in its destructor.
struct SpawnsInDrop(Spawner, Trace);

impl Drop for SpawnsInDrop {
    fn drop(&mut self) {
        let trace = self.1.clone();
        drop(self.0.build_task().eager().spawn(async move { trace.add("from the destructor") }));
    }
}

#[test]
fn the_outer_step_keeps_its_identity_its_budget_and_its_waiters() {
    let executor = Rc::new(Executor::new());
    let spawner = executor.spawner().clone();
    let (flag, trace) = (Gate::default(), Trace::default());
    // A local is dropped in the last step, when the joiner's wake is on its way.
    let local = SpawnsInDrop(spawner.clone(), trace.clone());
    let task = executor.spawn({
        let flag = flag.clone();
        async move {
            HELD.set(local);
            flag.wait().await;
        }
    });
    executor.run_until_stalled();
    let joined = executor.spawn({
        let trace = trace.clone();
        async move { trace.add(task.await.is_ok()) }
    });
    executor.run_until_stalled();
    flag.open();
    executor.run_until_stalled();
    assert!(joined.is_finished(), "the joiner was woken");
    assert_eq!(trace.take(), ["from the destructor", "true"]);

    executor.block_on(async move {
        let main = picot_context::current().unwrap().id();
        for _ in 0..picot_context::budget::PER_STEP {
            picot_context::budget::spend();
        }
        let spent =
            || std::future::poll_fn(|cx| std::task::Poll::Ready(picot_context::budget::poll_left(cx).is_pending()));
        assert!(spent().await);
        let child = spawner.build_task().eager().spawn(async move { spent().await });
        assert!(!child.await.unwrap(), "a step of its own has a budget of its own");
        assert_eq!(picot_context::current().unwrap().id(), main);
    });
}

/// After an eager spawn a task still finds its own metadata: it may enter a section, and a wait for
/// itself is an error.
#[test]
fn the_outer_step_belongs_to_its_task_again() {
    let executor = Rc::new(Executor::new());
    let (spawner, own) = (executor.spawner().clone(), Rc::new(Cell::new(None)));
    let (handle, trace): (Rc<Cell<Option<Task<()>>>>, _) = (own.clone(), Trace::default());
    let inside = trace.clone();
    own.set(Some(executor.spawn(async move {
        drop(spawner.build_task().eager().spawn(async {}));
        drop(spawner.exclusive().await);
        inside.add("left the section");
        let error = handle.take().unwrap().await.unwrap_err();
        inside.add(error.to_string().contains("waits for itself"));
    })));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["left the section", "true"]);
}

#[test]
fn a_panic_in_the_first_step_does_not_reach_the_spawner() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let reports = reports(&executor);
    let spawner = executor.spawner().clone();
    let inside = trace.clone();
    executor.call_soon(move || {
        drop(spawner.build_task().eager().spawn(async { quiet_panic("eager") }));
        inside.add("the callback continues");
    });
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["the callback continues"]);
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Task: ") && texts[0].contains("\"eager\""), "{}", texts[0]);
}

#[test]
fn eager_tasks_can_nest_and_cannot_run_the_executor() {
    let executor = Rc::new(Executor::new());
    let spawner = executor.spawner().clone();
    let inner = executor.clone();
    let outer = executor.spawner().build_task().eager().spawn(async move {
        let refused = picot_context::catch(|| inner.run_until_stalled()).is_err();
        let child = spawner.build_task().eager().spawn(async { 1 });
        (refused, child.is_finished(), child.await.unwrap())
    });
    assert!(outer.is_finished());
    assert_eq!(executor.block_on(async { outer.await.unwrap() }), (true, true, 1));
}

#[test]
fn a_closed_executor_refuses_eager_tasks_and_polls_nothing() {
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.close();
    let inside = trace.clone();
    let task = executor.spawner().build_task().eager().spawn(async move { inside.add("body") });
    assert!(task.is_finished());
    assert!(Executor::new().block_on(async { task.await.unwrap_err() }).is_cancelled());
    assert!(trace.take().is_empty());
}
