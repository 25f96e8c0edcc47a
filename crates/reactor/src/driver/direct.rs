//! The driver for Linux: one `epoll_pwait` a turn, on an epoll instance of its own.
//!
//! `polling`'s own wait performs five system calls where one does: it sets and re-arms a timerfd, waits, reads an eventfd
//! and re-arms that. It also has no word for `EPOLLRDHUP`. So here the set is ours, and so are the two descriptors that
//! are in it for us: both are registered for edges and never read, so there is nothing to reset. Where the kernel lacks
//! one of them (or Miri does), something coarser takes its place.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
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

/// Events a turn. A flood of more waits for the next turn, so that it cannot keep ready tasks from running.
const EVENTS: usize = 256;

/// The key of the wake-up fd, which no source has.
const ALARM: u64 = usize::MAX as u64 - 1;

/// The key of the timer, which no source has.
const TIMER: u64 = usize::MAX as u64 - 2;

/// What epoll can tell apart. A deadline that is nearer is a matter for the timer.
const MILLISECOND: Duration = Duration::from_millis(1);

/// epoll, waited on directly.
pub struct Direct {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    timer: Option<Timer>,
}

impl Direct {
    /// A driver with an epoll instance of its own.
    ///
    /// # Errors
    /// If the operating system has no more descriptors, or knows no epoll.
    pub fn new() -> io::Result<Direct> {
        Direct::with_alarm(Alarm::new()?)
    }

    fn with_alarm(alarm: Alarm) -> io::Result<Direct> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, alarm.heard(), EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
        let timer = Timer::new(&epoll);
        Ok(Direct { epoll, alarm: Arc::new(alarm), timer })
    }

    /// How long epoll is to wait. If the timer ends it sooner, that is set.
    fn timeout(&self, timeout: Duration, deadline: Option<u64>) -> Duration {
        if timeout.is_zero() {
            return timeout;
        }
        if timeout > MILLISECOND && deadline.is_some() {
            // The kernel may be late by a thousandth of a long timeout. So the wait ends before the deadline by more than
            // that, in whole milliseconds, and the next one is nearer.
            let safe = timeout - timeout / 512;
            return Duration::from_millis(safe.as_millis() as u64).max(MILLISECOND);
        }
        if timeout < MILLISECOND {
            if let Some(timer) = &self.timer {
                timer.set(timeout, deadline);
            }
        }
        // rustix rounds up to milliseconds.
        timeout
    }
}

impl Driver for Direct {
    fn is_edge(&self) -> bool {
        true
    }

