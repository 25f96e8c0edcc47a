//! Running foreign code so that its panic ends there: calls, polls and drops.
//!
//! Foreign code is code of a user: closures, futures, wakers, values with a `Drop`, payloads of
//! panics. The rule for all crates: never let a panic of foreign code unwind through a value that
//! is foreign, too. A wrapper future (`async move { user.await }`) breaks the rule, because its
//! unwinding drops the user's future, and if that panics as well, the process aborts. So a future
//! is polled in place and dropped by a separate call, and so is each value of a collection.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::{Kind, Origin, Payload, Report, catch, report};

/// Runs `f`, and reports its panic under `origin`. Returns `None` after a panic.
///
/// The report goes to the thread's [host](crate::host), or to standard error where there is none;
/// see [`report`]. `origin` is called after a panic only, while the step that panicked is still the
/// current one. What `f` has captured and not yet moved is dropped while it unwinds: let `f`
/// capture references to values whose drop may panic, and [`discard`] those afterwards.
///
/// ```
/// use picot_context::{Kind, ManualHost, Origin, contain};
///
/// let (host, _guard) = ManualHost::installed();
/// let origin = || Origin::new(Kind::Hook);
/// assert_eq!(contain::call(origin, || 7), Some(7));
/// assert_eq!(contain::call(origin, || if true { panic!("boom") }), None);
/// assert_eq!(host.take_reports()[0].to_string(), "a hook panicked with \"boom\"");
/// ```
#[inline]
pub fn call<R>(origin: impl FnOnce() -> Origin, f: impl FnOnce() -> R) -> Option<R> {
    match catch(f) {
        Ok(value) => Some(value),
        Err(payload) => {
            report_panic(origin(), payload);
            None
        }
    }
}

#[cold]
fn report_panic(origin: Origin, payload: Payload) {
    report(Report::panic(origin, payload));
}

/// Drops `value`, and reports a panic of that under `origin`; see [`call`].
///
/// ```
/// use picot_context::{Kind, ManualHost, Origin, contain};
///
/// struct Bomb;
///
/// impl Drop for Bomb {
///     fn drop(&mut self) {
///         panic!("in drop");
///     }
/// }
///
/// let (host, _guard) = ManualHost::installed();
/// contain::discard(|| Origin::new(Kind::Callback), Bomb);
/// assert_eq!(host.take_reports().len(), 1);
/// ```
#[inline]
pub fn discard<T>(origin: impl FnOnce() -> Origin, value: T) {
    if std::mem::needs_drop::<T>() {
        call(origin, move || drop(value));
    }
}

/// Drops each of the values by a separate call, because two that panic in the drop of one
/// collection abort the process.
///
/// ```
/// use picot_context::{Kind, ManualHost, Origin, contain};
///
/// struct Bomb;
///
/// impl Drop for Bomb {
///     fn drop(&mut self) {
///         panic!("in drop");
///     }
/// }
///
/// let (host, _guard) = ManualHost::installed();
/// // `drop(vec![Bomb, Bomb])` would abort.
/// contain::discard_each(|| Origin::new(Kind::Callback), vec![Bomb, Bomb]);
/// assert_eq!(host.take_reports().len(), 2);
/// ```
pub fn discard_each<T>(origin: impl Fn() -> Origin, values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(|value| discard(&origin, value));
}

