//! The reactor: waits, brings readiness up to date, wakes.
//!
//! The invariants: each event of a wait is looked up when its turn comes, so that one whose source is gone by then reaches
//! nobody; no borrow of ours lives while a waker is called. It reads no clock: how long to wait is up to the caller.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::driver::{Driver, system};
use crate::foreign::contain_wake;
use crate::inner::Inner;
use crate::pollable::{Pollable, borrow};
use crate::source::{Registered, Source};

/// The longest wait. Kernels differ in what they do with longer ones; the caller waits again.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits for events of the I/O objects that are registered with it, on one thread. Clones are handles of the same reactor.
///
/// ```
/// use std::time::Duration;
/// use picot_reactor::Reactor;
///
/// # fn main() -> std::io::Result<()> {
/// let reactor = Reactor::new()?;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// listener.set_nonblocking(true)?;
/// let source = reactor.register(listener)?;
/// assert_eq!(reactor.sources(), 1);
/// assert_eq!(reactor.wait(Some(Duration::ZERO))?, 0, "nobody connects");
/// # drop(source);
/// # Ok(())
/// # }
/// ```
///
/// When the last handle is dropped the reactor [closes](Reactor::close), because nothing can wait
/// for its sources any more.
#[derive(Clone)]
pub struct Reactor {
    handle: Rc<Handle>,
}

/// What the handles share. Sources have the rest alone, so they do not keep a reactor open.
struct Handle {
    inner: Rc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl Reactor {
    /// A reactor without sources, on this platform's way to poll.
    ///
    /// # Errors
    /// If the operating system has no more descriptors, or offers no way to poll.
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor::on(system()?))
    }

    /// A reactor without sources, on a driver of your choice.
    ///
    /// ```
    /// use picot_reactor::{Reactor, driver::Portable};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = Reactor::with_driver(Portable::new()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "SelectorEventLoop")]
    pub fn with_driver(driver: impl Driver + 'static) -> Reactor {
        Reactor::on(Box::new(driver))
    }

    fn on(driver: Box<dyn Driver>) -> Reactor {
        Reactor { handle: Rc::new(Handle { inner: Rc::new(Inner::new(driver)) }) }
    }

    /// Registers an I/O object, for both directions. It must be in non-blocking mode, or its operations block the thread.
    ///
    /// The source starts as not ready. From the first operation or wait on, each
    /// [`wait`](Reactor::wait) brings it up to date; [`Source::assume_ready`] saves the first of
    /// these where the first operation is likely to succeed. An object that cannot be polled, such
    /// as a regular file, is ready at all times.
    ///
    /// # Errors
    /// What the operating system says, with the object: for example that it is registered already,
    /// or that there is no memory. Always if the reactor is [closed](Reactor::close), and in a
    /// process that was forked from the reactor's: see [`is_forked`](Reactor::is_forked). The error
    /// becomes an [`io::Error`] by `?`.
    ///
    /// The object belongs to the source, so a borrowed one is refused: it could be closed before
    /// its source, which then deregisters whatever has that descriptor by then. Share it by an `Rc`
    /// instead.
    ///
    /// ```compile_fail,E0597
    /// use std::net::UdpSocket;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new().unwrap();
    /// let source;
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// source = reactor.register(&socket).unwrap();
    /// ```
    ///
    /// Nor can it be leaked, which would leave the number of a closed object in the driver's set:
    ///
    /// ```compile_fail,E0505
    /// use std::net::UdpSocket;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new().unwrap();
    /// let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    /// std::mem::forget(reactor.register(&socket).unwrap());
    /// drop(socket);
    /// ```
    pub fn register<T: Pollable + 'static>(&self, io: T) -> Result<Source<T>, RegisterError<T>> {
        match Registered::new(&self.handle.inner, borrow(&io)) {
            Ok(registered) => Ok(Source::new(registered, io)),
            Err(error) => Err(RegisterError { error, io }),
        }
    }

    /// Waits for events, wakes their waiters, and returns the number of events.
    ///
    /// The wait ends after `timeout` (`None`: without a limit), and after 24 hours at the latest.
    ///
    /// A timeout is rounded up to what the backend can do: on Linux, to a millisecond, but one below that is exact, and
    /// costs a system call. On Linux a signal ends the wait without events; elsewhere `polling` goes on to wait for the rest
    /// of the time, so a handler that is to end a wait calls a [`WakeHandle`]. A timer that was left from an earlier wait may end it, too.
    /// A waker that panics is reported to the thread's host, and the others are woken all the same.
    ///
    /// # Errors
    /// What the operating system says; the reactor can be used on. Always if it is
    /// [closed](Reactor::close), and in a process that was forked from the reactor's: see
    /// [`is_forked`](Reactor::is_forked).
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::{Duration, Instant};
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let start = Instant::now();
    /// assert_eq!(reactor.wait(Some(Duration::from_millis(2)))?, 0);
    /// assert!(start.elapsed() >= Duration::from_millis(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<usize> {
        self.wait_for(timeout.map(|timeout| timeout.min(WAIT_MAX)), None)
    }

    /// [`wait`](Reactor::wait) until a deadline: for the time from `now` to then, both in nanoseconds on the caller's clock.
    ///
    /// This is for loops that have timers. The wait is as exact as the operating system can be, at no system call more
    /// while the deadline stays the same. It may end before the deadline without events: look at the clock, and if it is
    /// not due yet, wait again.
    ///
    /// # Errors
    /// As for [`wait`](Reactor::wait).
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::time::Instant;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let start = Instant::now();
    /// let now = || start.elapsed().as_nanos() as u64;
    /// let deadline = now() + 2_000_000;
    /// while now() < deadline {
    ///     reactor.wait_until(deadline, now())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_until(&self, deadline: u64, now: u64) -> io::Result<usize> {
        self.wait_for(Some(Duration::from_nanos(deadline.saturating_sub(now)).min(WAIT_MAX)), Some(deadline))
    }

    fn wait_for(&self, timeout: Option<Duration>, deadline: Option<u64>) -> io::Result<usize> {
        let inner = &*self.handle.inner;
        inner.check()?;
        let mut events = inner.events.take().unwrap_or_default();
        let result = inner.driver.wait(timeout, deadline, &mut events);
        let hold = inner.retired.hold();
        // A panic is contained here, once for all, and the events behind it follow.
        let (mut rest, mut unclaimed) = (events.iter(), 0);
        while contain_wake(|| inner.dispatch(&mut rest, &mut unclaimed)) {}
        drop(hold);
        drop(rest);
        let count = events.len() - unclaimed;
        events.clear();
        // Put back for its memory; a waker that has waited itself may have left another one.
        inner.events.set(Some(events));
        result.map(|()| count)
    }

    /// A handle that ends a wait from any thread.
    pub fn wake_handle(&self) -> WakeHandle {
        WakeHandle(self.handle.inner.driver.waker())
    }

    /// Closes the reactor, for all its handles. Every task that waits for a source is woken, and
    /// whatever it tries or waits for returns an error from now on, which holds [`Closed`](picot_context::Closed); so do
    /// [`wait`](Reactor::wait) and [`register`](Reactor::register). Sources keep their objects,
    /// which [`into_inner`](Source::into_inner) gives back, but are registered no more and count as
    /// none. Closing it again does nothing.
    ///
    /// In a process that was forked from the reactor's it closes the child's copy only, and wakes
    /// none: its tasks are the parent's.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::net::UdpSocket;
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let source = reactor.register(UdpSocket::bind("127.0.0.1:0")?)?;
    /// let mut readable = pin!(source.readable());
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(readable.as_mut().poll(&mut cx).is_pending());
    /// reactor.close();
    /// assert!(matches!(readable.as_mut().poll(&mut cx), Poll::Ready(Err(_))));
    /// assert!(source.try_io(Direction::Write, |socket| socket.send(b"too late")).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.handle.inner.close();
    }

    /// Whether the reactor is [closed](Reactor::close).
    pub fn is_closed(&self) -> bool {
        self.handle.inner.is_closed()
    }

    /// The descriptor that is readable when [`wait`](Reactor::wait) would return events: for hosts that have a loop of their
    /// own, which poll it and then call `wait` with a timeout of zero. `None` where the driver has no such thing.
    ///
    /// This is not `AsFd`, because whether there is a descriptor depends on the driver.
    #[cfg(unix)]
    #[doc(alias = "AsFd")]
    #[doc(alias = "as_fd")]
    pub fn backend_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.handle.inner.driver.as_fd()
    }

    /// Whether this process was forked from the one that made the reactor. A child shares the kernel's set with its parent,
    /// and would take its events away; so it can neither wait nor register, and dropping its sources takes nothing out of the set.
    ///
    /// On Linux from 4.14 on, asking costs a load; elsewhere, and where the process has no memory left for that, a system call.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.handle.inner.mark.is_forked()
    }

    /// The number of sources.
    pub fn sources(&self) -> usize {
        self.handle.inner.table.len()
    }

    /// The number of wakers that wait for a source, and of sources in a [ready list](crate::ReadyList). A waker that was left behind by a future which is gone counts until its
    /// source is ready or dropped.
    pub fn waiting(&self) -> usize {
        self.handle.inner.waiting.get()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("sources", &self.sources()).field("waiting", &self.waiting()).finish()
    }
}

