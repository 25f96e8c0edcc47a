//! Waking and dropping wakers.
//!
//! A waker is foreign code. A panic in it is reported, and does not keep other waiters from being
//! woken.

use std::task::Waker;

use picot_context::{Kind, Origin, Report, catch, contain, report};

#[inline]
pub(crate) fn wake(waker: Waker) {
    contain::call(|| Origin::new(Kind::Waker), || waker.wake());
}

pub(crate) fn wake_all(wakers: Vec<Waker>) {
    let mut wakers = wakers.into_iter();
    // One `catch` for all of them, unless one panics.
    while let Err(payload) = catch(|| wakers.by_ref().for_each(Waker::wake)) {
        report(Report::panic(Origin::new(Kind::Waker), payload));
    }
}

/// Drops a waker, or none.
#[inline]
pub(crate) fn discard<T>(foreign: T) {
    contain::discard(|| Origin::new(Kind::Waker), foreign);
}
