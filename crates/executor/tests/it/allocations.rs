//! A task is one allocation; a wake and a join are none, even between threads. Measured by an
//! allocator that counts for each thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use picot_executor::{Executor, Task};
use picot_testkit::alloc::{Counting, allocations, held_bytes};

use crate::trace::{Gate, yield_now};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An executor whose queue and table have grown, also the table's rare state.
fn grown() -> Executor {
    let executor = Executor::new();
    let mut tasks: Vec<_> = (0..if cfg!(miri) { 100 } else { 512 }).map(|_| executor.spawn(yield_now())).collect();
    for mut task in &mut tasks {
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    executor.run_until_stalled();
    executor
}

#[test]
fn a_task_is_one_allocation_and_a_wake_is_none() {
    let executor = grown();
    assert_eq!(allocations(|| drop(executor.spawn(async {}))), 1);
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), 1)), 0);

    let task = executor.spawn(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    });
    let running = allocations(|| _ = executor.run_until_stalled());
    assert_eq!(running, 0);
    drop(task);
}

/// A future of exactly `SIZE` bytes that completes at once.
struct Sized<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Future for Sized<SIZE> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(self.0.len())
    }
}

#[test]
fn a_future_below_two_kibibytes_is_inside_its_task_and_a_larger_one_is_boxed() {
    let executor = grown();
    // The task stores nothing else beside its future that counts for the limit of `async-task`.
    assert_eq!(allocations(|| drop(executor.spawn(Sized([0; 2047])))), 1);
    assert_eq!(allocations(|| drop(executor.spawn(Sized([0; 2048])))), 2);
    executor.run_until_stalled();
}

/// The number of items in one block of the inbox.
const BLOCK: usize = 31;

/// Tasks that were polled and are pending, with their wakers.
fn waiting(executor: &Executor, count: usize) -> (Vec<Task<()>>, Vec<Waker>) {
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let tasks = (0..count).map(|_| {
        let wakers = wakers.clone();
        let mut is_woken = false;
        executor.spawn(poll_fn(move |cx| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(());
            }
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        }))
    });
    let tasks = tasks.collect();
    assert_eq!(executor.run_until_stalled(), count);
    (tasks, wakers.take())
}

#[test]
fn a_wake_from_another_thread_allocates_only_inbox_blocks_and_only_there() {
    const TASKS: usize = if cfg!(miri) { 2 * BLOCK } else { 10 * BLOCK };
    let executor = grown();
    let (tasks, wakers) = waiting(&executor, TASKS);
    let there = thread::spawn(move || {
        let blocks = allocations(|| wakers.iter().for_each(Waker::wake_by_ref));
        let again = allocations(|| wakers.iter().for_each(Waker::wake_by_ref));
        (blocks, again, wakers)
    });
    let (blocks, again, wakers) = there.join().unwrap();
    // The first block may exist already, and the next one is allocated ahead.
    assert!((TASKS / BLOCK - 1..=TASKS / BLOCK + 1).contains(&blocks), "{blocks} allocations");
    assert_eq!(again, 0, "a queued task is not queued again");
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), TASKS)), 0);
    assert!(tasks.iter().all(Task::is_finished));
    let late = thread::spawn(move || allocations(|| wakers.into_iter().for_each(Waker::wake)));
    assert_eq!(late.join().unwrap(), 0, "an ended task is not queued either");
}

#[test]
fn waiting_for_a_task_allocates_nothing_for_any_kind_of_waiter() {
    let executor = grown();
    let flag = Gate::default();
    let raised = flag.clone();
    let child = executor.spawn(async move { raised.wait().await });
    let parent = executor.spawn(async move { child.await.unwrap() });
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), 2)), 0, "a task of the same executor");
    flag.open();
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), 2)), 0);
    assert!(parent.is_finished());

    // A task of another executor on the same thread, whose waker is cloned.
    let other = grown();
    let flag = Gate::default();
    let raised = flag.clone();
    let child = executor.spawn(async move { raised.wait().await });
    let parent = other.spawn(async move { child.await.unwrap() });
    let run = || executor.run_until_stalled() + other.run_until_stalled();
    assert_eq!(allocations(|| assert_eq!(run(), 2)), 0);
    flag.open();
    assert_eq!(allocations(|| assert_eq!(run(), 2)), 0);
    assert!(parent.is_finished());
}

