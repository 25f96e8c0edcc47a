//! The host: the interface through which leaves run things later on this thread.
//!
//! Leaves (a promise, a lock, a lane of threads) do not know a loop; they use the thread's host.
//! picot's loop installs itself as the host, an executor that is used alone can, and a test
//! installs a [`ManualHost`](crate::ManualHost). A thread has one host at a time.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use crate::{Kind, ManualHost, Origin, Place, Report, contain};

/// Runs calls and futures later, on the thread to which it belongs.
///
/// ```
/// use std::{cell::RefCell, pin::Pin, rc::Rc};
/// use picot_context::{Closed, Host, Place, Report, install};
///
/// /// Runs nothing before it is asked to.
/// #[derive(Default)]
/// struct Later(RefCell<Vec<Box<dyn FnOnce()>>>);
///
/// impl Host for Later {
///     fn run_later(&self, _: Place, call: Box<dyn FnOnce()>) -> Result<(), Closed> {
///         self.0.borrow_mut().push(call);
///         Ok(())
///     }
///
///     fn spawn(&self, _: Place, _: Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Closed> {
///         Err(Closed::new()) // it has no tasks
///     }
///
///     fn report(&self, report: Report) {
///         eprintln!("{report}");
///     }
/// }
///
/// let later = Rc::new(Later::default());
/// let _guard = install(later.clone());
/// let host = picot_context::host().unwrap();
/// host.run_later(std::panic::Location::caller(), Box::new(|| println!("now")))?;
/// for call in later.0.take() {
///     call();
/// }
/// # Ok::<(), Closed>(())
/// ```
pub trait Host {
    /// Runs `call` in a later turn, behind everything that is queued now. It does not run inside
    /// this function.
    ///
    /// `place` is the call of the user's code that caused this, as reports show it.
    ///
    /// # Errors
    /// [`Closed`] if the host runs nothing any more; the call is dropped.
    fn run_later(&self, place: Place, call: Box<dyn FnOnce()>) -> Result<(), Closed>;

    /// Runs `future` as a detached task. It is not polled inside this function.
    ///
    /// # Errors
    /// [`Closed`] if the host runs nothing any more; the future is dropped.
    fn spawn(&self, place: Place, future: Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Closed>;

    /// Queues a report for the error hook, which is not called inside this function.
    fn report(&self, report: Report);
}

/// The host has been closed, and runs nothing any more.
///
/// ```
/// use picot_context::ManualHost;
///
/// let host = ManualHost::new();
/// host.close();
/// let closed = host.call(|| ()).unwrap_err();
/// assert!(closed.to_string().starts_with("the loop is closed"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl Closed {
    /// The only value of this type.
    ///
    /// ```
    /// use picot_context::Closed;
    ///
    /// assert!(Closed::new().to_string().starts_with("the loop is closed"));
    /// ```
    pub const fn new() -> Closed {
        Closed
    }
}

impl Default for Closed {
    fn default() -> Closed {
        Closed::new()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop is closed and runs nothing any more; do this before it is closed, or on another loop")
    }
}

impl std::error::Error for Closed {}

thread_local! {
    /// The installed hosts, the current one last.
    static HOSTS: RefCell<Vec<Rc<dyn Host>>> = const { RefCell::new(Vec::new()) };
}

/// Makes `host` this thread's host until the returned guard is dropped; then the previous one is
/// the host again. Guards may be dropped in any order: the host that was installed last is the
/// current one.
///
/// ```
/// use std::rc::Rc;
/// use picot_context::{ManualHost, host, install};
///
/// let outer = install(Rc::new(ManualHost::new()));
/// let inner = install(Rc::new(ManualHost::new()));
/// drop(inner);
/// assert!(host().is_some(), "the outer one is there again");
/// drop(outer);
/// assert!(host().is_none());
/// ```
pub fn install(host: Rc<dyn Host>) -> HostGuard {
    HOSTS.with(|hosts| hosts.borrow_mut().push(host.clone()));
    HostGuard { host, closes: None, _thread: std::marker::PhantomData }
}

/// Like [`install`], but closes the host when the guard is dropped.
pub(crate) fn install_until_closed(host: Rc<ManualHost>) -> HostGuard {
    let mut guard = install(host.clone());
    guard.closes = Some(host);
    guard
}

/// This thread's host, if it has one.
///
/// ```
/// use picot_context::{ManualHost, host};
///
/// assert!(host().is_none(), "no loop runs on this thread");
/// let (_host, _guard) = ManualHost::installed();
/// assert!(host().is_some());
/// ```
pub fn host() -> Option<Rc<dyn Host>> {
    // Fails only while the thread ends; destructors of other thread-locals may still ask.
    HOSTS.try_with(|hosts| hosts.borrow().last().cloned()).unwrap_or(None)
}

/// Keeps a host installed; see [`install`].
///
/// ```
/// use std::rc::Rc;
/// use picot_context::{HostGuard, ManualHost, host, install};
///
/// let guard: HostGuard = install(Rc::new(ManualHost::new()));
/// assert!(host().is_some());
/// drop(guard);
/// assert!(host().is_none());
/// ```
#[must_use = "the host is removed again at once if the guard is dropped"]
pub struct HostGuard {
    host: Rc<dyn Host>,
    closes: Option<Rc<ManualHost>>,
    /// Makes the type `!Send` and `!Sync`.
    _thread: std::marker::PhantomData<*const ()>,
}

impl Drop for HostGuard {
    fn drop(&mut self) {
        let own = Rc::as_ptr(&self.host).cast::<()>();
        let removed = HOSTS.try_with(|hosts| {
            let mut hosts = hosts.borrow_mut();
            let index = hosts.iter().rposition(|host| Rc::as_ptr(host).cast::<()>() == own);
            index.map(|index| hosts.remove(index))
        });
        if let Some(host) = self.closes.take() {
            host.close();
        }
        // Dropped last, because its drop may run user code, which may install another host: the
        // list must not be borrowed.
        contain::discard(|| Origin::new(Kind::Hook), removed);
    }
}

impl fmt::Debug for HostGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostGuard").finish_non_exhaustive()
    }
}
