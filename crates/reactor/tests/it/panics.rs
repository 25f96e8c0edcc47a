//! Drivers, wakers and hosts are foreign code, and may panic at any call. The reactor keeps its
//! counts, wakes the other waiters, and drops every waker exactly once.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use picot_context::{Closed, Host, Place, Report, install};
use picot_reactor::driver::{BorrowedIo, Driver, Events, Key};
use picot_reactor::{Direction, Reactor, Readiness, ReadyList, Source};

use crate::support::{WakeCount, waker_fn};

/// A driver without a kernel. The call with the given number panics.
struct Panicking {
    script: Rc<Script>,
}

#[derive(Default)]
struct Script {
    is_edge: bool,
    calls: Cell<usize>,
    panics_at: Cell<usize>,
    keys: RefCell<Vec<Key>>,
    events: RefCell<Vec<(Key, Readiness)>>,
}

impl Script {
    fn call(&self) {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() == self.panics_at.get() {
            resume_unwind(Box::new("a driver"));
        }
    }
}

impl Driver for Panicking {
    fn is_edge(&self) -> bool {
        self.script.call();
        self.script.is_edge
    }

    fn trusts_partial_transfers(&self) -> bool {
        self.script.call();
        true
    }

    unsafe fn add(&self, _: BorrowedIo<'_>, key: Key, _: Readiness) -> io::Result<()> {
        self.script.keys.borrow_mut().push(key);
        self.script.call();
        Ok(())
    }

    fn modify(&self, _: BorrowedIo<'_>, _: Key, _: Readiness) -> io::Result<()> {
        self.script.call();
        Ok(())
    }

    fn delete(&self, _: BorrowedIo<'_>) -> io::Result<()> {
        self.script.call();
        Ok(())
    }

    fn wait(&self, _: Option<Duration>, _: Option<u64>, events: &mut Events) -> io::Result<()> {
        for (key, readiness) in self.script.events.take() {
            events.push(key, readiness);
        }
        self.script.call();
        Ok(())
    }

    fn unclaimed(&self, _: Key) {
        self.script.call();
    }

    fn waker(&self) -> Waker {
        self.script.call();
        Waker::noop().clone()
    }
}

/// A host that panics at the reports with these numbers.
struct Angry {
    reports: Cell<usize>,
    panics_at: usize,
}

impl Host for Angry {
    fn run_later(&self, _: Place, _: Box<dyn FnOnce()>) -> Result<(), Closed> {
        Err(Closed::new())
    }

