//! The reactor: waits for events, updates readiness, wakes tasks.
//!
//! The invariants:
//! - Each event of a wait is looked up at its turn, so an event of a source that was dropped
//!   meanwhile reaches no task.
//! - Nothing is borrowed while a waker is called.
//! - The reactor reads no clock: the caller passes the timeout.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use picot_context::Waits;

use crate::driver::{Driver, system};
use crate::foreign::contain_wake;
use crate::inner::Inner;
use crate::pollable::{Pollable, borrow};
use crate::ready_list::List;
use crate::source::{Registered, Source};

/// The longest wait. Kernels differ in how they treat longer timeouts. The caller waits again.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Waits for events of the I/O objects that are registered with it, on one thread.
///
/// Clones are handles of the same reactor.
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
/// assert_eq!(reactor.wait(Some(Duration::ZERO))?, 0, "no client connects");
/// # drop(source);
/// # Ok(())
/// # }
/// ```
///
/// Dropping the last handle [closes](Reactor::close) the reactor, because no handle is left to wait
/// for its sources.
#[derive(Clone)]
pub struct Reactor {
    handle: Rc<Handle>,
}

/// Shared by the handles. Sources hold only `Inner`, so they do not keep the reactor open.
struct Handle {
    inner: Rc<Inner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl Reactor {
    /// Makes a reactor with this platform's driver.
    ///
    /// # Errors
    /// If the operating system has no descriptors left, or offers no way to poll.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// assert_eq!(reactor.sources(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Reactor> {
        Ok(Reactor::on(system()?))
    }

    /// Makes a reactor with a driver of your choice.
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

    /// Registers an I/O object for all directions.
    ///
    /// It must be in non-blocking mode; otherwise its operations block the thread.
    ///
    /// The source starts as not ready. Each [`wait`](Reactor::wait) after the first operation
    /// updates it. If the first operation is likely to succeed, [`Source::assume_ready`] saves one
    /// wait. An object that cannot be polled, such as a regular file, is always ready.
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_nonblocking(true)?;
    /// let source = reactor.register(socket)?;
    /// assert_eq!(reactor.sources(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// An error of the operating system, for example that the object is registered already or that
    /// there is no memory. Always if the reactor is [closed](Reactor::close), or if this process is
    /// a [forked child](Reactor::is_forked). The error returns the object, and becomes an
    /// [`io::Error`] by `?`.
    ///
    /// The source owns the object, so a borrowed one is refused: it could be closed before its
    /// source, which would then deregister another object with the same descriptor. To share it,
    /// register an `Rc`.
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
    /// A source of a borrowed object cannot be leaked either. The number of the closed object would
    /// stay in the driver's set:
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
    /// The timeout is rounded up to the resolution of the backend. On Linux this is a millisecond;
    /// a timeout below that is exact and costs a system call. On Linux, a signal ends the wait
    /// without events. Elsewhere `polling` continues the wait, so a signal handler that has to end
    /// it calls a [`WakeHandle`]. A timer of an earlier wait may end it, too.
    ///
    /// If a waker panics, the panic is reported to the thread's host, and the other wakers are
    /// called.
    ///
    /// # Errors
    /// An error of the operating system; the reactor stays usable. Always if the reactor is
    /// [closed](Reactor::close), or if this process is a [forked child](Reactor::is_forked).
    ///
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

