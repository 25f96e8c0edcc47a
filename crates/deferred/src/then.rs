//! What a handler of `then` may return, and how that settles the next promise.
//!
//! A promise is adopted by a handler that is scheduled, as every handler is. So a chain of adoptions, however long, is a
//! chain of turns and not of stack frames.

use std::rc::Rc;

use picot_context::Place;

use crate::deferred::Deferred;
use crate::promise::Promise;
use crate::rejection::Rejection;

/// What a handler of [`then`](Promise::then) may return: a `Result`, or another promise.
pub trait Chained<T: 'static, E: 'static>: sealed::Sealed<T, E> {}

pub(crate) mod sealed {
    use super::*;

    pub trait Sealed<T: 'static, E: 'static> {
        /// Settles `next`, now or when this is settled itself.
        fn settle(self, next: Deferred<T, E>, place: Place);
    }
}

impl<T: 'static, E: 'static> Chained<T, E> for Result<T, E> {}

impl<T: 'static, E: 'static> sealed::Sealed<T, E> for Result<T, E> {
    fn settle(self, next: Deferred<T, E>, _: Place) {
        next.settle(self.map_err(Rejection::Error));
    }
}

impl<T: Clone + 'static, E: Clone + 'static> Chained<T, E> for Promise<T, E> {}

impl<T: Clone + 'static, E: Clone + 'static> sealed::Sealed<T, E> for Promise<T, E> {
    fn settle(self, next: Deferred<T, E>, place: Place) {
        if Rc::ptr_eq(&self.shared, &next.shared) {
            next.settle(Err(Rejection::Cycle));
            return;
        }
        self.shared.add_handler(place, move |shared| _ = next.settle(shared.into_outcome()));
    }
}
