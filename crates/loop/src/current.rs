//! The current loop of this thread.
//!
//! The thread-local holds a handle. The `EventLoop` owns the loop, and clears the handle when it
//! closes, also while unwinding. So the destructor of a thread-local never drops a task.

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
    /// Returns a handle of this thread's loop.
    ///
    /// # Panics
    /// If this thread has no loop.
    ///
    /// ```
    /// use picot_loop::LoopHandle;
    ///
    /// picot_loop::run(async {
    ///     LoopHandle::current().call_soon(|| println!("in the next turn"));
    /// });
    /// ```
    #[doc(alias = "get_running_loop")]
    #[doc(alias = "get_event_loop")]
    #[track_caller]
    pub fn current() -> LoopHandle {
        match LoopHandle::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns a handle of this thread's loop, or an error if there is none.
    ///
    /// # Errors
    /// [`LoopError::None`] if this thread has no loop. [`LoopError::Forked`] if this process is a
    /// fork of the one that built the loop.
    ///
    /// ```
    /// use picot_loop::{LoopError, LoopHandle};
    ///
    /// assert!(matches!(LoopHandle::try_current(), Err(LoopError::None)));
    /// ```
    pub fn try_current() -> Result<LoopHandle, LoopError> {
        let handle = current().ok_or(LoopError::None)?;
        if handle.inner.reactor.is_forked() { Err(LoopError::Forked) } else { Ok(handle) }
    }
}

/// Spawns a task on this thread's loop; see [`LoopHandle::spawn`].
///
/// # Panics
/// If this thread has no loop.
///
/// ```
/// # picot_loop::run(async {
/// let task = picot_loop::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
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

/// This thread's loop. `None` if there is none, or if the thread-local is destroyed already.
pub(crate) fn current() -> Option<LoopHandle> {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or(None)
}

/// Makes `handle` this thread's loop, or no loop.
pub(crate) fn set_current(handle: Option<LoopHandle>) {
    // Dropped after the borrow ends: it may be the last handle of a loop.
    let old = CURRENT.try_with(|current| current.replace(handle));
    drop(old);
}

/// Whether `inner` is this thread's loop.
pub(crate) fn is_current(inner: &Rc<Inner>) -> bool {
    current().is_some_and(|handle| Rc::ptr_eq(&handle.inner, inner))
}
