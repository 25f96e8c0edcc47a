//! The driver for Linux: one `epoll_pwait` per turn, on its own epoll instance.
//!
//! A wait of `polling` makes five system calls: it sets and arms a timerfd, waits, reads an eventfd
//! and arms that again. It also does not report `EPOLLRDHUP`. So this driver has its own set, with
//! two descriptors of its own in it. Both are edge-triggered and never read, so they need no reset.
//! If the kernel lacks one of them, or under Miri, a coarser replacement is used.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::{Driver, Events, Key};
use crate::pollable::BorrowedIo;
use crate::ready::Readiness;

/// The maximum number of events per wait. The rest is for the next wait, so that a flood of events
/// cannot keep ready tasks from running.
const EVENTS: usize = 256;

/// The key of the notifier. A reserved key, so no source has it.
const NOTIFIER: u64 = usize::MAX as u64 - 1;

/// The key of the timer. A reserved key, so no source has it.
const TIMER: u64 = usize::MAX as u64 - 2;

/// The resolution of epoll's timeout. For a nearer deadline the timer is used.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The driver for Linux, on top of epoll.
///
/// ```
/// use picot_reactor::{Reactor, driver::Direct};
///
/// let reactor = Reactor::with_driver(Direct::new()?);
/// # std::io::Result::Ok(())
/// ```
pub struct Direct {
    epoll: OwnedFd,
    notifier: Arc<Notifier>,
    /// Made when it is first needed, because many loops never need it.
    timer: OnceCell<Timer>,
    /// The number of objects in the set, without the notifier and the timer.
    objects: Cell<usize>,
}

impl Direct {
    /// Makes a driver with its own epoll instance.
    ///
    /// # Errors
    /// If the operating system has no descriptors left, or no epoll.
    ///
    /// ```
    /// println!("{:?}", picot_reactor::driver::Direct::new()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Direct> {
        Direct::with_notifier(Notifier::new()?)
    }

    fn with_notifier(notifier: Notifier) -> io::Result<Direct> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, notifier.read_end(), EventData::new_u64(NOTIFIER), EventFlags::IN | EventFlags::ET)?;
        Ok(Direct { epoll, notifier: Arc::new(notifier), timer: OnceCell::new(), objects: Cell::new(0) })
    }

    /// The timer. `None` if it cannot be made; then waits are rounded up to milliseconds.
    fn timer(&self) -> Option<&Timer> {
        if self.timer.get().is_none() {
            // The cell is empty and nothing foreign runs, so this is never refused.
            _ = self.timer.set(Timer::new(&self.epoll)?);
        }
        self.timer.get()
    }

    /// Whether the kernel has nothing to report: no object is in the set, and neither the notifier
    /// nor the timer may have an event. Then a wait that does not block needs no system call.
    fn is_quiet(&self) -> bool {
        self.objects.get() == 0 && !self.timer.get().is_some_and(Timer::is_set) && !self.notifier.take_notice()
    }

    /// Returns the timeout for epoll. Sets the timer if that has to end the wait earlier.
    fn timeout(&self, timeout: Duration, deadline: Option<u64>) -> Duration {
        if timeout.is_zero() {
            return timeout;
        }
        if timeout > MILLISECOND && deadline.is_some() {
            // The kernel may add a slack of a thousandth to a long timeout. So the wait ends early
            // by more than that, in whole milliseconds, and the next wait is shorter and exact.
            let safe = timeout - timeout / 512;
            return Duration::from_millis(safe.as_millis() as u64).max(MILLISECOND);
        }
        if timeout < MILLISECOND {
            if let Some(timer) = self.timer() {
                timer.set(timeout, deadline);
            }
        }
        // rustix rounds up to whole milliseconds, so the timer above comes first.
        timeout
    }
}

impl Driver for Direct {
    fn is_edge(&self) -> bool {
        true
    }

