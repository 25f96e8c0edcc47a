//! No allocation a wait: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Waker};

use picot_sync::{Mutex, Queue, Semaphore};

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

#[test]
fn once_somebody_has_waited_on_the_thread_a_wait_allocates_nothing() {
    let (mutex, semaphore, queue) = (Mutex::new(()), Semaphore::new(1), Queue::new(1));
    let mut cx = Context::from_waker(Waker::noop());
    let mut round = || {
        let guard = mutex.try_lock().unwrap();
        let mut lock = pin!(mutex.lock());
        assert!(lock.as_mut().poll(&mut cx).is_pending());
        drop(guard);
        assert!(lock.poll(&mut cx).is_ready());

        let permit = semaphore.try_acquire().unwrap();
        let mut acquire = pin!(semaphore.acquire());
        assert!(acquire.as_mut().poll(&mut cx).is_pending());
        drop(permit);
        assert!(acquire.poll(&mut cx).is_ready());

        let mut get = pin!(queue.get());
        assert!(get.as_mut().poll(&mut cx).is_pending());
        queue.try_put(1).unwrap();
        assert!(get.poll(&mut cx).is_ready());
    };
    round();
    let before = COUNT.get();
    (0..10).for_each(|_| round());
    assert_eq!(COUNT.get() - before, 0);
}
