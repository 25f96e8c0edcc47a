//! Calls of wakers, which are foreign code: they may panic, and a panic is reported.

use std::task::Waker;

use picot_context::{Kind, Origin, contain};

/// Wakers are foreign code. Returns whether this one has panicked, which is reported then.
pub(crate) fn contain_wake(wake: impl FnOnce()) -> bool {
    contain::call(|| Origin::new(Kind::Waker), wake).is_none()
}

/// What a waker drops with it is foreign code, too.
pub(crate) fn drop_contained(waker: Waker) {
    contain::discard(|| Origin::new(Kind::Waker), waker);
}