    /// As [`wait`](Reactor::wait), from `now` until `deadline`, in nanoseconds on the caller's
    /// clock.
    ///
    /// This is for loops with timers. The wait is as exact as the operating system allows, and
    /// while the deadline stays the same this costs no further system call. The wait may end before
    /// the deadline without events: check the clock, and wait again.
    ///
    /// # Errors
    /// As [`wait`](Reactor::wait).
    ///
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
        // Taken out: a waker may call this function again, and then gets a buffer of its own.
        let mut events = inner.events.take().unwrap_or_default();
        // Foreign code: the driver. Nothing is borrowed.
        let result = inner.driver.wait(timeout, deadline, &mut events);
        let hold = inner.retired.hold();
        // Foreign code: wakers. From here until `hold` is dropped, wakers that leave their slots
        // are kept alive. One `catch` covers all events; after a panic the loop continues with the
        // next event.
        let (mut rest, mut unclaimed) = (events.iter(), 0);
        while contain_wake(|| inner.dispatch(&mut rest, &mut unclaimed)) {}
        drop(hold);
        drop(rest);
        let count = events.len() - unclaimed;
        events.clear();
        // Put back to reuse its memory. This drops the buffer of a nested wait, if there was one.
        inner.events.set(Some(events));
        result.map(|()| count)
    }

    /// Returns a handle that ends a wait from any thread.
    ///
    /// ```
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.wake_handle();
    /// std::thread::spawn(move || handle.wake());
    /// reactor.wait(None)?; // ends because of the wake
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wake_handle(&self) -> WakeHandle {
        WakeHandle(self.handle.inner.driver.waker())
    }

    /// Closes the reactor, for all its handles, and wakes every task that waits for a source.
    ///
    /// From then on, each operation and each wait of a source returns an error that contains
    /// [`Closed`](picot_context::Closed), and so do [`wait`](Reactor::wait) and
    /// [`register`](Reactor::register). Sources keep their objects, which
    /// [`into_inner`](Source::into_inner) returns, but are not registered any more. Closing twice
    /// is fine.
    ///
    /// In a forked child this closes only the child's copy, and wakes no task: the tasks are the
    /// parent's.
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
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// reactor.close();
    /// assert!(reactor.is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.handle.inner.is_closed()
    }

    /// Returns the descriptor that is readable when [`wait`](Reactor::wait) would return events.
    ///
    /// For hosts with their own loop: they poll it, and then call `wait` with a timeout of zero.
    /// `None` if the driver has no such descriptor; this is why the reactor does not implement
    /// `AsFd`.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// if let Some(descriptor) = reactor.backend_fd() {
    ///     println!("poll {descriptor:?}");
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[cfg(unix)]
    #[doc(alias = "AsFd")]
    #[doc(alias = "as_fd")]
    pub fn backend_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.handle.inner.driver.as_fd()
    }

    /// Whether this process was forked from the one that made the reactor.
    ///
    /// A child shares the kernel's set with its parent, and would take the parent's events. So in a
    /// child the reactor refuses to wait and to register, and dropping its sources removes nothing
    /// from the set.
    ///
    /// On Linux from 4.14 on, this costs a load; elsewhere, or without memory for it, a system
    /// call.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// assert!(!reactor.is_forked());
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.handle.inner.fork_detector.is_forked()
    }

    /// The number of registered sources.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// assert_eq!(reactor.sources(), 1);
    /// drop(source);
    /// assert_eq!(reactor.sources(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn sources(&self) -> usize {
        self.handle.inner.table.len()
    }

    /// The number of wakers that wait for a source, plus the sources in a [ready
    /// list](crate::ReadyList).
    ///
    /// A waker that a dropped future has left behind counts until its source is ready or dropped.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// assert_eq!(reactor.waiting(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn waiting(&self) -> usize {
        self.handle.inner.waiting.get()
    }

    /// Adds what the tasks of this reactor's sources wait for, for a report. It asks the operating
    /// system for the peer of each socket that a task waits for.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// let mut waits = picot_context::Waits::default();
    /// reactor.add_waits(&mut waits);
    /// assert!(waits.is_empty());
    /// # std::io::Result::Ok(())
    /// ```
    #[doc(hidden)]
    pub fn add_waits(&self, waits: &mut Waits) {
        let mut lists: Vec<(Rc<List>, usize)> = Vec::new();
        for state in self.handle.inner.table.all() {
            state.add_waits(waits);
            let Some(list) = state.list() else { continue };
            match lists.iter_mut().find(|(known, _)| Rc::ptr_eq(known, &list)) {
                Some((_, sources)) => *sources += 1,
                None => lists.push((list, 1)),
            }
        }
        lists.into_iter().for_each(|(list, sources)| list.add_wait(sources, waits));
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("sources", &self.sources()).field("waiting", &self.waiting()).finish()
    }
}

/// Ends a wait of the reactor, from any thread; made by [`Reactor::wake_handle`].
///
/// If the reactor is not waiting, its next wait ends at once. The handle may outlive the reactor,
/// and then does nothing. It becomes a [`Waker`] by `into`.
///
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
    /// Ends the wait. Each call may cost a system call, so frequent callers keep a flag of their
    /// own.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// reactor.wake_handle().wake();
    /// reactor.wait(None)?; // ends at once
    /// # std::io::Result::Ok(())
    /// ```
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

/// The error of a failed registration, with the object.
///
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
    /// Returns the error and the object.
    ///
    /// ```
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.close();
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let (error, socket) = reactor.register(socket).unwrap_err().into_parts();
    /// println!("{error}; {socket:?} is not registered");
    /// # std::io::Result::Ok(())
    /// ```
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
        write!(f, "cannot register the I/O object with the reactor: {}", self.error)
    }
}

impl<T> std::error::Error for RegisterError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