    fn trusts_partial_transfers(&self) -> bool {
        // With RDHUP, the end of a stream is an edge of its own; with PRI, so is urgent data. Miri
        // knows no PRI.
        !cfg!(miri)
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        let mut flags = EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::IN, interest.contains(Readiness::READABLE));
        flags.set(EventFlags::OUT, interest.contains(Readiness::WRITABLE));
        // Miri has no word for it.
        flags.set(EventFlags::PRI, interest.contains(Readiness::PRIORITY) && !cfg!(miri));
        // A regular file is refused by EPERM, which is `PermissionDenied`.
        Ok(epoll::add(&self.epoll, io, EventData::new_u64(key.bits() as u64), flags)?)
    }

    fn modify(&self, _: BorrowedIo<'_>, _: Key, _: Readiness) -> io::Result<()> {
        Ok(())
    }

    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
        // Explicitly, as closing is not enough where a duplicate of the descriptor lives on.
        Ok(epoll::delete(&self.epoll, io)?)
    }

    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
        self.alarm.check()?;
        let timeout = timeout.map(|timeout| self.timeout(timeout, deadline));
        // A timeout too long for the kernel's type was cut by the reactor long before.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(&self.epoll, spare_capacity(events.room(EVENTS)), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn unclaimed(&self, key: Key) {
        match (key.bits() as u64, &self.timer) {
            (ALARM, _) => self.alarm.quiet(),
            (TIMER, Some(timer)) => timer.has_gone_off(),
            _ => {}
        }
    }

    fn waker(&self) -> Waker {
        self.alarm.clone().into()
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

/// Ends a wait: an eventfd that is never read, as each write is an edge; or, where there are none, a pipe, which must be
/// emptied, as some kernels tell only of the first byte in it.
struct Alarm {
    rung: OwnedFd,
    /// Where it is heard, if that is another descriptor.
    pipe: Option<OwnedFd>,
    /// The operating system's number of the error because of which it could not be rung, or 0.
    failure: AtomicI32,
}

impl Alarm {
    fn new() -> io::Result<Alarm> {
        if let Ok(eventfd) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            return Ok(Alarm { rung: eventfd, pipe: None, failure: AtomicI32::new(0) });
        }
        Alarm::of_a_pipe()
    }

    fn of_a_pipe() -> io::Result<Alarm> {
        let (heard, rung) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Alarm { rung, pipe: Some(heard), failure: AtomicI32::new(0) })
    }

    fn heard(&self) -> &OwnedFd {
        self.pipe.as_ref().unwrap_or(&self.rung)
    }

    fn ring(&self) {
        loop {
            match rustix::io::write(&self.rung, &1_u64.to_ne_bytes()) {
                Err(Errno::INTR) => {}
                // Full: the counter after 2^64 writes, or the pipe. Reading empties it, and the next write is an edge again.
                Err(Errno::AGAIN) => self.empty(),
                Ok(_) => return,
                // Nothing else can be tried, and a waker can tell nobody: the next wait does.
                Err(error) => return self.failure.store(error.raw_os_error(), Ordering::Relaxed),
            }
        }
    }

    /// An error, once, if it could not be rung.
    #[inline]
    fn check(&self) -> io::Result<()> {
        if self.failure.load(Ordering::Relaxed) == 0 { Ok(()) } else { self.take_failure() }
    }

    #[cold]
    fn take_failure(&self) -> io::Result<()> {
        let error = io::Error::from_raw_os_error(self.failure.swap(0, Ordering::Relaxed));
        Err(io::Error::new(error.kind(), format!("a wake-up did not reach the reactor: {error}")))
    }

    /// It was heard.
    fn quiet(&self) {
        if self.pipe.is_some() {
            self.empty();
        }
    }

    fn empty(&self) {
        while rustix::io::read(self.heard(), &mut [0_u8; 512]).is_ok_and(|read| read == 512) {}
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Ends a wait at a time that epoll is too coarse for: a timerfd in the same set, never read.
struct Timer {
    fd: OwnedFd,
    /// The deadline that it is set for, if it has one and the timer has not gone off.
    set_for: Cell<Option<u64>>,
}

impl Timer {
    /// None where there is no such thing: then waits are rounded up to milliseconds.
    fn new(epoll: &OwnedFd) -> Option<Timer> {
        if cfg!(miri) {
            return None;
        }
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).ok()?;
        epoll::add(epoll, &fd, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET).ok()?;
        Some(Timer { fd, set_for: Cell::new(None) })
    }

    /// Sets it, unless it is set for that already.
    fn set(&self, timeout: Duration, deadline: Option<u64>) {
        if deadline.is_some() && self.set_for.get() == deadline {
            return;
        }
        let once = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        let time = Itimerspec { it_interval: Timespec::default(), it_value: once };
        // If it cannot be set, the wait is a little longer.
        let is_set = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &time).is_ok();
        self.set_for.set(deadline.filter(|_| is_set));
    }

    fn has_gone_off(&self) {
        self.set_for.set(None);
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
            assert!(matches!(key.bits() as u64, ALARM | TIMER), "there is no source");
            driver.unclaimed(key);
        }
    }

    /// What a kernel without eventfds gets.
    #[test]
    fn a_pipe_does_for_the_alarm_however_often_it_is_rung() {
        let driver = Direct::with_alarm(Alarm::of_a_pipe().unwrap()).unwrap();
        let waker = driver.waker();
        for rings in [1, 2, 20_000] {
            (0..rings).for_each(|_| waker.wake_by_ref());
            wait(&driver, None);
        }
        // Emptied and silent: only this one ends the next wait.
        assert!(rustix::io::read(driver.alarm.heard(), &mut [0; 8]).is_err());
        std::thread::spawn(move || waker.wake()).join().unwrap();
        wait(&driver, None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri lets no counter be full")]
    fn an_alarm_whose_counter_is_full_is_emptied_and_rings() {
        let driver = Direct::new().unwrap();
        let full = rustix::io::write(&driver.alarm.rung, &(u64::MAX - 1).to_ne_bytes());
        assert_eq!(full, Ok(8));
        let told = |limit| {
            let mut events = Events::new();
            driver.wait(Some(limit), None, &mut events).unwrap();
            events.len()
        };
        assert_eq!((told(Duration::ZERO), told(Duration::ZERO)), (1, 0));
        driver.waker().wake();
        assert_eq!(told(Duration::from_secs(10)), 1);
        let mut rung = [0; 8];
        assert_eq!(rustix::io::read(&driver.alarm.rung, &mut rung), Ok(8));
        assert_eq!(u64::from_ne_bytes(rung), 1);
    }

    /// Whoever rings must not be kept.
    #[test]
    fn an_alarm_that_cannot_be_rung_returns() {
        let (heard, rung) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        drop(heard);
        let broken = Alarm { rung, pipe: None, failure: AtomicI32::new(0) };
        assert_eq!(rustix::io::write(&broken.rung, &[1]), Err(Errno::PIPE));
        broken.ring();
        let (heard, _rung) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let unwritable = Arc::new(Alarm { rung: heard, pipe: None, failure: AtomicI32::new(0) });
        assert_eq!(rustix::io::write(&unwritable.rung, &[1]), Err(Errno::BADF));
        Waker::from(unwritable).wake();
    }

    #[test]
    fn an_alarm_that_cannot_be_rung_is_told_of_by_the_next_wait() {
        // It can be read from only.
        let rung = std::fs::File::open("/dev/null").unwrap().into();
        let (heard, _silent) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let driver = Direct::with_alarm(Alarm { rung, pipe: Some(heard), failure: AtomicI32::new(0) }).unwrap();
        wait(&driver, Some(Duration::ZERO));
        let waker = driver.waker();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        let error = driver.wait(Some(Duration::ZERO), None, &mut Events::new()).unwrap_err();
        assert!(error.to_string().starts_with("a wake-up did not reach the reactor: Bad file"), "{error}");
        wait(&driver, Some(Duration::ZERO));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no timerfd")]
    fn the_timer_is_set_once_for_a_deadline_and_again_when_that_has_moved() {
        let driver = Direct::new().unwrap();
        let timer = driver.timer.as_ref().unwrap();
        let left = || timerfd_gettime(&timer.fd).unwrap().it_value.tv_nsec;
        timer.set(Duration::from_millis(200), Some(1));
        timer.set(Duration::from_millis(900), Some(1));
        assert!(left() <= 200_000_000, "the same deadline");
        timer.set(Duration::from_millis(900), Some(2));
        assert!(left() > 200_000_000, "another one");
        // Without a name it cannot be the same.
        timer.set(Duration::from_millis(100), None);
        assert!(left() <= 100_000_000);
        timer.set(Duration::from_micros(1), Some(2));
        wait(&driver, Some(Duration::from_secs(10)));
        assert_eq!(timer.set_for.get(), None, "it has gone off");
    }

    #[test]
    fn a_wait_for_a_far_deadline_ends_before_it_and_one_without_a_name_after_it() {
        let driver = Direct::new().unwrap();
        let far = Duration::from_micros(600_900);
        assert_eq!(driver.timeout(far, Some(1)), Duration::from_millis(599));
        assert_eq!(driver.timeout(far, None), far);
        assert_eq!(driver.timeout(Duration::from_micros(1_001), Some(1)), MILLISECOND);
        assert_eq!(driver.timeout(Duration::ZERO, Some(1)), Duration::ZERO);
    }
}
