//! A loop that sleeps elsewhere gets an interrupt exactly when it needs one.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use picot_context::{Cause, Kind, Origin, Report};
use picot_executor::{Executor, Hooks, Spawner};
use picot_testkit::WakeCount;

use crate::trace::Trace;

const MANY: usize = if cfg!(miri) { 20 } else { 1000 };

/// An executor with a pending task, and all ways to reach it from another thread.
struct Scene {
    executor: Executor,
    interrupts: WakeCount,
    task: Waker,
    polls: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Scene {
        let interrupts = WakeCount::default();
        let executor = Executor::with_interrupt(interrupts.waker());
        let (waker, polls): (Arc<Mutex<Option<Waker>>>, _) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (given, counted) = (waker.clone(), polls.clone());
        drop(executor.spawn(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            *given.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        executor.run_until_stalled();
        let task = waker.lock().unwrap().take().unwrap();
        Scene { executor, interrupts, task, polls }
    }

    /// Another thread wakes the task, pushes a call, and spawns a task, `times` times each. Returns
    /// the total number of interrupts since the beginning.
    fn push(&self, times: usize) -> usize {
        let (task, remote) = (self.task.clone(), self.executor.remote());
        let pushes = move || {
            for _ in 0..times {
                task.wake_by_ref();
                remote.call_soon(|| ()).unwrap();
                drop(remote.spawn(|| async {}).unwrap());
            }
        };
        thread::spawn(pushes).join().unwrap();
        self.interrupts.get()
    }

    /// Takes the pushed items. Returns their number, and the number of polls of the task.
    fn look(&self) -> (usize, usize) {
        let before = self.polls.load(Ordering::Relaxed);
        let taken = std::iter::from_fn(|| Some(self.executor.take_remote()).filter(|taken| *taken != 0)).sum();
        self.executor.run_until_stalled();
        (taken, self.polls.load(Ordering::Relaxed) - before)
    }
}

#[test]
fn an_owner_that_is_awake_is_never_interrupted() {
    let scene = Scene::new();
    assert_eq!(scene.push(MANY), 0);
    assert_eq!(scene.look(), (1 + 2 * MANY, 1), "the task once, each call, and each new task");
    assert_eq!(scene.push(MANY), 0);
}

#[test]
fn a_sleeping_owner_is_interrupted_once_and_not_after_it_has_woken_up() {
    let scene = Scene::new();
    for round in 1..4 {
        let asleep = scene.executor.fall_asleep().expect("nothing has come yet");
        assert_eq!(scene.push(MANY), round);
        assert!(scene.executor.has_remote());
        drop(asleep);
        assert_eq!(scene.push(1), round, "awake, and about to take");
        assert_eq!(scene.look().1, 1);
        assert_eq!(scene.push(1), round, "awake, and it has taken all items");
        assert!(scene.executor.fall_asleep().is_none(), "items that arrived in between must be taken first");
        assert_eq!(scene.push(1), round);
        assert_eq!(scene.look().1, 1);
    }
}

#[test]
fn a_sleep_without_an_interrupt_ends() {
    let scene = Scene::new();
    drop(scene.executor.fall_asleep().unwrap());
    assert!(!scene.executor.has_remote());
    assert_eq!(scene.push(10), 0);
}

#[test]
fn a_sleep_whose_guard_is_leaked_costs_one_needless_interrupt_and_loses_nothing() {
    let scene = Scene::new();
    std::mem::forget(scene.executor.fall_asleep().unwrap());
    assert_eq!(scene.push(MANY), 1);
    assert_eq!(scene.look().1, 1);
    assert_eq!(scene.push(MANY), 1, "it has taken all items, so it is awake");
    scene.look();

    std::mem::forget(scene.executor.fall_asleep().unwrap());
    let asleep = scene.executor.fall_asleep().expect("it may continue to sleep");
    assert_eq!(scene.push(MANY), 2);
    drop(asleep);
    assert_eq!(scene.look().1, 1);
}

#[test]
fn items_of_the_own_thread_do_not_interrupt() {
    let scene = Scene::new();
    let asleep = scene.executor.fall_asleep().unwrap();
    scene.task.wake_by_ref();
    scene.executor.remote().call_soon(|| ()).unwrap();
    drop(scene.executor.remote().spawn(|| async {}).unwrap());
    drop(asleep);
    assert_eq!((scene.look(), scene.interrupts.get()), ((0, 1), 0));
}

#[test]
#[should_panic(expected = "the loop that this executor was made for drives it")]
fn an_executor_with_an_interrupt_cannot_block_on_a_future() {
    Scene::new().executor.block_on(async {});
}

#[test]
fn a_guest_wait_is_interrupted_once_for_the_first_local_item_and_for_a_report() {
    let scene = Scene::new();
    let interrupts = || scene.interrupts.get();
    let begin = || assert!(scene.executor.begin_guest_wait(), "there is nothing to do");
    let report = || scene.executor.spawner().report(Report::new(Origin::new(Kind::Loop), Cause::DeadEnd(Vec::new())));
    scene.executor.spawner().set_error_hook(|_| ());

    begin();
    scene.task.wake_by_ref();
    (0..MANY).for_each(|_| drop(scene.executor.call_soon(|| ())));
    assert_eq!(interrupts(), 1);
    assert!(!scene.executor.begin_guest_wait(), "queued items must run first");
    scene.executor.end_guest_wait();
    assert_eq!(scene.executor.run_batch(usize::MAX), 1 + MANY);

    begin();
    report();
    report();
    assert_eq!(interrupts(), 2);
    scene.executor.end_guest_wait();
    assert!(scene.executor.deliver_reports());

    begin();
    assert_eq!(scene.push(MANY), 3, "from other threads as well");
    scene.executor.end_guest_wait();
    scene.look();

    begin();
    scene.executor.end_guest_wait();
    drop(scene.executor.call_soon(|| ()));
    report();
    assert_eq!(scene.push(MANY), 3, "after the wait nothing interrupts, from other threads neither");
}

/// The hooks of a guest's wait come in pairs, and what they queue comes before the wait.
#[test]
fn the_hooks_of_a_guests_wait_stand_around_it() {
    struct Parks(Spawner, Trace, Cell<bool>);
    impl Hooks for Parks {
        fn park(&self) {
            self.1.add("park");
            if self.2.take() {
                drop(self.0.call_soon(|| ()));
            }
        }

        fn unpark(&self) {
            self.1.add("unpark");
        }
    }
    let (scene, trace) = (Scene::new(), Trace::default());
    let spawner = scene.executor.spawner();
    spawner.set_hooks(Rc::new(Parks(spawner.clone(), trace.clone(), Cell::new(true))));
    assert!(!scene.executor.begin_guest_wait(), "the hook has queued something");
    assert_eq!((trace.take().join(" "), scene.executor.run_until_stalled()), ("park unpark".to_string(), 1));
    assert!(scene.executor.begin_guest_wait());
    assert_eq!(trace.take(), ["park"]);
    scene.executor.end_guest_wait();
    assert_eq!(trace.take(), ["unpark"]);
    assert_eq!(scene.interrupts.get(), 0);
}

#[test]
fn a_section_that_ends_in_a_guest_wait_interrupts_it_only_for_held_items() {
    for held in [0, 1, 30] {
        let scene = Scene::new();
        let guard = Rc::new(Cell::new(None));
        let (slot, spawner) = (guard.clone(), scene.executor.spawner().clone());
        drop(scene.executor.spawn(async move {
            slot.set(Some(spawner.exclusive().await));
            std::future::pending::<()>().await
        }));
        scene.executor.run_until_stalled();
        (0..held).for_each(|_| drop(scene.executor.call_soon(|| ())));
        scene.executor.run_until_stalled();

        assert!(scene.executor.begin_guest_wait(), "all queued items are held back");
        drop(guard.take());
        assert_eq!(scene.interrupts.get(), usize::from(held != 0), "{held} held back");
        if held == 0 {
            drop(scene.executor.call_soon(|| ()));
            assert_eq!(scene.interrupts.get(), 1, "the wait continues until an item arrives");
        }
        scene.executor.end_guest_wait();
        assert_eq!(scene.executor.run_until_stalled(), held.max(1));
    }
}

#[test]
fn an_executor_that_closes_in_a_guest_wait_drops_later_items() {
    let scene = Scene::new();
    assert!(scene.executor.begin_guest_wait());
    drop(scene.executor.call_soon(|| unreachable!()));
    assert_eq!(scene.executor.close().callbacks, 1);
    scene.executor.end_guest_wait();
    assert!(!scene.executor.begin_guest_wait() || scene.executor.ready() == 0);
}
