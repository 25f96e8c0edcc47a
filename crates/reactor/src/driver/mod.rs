//! The interface between the reactor and the operating system.
//!
//! [`Driver`] is what the reactor needs of a backend; `system` chooses this platform's. No code
//! outside of this folder knows which one it is. Other drivers may replace it: a simulation, or one
//! that injects faults.

#[cfg(target_os = "linux")]
mod direct;
mod events;
mod portable;

use std::io;
use std::task::Waker;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub use direct::Direct;
pub use events::Events;
pub use portable::Portable;

pub use crate::key::Key;
pub use crate::pollable::BorrowedIo;
use crate::ready::Readiness;

/// A source of I/O events for a reactor: the operating system, or a replacement.
///
/// [`Reactor::new`](crate::Reactor::new) uses this platform's driver.
/// [`Reactor::with_driver`](crate::Reactor::with_driver) takes any other, for example a simulation,
/// or a wrapper that fails at times. asyncio has the same interface: the selector of its
/// `SelectorEventLoop`.
///
/// ```
/// use std::cell::Cell;
/// use std::io;
/// use std::rc::Rc;
/// use std::task::Waker;
/// use std::time::Duration;
/// use picot_reactor::driver::{BorrowedIo, Driver, Events, Key, Portable};
/// use picot_reactor::{Reactor, Readiness};
///
/// /// Wraps a driver, and counts its waits.
/// struct Counting(Portable, Rc<Cell<usize>>);
///
/// impl Driver for Counting {
///     fn is_edge(&self) -> bool {
///         self.0.is_edge()
///     }
///     fn trusts_partial_transfers(&self) -> bool {
///         self.0.trusts_partial_transfers()
///     }
///     unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
///         // SAFETY: Our caller upholds the same contract.
///         unsafe { self.0.add(io, key, interest) }
///     }
///     fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
///         self.0.modify(io, key, interest)
///     }
///     fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
///         self.0.delete(io)
///     }
///     fn wait(
///         &self,
///         timeout: Option<Duration>,
///         deadline: Option<u64>,
///         events: &mut Events,
///     ) -> io::Result<()> {
///         self.1.set(self.1.get() + 1);
///         self.0.wait(timeout, deadline, events)
///     }
///     fn unclaimed(&self, key: Key) {
///         self.0.unclaimed(key);
///     }
///     fn waker(&self) -> Waker {
///         self.0.waker()
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let waits = Rc::new(Cell::new(0));
/// let reactor = Reactor::with_driver(Counting(Portable::new()?, waits.clone()));
/// reactor.wait(Some(Duration::ZERO))?;
/// assert_eq!(waits.get(), 1);
/// # Ok(())
/// # }
/// ```
///
/// Only types that implement this trait are drivers:
///
/// ```compile_fail,E0277
/// let reactor = picot_reactor::Reactor::with_driver("epoll");
/// ```
///
/// All methods are called on the reactor's thread. None is called while another one runs, unless
/// that one calls foreign code itself.
#[doc(alias = "selector")]
#[doc(alias = "BaseSelector")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the driver of a reactor",
    note = "implement `picot_reactor::driver::Driver` for it, or let `Reactor::new` choose one"
)]
pub trait Driver {
    /// Whether the driver is edge-triggered: it reports every change to ready once.
    ///
    /// Then a source is added for all directions and never modified. Otherwise each event disarms
    /// its source, and the reactor arms it again for the directions that are waited for. The answer
    /// must always be the same.
    fn is_edge(&self) -> bool;

    /// Whether a short transfer of a plain TCP socket proves that it is not ready.
    ///
    /// True if the end of the stream and an urgent mark are events of their own
    /// ([`READ_CLOSED`](Readiness::READ_CLOSED), [`PRIORITY`](Readiness::PRIORITY)), or if the
    /// driver is level-triggered. The answer must always be the same. Other objects need the
    /// declaration of their owner: see
    /// [`Source::trust_short_transfers`](crate::Source::trust_short_transfers).
    fn trusts_partial_transfers(&self) -> bool;

    /// Adds an object to the set. `interest` has only bits of directions.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) means that no kernel polls objects of
    /// this kind: the object counts as always ready, and is not in the set. The caller of
    /// [`register`](crate::Reactor::register) gets all other errors.
    ///
    /// # Safety
    /// The object must stay open, and keep its descriptor, until [`delete`](Driver::delete) is
    /// called for it.
    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()>;

    /// Arms an object for the next event of these directions. Only called if
    /// [`is_edge`](Driver::is_edge) is false.
    ///
    /// # Errors
    /// An error of the operating system. The waiters are woken then, try, and get the error.
    fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()>;

    /// Removes an object that was added and is still open. Events that were collected before may
    /// still be reported.
    ///
    /// # Errors
    /// An error of the operating system. The reactor ignores it, because the source is being
    /// dropped.
    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()>;

    /// Waits for events, for at most `timeout`, and adds them to `events`, which is empty.
    ///
    /// A signal may end the wait without events, or the driver may continue the wait, as `polling`
    /// does. Events that were added before an error count, too.
    ///
    /// `deadline` is the caller's name for the end of the timeout: the same number in the next wait
    /// means that the end has not moved. With a deadline the wait may end a little early if that
    /// saves work; the caller checks its clock and waits again.
    ///
    /// # Errors
    /// An error of the operating system. The driver stays usable.
    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()>;

    /// Handles an event that belongs to no source: its source was dropped, or the descriptor is the
    /// driver's own.
    ///
    /// The reactor calls this at the event's turn. A driver that wraps another one passes it on.
    fn unclaimed(&self, key: Key);

    /// Returns a waker that ends the current wait, or else the next one, from any thread. It may
    /// outlive the driver.
    fn waker(&self) -> Waker;

    /// Returns the descriptor that is readable when a wait would return events, if the driver has
    /// one.
    #[cfg(unix)]
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// This platform's driver.
pub(crate) fn system() -> io::Result<Box<dyn Driver>> {
    #[cfg(all(target_os = "linux", not(polling_test_poll_backend)))]
    return Ok(Box::new(Direct::new()?));
    #[cfg(not(all(target_os = "linux", not(polling_test_poll_backend))))]
    return Ok(Box::new(Portable::new()?));
}
