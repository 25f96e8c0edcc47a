//! Wakers that count, and wakers that run a function when they are woken or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts the wakes of its wakers. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct WakeCount(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Relaxed: a test that wakes from another thread joins it before it reads the count.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl WakeCount {
    /// A waker that adds one to the count at each wake.
    pub fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    /// The number of wakes so far.
    pub fn get(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// The number of references to the count: this one, its clones and its wakers.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Calls `f` with a context of such a waker.
    pub fn poll<R>(&self, f: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
        f(&mut Context::from_waker(&self.waker()))
    }
}

/// A waker that calls `on_wake` at each wake.
///
/// A wake by reference takes no reference of its own, so `on_wake` may drop the last waker.
pub fn waker_fn(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    waker_with_drop(on_wake, || {})
}

/// As [`waker_fn`], and calls `on_drop` when the last clone of the waker is dropped.
pub fn waker_with_drop(
    on_wake: impl Fn() + Send + Sync + 'static,
    on_drop: impl Fn() + Send + Sync + 'static,
) -> Waker {
    struct Calls<W, D: Fn()>(W, D);

    impl<W: Fn() + Send + Sync, D: Fn() + Send + Sync> Wake for Calls<W, D> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            (self.0)();
        }
    }

    impl<W, D: Fn()> Drop for Calls<W, D> {
        fn drop(&mut self) {
            (self.1)();
        }
    }

    Arc::new(Calls(on_wake, on_drop)).into()
}
