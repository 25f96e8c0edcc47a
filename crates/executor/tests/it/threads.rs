//! Other threads wake, call and arrive too late, and a future never leaves its thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use picot_executor::{Executor, Hooks};

use crate::trace::Trace;

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    let executor = Executor::new();
    let (sender, receiver) = mpsc::channel::<Waker>();
    let woken = Arc::new(AtomicUsize::new(0));
    let thread = thread::spawn({
        let woken = woken.clone();
        move || {
            let waker = receiver.recv().unwrap();
            woken.store(1, Ordering::Relaxed);
            waker.wake();
        }
    });
    // Once for the root, and once more for a task.
    for_each_kind(&executor, sender, woken);
    thread.join().unwrap();
}

fn for_each_kind(executor: &Executor, sender: mpsc::Sender<Waker>, woken: Arc<AtomicUsize>) {
    let task = executor.spawn(poll_fn(move |cx| {
        if woken.load(Ordering::Relaxed) == 1 {
            return Poll::Ready("woken");
        }
        sender.send(cx.waker().clone()).unwrap();
        Poll::Pending
    }));
    assert_eq!(executor.block_on(async { task.await.unwrap() }), "woken");
}

#[test]
fn the_root_is_woken_from_another_thread() {
    let executor = Executor::new();
    let (sender, receiver) = mpsc::channel::<Waker>();
    let woken = Arc::new(AtomicUsize::new(0));
    let thread = thread::spawn({
        let woken = woken.clone();
        move || {
            for waker in receiver {
                woken.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            }
        }
    });
    executor.block_on(poll_fn(move |cx| {
        if woken.load(Ordering::Relaxed) == 100 {
            return Poll::Ready(());
        }
        sender.send(cx.waker().clone()).unwrap();
        Poll::Pending
    }));
    thread.join().unwrap();
}

#[test]
fn calls_from_another_thread_and_from_the_own_thread_keep_their_order() {
    let executor = Executor::new();
    let remote = executor.remote();
    let numbers = Arc::new(Mutex::new(Vec::new()));
    thread::spawn({
        let (remote, numbers) = (remote.clone(), numbers.clone());
        move || {
            for n in 0..100 {
                let numbers = numbers.clone();
                remote.call_soon(move || numbers.lock().unwrap().push(n)).unwrap();
            }
        }
    })
    .join()
    .unwrap();
    executor.run_until_stalled();
    assert_eq!(*numbers.lock().unwrap(), (0..100).collect::<Vec<_>>());

    let trace = Trace::default();
    let inside = trace.clone();
    executor.call_soon(move || inside.add("local"));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    remote.call_soon(move || _ = counted.fetch_add(1, Ordering::Relaxed)).unwrap();
    let (inside, seen) = (trace.clone(), count.clone());
    executor.call_soon(move || inside.add(seen.load(Ordering::Relaxed)));
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["local", "1"], "the remote call of the own thread is between the two");
}

#[test]
fn calls_that_arrive_before_close_are_dropped_on_the_executors_thread_and_counted() {
    struct HomeCheck(thread::ThreadId, Arc<AtomicUsize>);
    impl Drop for HomeCheck {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0);
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let executor = Executor::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    let check = HomeCheck(thread::current().id(), dropped.clone());
    let remote = executor.remote();
    thread::spawn(move || remote.call_soon(move || drop(check)).unwrap()).join().unwrap();
    let report = executor.close();
    assert_eq!((report.callbacks, dropped.load(Ordering::Relaxed)), (1, 1));
}

