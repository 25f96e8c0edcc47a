//! What was cancelled or has expired makes room at once: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use picot_timers::Wheel;

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

/// A deadline on any level.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (n % 60)
}

#[test]
fn an_empty_wheel_allocates_nothing() {
    assert_eq!(allocations(|| drop(Wheel::<String>::new())), 0);
}

#[test]
fn a_hundred_thousand_timers_that_come_and_go_take_the_room_of_a_hundred() {
    let mut wheel = Wheel::new();
    let mut keys: Vec<_> = (0..100).map(|n| wheel.insert(scattered(n), n)).collect();
    // No more than a node a level is needed for a timer, nor than a hundred entries at a time.
    let grown = allocations(|| {
        for n in 100..100_000 {
            let key = &mut keys[n as usize % 100];
            assert!(wheel.cancel(*key).is_some());
            *key = wheel.insert(scattered(n), n);
            assert!(wheel.next_deadline().is_some());
        }
    });
    // The vectors of entries and nodes grow by doubling.
    assert!(grown <= 16, "{grown} allocations");
}

#[test]
fn moving_a_timer_allocates_nothing() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(0, ());
    let moves = allocations(|| {
        for n in 0..10_000 {
            assert!(wheel.reset(key, scattered(n)));
        }
    });
    assert_eq!(moves, 0);
}
