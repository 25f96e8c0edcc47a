//! An allocator that counts, for tests of what allocates and what is freed.
//!
//! A test program makes it its global allocator:
//!
//! ```
//! use picot_testkit::alloc::{Counting, allocations};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! assert_eq!(allocations(|| drop(Box::new(1))), 1);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counted for each thread and for the process.
///
/// A reallocation counts as an allocation and a free.
#[derive(Debug)]
pub struct Counting;

// Constants without destructors: an access allocates nothing, and works while a thread ends.
thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: Passes every call to the system's allocator with the same arguments. The default
// `realloc` calls these two, and copies.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
        HELD.set(HELD.get() + layout.size() as isize);
        // Relaxed: only a sum. A test that reads it has joined the threads that it is about.
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: The caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: The caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The number of allocations that `f` makes on this thread.
pub fn allocations(f: impl FnOnce()) -> usize {
    allocations_of(f).0
}

/// The number of allocations that `f` makes on this thread, and its result.
pub fn allocations_of<R>(f: impl FnOnce() -> R) -> (usize, R) {
    let before = COUNT.get();
    let result = f();
    (COUNT.get() - before, result)
}

/// The number of bytes that this thread has allocated so far, freed or not.
pub fn allocated_bytes() -> usize {
    BYTES.get()
}

/// The bytes that this thread has allocated minus those that it has freed.
///
/// Memory that another thread frees stays in the sum.
pub fn held_bytes() -> isize {
    HELD.get()
}

/// The bytes that the process has allocated and not freed.
pub fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}