#[test]
fn a_task_from_another_thread_allocates_a_request_a_mailbox_and_the_task() {
    let executor = grown();
    let remote = executor.remote();
    // The inbox allocates its first block.
    let first = remote.clone();
    thread::spawn(move || first.call_soon(|| ()).unwrap()).join().unwrap();
    assert_eq!(executor.run_until_stalled(), 1);

    let (started, has_started) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut task = None;
        let spawned = allocations(|| task = Some(remote.spawn(|| async { 5 }).unwrap()));
        started.send(()).unwrap();
        goes.recv().unwrap();
        let mut task = task.unwrap();
        let waited = allocations(|| assert_eq!(task.wait(None).unwrap(), 5));
        (spawned, waited)
    });
    has_started.recv().unwrap();
    let here = allocations(|| assert_eq!(executor.run_until_stalled(), 1));
    go.send(()).unwrap();
    assert_eq!((thread.join().unwrap(), here), ((2, 0), 1));
}

/// The memory that a peak leaves, however it was made and however it ended: by the end of a run, or
/// in a loop that sleeps from time to time.
#[test]
fn memory_of_a_peak_of_tasks_and_callbacks_is_freed() {
    const PEAK: usize = 10_000;
    type Peak = (&'static str, fn(&Executor));
    let peaks: [Peak; 5] = [
        ("tasks that are awaited", |executor| {
            executor.block_on(async {
                let tasks: Vec<_> = (0..PEAK).map(|_| executor.spawn(yield_now())).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }),
        ("tasks that are named and cancelled", |executor| {
            let named = |n| executor.spawner().spawn_named(&format!("{n}"), std::future::pending::<()>());
            let tasks: Vec<_> = (0..PEAK).map(named).collect();
            executor.run_until_stalled();
            tasks.iter().for_each(|task| assert!(task.cancel("the peak is over")));
            executor.run_until_stalled();
        }),
        ("callbacks", |executor| {
            (0..PEAK).for_each(|_| drop(executor.call_soon(|| ())));
            executor.run_until_stalled();
        }),
        ("items that an exclusive section holds", |executor| {
            let spawner = executor.spawner().clone();
            executor.block_on(async {
                let alone = spawner.exclusive().await;
                (0..PEAK).for_each(|_| drop(spawner.call_soon(|| ()).unwrap()));
                assert_eq!(alone.held(), PEAK);
            });
            executor.run_until_stalled();
        }),
        ("items from another thread", |executor| {
            let remote = executor.remote();
            thread::spawn(move || (0..PEAK).for_each(|_| remote.call_soon(|| ()).unwrap())).join().unwrap();
            executor.run_until_stalled();
        }),
    ];
    for (what, peak) in peaks {
        let executor = Executor::new();
        executor.run_until_stalled();
        let before = held_bytes();
        peak(&executor);
        // The loop continues, and sleeps from time to time.
        (0..64).for_each(|_| drop(executor.fall_asleep()));
        let kept = held_bytes() - before;
        // Allocations of another thread are counted there, and freed here.
        assert!(kept < 100_000, "{what}: {kept} bytes are kept");
    }
}

#[test]
#[cfg_attr(miri, ignore = "a hundred thousand tasks take minutes")]
fn memory_of_a_great_peak_of_tasks_is_freed_at_the_first_sleep() {
    const PEAK: usize = 100_000;
    let executor = Executor::new();
    executor.run_until_stalled();
    let before = held_bytes();
    let park = || (0..PEAK).map(|_| executor.spawn(std::future::pending::<()>())).collect::<Vec<_>>();
    let end = |tasks: &[picot_executor::Task<()>]| {
        tasks.iter().for_each(|task| assert!(task.cancel("the peak is over")));
        executor.run_until_stalled();
    };
    for _ in 0..2 {
        let tasks = park();
        executor.run_until_stalled();
        assert_eq!(allocations(|| drop(executor.fall_asleep())), 0, "all of it is in use");
        end(&tasks);
        drop(tasks);
        assert!(held_bytes() - before > 2_000_000, "the peak has left its tables and rows");
        drop(executor.fall_asleep());
        let kept = held_bytes() - before;
        assert!(kept < 100_000, "{kept} bytes are kept after a sleep");
    }
}

#[test]
fn a_load_that_comes_and_goes_in_each_turn_does_not_allocate_for_its_queue() {
    let executor = grown();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for _ in 0..400 {
        let wakers = wakers.clone();
        drop(executor.spawn(poll_fn(move |cx| {
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        })));
    }
    executor.run_until_stalled();
    executor.run_until_stalled();
    let turn = || {
        let mut woken = wakers.take();
        woken.drain(..).for_each(Waker::wake);
        wakers.replace(woken);
        executor.run_until_stalled();
        for _ in 0..100 {
            drop(executor.fall_asleep());
        }
    };
    (0..3).for_each(|_| turn());
    assert_eq!(allocations(|| (0..20).for_each(|_| turn())), 0);
}
