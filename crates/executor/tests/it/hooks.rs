//! Hooks and the seed: the events that tools see, their order, and the effect of a shuffled order.

use std::cell::Cell;
use std::rc::Rc;

use picot_context::TaskInfo;
use picot_executor::{Executor, Exit, Hooks, Spawner, Step};

use crate::trace::{Trace, quiet_panic, reports, yield_now};

struct Watch(Trace);

impl Hooks for Watch {
    fn spawned(&self, task: &TaskInfo) {
        self.0.add(format!("spawned {}", task.given_name().unwrap_or("?")));
    }

    fn before_step(&self, step: Step) {
        let current = picot_context::current().map(|task| task.given_name().unwrap_or("?").to_string());
        assert_eq!(picot_context::running().unwrap().place(), step.place());
        self.0.add(format!("before {}", current.unwrap_or("call".into())));
    }

    fn after_step(&self, step: Step) {
        self.0.add(format!("after {}", step.task_id().map_or("call".into(), |id| id.to_string())));
    }

    fn exited(&self, task: &TaskInfo, exit: Exit) {
        self.0.add(format!("exited {} {exit:?}", task.given_name().unwrap_or("?")));
    }

    fn park(&self) {
        self.0.add("park");
    }

    fn unpark(&self) {
        self.0.add("unpark");
    }
}

#[test]
fn hooks_see_a_task_from_its_spawn_to_its_exit() {
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.spawner().set_hooks(Rc::new(Watch(trace.clone())));
    drop(executor.spawner().spawn_named("fetch", yield_now()));
    executor.call_soon(|| ());
    executor.run_until_stalled();
    assert_eq!(
        trace.take(),
        [
            "spawned fetch",
            "before fetch",
            "after 1",
            "before call",
            "after call",
            "before fetch",
            "exited fetch Returned",
            "after 1"
        ]
    );
    executor.spawner().reset_hooks();
    drop(executor.spawn(async {}));
    executor.run_until_stalled();
    assert!(trace.take().is_empty());
}

#[test]
fn hooks_see_every_way_to_end_once_also_of_eager_tasks_and_the_root() {
    let (executor, trace) = (Rc::new(Executor::new()), Trace::default());
    executor.spawner().set_hooks(Rc::new(Watch(trace.clone())));
    executor.spawner().set_error_hook(|_| ());
    let spawner = executor.spawner().clone();
    executor.block_on(async move {
        let named = |name: &str| spawner.build_task().name(name);
        drop(named("panics").spawn(async { quiet_panic("boom") }));
        let cancelled = named("cancelled").spawn(std::future::pending::<()>());
        cancelled.cancel("enough");
        drop(named("eager").eager().spawn(async {}));
        drop(named("left").spawn(std::future::pending::<()>()));
        yield_now().await;
    });
    executor.close();
    let exits: Vec<_> = trace.take().into_iter().filter(|event| event.starts_with("exited")).collect();
    assert_eq!(
        exits,
        [
            "exited eager Returned",
            "exited panics Panicked",
            "exited cancelled Cancelled",
            "exited main Returned",
            "exited left Cancelled"
        ]
    );
}

#[test]
fn park_and_unpark_surround_every_wait() {
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.spawner().set_hooks(Rc::new(Watch(trace.clone())));
    let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
    let thread = std::thread::spawn(move || receiver.recv().unwrap().wake());
    let mut sender = Some(sender);
    executor.block_on(std::future::poll_fn(move |cx| match sender.take() {
        None => std::task::Poll::Ready(()),
        Some(sender) => {
            sender.send(cx.waker().clone()).unwrap();
            std::task::Poll::Pending
        }
    }));
    thread.join().unwrap();
    assert_eq!(
        trace.take(),
        ["spawned main", "before main", "after 1", "park", "unpark", "before main", "exited main Returned", "after 1"]
    );
}

#[test]
fn a_park_hook_that_queues_something_keeps_the_thread_awake() {
    struct Once(Spawner, Cell<bool>, Trace);
    impl Hooks for Once {
        fn park(&self) {
            if !self.1.replace(true) {
                let trace = self.2.clone();
                self.0.call_soon(move || trace.add("queued by park")).unwrap();
            }
        }
    }
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.spawner().set_hooks(Rc::new(Once(executor.spawner().clone(), Cell::new(false), trace.clone())));
    assert!(executor.fall_asleep().is_none());
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["queued by park"]);
    assert!(executor.fall_asleep().is_some());
    executor.spawner().reset_hooks();
}

#[test]
fn a_hook_that_panics_is_reported_and_hooks_can_call_anything() {
    struct Wild(Spawner, Cell<u32>);
    impl Hooks for Wild {
        fn before_step(&self, _: Step) {
            self.1.set(self.1.get() + 1);
            if self.1.get() == 1 {
                drop(self.0.spawn(async {}));
                self.0.set_hooks(Rc::new(Watch(Trace::default())));
                quiet_panic("hook");
            }
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    executor.spawner().set_hooks(Rc::new(Wild(executor.spawner().clone(), Cell::new(0))));
    let task = executor.spawn(async { 1 });
    assert_eq!(executor.run_until_stalled(), 2);
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("Hook: task 1 ") && texts[0].contains("\"hook\""), "{}", texts[0]);
    executor.spawner().reset_hooks();
    assert_eq!(executor.block_on(async { task.await.unwrap() }), 1);
}

fn shuffled(seed: Option<u64>) -> Vec<String> {
    let (executor, trace) = (Executor::new(), Trace::default());
    executor.shuffle(seed);
    for name in 0..6 {
        let trace = trace.clone();
        drop(executor.spawn(async move {
            for step in 0..3 {
                trace.add(format!("{name}.{step}"));
                yield_now().await;
            }
        }));
    }
    let inside = trace.clone();
    executor.block_on(async move {
        yield_now().await;
        inside.add("main");
    });
    executor.run_until_stalled();
    trace.take()
}

#[test]
fn a_seed_decides_the_order_within_each_batch_and_nothing_else() {
    assert_eq!(shuffled(Some(7)), shuffled(Some(7)));
    assert_ne!(shuffled(Some(7)), shuffled(Some(8)));
    assert_ne!(shuffled(Some(7)), shuffled(None));
    let step = |event: &str| event.split('.').nth(1).map(|step| step.parse::<u32>().unwrap());
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let order = shuffled(Some(seed));
        assert_eq!(order.len(), 19);
        firsts.insert(order[0].clone());
        let steps: Vec<_> = order.iter().filter_map(|event| step(event)).collect();
        assert!(steps.is_sorted(), "a batch runs whole before what it schedules: {order:?}");
    }
    assert_eq!(firsts.len(), 6, "each may come first");
}
