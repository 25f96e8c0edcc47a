//! One allocation a task, none a wake: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use picot_executor::Executor;

use crate::trace::yield_now;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: The caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

#[test]
fn a_task_is_one_allocation_and_a_wake_is_none() {
    let executor = Executor::new();
    // The queue and the table grow to their size first.
    for _ in 0..64 {
        drop(executor.spawn(yield_now()));
    }
    executor.run_until_stalled();

    assert_eq!(allocations(|| drop(executor.spawn(async {}))), 1);
    let buffer = [0_u8; 2000];
    let one = allocations(|| {
        drop(executor.spawn(async move {
            yield_now().await;
            std::hint::black_box(buffer);
        }))
    });
    assert!(one <= 2, "a future from 2 KiB up is boxed by async-task");
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), 3)), 0);

    let task = executor.spawn(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    });
    let running = allocations(|| _ = executor.run_until_stalled());
    assert_eq!(running, 0);
    drop(task);
}