    fn trusts_partial_transfers(&self) -> bool {
        // With RDHUP the end of a stream is an edge of its own, and with PRI urgent data is. Miri
        // does not support PRI.
        !cfg!(miri)
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        let mut flags = EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::IN, interest.contains(Readiness::READABLE));
        flags.set(EventFlags::OUT, interest.contains(Readiness::WRITABLE));
        // Miri does not support PRI.
        flags.set(EventFlags::PRI, interest.contains(Readiness::PRIORITY) && !cfg!(miri));
        // A regular file is refused with EPERM, which is `PermissionDenied`.
        epoll::add(&self.epoll, io, EventData::new_u64(key.bits() as u64), flags)?;
        self.objects.set(self.objects.get() + 1);
        Ok(())
    }

    fn modify(&self, _: BorrowedIo<'_>, _: Key, _: Readiness) -> io::Result<()> {
        Ok(())
    }

    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
        // Also if this fails: the object is then not in the set any more.
        self.objects.set(self.objects.get().saturating_sub(1));
        // Closing alone is not enough: a duplicate of the descriptor would keep the entry in the
        // set.
        Ok(epoll::delete(&self.epoll, io)?)
    }

    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
        self.notifier.check()?;
        if timeout == Some(Duration::ZERO) && self.is_quiet() {
            return Ok(());
        }
        let timeout = timeout.map(|timeout| self.timeout(timeout, deadline));
        // The conversion cannot fail: the reactor caps the timeout at 24 hours.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(&self.epoll, spare_capacity(events.room(EVENTS)), timeout.as_ref()) {
            // A signal ends the wait without events.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn unclaimed(&self, key: Key) {
        match (key.bits() as u64, self.timer.get()) {
            (NOTIFIER, _) => self.notifier.acknowledge(),
            (TIMER, Some(timer)) => timer.expired(),
            _ => {}
        }
    }

    fn waker(&self) -> Waker {
        self.notifier.clone().into()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

/// Ends a wait from any thread.
///
/// An eventfd, which is never read: each write is an edge. Without eventfds it is a pipe, which is
/// drained after each event, because some kernels report an edge only for the first byte in it.
struct Notifier {
    write_end: OwnedFd,
    /// The read end, if this is a pipe.
    pipe: Option<OwnedFd>,
    /// The operating system's number of the error because of which it could not be write_end, or 0.
    failure: AtomicI32,
    /// Whether the kernel may have an event of it to report.
    notice: AtomicBool,
}

impl Notifier {
    fn new() -> io::Result<Notifier> {
        if let Ok(eventfd) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            return Ok(Notifier::of(eventfd, None));
        }
        Notifier::with_pipe()
    }

    fn with_pipe() -> io::Result<Notifier> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Notifier::of(write_end, Some(read_end)))
    }

    fn of(write_end: OwnedFd, pipe: Option<OwnedFd>) -> Notifier {
        Notifier { write_end, pipe, failure: AtomicI32::new(0), notice: AtomicBool::new(false) }
    }

    fn read_end(&self) -> &OwnedFd {
        self.pipe.as_ref().unwrap_or(&self.write_end)
    }

    fn notify(&self) {
        loop {
            match rustix::io::write(&self.write_end, &1_u64.to_ne_bytes()) {
                Err(Errno::INTR) => {}
                // Full: the counter after 2^64 writes, or the pipe. Reading drains it, and the next
                // write is an edge again.
                Err(Errno::AGAIN) => self.drain(),
                // After the write: a wait that takes the notice then finds the event. Relaxed: no
                // other data depends on it, and a wait that blocks does not read it.
                Ok(_) => return self.notice.store(true, Ordering::Relaxed),
                // A waker cannot return an error, so the next wait does. Relaxed: the number alone
                // is shared, and the failed write wakes no wait that could miss it.
                Err(error) => return self.failure.store(error.raw_os_error(), Ordering::Relaxed),
            }
        }
    }

    /// Whether it was notified since this was last called.
    #[inline]
    fn take_notice(&self) -> bool {
        self.notice.load(Ordering::Relaxed) && self.notice.swap(false, Ordering::Relaxed)
    }

    /// An error, once, if it could not be write_end.
    #[inline]
    fn check(&self) -> io::Result<()> {
        if self.failure.load(Ordering::Relaxed) == 0 { Ok(()) } else { self.take_failure() }
    }

    #[cold]
    fn take_failure(&self) -> io::Result<()> {
        let error = io::Error::from_raw_os_error(self.failure.swap(0, Ordering::Relaxed));
        Err(io::Error::new(error.kind(), format!("a wake-up did not reach the reactor: {error}")))
    }

    /// Handles the notifier's event: drains a pipe, so that the next write is an edge.
    fn acknowledge(&self) {
        if self.pipe.is_some() {
            self.drain();
        }
    }

    fn drain(&self) {
        while rustix::io::read(self.read_end(), &mut [0_u8; 512]).is_ok_and(|read| read == 512) {}
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// Ends a wait at a time between epoll's milliseconds: a timerfd in the same set, never read.
struct Timer {
    fd: OwnedFd,
    /// The deadline for which the timer is set, until it expires.
    set_for: Cell<Option<u64>>,
    /// Whether it is set, also without a deadline.
    is_set: Cell<bool>,
}

impl Timer {
    /// `None` if the kernel has no timerfds. Then waits are rounded up to milliseconds.
    fn new(epoll: &OwnedFd) -> Option<Timer> {
        if cfg!(miri) {
            return None;
        }
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).ok()?;
        epoll::add(epoll, &fd, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET).ok()?;
        Some(Timer { fd, set_for: Cell::new(None), is_set: Cell::new(false) })
    }

    /// Sets the timer, unless it is already set for this deadline.
    fn set(&self, timeout: Duration, deadline: Option<u64>) {
        if deadline.is_some() && self.set_for.get() == deadline {
            return;
        }
        let once = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        let time = Itimerspec { it_interval: Timespec::default(), it_value: once };
        // If setting fails, epoll's own timeout ends the wait a little later.
        let is_set = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &time).is_ok();
        self.set_for.set(deadline.filter(|_| is_set));
        // Also after a failure: the time before may still stand.
        self.is_set.set(true);
    }

    fn is_set(&self) -> bool {
        self.is_set.get()
    }

    fn expired(&self) {
        self.set_for.set(None);
        self.is_set.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::timerfd_gettime;

    use super::*;

    fn wait(driver: &Direct, timeout: Option<Duration>) {
        let mut events = Events::new();
        driver.wait(timeout, None, &mut events).unwrap();
        for (key, _) in events.iter() {
            assert!(matches!(key.bits() as u64, NOTIFIER | TIMER), "an event without a source");
            driver.unclaimed(key);
        }
    }

    /// The case of a kernel without eventfds.
    #[test]
    fn a_pipe_replaces_the_eventfd_for_any_number_of_wakes() {
        let driver = Direct::with_notifier(Notifier::with_pipe().unwrap()).unwrap();
        let waker = driver.waker();
        for rings in [1, 2, 20_000] {
            (0..rings).for_each(|_| waker.wake_by_ref());
            wait(&driver, None);
        }
        // The pipe is empty, so only the next wake ends the next wait.
        assert!(rustix::io::read(driver.notifier.read_end(), &mut [0; 8]).is_err());
        std::thread::spawn(move || waker.wake()).join().unwrap();
        wait(&driver, None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not support a full counter")]
    fn a_full_counter_is_drained_and_the_wake_arrives() {
        let driver = Direct::new().unwrap();
        let full = rustix::io::write(&driver.notifier.write_end, &(u64::MAX - 1).to_ne_bytes());
        assert_eq!(full, Ok(8));
        let count = |limit| {
            let mut events = Events::new();
            driver.wait(Some(limit), None, &mut events).unwrap();
            events.len()
        };
        assert_eq!((count(Duration::from_secs(10)), count(Duration::ZERO)), (1, 0));
        driver.waker().wake();
        assert_eq!(count(Duration::from_secs(10)), 1);
        let mut counter = [0; 8];
        assert_eq!(rustix::io::read(&driver.notifier.write_end, &mut counter), Ok(8));
        assert_eq!(u64::from_ne_bytes(counter), 1);
    }

    #[test]
    fn a_wait_of_zero_asks_the_kernel_only_if_it_may_have_an_event() {
        let driver = Direct::new().unwrap();
        let count = |timeout| {
            let mut events = Events::new();
            driver.wait(Some(timeout), None, &mut events).unwrap();
            events.iter().for_each(|(key, _)| driver.unclaimed(key));
            events.len()
        };
        // An event that the driver does not know of shows which waits ask.
        let unknown = || assert_eq!(rustix::io::write(&driver.notifier.write_end, &1_u64.to_ne_bytes()), Ok(8));
        unknown();
        assert_eq!(count(Duration::ZERO), 0, "nothing is registered");
        assert_eq!(count(Duration::from_secs(10)), 1, "a wait that may block asks");
        driver.waker().wake();
        assert_eq!((count(Duration::ZERO), count(Duration::ZERO)), (1, 0), "a wake");
        if let Some(timer) = driver.timer() {
            timer.set(Duration::from_nanos(1), Some(1));
            while count(Duration::ZERO) == 0 {}
            unknown();
            assert_eq!(count(Duration::ZERO), 0, "the timer has expired");
            assert_eq!(count(Duration::from_secs(10)), 1);
        }
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let io = || BorrowedIo::from(near.as_fd());
        // SAFETY: `near` stays open until it is deleted from the set.
        unsafe { driver.add(io(), Key::from_bits(0), Readiness::READABLE).unwrap() };
        unknown();
        assert_eq!(count(Duration::ZERO), 1, "an object is registered");
        driver.delete(io()).unwrap();
        unknown();
        assert_eq!(count(Duration::ZERO), 0, "none is registered any more");
    }

    /// A wake must not block or loop.
    #[test]
    fn a_wake_that_cannot_be_written_returns() {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        drop(read_end);
        let broken = Notifier::of(write_end, None);
        assert_eq!(rustix::io::write(&broken.write_end, &[1]), Err(Errno::PIPE));
        broken.notify();
        let (read_end, _write_end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let unwritable = Arc::new(Notifier::of(read_end, None));
        assert_eq!(rustix::io::write(&unwritable.write_end, &[1]), Err(Errno::BADF));
        Waker::from(unwritable).wake();
    }

    #[test]
    fn a_wake_that_cannot_be_written_is_an_error_of_the_next_wait() {
        // Opened for reading only, so a write fails.
        let write_end = std::fs::File::open("/dev/null").unwrap().into();
        let (read_end, _silent) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let driver = Direct::with_notifier(Notifier::of(write_end, Some(read_end))).unwrap();
        wait(&driver, Some(Duration::ZERO));
        let waker = driver.waker();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        let error = driver.wait(Some(Duration::ZERO), None, &mut Events::new()).unwrap_err();
        assert!(error.to_string().starts_with("a wake-up did not reach the reactor: Bad file"), "{error}");
        wait(&driver, Some(Duration::ZERO));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn the_timer_is_set_once_per_deadline() {
        let driver = Direct::new().unwrap();
        let timer = driver.timer().unwrap();
        let left = || timerfd_gettime(&timer.fd).unwrap().it_value.tv_nsec;
        timer.set(Duration::from_millis(200), Some(1));
        timer.set(Duration::from_millis(900), Some(1));
        assert!(left() <= 200_000_000, "the same deadline sets the timer again");
        timer.set(Duration::from_millis(900), Some(2));
        assert!(left() > 200_000_000, "another deadline does not set the timer");
        // Without a deadline the timer is always set.
        timer.set(Duration::from_millis(100), None);
        assert!(left() <= 100_000_000);
        timer.set(Duration::from_micros(1), Some(2));
        wait(&driver, Some(Duration::from_secs(10)));
        assert_eq!(timer.set_for.get(), None, "the timer has expired");
    }

    #[test]
    fn a_wait_ends_before_a_far_deadline_but_not_before_a_plain_timeout() {
        let driver = Direct::new().unwrap();
        let far = Duration::from_micros(600_900);
        assert_eq!(driver.timeout(far, Some(1)), Duration::from_millis(599));
        assert_eq!(driver.timeout(far, None), far);
        assert_eq!(driver.timeout(Duration::from_micros(1_001), Some(1)), MILLISECOND);
        assert_eq!(driver.timeout(Duration::ZERO, Some(1)), Duration::ZERO);
    }
}
