//! A wait does not allocate, as measured by a counting allocator.

use std::pin::pin;
use std::task::{Context, Waker};

use picot_sync::{Mutex, Queue, Semaphore};
use picot_testkit::alloc::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn after_the_first_wait_on_a_thread_a_wait_allocates_nothing() {
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
    assert_eq!(allocations(|| (0..10).for_each(|_| round())), 0);
}
