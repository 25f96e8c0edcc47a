//! The seam between the reactor and the operating system: how events are had.
//!
//! [`Driver`] is what the reactor asks of a backend; `system` picks this platform's. Nothing outside of this folder knows
//! which one it is, and other drivers may take its place: one that is simulated, one that injects faults.

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

/// What a reactor asks of the operating system, or of whatever stands for it.
///
/// [`Reactor::new`](crate::Reactor::new) takes this platform's; [`Reactor::with_driver`](crate::Reactor::with_driver) takes
/// any other, for example one that wraps another and fails now and then, or a simulation. asyncio has the same seam: the
/// selector of its `SelectorEventLoop`.
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
/// /// Passes everything on, and counts the waits.
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
///         // SAFETY: Our caller promises what it asks for.
///         unsafe { self.0.add(io, key, interest) }
///     }
///     fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
///         self.0.modify(io, key, interest)
///     }
///     fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
///         self.0.delete(io)
///     }
///     fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
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
/// Nothing else is a driver:
///
/// ```compile_fail,E0277
/// let reactor = picot_reactor::Reactor::with_driver("epoll");
/// ```
///
/// All methods are called on the reactor's thread, and none while another one runs, but for those that [`wait`](Driver::wait)
/// names.
#[doc(alias = "selector")]
#[doc(alias = "BaseSelector")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the driver of a reactor",
    note = "implement `picot_reactor::driver::Driver` for it, or let `Reactor::new` choose one"
)]
pub trait Driver {
    /// Whether every change to ready is told once, whoever asks. Then a source is added for all directions and never
    /// modified. If not, each event disarms its source, which is armed again for what somebody asks for. The answer is
    /// always the same.
    fn is_edge(&self) -> bool;

    /// Whether a plain TCP socket whose last transfer moved less than it could can be taken to be
    /// not ready: whatever follows, the end of the stream and an urgent mark included, will be an
    /// event of its own that says what it is ([`READ_CLOSED`](Readiness::READ_CLOSED),
    /// [`PRIORITY`](Readiness::PRIORITY)), or levels are told whenever they are asked for. The
    /// answer is always the same. Of other objects a short transfer is believed only if their owner
    /// says so: see [`Source::trust_short_transfers`](crate::Source::trust_short_transfers).
    fn trusts_partial_transfers(&self) -> bool;

    /// Adds an object to the set. `interest` has bits of directions only.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) says that the object is of a kind that no kernel polls: it
    /// is taken to be ready at all times, and is not in the set. Other errors are whoever registers to handle.
    ///
    /// # Safety
    /// The object must stay open, and keep its descriptor, until [`delete`](Driver::delete) was called for it.
    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()>;

    /// Asks for the next event of these directions. Called only if [`is_edge`](Driver::is_edge) is false.
    ///
    /// # Errors
    /// What the operating system says. Those who wait are woken then, try, and find out.
    fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()>;

    /// Takes an object out that was added and is still open. Events of it that are on their way may still be told.
    ///
    /// # Errors
    /// What the operating system says. The reactor ignores this error, as the source is going away.
    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()>;

    /// Waits until there are events, at most for `timeout`, and adds them to `events`, which is empty. An interruption by a
    /// signal counts as no events, or is not told at all and the wait goes on, which is what `polling` does. Events that were
    /// added before an error count, too.
    ///
    /// `deadline` names the moment at which the timeout ends, in a way of the caller's own: the same number in the next wait
    /// says that the moment has not moved. With a deadline the wait may end a little early, if that saves work; the
    /// caller looks at its clock and waits again.
    ///
    /// # Errors
    /// What the operating system says. The driver can be used on.
    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()>;

    /// Takes an event that no source claims: its source is gone, or the descriptor is the driver's
    /// own. The reactor calls this when the event's turn comes. A driver that wraps another one
    /// passes it on.
    fn unclaimed(&self, key: Key);

    /// Ends a wait from any thread: the one that is under way, or else the next. It may outlive the driver.
    fn waker(&self) -> Waker;

    /// The descriptor that is readable when a wait would return events, if there is such a thing.
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
