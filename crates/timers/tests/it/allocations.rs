//! What was cancelled or has expired makes room at once: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use picot_timers::Wheel;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
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

/// How many allocations `f` makes, and of how many bytes in all, freed or not.
fn allocations(f: impl FnOnce()) -> (usize, usize) {
    let before = (ALLOCATIONS.get(), BYTES.get());
    f();
    (ALLOCATIONS.get() - before.0, BYTES.get() - before.1)
}

/// A deadline on any level.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (n % 60)
}

#[test]
fn an_empty_wheel_allocates_nothing() {
    assert_eq!(allocations(|| drop(Wheel::<String>::new())), (0, 0));
}

#[test]
fn a_hundred_thousand_timers_that_come_and_go_take_the_room_of_a_hundred() {
    let mut wheel = Wheel::new();
    let mut keys: Vec<_> = (0..100).map(|n| wheel.insert(scattered(n), n)).collect();
    let mut come_and_go = |timers: std::ops::Range<u64>| {
        for n in timers {
            let key = &mut keys[n as usize % 100];
            assert!(wheel.cancel(*key).is_some());
            *key = wheel.insert(scattered(n), n);
            assert!(wheel.next_deadline().is_some());
        }
    };
    // Nodes come into use while the first levels are split; then there are enough of them.
    come_and_go(100..1_000);
    let (_, bytes) = allocations(|| come_and_go(1_000..100_000));
    assert!(bytes <= 100 * 1024, "{bytes} bytes more");
}

#[test]
fn moving_a_timer_that_has_been_on_each_level_allocates_nothing() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(0, ());
    // A level keeps its node once it has one.
    for n in 0..60 {
        assert!(wheel.reset(key, scattered(n)));
    }
    let moves = allocations(|| {
        for n in 0..10_000 {
            assert!(wheel.reset(key, scattered(n)));
        }
    });
    assert_eq!(moves, (0, 0));
}
