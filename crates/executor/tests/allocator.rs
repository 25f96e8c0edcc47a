//! A global allocator that calls back: at each allocation and each release it wakes a task, as an
//! allocator for a profiler or a memory limit may. The executor is then in the middle of an
//! operation, such as growing its queue.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use picot_executor::Executor;

thread_local! {
    static CALLED_BACK: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static WAKES: Cell<usize> = const { Cell::new(0) };
}

/// Wakes the task, except for allocations of the wake itself.
fn call_back() {
    let _ = CALLED_BACK.try_with(|waker| {
        if let Ok(mut waker) = waker.try_borrow_mut() {
            if let Some(waker) = &mut *waker {
                WAKES.set(WAKES.get() + 1);
                waker.wake_by_ref();
            }
        }
    });
}

struct Waking;

// SAFETY: Every call is passed on unchanged to the system's allocator, before or after a wake that
// touches no block.
unsafe impl GlobalAlloc for Waking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_back();
        // SAFETY: The contract of the caller is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The contract of the caller is the same.
        unsafe { System.dealloc(pointer, layout) }
        call_back();
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        call_back();
        // SAFETY: The contract of the caller is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Waking = Waking;

/// Tasks, callbacks and roots are queued by the thousand, and the queue shrinks in between, while
/// the allocator wakes a task each time, which queues it. Each item runs once and in order, and no
/// wake is lost.
#[test]
fn tasks_that_an_allocation_wakes_run_and_no_queued_item_is_lost() {
    let executor = Executor::new();
    let polls = Rc::new(Cell::new(0));
    let count = polls.clone();
    let task = executor.spawn(poll_fn(move |cx| {
        count.set(count.get() + 1);
        let waker = cx.waker().clone();
        CALLED_BACK.with(|slot| slot.replace(Some(waker)));
        Poll::<()>::Pending
    }));
    executor.run_until_stalled();

    for round in 0..3 {
        let order = Rc::new(RefCell::new(Vec::with_capacity(20_000)));
        for n in 0..3000 {
            let (by_task, by_call) = (order.clone(), order.clone());
            drop(executor.spawn(async move { by_task.borrow_mut().push(2 * n) }));
            executor.call_soon(move || by_call.borrow_mut().push(2 * n + 1));
        }
        assert!(executor.ready() > 6000, "the task that was woken is among them");
        let before = polls.get();
        executor.block_on(async {});
        assert!(order.borrow().iter().copied().eq(0..6000), "round {round}");
        assert!(polls.get() > before, "round {round}: the wake was not lost");
        // Sleeps, so that memory is freed.
        (0..200).for_each(|_| drop(executor.fall_asleep()));
        assert_eq!(executor.spawner().task_count(), 1);
    }
    assert!(WAKES.get() > 1000, "it was called back {} times", WAKES.get());
    let waker = CALLED_BACK.take();
    drop((task, waker));
    assert_eq!(executor.close().leaked, 0);
}