/// Several threads wake a number of tasks as fast as they can. Every wake must lead to a poll that
/// begins after it: each thread writes how often it has woken a task, and the last poll of the task
/// must have seen every last count.
#[test]
fn every_wake_leads_to_a_poll_that_begins_after_it() {
    const THREADS: usize = 4;
    const TASKS: usize = 8;
    const WAKES: u64 = if cfg!(miri) { 40 } else { 20_000 };

    let executor = Executor::new();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..THREADS * TASKS).map(|_| AtomicU64::new(0)).collect());
    let polls = Rc::new(Cell::new(0_u64));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (wakers, counts, polls) = (wakers.clone(), counts.clone(), polls.clone());
            let mut given = false;
            executor.spawn(poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if !given {
                    given = true;
                    wakers.lock().unwrap().push(cx.waker().clone());
                }
                let all = (0..THREADS).all(|thread| counts[thread * TASKS + task].load(Ordering::Relaxed) == WAKES);
                if all { Poll::Ready(()) } else { Poll::Pending }
            }))
        })
        .collect();
    executor.run_until_stalled();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (wakers, counts) = (wakers.lock().unwrap().clone(), counts.clone());
            thread::spawn(move || {
                for n in 1..=WAKES {
                    for (task, waker) in wakers.iter().enumerate() {
                        counts[thread * TASKS + task].store(n, Ordering::Relaxed);
                        waker.wake_by_ref();
                    }
                }
            })
        })
        .collect();
    // If a last wake were lost, this would hang: each task needs a poll after the last wake of
    // every thread.
    executor.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(polls.get() <= (THREADS * TASKS) as u64 * WAKES + TASKS as u64, "no poll without a wake");
}

/// Wakes and calls from other threads continue while the executor closes, and after it. The futures
/// are dropped on the executor's thread, and every call has run, or was dropped and counted, or was
/// returned.
#[test]
fn closing_under_load_loses_nothing_and_drops_everything_on_the_executors_thread() {
    struct Home(thread::ThreadId, Arc<AtomicUsize>);
    impl Drop for Home {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0, "a future was dropped on the wrong thread");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    const ROUNDS: usize = if cfg!(miri) { 5 } else { 100 };
    const CALLS: usize = if cfg!(miri) { 20 } else { 500 };
    for round in 0..ROUNDS {
        let executor = Executor::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        for _ in 0..4 {
            let home = Home(thread::current().id(), dropped.clone());
            let wakers = wakers.clone();
            drop(executor.spawn(async move {
                let _home = home;
                poll_fn(|cx| {
                    wakers.lock().unwrap().push(cx.waker().clone());
                    Poll::<()>::Pending
                })
                .await;
            }));
        }
        executor.run_until_stalled();
        let all = wakers.lock().unwrap().clone();
        let (ran, made, refused) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (all, remote) = (all.clone(), executor.remote());
                let (ran, made, refused) = (ran.clone(), made.clone(), refused.clone());
                thread::spawn(move || {
                    for _ in 0..CALLS {
                        all.iter().for_each(Waker::wake_by_ref);
                        let ran = ran.clone();
                        made.fetch_add(1, Ordering::Relaxed);
                        if remote.call_soon(move || _ = ran.fetch_add(1, Ordering::Relaxed)).is_err() {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..round {
            executor.run_until_stalled();
        }
        let report = executor.close();
        assert_eq!(report.tasks.len(), 4);
        assert_eq!((report.leaked, dropped.load(Ordering::Relaxed)), (0, 4));
        for thread in threads {
            thread.join().unwrap();
        }
        let sum = ran.load(Ordering::Relaxed) + report.callbacks + refused.load(Ordering::Relaxed);
        assert_eq!(sum, made.load(Ordering::Relaxed));
    }
}

/// The records of a storm: for each thread and task, the number of the thread's last wake, written
/// before that wake; and the highest number that the last poll has found, written at its beginning.
struct Storm {
    sent: Vec<AtomicU64>,
    seen: Vec<AtomicU64>,
    /// For each task: whether its future has been dropped.
    ended: Vec<AtomicBool>,
    closed: AtomicBool,
    made: AtomicU64,
    threads: AtomicUsize,
}

impl Storm {
    const THREADS: usize = 3;
    const TASKS: usize = 16;
    /// The number of wakes, at least, before the executor closes.
    const WAKES: u64 = if cfg!(miri) { 300 } else { 2_000_000 };
    /// The number of bursts that each thread makes after that.
    const BURSTS_AFTER_CLOSE: usize = if cfg!(miri) { 2 } else { 100 };

    fn new() -> Storm {
        let numbers = || (0..Storm::THREADS * Storm::TASKS).map(|_| AtomicU64::new(0)).collect();
        let ended = (0..Storm::TASKS).map(|_| AtomicBool::new(false)).collect();
        let (closed, made) = (AtomicBool::new(false), AtomicU64::new(0));
        Storm { sent: numbers(), seen: numbers(), ended, closed, made, threads: AtomicUsize::new(Storm::THREADS) }
    }

    /// One thread: makes bursts of wakes of all tasks, and waits after each until its last wake of
    /// each task has led to a poll that began after it, or the task has ended. It continues for a
    /// while after the executor is closed. Returns how many of its wakes have led to a poll, and
    /// how many came too late.
    fn blow(&self, thread: usize, wakers: &[Waker], root: &Waker) -> (u64, u64) {
        let (mut answered, mut late) = (0, 0);
        let mut open: Vec<VecDeque<u64>> = vec![VecDeque::new(); Storm::TASKS];
        let (mut number, mut after_close) = (0, 0);
        for burst in 0.. {
            if self.closed.load(Ordering::Relaxed) {
                if after_close == Storm::BURSTS_AFTER_CLOSE {
                    break;
                }
                after_close += 1;
            }
            for _ in 0..=burst % 16 {
                number += 1;
                for (task, waker) in wakers.iter().enumerate() {
                    self.sent[thread * Storm::TASKS + task].store(number, Ordering::Relaxed);
                    open[task].push_back(number);
                    waker.wake_by_ref();
                }
                self.made.fetch_add(wakers.len() as u64, Ordering::Relaxed);
            }
            root.wake_by_ref();
            let mut yields = 0;
            for (task, open) in open.iter_mut().enumerate() {
                while let Some(first) = open.front() {
                    // In this order, because the record of an ended task is final.
                    let ended = self.ended[task].load(Ordering::Acquire);
                    if *first <= self.seen[thread * Storm::TASKS + task].load(Ordering::Relaxed) {
                        answered += 1;
                    } else if ended {
                        late += 1;
                    } else {
                        yields += 1;
                        assert!(yields < 5_000_000, "wake {first} of task {task} has led to no poll");
                        thread::yield_now();
                        continue;
                    }
                    open.pop_front();
                }
            }
        }
        (answered, late)
    }
}

/// Records that the future is dropped, and checks that the thread is the executor's.
struct Ends(Arc<Storm>, usize, thread::ThreadId);

impl Drop for Ends {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.2, "a future was dropped on the wrong thread");
        assert!(!self.0.ended[self.1].swap(true, Ordering::AcqRel), "it was dropped twice");
    }
}

/// Records that the thread has ended, also by a panic, so that the executor does not wait for more
/// of its wakes.
struct Leaves(Arc<Storm>, Waker);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Ordering::Relaxed);
        self.1.wake_by_ref();
    }
}

