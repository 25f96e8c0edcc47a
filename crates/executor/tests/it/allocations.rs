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
    let spawn = || drop(executor.spawn(yield_now()));
    // The queue and the table grow to their size first, and the place is known then.
    (0..64).for_each(|_| spawn());
    executor.run_until_stalled();

    assert_eq!(allocations(spawn), 1);
    assert_eq!(allocations(|| assert_eq!(executor.run_until_stalled(), 2)), 0);

    let task = executor.spawn(async {
        for _ in 0..1000 {
            yield_now().await;
        }
    });
    let running = allocations(|| _ = executor.run_until_stalled());
    assert_eq!(running, 0);
    drop(task);
}

#[test]
fn what_the_tasks_of_a_place_have_in_common_is_one_allocation_for_all_of_them() {
    let executor = Executor::new();
    let spawn = || drop(executor.spawn(yield_now()));
    let spawn_elsewhere = || drop(executor.spawn(yield_now()));
    (0..64).for_each(|_| spawn());
    executor.run_until_stalled();

    assert_eq!(allocations(spawn_elsewhere), 2);
    assert_eq!(allocations(spawn_elsewhere), 1);
    assert_eq!(allocations(spawn), 1, "the other place is still known");
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
    let spawn_smaller = || drop(executor.spawn(Sized([0; 2047])));
    let spawn_greater = || drop(executor.spawn(Sized([0; 2048])));
    for _ in 0..64 {
        spawn_smaller();
        spawn_greater();
    }
    executor.run_until_stalled();

    // So a task keeps nothing beside its future that would count for `async-task`.
    assert_eq!(allocations(spawn_smaller), 1);
    assert_eq!(allocations(spawn_greater), 2);
    executor.run_until_stalled();
}
