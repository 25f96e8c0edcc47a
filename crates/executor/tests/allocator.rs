//! A global allocator that calls back: at large allocations and releases it wakes tasks, as an
//! allocator for a profiler or a memory limit may. The executor is then in the middle of an
//! operation, such as growing its queue.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use picot_executor::Executor;

thread_local! {
    /// The tasks that wait for an allocation.
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static WOKEN_BY_EACH: Cell<Woken> = const { Cell::new(Woken::Tasks(0)) };
    static WAKES: Cell<usize> = const { Cell::new(0) };
}

/// How many tasks a large allocation wakes, and a release.
#[derive(Clone, Copy, Debug)]
enum Woken {
    Tasks(usize),
    /// As many as fill a row that is about to be grown.
    HalfOfItsPlaces,
    /// One, and that after this number of large allocations and releases.
    OneAfter(usize),
}

/// Large enough for a row of the queue and too large for a task, whose allocations would use up
/// those that wait.
const LARGE: usize = if cfg!(miri) { 256 } else { 1024 };

/// Wakes some of those that wait, unless that is what allocates.
fn call_back(size: usize) {
    if size < LARGE {
        return;
    }
    let _ = WAITING.try_with(|waiting| {
        let Ok(mut waiting) = waiting.try_borrow_mut() else { return };
        let count = match WOKEN_BY_EACH.get() {
            Woken::Tasks(count) => count,
            Woken::HalfOfItsPlaces => size / size_of::<usize>() / 2,
            Woken::OneAfter(0) => 1,
            Woken::OneAfter(left) => return WOKEN_BY_EACH.set(Woken::OneAfter(left - 1)),
        };
        for _ in 0..count {
            let Some(waker) = waiting.pop() else { return };
            WAKES.set(WAKES.get() + 1);
            waker.wake();
        }
    });
}

struct Waking;

// SAFETY: Every call is passed on to the system's allocator as it came, before or after a wake that
// touches no block.
unsafe impl GlobalAlloc for Waking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_back(layout.size());
        // SAFETY: The caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
        call_back(layout.size());
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        call_back(size);
        // SAFETY: The caller's contract is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Waking = Waking;

/// The numbers that the tasks and callbacks of a load have, in the order in which they have run.
type Order = Rc<RefCell<Vec<usize>>>;

/// Queues `count` tasks and as many callbacks, in turns.
fn load(executor: &Executor, order: &Order, count: usize) {
    for n in 0..count {
        let (by_task, by_call) = (order.clone(), order.clone());
        drop(executor.spawn(async move { by_task.borrow_mut().push(2 * n) }));
        executor.call_soon(move || by_call.borrow_mut().push(2 * n + 1));
    }
}

/// Queues and runs loads, and gives memory back in between, while each large allocation and release
/// wakes tasks.
fn play(woken: Woken) {
    const MANY: usize = if cfg!(miri) { 700 } else { 3000 };
    const FEW: usize = 60;

    let (executor, polls, order) = (Executor::new(), Rc::new(Cell::new(0)), Order::default());
    order.borrow_mut().reserve(2 * MANY);
    WAITING.with(|waiting| waiting.borrow_mut().reserve(MANY));
    for _ in 0..MANY {
        let polls = polls.clone();
        drop(executor.spawn(poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            WAITING.with(|waiting| waiting.borrow_mut().push(cx.waker().clone()));
            Poll::<()>::Pending
        })));
    }
    executor.run_until_stalled();
    let give_memory_back = || {
        for _ in 0..200 {
            drop(executor.fall_asleep());
        }
    };
    give_memory_back();
    WOKEN_BY_EACH.set(woken);
    WAKES.set(0);
    polls.set(0);
    for round in 0..4 {
        for count in [MANY, FEW] {
            load(&executor, &order, count);
            // With few items in rows for many, and later with none.
            give_memory_back();
            executor.run_until_stalled();
            assert!(order.take().into_iter().eq(0..2 * count), "{woken:?}, round {round}: {count} of each");
            order.borrow_mut().reserve(2 * MANY);
            executor.run_until_stalled();
            assert_eq!(polls.get(), WAKES.get(), "{woken:?}, round {round}: each wake leads to a poll");
        }
    }
    assert!(WAKES.get() > 20, "{woken:?}: {} were woken", WAKES.get());
    WOKEN_BY_EACH.set(Woken::Tasks(0));
    let waiting = WAITING.take();
    drop(waiting);
    assert_eq!(executor.close().leaked, 0);
}

/// Tasks and callbacks are queued by the thousand, and the queue shrinks in between, while the
/// allocator wakes tasks, which are queued by that. Each runs once and in order, and no wake is
/// lost.
#[test]
fn whatever_an_allocation_wakes_runs_and_takes_nothing_from_what_was_about_to_be_queued() {
    for woken in [1, 2, 3, 50, 150, 400].map(Woken::Tasks) {
        play(woken);
    }
    play(Woken::HalfOfItsPlaces);
}

/// The root stands among the callbacks, so it is woken at each of the allocations that these take.
#[test]
fn a_root_that_an_allocation_wakes_takes_nothing_from_the_callbacks() {
    for after in 0..12 {
        let (executor, order) = (Executor::new(), Order::default());
        order.borrow_mut().reserve(2000);
        WAITING.with(|waiting| waiting.borrow_mut().reserve(2));
        let polls = Cell::new(0);
        let waits = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            WAITING.with(|waiting| waiting.borrow_mut().push(cx.waker().clone()));
            Poll::<()>::Pending
        });
        let mut root = pin!(executor.root(Location::caller(), waits));
        executor.run_batch_with(usize::MAX, Some(root.as_mut()), |_| ());
        WAKES.set(0);
        WOKEN_BY_EACH.set(Woken::OneAfter(after));
        load(&executor, &order, 1000);
        WOKEN_BY_EACH.set(Woken::Tasks(0));
        executor.run_batch_with(usize::MAX, Some(root.as_mut()), |_| ());
        assert!(order.take().into_iter().eq(0..2000), "after {after}");
        assert_eq!(polls.get(), 1 + WAKES.get(), "after {after}");
        let waiting = WAITING.take();
        drop(waiting);
    }
}

/// An executor gives memory back before it sleeps. A task that is woken by that runs first.
#[test]
fn an_executor_does_not_sleep_beside_what_its_allocator_has_woken() {
    let executor = Executor::new();
    let is_over = Rc::new(Cell::new(false));
    for _ in 0..5000 {
        executor.call_soon(|| ());
    }
    let over = is_over.clone();
    let root = async move {
        let woken = poll_fn(move |cx| {
            WAITING.with(|waiting| waiting.borrow_mut().push(cx.waker().clone()));
            if WAKES.get() == 0 { Poll::Pending } else { Poll::Ready(()) }
        });
        WAKES.set(0);
        WOKEN_BY_EACH.set(Woken::Tasks(1));
        woken.await;
        over.set(true);
    };
    let mut root = pin!(executor.root(Location::caller(), root));
    executor.run_batch_with(usize::MAX, Some(root.as_mut()), |_| ());
    let mut sleeps = 0;
    while let Some(asleep) = executor.fall_asleep() {
        assert_eq!(executor.ready(), 0, "it sleeps beside a task that is ready");
        drop(asleep);
        sleeps += 1;
        assert!(sleeps < 1000, "no memory was given back");
    }
    executor.run_batch_with(usize::MAX, Some(root.as_mut()), |_| ());
    assert!(is_over.get());
    WOKEN_BY_EACH.set(Woken::Tasks(0));
    let waiting = WAITING.take();
    drop(waiting);
}
