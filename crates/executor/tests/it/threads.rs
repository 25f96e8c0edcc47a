//! Other threads: they wake, they call, they come too late. A future never leaves its thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use picot_executor::Executor;

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
fn calls_from_another_thread_keep_their_order_and_so_do_those_from_the_own_thread() {
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
    assert_eq!(trace.take(), ["local", "1"], "the remote call of the own thread stands between the two");
}

#[test]
fn calls_that_come_before_close_are_dropped_on_the_thread_and_counted() {
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

/// Several threads wake a number of tasks as fast as they can. Every wake must lead to a poll that begins after it: each
/// thread writes how often it has woken a task, and the task's last poll must have seen every last count.
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
    // If a last wake were lost, this would hang: each task needs a poll after the last wake of every thread.
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

/// Wakes and calls from other threads go on while the executor closes, and after it. The futures are dropped at home, and
/// every call has run, or was dropped and counted, or came back.
#[test]
fn closing_under_fire_loses_nothing_and_drops_everything_at_home() {
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

/// The accounts of a storm: several threads wake tasks as fast as they can, millions of times, while tasks are polled, end,
/// and the executor closes in the middle. Each thread numbers its wakes of a task before it wakes; each poll notes the numbers
/// it sees at its beginning. A wake has led to a poll if a poll began that saw its number or a later one; all others must
/// have come when the task had ended or the executor was closed.
#[test]
fn in_a_storm_every_wake_leads_to_a_poll_that_begins_after_it_or_comes_too_late() {
    const THREADS: usize = 3;
    const TASKS: usize = 16;
    const WAKES: u64 = if cfg!(miri) { 20 } else { 25_000 };

    let executor = Executor::new();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..THREADS * TASKS).map(|_| AtomicU64::new(0)).collect());
    let seen: Rc<Vec<Cell<u64>>> = Rc::new((0..THREADS * TASKS).map(|_| Cell::new(0)).collect());
    let polls = Rc::new(Cell::new(0_u64));
    for task in 0..TASKS {
        let (wakers, sent, seen, polls) = (wakers.clone(), sent.clone(), seen.clone(), polls.clone());
        let mut given = false;
        drop(executor.spawn(poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            if !std::mem::replace(&mut given, true) {
                wakers.lock().unwrap().push(cx.waker().clone());
            }
            for thread in 0..THREADS {
                let number = thread * TASKS + task;
                seen[number].set(sent[number].load(Ordering::Relaxed));
            }
            // Half of them end on the way, under the wakes of all threads.
            let ends = task % 2 == 0 && seen[task].get() >= WAKES / 2;
            if ends { Poll::Ready(()) } else { Poll::Pending }
        })));
    }
    executor.run_until_stalled();
    let running = Arc::new(AtomicUsize::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (wakers, sent, running) = (wakers.lock().unwrap().clone(), sent.clone(), running.clone());
            thread::spawn(move || {
                let mut made = 0_u64;
                for n in 1..=WAKES {
                    for (task, waker) in wakers.iter().enumerate() {
                        sent[thread * TASKS + task].store(n, Ordering::Relaxed);
                        waker.wake_by_ref();
                        made += 1;
                    }
                }
                running.fetch_sub(1, Ordering::Release);
                made
            })
        })
        .collect();
    while running.load(Ordering::Acquire) != 0 {
        executor.run_until_stalled();
    }
    let made: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    executor.run_until_stalled();
    assert_eq!(made, THREADS as u64 * TASKS as u64 * WAKES);
    let (mut answered, mut late) = (0, 0);
    for (number, seen) in seen.iter().enumerate() {
        answered += seen.get();
        if number % TASKS % 2 == 1 {
            assert_eq!(seen.get(), WAKES, "the last wake of a task that lives leads to a poll that begins after it");
        } else {
            late += WAKES - seen.get();
        }
    }
    assert_eq!(answered + late, made, "the sums agree");
    assert!(polls.get() <= answered + TASKS as u64, "no poll without a wake");
    assert_eq!(executor.close().tasks.len(), TASKS / 2);
}

/// A million wakes that begin before the executor closes and go on long after it is gone: none does anything, none is lost
/// to another thread, and every future is dropped at home.
#[test]
fn a_million_wakes_during_and_after_close_do_nothing() {
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