    fn spawn(&self, _: Place, _: Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Closed> {
        Err(Closed::new())
    }

    fn report(&self, _: Report) {
        self.reports.set(self.reports.get() + 1);
        if self.panics_at == 0 || self.reports.get() == self.panics_at {
            resume_unwind(Box::new("a host"));
        }
    }
}

fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

thread_local! {
    static VICTIM: RefCell<Option<Source<UdpSocket>>> = const { RefCell::new(None) };
}

/// Uses every function of a reactor, with all kinds of waiters. A panic that reaches the caller
/// ends only that call. Returns the number of calls of the driver.
fn scene(is_edge: bool, panics_at: usize) -> usize {
    let script = Rc::new(Script { is_edge, panics_at: Cell::new(panics_at), ..Script::default() });
    let reactor = Reactor::with_driver(Panicking { script: script.clone() });
    let count = WakeCount::default();
    let case = format!("call {panics_at}, edges: {is_edge}");
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let register = || contained(|| reactor.register(socket()).unwrap());
    let poll = |source: &Source<UdpSocket>, direction, waker: &Waker| {
        contained(|| _ = source.poll_ready(&mut Context::from_waker(waker), direction));
    };
    let tell = |readiness| {
        let keys = script.keys.borrow().clone();
        script.events.borrow_mut().extend(keys.into_iter().map(|key| (key, readiness)));
        contained(|| reactor.wait(None).map(drop).unwrap());
        // The events of a panicking wait are lost, so they are reported again.
        let keys = script.keys.borrow().clone();
        script.events.borrow_mut().extend(keys.into_iter().map(|key| (key, readiness)));
        contained(|| reactor.wait(None).map(drop).unwrap());
    };
    drop(contained(|| reactor.wake_handle()));
    let list = ReadyList::new();
    let sources: Vec<_> = (0..3).filter_map(|_| register()).collect();
    let Some(victim) = register() else {
        // This call panics. It must leave nothing behind.
        assert_eq!(reactor.sources(), sources.len(), "{case}");
        drop(sources);
        assert_eq!((reactor.sources(), reactor.waiting()), (0, 0), "{case}");
        return script.calls.get();
    };
    assert_eq!(reactor.sources(), sources.len() + 1, "{case}");
    if let Some(source) = sources.first() {
        contained(|| source.trust_short_transfers(true));
        contained(|| source.list_in(&list, 0));
    }
    // The called waker drops its own source, whose slot holds the waker.
    let kills = {
        let count = WakeCount::default();
        let held = count.waker();
        waker_fn(move || {
            let victim = VICTIM.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(victim)));
            // The waker is still alive although its source is dropped.
            held.wake_by_ref();
        })
    };
    poll(&victim, Direction::Read, &kills);
    poll(&victim, Direction::Write, &count.waker());
    drop(kills);
    VICTIM.set(Some(victim));
    let others: Vec<_> = (0..sources.len()).map(|_| WakeCount::default()).collect();
    let mut futures: Vec<_> = sources.iter().map(|source| Box::pin(source.writable())).collect();
    for ((source, other), future) in sources.iter().zip(&others).zip(&mut futures) {
        poll(source, Direction::Read, &count.waker());
        poll(source, Direction::Read, &other.waker());
        poll(source, Direction::Priority, &count.waker());
        contained(|| _ = other.poll(|cx| future.as_mut().poll(cx)));
    }
    tell(Readiness::READABLE);
    for other in &others {
        assert!(other.get() >= 1, "{case}: a reader was lost");
    }
    // Writers still wait. They must have been armed again, or woken to get the error.
    tell(Readiness::WRITABLE | Readiness::READABLE | Readiness::HUNG_UP);
    for other in &others {
        assert!(other.get() >= 2, "{case}: a writer was lost");
    }
    script.events.borrow_mut().push((Key::from_bits(usize::MAX), Readiness::READABLE));
    contained(|| reactor.wait(None).map(drop).unwrap());
    drop(futures);
    let mut sources = sources.into_iter();
    if let Some(source) = sources.next() {
        assert!(contained(|| source.into_inner()).is_some(), "{case}: the object was not returned");
    }
    if let Some(source) = sources.next() {
        assert!(contained(|| drop(source)).is_some(), "{case}: a destructor has panicked");
    }
    assert!(contained(|| reactor.close()).is_some(), "{case}: closing has panicked");
    drop(sources);
    drop(VICTIM.take());
    assert_eq!((reactor.sources(), reactor.waiting()), (0, 0), "{case}");
    drop(reactor);
    assert_eq!(count.holders(), 1, "{case}: a waker was leaked");
    assert!(others.iter().all(|other| other.holders() == 1), "{case}: a waker was leaked");
    script.calls.get()
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn each_call_of_a_driver_may_panic() {
    for host_panics_at in [usize::MAX, 0] {
        let _guard = install(Rc::new(Angry { reports: Cell::new(0), panics_at: host_panics_at }));
        for is_edge in [true, false] {
            let calls = scene(is_edge, usize::MAX);
            assert!(calls > 15, "{calls}");
            for panics_at in 1..=calls {
                scene(is_edge, panics_at);
            }
        }
    }
}

/// With a one-shot driver an event disarms its source, which must be armed again for other waiters.
#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_waiter_whose_rearming_panics_is_woken() {
    let (host, _guard) = picot_context::ManualHost::installed();
    let script = Rc::<Script>::default();
    let reactor = Reactor::with_driver(Panicking { script: script.clone() });
    let source = reactor.register(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let (reader, writer) = (WakeCount::default(), WakeCount::default());
    assert!(reader.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writer.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    script.events.borrow_mut().push((script.keys.borrow()[0], Readiness::READABLE));
    // The next call is the wait; the one after it arms for the writer.
    script.panics_at.set(script.calls.get() + 2);
    reactor.wait(None).unwrap();
    assert_eq!((reader.get(), writer.get(), reactor.waiting()), (1, 1, 0));
    assert_eq!(host.take_reports().len(), 1);
}

/// Wakers that panic when they are woken or dropped, and a host that panics at each report.
#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_host_that_panics_at_a_report_does_not_keep_other_tasks_asleep() {
    let _guard = install(Rc::new(Angry { reports: Cell::new(0), panics_at: 0 }));
    let script = Rc::new(Script { is_edge: true, ..Script::default() });
    let reactor = Reactor::with_driver(Panicking { script: script.clone() });
    let sources: Vec<_> = (0..3).map(|_| reactor.register(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap()).collect();
    let count = WakeCount::default();
    for source in &sources {
        for direction in [Direction::Read, Direction::Write] {
            let held = count.waker();
            let angry = waker_fn(move || {
                let _ = &held;
                resume_unwind(Box::new("a waker"));
            });
            assert!(source.poll_ready(&mut Context::from_waker(&angry), direction).is_pending());
            // A second one, which displaces the first.
            assert!(source.poll_ready(&mut Context::from_waker(&count.waker()), direction).is_pending());
        }
    }
    let keys = script.keys.borrow().clone();
    script.events.borrow_mut().extend(keys.into_iter().map(|key| (key, Readiness::READABLE | Readiness::WRITABLE)));
    reactor.wait(None).unwrap();
    assert_eq!((count.get(), reactor.waiting()), (6, 0));
    drop(sources);
    assert_eq!(count.holders(), 1);
}