/// Polls the future in `slot`, and drops it there as soon as it has ended, by its value or by a
/// panic.
///
/// Ready with the value, or with the payload of a panic in the poll; the slot is empty then. A
/// panic in the drop changes neither: it is reported under [`Origin::running`], or as a task's
/// outside of a step. If the future may be dropped before it has ended, empty the slot by [`clear`]
/// in the owner's own drop.
///
/// # Panics
/// If the slot is empty.
///
/// ```
/// use std::pin::{Pin, pin};
/// use std::task::{Context, Poll, Waker};
/// use picot_context::{ManualHost, contain};
///
/// struct Both;
///
/// impl Future for Both {
///     type Output = ();
///
///     fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
///         panic!("in poll")
///     }
/// }
///
/// impl Drop for Both {
///     fn drop(&mut self) {
///         panic!("and in drop")
///     }
/// }
///
/// let (host, _guard) = ManualHost::installed();
/// let mut slot = pin!(Some(Both));
/// let cx = &mut Context::from_waker(Waker::noop());
/// let Poll::Ready(Err(payload)) = contain::poll(slot.as_mut(), cx) else {
///     unreachable!("it panics");
/// };
/// assert_eq!(payload.message().as_deref(), Some("in poll"));
/// assert!(slot.is_none());
/// assert_eq!(host.take_reports()[0].to_string(), "a task panicked with \"and in drop\"");
/// ```
#[inline]
pub fn poll<F: Future>(mut slot: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Payload>> {
    let future = slot.as_mut().as_pin_mut().expect("the slot holds a future that has not ended");
    let result = match catch(|| future.poll(cx)) {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(value)) => Ok(value),
        Err(payload) => Err(payload),
    };
    clear(slot);
    Poll::Ready(result)
}

/// Drops the future in `slot`, if there is one, and reports a panic of that as [`poll`] does.
///
/// ```
/// use std::pin::pin;
/// use picot_context::contain;
///
/// let mut slot = pin!(Some(std::future::pending::<()>()));
/// contain::clear(slot.as_mut());
/// assert!(slot.is_none());
/// ```
#[inline]
pub fn clear<F>(mut slot: Pin<&mut Option<F>>) {
    call(|| Origin::running().unwrap_or(Origin::new(Kind::Task)), || slot.set(None));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::resume_unwind;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;
    use crate::ManualHost;

    /// Panics where its bits say, with a payload that panics in its own drop.
    struct Faulty {
        in_poll: bool,
        in_drop: bool,
        drops: Rc<Cell<u32>>,
    }

    struct Shrapnel;

    impl Drop for Shrapnel {
        fn drop(&mut self) {
            resume_unwind(Box::new(Shrapnel));
        }
    }

    impl Future for Faulty {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if self.in_poll { resume_unwind(Box::new(Shrapnel)) } else { Poll::Ready(()) }
        }
    }

    impl Drop for Faulty {
        fn drop(&mut self) {
            self.drops.set(self.drops.get() + 1);
            if self.in_drop {
                resume_unwind(Box::new(Shrapnel));
            }
        }
    }

    #[test]
    fn a_future_is_dropped_once_and_each_of_its_panics_ends_here() {
        for bits in 0..4 {
            let (host, _guard) = ManualHost::installed();
            let drops = Rc::new(Cell::new(0));
            let (in_poll, in_drop) = (bits & 1 != 0, bits & 2 != 0);
            let mut slot = pin!(Some(Faulty { in_poll, in_drop, drops: drops.clone() }));
            let polled = poll(slot.as_mut(), &mut Context::from_waker(Waker::noop()));
            let Poll::Ready(result) = polled else { panic!("it ends at its first poll") };
            assert_eq!((result.is_err(), drops.get()), (in_poll, 1), "bits {bits}");
            assert!(slot.is_none());
            assert_eq!(host.take_reports().len(), usize::from(in_drop), "bits {bits}");
        }
    }

    #[test]
    fn values_that_panic_in_their_drops_end_one_by_one() {
        let (host, _guard) = ManualHost::installed();
        let drops = Rc::new(Cell::new(0));
        let faulty = || Faulty { in_poll: false, in_drop: true, drops: drops.clone() };
        discard_each(|| Origin::new(Kind::Callback), [faulty(), faulty(), faulty()]);
        discard(|| Origin::new(Kind::Callback), faulty());
        clear(pin!(Some(faulty())).as_mut());
        assert_eq!((drops.get(), host.take_reports().len()), (5, 5));
    }
}
