//! Which loop is this thread's.
//!
//! The thread-local holds a handle. The loop itself is owned by its `EventLoop`, which clears the
//! handle when it closes, also while unwinding. So the end of a thread-local drops no task.

use std::cell::RefCell;
use std::rc::Rc;

use picot_executor::Task;

use crate::error::LoopError;
use crate::handle::LoopHandle;
use crate::inner::Inner;

thread_local! {
    static CURRENT: RefCell<Option<LoopHandle>> = const { RefCell::new(None) };
}

impl LoopHandle {
    /// This thread's loop.
    ///
    /// # Panics
    /// If this thread has no loop.
    #[doc(alias = "get_running_loop")]
    #[doc(alias = "get_event_loop")]
    #[track_caller]
    pub fn current() -> LoopHandle {
        match LoopHandle::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// This thread's loop.
    ///
    /// # Errors
    /// [`LoopError::None`] if it has none; [`LoopError::Forked`] if it was built in the process that this one was forked from.
    pub fn try_current() -> Result<LoopHandle, LoopError> {
        let handle = current().ok_or(LoopError::None)?;
        if handle.inner.reactor.is_forked() { Err(LoopError::Forked) } else { Ok(handle) }
    }
}

/// Makes a task out of `future` on this thread's loop; see [`LoopHandle::spawn`].
///
/// # Panics
/// If this thread has no loop.
#[doc(alias = "create_task")]
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    LoopHandle::current().spawn(future)
}

/// Spawns a task with a name on this thread's loop; see [`LoopHandle::spawn_named`].
///
/// # Panics
/// If this thread has no loop.
///
/// ```
/// # picot_loop::EventLoop::new().unwrap().run_until_complete(async {
/// let task = picot_loop::spawn_named("fetch", async { 7 });
/// assert_eq!(task.name().as_deref(), Some("fetch"));
/// assert_eq!(task.await.unwrap(), 7);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn spawn_named<F: Future + 'static>(name: &str, future: F) -> Task<F::Output> {
    LoopHandle::current().spawn_named(name, future)
}

/// This thread's loop, if it has one. None while a thread ends.
pub(crate) fn current() -> Option<LoopHandle> {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(None)
}

/// Makes `handle` this thread's loop, or no loop.
pub(crate) fn set_current(handle: Option<LoopHandle>) {
    let old = CURRENT.try_with(|current| current.replace(handle));
    drop(old);
}

/// Whether `inner` is this thread's loop.
pub(crate) fn is_current(inner: &Rc<Inner>) -> bool {
    current().is_some_and(|handle| Rc::ptr_eq(&handle.inner, inner))
}
