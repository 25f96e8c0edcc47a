//! Custom drivers, and waits that fail.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use picot_loop::{Direction, EventLoop, VirtualClock, sleep, spawn};
use picot_reactor::Readiness;
use picot_reactor::driver::{BorrowedIo, Driver, Events, Key, Portable};

use crate::reactor::connected;
use crate::trace::reports;

/// Whether the next waits fail, and the number of waits so far.
#[derive(Default)]
struct Script {
    failures: Cell<usize>,
    waits: Cell<usize>,
}

/// Wraps a driver, and makes its waits fail as the script says.
struct Failing<D>(D, Rc<Script>);

impl<D: Driver> Driver for Failing<D> {
    fn is_edge(&self) -> bool {
        self.0.is_edge()
    }

    fn trusts_partial_transfers(&self) -> bool {
        self.0.trusts_partial_transfers()
    }

    unsafe fn add(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        // SAFETY: Our caller upholds the contract of the inner driver.
        unsafe { self.0.add(io, key, interest) }
    }

    fn modify(&self, io: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        self.0.modify(io, key, interest)
    }

    fn delete(&self, io: BorrowedIo<'_>) -> io::Result<()> {
        self.0.delete(io)
    }

    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
        let Script { failures, waits } = &*self.1;
        waits.set(waits.get() + 1);
        if failures.get() > 0 {
            failures.set(failures.get() - 1);
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.wait(timeout, deadline, events)
    }

    fn unclaimed(&self, key: Key) {
        self.0.unclaimed(key);
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }
}

/// Runs a test on each of the platform's drivers, wrapped in a failing one.
fn on_each(test: impl Fn(Box<dyn FnOnce(picot_loop::Builder) -> picot_loop::Builder>, Rc<Script>)) {
    let script = Rc::new(Script::default());
    let failing = Failing(Portable::new().unwrap(), script.clone());
    test(Box::new(|builder| builder.driver(failing)), script);
    #[cfg(target_os = "linux")]
    {
        let script = Rc::new(Script::default());
        let failing = Failing(picot_reactor::driver::Direct::new().unwrap(), script.clone());
        test(Box::new(|builder| builder.driver(failing)), script);
    }
}

#[test]
fn a_loop_waits_by_the_driver_of_its_builder() {
    on_each(|driver, script| {
        let event_loop = driver(EventLoop::builder()).build().unwrap();
        let (source, mut peer) = connected();
        event_loop
            .run_until_complete(async {
                let reader = spawn(async move {
                    source.readable().await.unwrap();
                    let mut bytes = [0; 8];
                    source.try_io(Direction::Read, |mut io| io.read(&mut bytes)).unwrap()
                });
                peer.write_all(b"hello").unwrap();
                assert_eq!(reader.await.unwrap(), 5);
            })
            .unwrap();
        assert_eq!(event_loop.handle().metrics().snapshot().waits, script.waits.get() as u64);
        assert!(script.waits.get() > 0);
    });
}

#[test]
fn a_series_of_failed_waits_is_reported_once() {
    on_each(|driver, script| {
        let event_loop = driver(EventLoop::builder().clock(&VirtualClock::new())).build().unwrap();
        let texts = reports(&event_loop);
        event_loop
            .run_until_complete(async {
                sleep(Duration::from_secs(1)).await;
                for failures in [1, 5, 3] {
                    script.failures.set(failures);
                    while script.failures.get() > 0 {
                        sleep(Duration::from_secs(1)).await;
                    }
                    sleep(Duration::from_secs(1)).await;
                }
            })
            .unwrap();
        let texts = texts.take();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts.iter().all(|text| text == "the loop met an error of the operating system: out of memory"),
            "{texts:?}"
        );
    });
}

#[test]
fn after_a_failed_wait_the_loop_pauses_and_still_serves_timers_and_threads() {
    on_each(|driver, script| {
        let event_loop = driver(EventLoop::builder()).build().unwrap();
        let texts = reports(&event_loop);
        script.failures.set(usize::MAX);
        let (turns, remote) = (Rc::new(Cell::new(0)), event_loop.handle().remote());
        event_loop
            .run_until_complete(async {
                sleep(Duration::from_millis(55)).await;
                turns.set(script.waits.get());
                let called = thread::spawn(move || remote.spawn(|| async { 7 }).unwrap());
                assert_eq!(called.join().unwrap().await.unwrap(), 7);
            })
            .unwrap();
        // Five pauses of 10 ms, one up to the deadline, and a few that other threads end early.
        assert!(turns.get() <= 10, "{} waits in 55 ms", turns.get());
        assert_eq!(texts.take().len(), 1);
    });
}

#[test]
fn a_connection_works_again_once_waits_succeed() {
    on_each(|driver, script| {
        let event_loop = driver(EventLoop::builder()).build().unwrap();
        let texts = reports(&event_loop);
        let (source, mut peer) = connected();
        let received = Rc::new(Cell::new(0));
        event_loop
            .run_until_complete(async {
                let counted = received.clone();
                let reader = spawn(async move {
                    let mut bytes = [0; 8];
                    for _ in 0..3 {
                        source.readable().await.unwrap();
                        let read = source.try_io(Direction::Read, |mut io| io.read(&mut bytes));
                        assert_eq!(read.unwrap(), 8);
                        let more = source.try_io(Direction::Read, |mut io| io.read(&mut bytes));
                        assert_eq!(more.unwrap_err().kind(), io::ErrorKind::WouldBlock);
                        counted.set(counted.get() + 1);
                    }
                });
                for round in 1..=3 {
                    script.failures.set(3);
                    peer.write_all(b"it lives").unwrap();
                    while received.get() < round {
                        sleep(Duration::from_millis(1)).await;
                    }
                    assert_eq!(script.failures.get(), 0);
                }
                reader.await.unwrap();
            })
            .unwrap();
        assert_eq!(texts.take().len(), 3);
    });
}
