//! One allocation a task, none a wake: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// A future of exactly `SIZE` bytes, that is done at once.
struct Sized<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Future for Sized<SIZE> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(self.0.len())
    }
}

#[test]
fn a_future_of_just_below_two_kibibytes_is_in_its_task_and_a_greater_one_has_a_box() {
    let executor = Executor::new();
    for _ in 0..64 {
        drop(executor.spawn(yield_now()));
    }
    executor.run_until_stalled();

    // So a task keeps nothing beside its future that would count for `async-task`.
    assert_eq!(allocations(|| drop(executor.spawn(Sized([0; 2047])))), 1);
    assert_eq!(allocations(|| drop(executor.spawn(Sized([0; 2048])))), 2);
    executor.run_until_stalled();
}
