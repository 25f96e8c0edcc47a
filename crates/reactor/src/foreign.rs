//! Calls and drops of wakers, with their panics contained.
//!
//! *Foreign code* in this crate means wakers (clone, wake and drop), the driver, and the global
//! allocator. Each may panic, and each may call back into the reactor.

use std::task::Waker;

use picot_context::{Kind, Origin, contain};

/// Calls a waker. Reports its panic, and returns true if it panicked.
pub(crate) fn contain_wake(wake: impl FnOnce()) -> bool {
    contain::call(|| Origin::new(Kind::Waker), wake).is_none()
}

/// Drops a waker, and reports a panic of its destructor.
pub(crate) fn drop_contained(waker: Waker) {
    contain::discard(|| Origin::new(Kind::Waker), waker);
}