/// Several threads wake tasks and the root as fast as they can, millions of times, while tasks are
/// polled, end, and the executor sleeps, and closes in the middle. The threads record for each wake
/// whether it has led to a poll; the tasks count as well, and the sums must agree.
#[test]
fn in_a_storm_every_wake_leads_to_a_later_poll_or_is_too_late() {
    const THREADS: usize = Storm::THREADS;
    const TASKS: usize = Storm::TASKS;
    for watched in [false, true] {
        let (executor, storm) = (Executor::new(), Arc::new(Storm::new()));
        let naps = Rc::new(Naps::default());
        if watched {
            executor.spawner().set_hooks(naps.clone());
        }
        let (wakers, answered, polls) =
            (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for task in 0..TASKS {
            let (wakers, answered, polls) = (wakers.clone(), answered.clone(), polls.clone());
            let (ends, mut last) = (Ends(storm.clone(), task, thread::current().id()), [0; THREADS]);
            drop(executor.spawn(async move {
                let Ends(storm, ..) = &ends;
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    if polls.get() == task + 1 {
                        wakers.borrow_mut().push(cx.waker().clone());
                    }
                    for (thread, last) in last.iter_mut().enumerate() {
                        let found = storm.sent[thread * TASKS + task].load(Ordering::Relaxed);
                        answered.set(answered.get() + found - *last);
                        storm.seen[thread * TASKS + task].store(found, Ordering::Relaxed);
                        *last = found;
                    }
                    // Half of the tasks end on the way, under the wakes of all threads.
                    let ends = task % 2 == 0 && storm.made.load(Ordering::Relaxed) >= Storm::WAKES / 2;
                    if ends { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }));
        }
        assert_eq!(executor.run_batch(usize::MAX), TASKS);
        let wakers = wakers.take();
        let mut threads: Vec<thread::JoinHandle<(u64, u64)>> = Vec::new();
        executor.block_on(poll_fn(|cx| {
            while threads.len() < THREADS {
                let (thread, storm, wakers, root) = (threads.len(), storm.clone(), wakers.clone(), cx.waker().clone());
                threads.push(thread::spawn(move || {
                    let _leaves = Leaves(storm.clone(), root.clone());
                    storm.blow(thread, &wakers, &root)
                }));
            }
            let blows =
                storm.made.load(Ordering::Relaxed) < Storm::WAKES && storm.threads.load(Ordering::Relaxed) == THREADS;
            if blows { Poll::Pending } else { Poll::Ready(()) }
        }));
        // All threads have begun, and continue for a while.
        let report = executor.close();
        storm.closed.store(true, Ordering::Relaxed);
        assert!(storm.ended.iter().all(|ended| ended.load(Ordering::Relaxed)), "all were dropped");
        let sums = threads.into_iter().map(|thread| thread.join().unwrap());
        let (answered_there, late) = sums.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let made = storm.made.load(Ordering::Relaxed);
        assert_eq!((report.tasks.len(), report.leaked), (TASKS / 2, 0));
        assert_eq!(
            answered.get() + late,
            made,
            "the sums agree: the wakes that the tasks have seen, and those that were late"
        );
        assert_eq!(answered_there, answered.get());
        assert!(
            late >= (THREADS * TASKS * 100) as u64 && answered.get() >= Storm::WAKES / 2,
            "{late} of {made} were late"
        );
        assert!(polls.get() as u64 <= answered.get() + TASKS as u64, "no poll without a wake");
        assert!(!watched || naps.0.get() > 0, "it slept in the storm");
    }
}

/// Counts how often the executor sleeps.
#[derive(Default)]
struct Naps(Cell<usize>);

impl Hooks for Naps {
    fn park(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A million wakes that begin before the executor closes and continue long after it is gone: none
/// has an effect, none moves a future to another thread, and every future is dropped on the
/// executor's thread.
#[test]
fn a_million_wakes_during_and_after_close_have_no_effect() {
    const THREADS: usize = 2;
    const TASKS: usize = 100;
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 5_000 };
    struct Home(thread::ThreadId, Arc<AtomicUsize>);
    impl Drop for Home {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.0, "a future was dropped on the wrong thread");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let executor = Executor::new();
    let (wakers, dropped): (Arc<Mutex<Vec<Waker>>>, _) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..TASKS {
        let (home, wakers) = (Home(thread::current().id(), dropped.clone()), wakers.clone());
        drop(executor.spawn(async move {
            let _home = home;
            poll_fn(|cx| {
                wakers.lock().unwrap().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
    }
    executor.run_until_stalled();
    let all = std::mem::take(&mut *wakers.lock().unwrap());
    let begun = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (all, begun) = (all.clone(), begun.clone());
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    begun.fetch_add(all.len(), Ordering::Relaxed);
                    all.iter().for_each(Waker::wake_by_ref);
                }
            })
        })
        .collect();
    while begun.load(Ordering::Relaxed) < TASKS {
        thread::yield_now();
    }
    let report = executor.close();
    assert_eq!((report.tasks.len(), report.leaked, dropped.load(Ordering::Relaxed)), (TASKS, 0, TASKS));
    drop(executor);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(begun.load(Ordering::Relaxed), THREADS * TASKS * ROUNDS);
    all.into_iter().for_each(Waker::wake);
}
