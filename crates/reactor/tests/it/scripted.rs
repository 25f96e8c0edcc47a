//! A driver without a kernel: it records the reactor's calls, and reports events and faults as the
//! test says. So the tests always get the worst orders, which kernels rarely produce.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use picot_context::ManualHost;
use picot_reactor::driver::{BorrowedIo, Driver, Events, Key};
use picot_reactor::{Direction, Reactor, Readiness, Source};

use crate::support::{WakeCount, waker_fn};

#[derive(Clone, Debug, PartialEq)]
enum Call {
    Add(Key, Readiness),
    Modify(Key, Readiness),
    Delete,
    Wait(Option<Duration>, Option<u64>),
}

/// Shared by the test and the driver.
#[derive(Default)]
struct Script {
    is_edge: bool,
    calls: RefCell<Vec<Call>>,
    events: RefCell<VecDeque<(Key, Readiness)>>,
    unclaimed: RefCell<Vec<Key>>,
    /// The number of the next calls that fail: of the set, and of `wait`.
    failing: Cell<usize>,
    failing_waits: Cell<usize>,
}

struct Scripted(Rc<Script>);

impl Scripted {
    fn call(&self, call: Call, failing: &Cell<usize>) -> io::Result<()> {
        self.0.calls.borrow_mut().push(call);
        match failing.get() {
            0 => Ok(()),
            left => {
                failing.set(left - 1);
                Err(io::ErrorKind::OutOfMemory.into())
            }
        }
    }
}

impl Driver for Scripted {
    fn is_edge(&self) -> bool {
        self.0.is_edge
    }

    fn trusts_partial_transfers(&self) -> bool {
        true
    }

    unsafe fn add(&self, _: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        self.call(Call::Add(key, interest), &self.0.failing)
    }

    fn modify(&self, _: BorrowedIo<'_>, key: Key, interest: Readiness) -> io::Result<()> {
        self.call(Call::Modify(key, interest), &self.0.failing)
    }

    fn delete(&self, _: BorrowedIo<'_>) -> io::Result<()> {
        self.call(Call::Delete, &self.0.failing)
    }

    fn wait(&self, timeout: Option<Duration>, deadline: Option<u64>, events: &mut Events) -> io::Result<()> {
        for (key, readiness) in self.0.events.take() {
            events.push(key, readiness);
        }
        self.call(Call::Wait(timeout, deadline), &self.0.failing_waits)
    }

    fn unclaimed(&self, key: Key) {
        self.0.unclaimed.borrow_mut().push(key);
    }

    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
}

impl Script {
    fn new(is_edge: bool) -> (Reactor, Rc<Script>) {
        let script = Rc::new(Script { is_edge, ..Script::default() });
        (Reactor::with_driver(Scripted(script.clone())), script)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.take()
    }

    /// The key of the last added object.
    fn last_key(&self) -> Key {
        let calls = self.calls();
        let added = calls.iter().rev().find_map(|call| if let Call::Add(key, _) = call { Some(*key) } else { None });
        added.expect("an object was added")
    }

    fn report(&self, key: Key, readiness: Readiness) {
        self.events.borrow_mut().push_back((key, readiness));
    }
}