/// Ends a wait of the reactor, from any thread; made by [`Reactor::wake_handle`].
///
/// If the reactor does not wait just then, its next wait ends at once. The handle may outlive the reactor; then it does
/// nothing. It becomes a [`Waker`] by `into`.
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::thread;
/// use picot_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let handle = reactor.wake_handle();
/// let thread = thread::spawn(move || handle.wake());
/// reactor.wait(None)?;
/// # thread.join().unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WakeHandle(Waker);

impl WakeHandle {
    /// Ends the wait. Each call may cost a system call: whoever wakes often keeps a flag of its own.
    pub fn wake(&self) {
        self.0.wake_by_ref();
    }
}

impl From<WakeHandle> for Waker {
    fn from(handle: WakeHandle) -> Waker {
        handle.0
    }
}

impl fmt::Debug for WakeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeHandle").finish_non_exhaustive()
    }
}

/// A registration that failed: the reason, and the object, to be used otherwise.
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::ErrorKind;
/// use std::net::UdpSocket;
/// use std::sync::Arc;
/// use picot_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
/// let _source = reactor.register(socket.clone())?;
/// # #[cfg(target_os = "linux")] {
/// let (error, same) = reactor.register(socket.clone()).unwrap_err().into_parts();
/// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
/// assert!(Arc::ptr_eq(&socket, &same));
/// # }
/// # Ok(())
/// # }
/// ```
pub struct RegisterError<T> {
    error: io::Error,
    io: T,
}

impl<T> RegisterError<T> {
    /// The reason and the object.
    pub fn into_parts(self) -> (io::Error, T) {
        (self.error, self.io)
    }
}

impl<T> From<RegisterError<T>> for io::Error {
    fn from(error: RegisterError<T>) -> io::Error {
        error.error
    }
}

impl<T> fmt::Debug for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the I/O object could not be registered with the reactor: {}", self.error)
    }
}

impl<T> std::error::Error for RegisterError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
