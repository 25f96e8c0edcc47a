//! The payload of a panic, and the one function that catches panics.
//!
//! Two readers may want a payload: the report, and a joiner of the task later. So it is shared, and
//! the first reader may take it out. Its own drop may panic; that is contained here.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::step::{Step, running};

/// Calls `f`, and returns the payload if it panicked.
///
/// The panic hook of std has then run already, and has printed the message unless the program
/// replaced it.
///
/// ```
/// let sum = picot_context::catch(|| 1 + 2);
/// assert_eq!(sum.unwrap(), 3);
/// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
/// assert_eq!(payload.message().as_deref(), Some("boom"));
/// ```
#[inline]
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    // Unwind safety is up to the caller: each value that `f` touched is either dropped next, or
    // documented to survive a panic.
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        note_panic();
        Payload::new(payload)
    })
}

thread_local! {
    /// The step in which the latest panic was caught.
    static PANICKED: Cell<Option<Step>> = const { Cell::new(None) };
}

#[cold]
fn note_panic() {
    // While the thread ends, no loop measures its steps.
    let _ = PANICKED.try_with(|panicked| panicked.set(running()));
}

/// Takes the record of the step in which [`catch`] has caught the latest panic since the last call,
/// if there was one.
///
/// For the measuring of steps: printing a panic and its backtrace may take longer than the step
/// itself.
///
/// ```
/// use picot_context::{Step, catch, enter, running, take_panicked};
///
/// let _step = enter(Step::callback(std::panic::Location::caller()), None);
/// let _ = catch(|| panic!("boom"));
/// assert_eq!(take_panicked(), running());
/// assert_eq!(take_panicked(), None);
/// ```
pub fn take_panicked() -> Option<Step> {
    PANICKED.try_with(Cell::take).unwrap_or(None)
}

/// The payload of a panic: shared, and taken at most once.
///
/// ```
/// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
/// let for_the_report = payload.clone();
/// assert_eq!(for_the_report.to_string(), "\"boom\"");
/// std::panic::catch_unwind(|| std::panic::resume_unwind(payload.take().unwrap())).unwrap_err();
/// assert_eq!(for_the_report.to_string(), "a payload that is not text", "it has gone on");
/// ```
#[derive(Clone)]
pub struct Payload(Arc<Mutex<State>>);

struct State {
    payload: Option<Contained>,
    /// Whether a joiner took responsibility for this panic.
    claimed: bool,
}

impl Payload {
    /// Wraps what `catch_unwind` returned.
    ///
    /// ```
    /// use picot_context::Payload;
    ///
    /// let caught = std::panic::catch_unwind(|| panic!("boom")).unwrap_err();
    /// assert_eq!(Payload::new(caught).message().as_deref(), Some("boom"));
    /// ```
    pub fn new(payload: Box<dyn Any + Send>) -> Payload {
        Payload(Arc::new(Mutex::new(State { payload: Some(Contained(payload)), claimed: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message of the panic, where it was text and has not been taken.
    ///
    /// ```
    /// let text = picot_context::catch(|| panic!("{} of {}", 1, 2)).unwrap_err();
    /// assert_eq!(text.message().as_deref(), Some("1 of 2"));
    /// let number = picot_context::catch(|| std::panic::panic_any(404)).unwrap_err();
    /// assert_eq!(number.message(), None);
    /// ```
    pub fn message(&self) -> Option<String> {
        let state = self.state();
        let payload = &*state.payload.as_ref()?.0;
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| payload.downcast_ref::<String>().cloned())
    }

    /// Takes the payload out, unless it was taken before. Pass it to [`std::panic::resume_unwind`]
    /// to continue the panic.
    ///
    /// ```
    /// let payload = picot_context::catch(|| std::panic::panic_any(404)).unwrap_err();
    /// assert_eq!(payload.take().unwrap().downcast_ref(), Some(&404));
    /// assert!(payload.take().is_none());
    /// ```
    pub fn take(&self) -> Option<Box<dyn Any + Send>> {
        let contained = self.state().payload.take();
        contained.map(Contained::into_inner)
    }

    /// Claims the panic for the caller, such as a joiner of the task. It needs no report any more.
    ///
    /// ```
    /// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
    /// let for_the_report = payload.clone();
    /// payload.claim(); // the joiner handles it from here on
    /// assert!(for_the_report.is_claimed());
    /// ```
    pub fn claim(&self) {
        self.state().claimed = true;
    }

    /// Whether a caller has [claimed](Payload::claim) the panic.
    ///
    /// ```
    /// let payload = picot_context::catch(|| panic!("boom")).unwrap_err();
    /// assert!(!payload.is_claimed(), "so a host reports it");
    /// ```
    pub fn is_claimed(&self) -> bool {
        self.state().claimed
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Payload").field(&self.message()).finish()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "{message:?}"),
            None => f.write_str("a payload that is not text"),
        }
    }
}

/// A payload whose drop cannot panic.
struct Contained(Box<dyn Any + Send>);

impl Contained {
    fn into_inner(mut self) -> Box<dyn Any + Send> {
        // Replaced, because a type with a drop cannot be taken apart. A box of `()` costs neither
        // an allocation nor a drop.
        std::mem::replace(&mut self.0, Box::new(()))
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let payload = std::mem::replace(&mut self.0, Box::new(()));
        if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
            // A payload that panics in its drop may do so each time, so it is leaked.
            std::mem::forget(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_taken_once() {
        let payload = catch(|| std::panic::resume_unwind(Box::new("boom"))).unwrap_err();
        let second = payload.clone();
        assert_eq!(second.message().as_deref(), Some("boom"));
        assert_eq!(payload.take().unwrap().downcast_ref::<&str>(), Some(&"boom"));
        assert!(second.take().is_none());
        assert_eq!(second.message(), None);
    }

    #[test]
    fn a_payload_that_panics_in_its_drop_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new(Bomb));
            }
        }
        drop(Payload::new(Box::new(Bomb)));
    }
}