fn socket() -> UdpSocket {
    // Any object works: no kernel polls it.
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn source(reactor: &Reactor) -> Source<UdpSocket> {
    reactor.register(socket()).unwrap()
}

thread_local! {
    static VICTIM: RefCell<Option<Source<UdpSocket>>> = const { RefCell::new(None) };
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn events_of_a_source_dropped_by_an_earlier_event_of_the_wait_reach_no_task() {
    let (host, _guard) = ManualHost::installed();
    let (reactor, script) = Script::new(true);
    let killer = source(&reactor);
    let killer_key = script.last_key();
    VICTIM.set(Some(source(&reactor)));
    let victim_key = script.last_key();
    let count = WakeCount::default();
    let poll = VICTIM.with_borrow(|victim| count.poll(|cx| victim.as_ref().unwrap().poll_ready(cx, Direction::Read)));
    assert!(poll.is_pending());
    let drops = waker_fn(|| drop(VICTIM.take()));
    assert!(killer.poll_ready(&mut Context::from_waker(&drops), Direction::Read).is_pending());

    script.report(killer_key, Readiness::READABLE);
    script.report(victim_key, Readiness::READABLE | Readiness::WRITABLE);
    reactor.wait(None).unwrap();
    assert_eq!((count.get(), reactor.sources(), reactor.waiting()), (0, 1, 0));
    assert!(host.take_reports().is_empty());
}

thread_local! {
    static LATER: RefCell<Option<(Source<UdpSocket>, Waker)>> = const { RefCell::new(None) };
}

/// A waker may poll another source whose event is in the same wait, but behind its own.
#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn an_event_wakes_a_task_that_began_to_wait_during_an_earlier_event() {
    for is_edge in [true, false] {
        let (reactor, script) = Script::new(is_edge);
        let first = source(&reactor);
        let first_key = script.last_key();
        let later = source(&reactor);
        let later_key = script.last_key();
        let count = WakeCount::default();
        LATER.set(Some((later, count.waker())));
        let tries = waker_fn(|| {
            LATER.with_borrow(|later| {
                let (source, waker) = later.as_ref().unwrap();
                let poll = source.poll_io(&mut Context::from_waker(waker), Direction::Read, |_| Ok(()));
                assert!(poll.is_pending(), "its event was not handled yet");
            });
        });
        assert!(first.poll_ready(&mut Context::from_waker(&tries), Direction::Read).is_pending());

        script.report(first_key, Readiness::READABLE);
        script.report(later_key, Readiness::READABLE);
        assert_eq!(reactor.wait(None).unwrap(), 2);
        assert_eq!((count.get(), reactor.waiting()), (1, 0));
        let (later, _) = LATER.take().unwrap();
        assert!(count.poll(|cx| later.poll_io(cx, Direction::Read, |_| Ok(()))).is_ready());
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn an_event_with_an_old_key_does_not_reach_the_new_source_of_the_slot() {
    let (reactor, script) = Script::new(true);
    drop(source(&reactor));
    let old = script.last_key();
    let successor = source(&reactor);
    let new = script.last_key();
    assert_ne!(old, new);
    let count = WakeCount::default();
    assert!(count.poll(|cx| successor.poll_ready(cx, Direction::Read)).is_pending());
    // The old key, a key that never existed, and the reserved keys.
    let unclaimed = [old, Key::from_bits(12_345), Key::from_bits(usize::MAX), Key::from_bits(usize::MAX - 3)];
    for key in unclaimed {
        script.report(key, Readiness::READABLE | Readiness::HUNG_UP);
    }
    assert_eq!(reactor.wait(None).unwrap(), 0);
    assert_eq!(script.unclaimed.take(), unclaimed, "the driver gets the events without a source");
    assert_eq!((count.get(), successor.known()), (0, Readiness::NONE));
    script.report(new, Readiness::READABLE);
    assert_eq!(reactor.wait(None).unwrap(), 1);
    assert_eq!(count.get(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_failed_registration_leaves_no_slot_and_returns_the_object() {
    let (reactor, script) = Script::new(true);
    script.failing.set(3);
    for _ in 0..3 {
        let (error, object) = reactor.register(socket()).unwrap_err().into_parts();
        assert_eq!((error.kind(), reactor.sources()), (io::ErrorKind::OutOfMemory, 0));
        assert!(object.local_addr().is_ok());
    }
    let failed = script.last_key();
    let _source = source(&reactor);
    // The lower bits are the slot, the upper ones its generation.
    assert_eq!((script.last_key().bits() ^ failed.bits()) & 0xf_ffff, 0, "the slot was lost");
    assert_eq!(reactor.sources(), 1);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_failed_deregistration_is_ignored_and_later_events_reach_no_source() {
    let (reactor, script) = Script::new(true);
    let doomed = source(&reactor);
    let key = script.last_key();
    script.failing.set(1);
    assert!(doomed.into_inner().local_addr().is_ok());
    assert_eq!((script.calls(), reactor.sources()), (vec![Call::Delete], 0));
    script.report(key, Readiness::READABLE);
    assert_eq!(reactor.wait(None).unwrap(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn a_failed_wait_still_delivers_its_events_and_the_next_one_works() {
    let (reactor, script) = Script::new(true);
    let source = source(&reactor);
    let key = script.last_key();
    let count = WakeCount::default();
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    script.failing_waits.set(1);
    script.report(key, Readiness::READABLE);
    assert_eq!(reactor.wait(None).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(count.get(), 1);
    assert_eq!(reactor.wait(None).unwrap(), 0);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn without_edges_a_source_is_armed_for_all_waited_directions() {
    let (reactor, script) = Script::new(false);
    let source = source(&reactor);
    let Some(Call::Add(key, Readiness::NONE)) = script.calls().pop() else { panic!("added with an interest") };
    let (readers, writers) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writers.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    let both = Readiness::READABLE | Readiness::WRITABLE;
    assert_eq!(script.calls(), [Call::Modify(key, Readiness::READABLE), Call::Modify(key, both)]);

    // The event disarms the source, which is armed again only for the direction that still waits.
    script.report(key, Readiness::READABLE);
    reactor.wait(None).unwrap();
    assert_eq!((readers.get(), writers.get()), (1, 0));
    assert_eq!(script.calls(), [Call::Wait(None, None), Call::Modify(key, Readiness::WRITABLE)]);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn without_edges_waiters_that_cannot_be_armed_again_are_woken() {
    let (reactor, script) = Script::new(false);
    let source = source(&reactor);
    let key = script.last_key();
    let (readers, writers) = (WakeCount::default(), WakeCount::default());
    assert!(readers.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    assert!(writers.poll(|cx| source.poll_ready(cx, Direction::Write)).is_pending());
    script.failing.set(2);
    script.report(key, Readiness::READABLE);
    reactor.wait(None).unwrap();
    assert_eq!((readers.get(), writers.get(), reactor.waiting()), (1, 1, 0));
    let poll = writers.poll(|cx| source.poll_ready(cx, Direction::Write));
    assert!(matches!(poll, std::task::Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no datagrams")]
fn without_edges_a_hang_up_leaves_the_set_until_a_task_waits() {
    let (reactor, script) = Script::new(false);
    let source = source(&reactor);
    let key = script.last_key();
    script.report(key, Readiness::READABLE | Readiness::WRITABLE | Readiness::HUNG_UP);
    reactor.wait(None).unwrap();
    assert_eq!(script.calls(), [Call::Wait(None, None), Call::Delete]);
    assert!(source.is_hung_up());

    let would_block = source.try_io(Direction::Read, |_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(would_block.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(script.calls(), [Call::Add(key, Readiness::READABLE)]);
    assert!(source.is_hung_up(), "the hang-up was forgotten");
}

#[test]
fn the_driver_gets_the_deadline_and_waits_are_capped_at_a_day() {
    let (reactor, script) = Script::new(true);
    let day = Duration::from_secs(24 * 60 * 60);
    reactor.wait_until(1_700, 1_000).unwrap();
    reactor.wait_until(1_700, 1_900).unwrap();
    reactor.wait_until(u64::MAX, 0).unwrap();
    reactor.wait(Some(Duration::MAX)).unwrap();
    reactor.wait(None).unwrap();
    assert_eq!(
        script.calls(),
        [
            Call::Wait(Some(Duration::from_nanos(700)), Some(1_700)),
            Call::Wait(Some(Duration::ZERO), Some(1_700)),
            Call::Wait(Some(day), Some(u64::MAX)),
            Call::Wait(Some(day), None),
            Call::Wait(None, None),
        ]
    );
}
