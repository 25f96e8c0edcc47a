//! Wakers and their destructors are foreign code. Whatever they do, the reactor's counts stay
//! right, and other tasks are served.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use picot_context::ManualHost;
use picot_reactor::{Direction, Reactor, Readiness, Ready, Source};

use crate::support::{WakeCount, drop_fn, reactor, registered, wait_until};

fn angry() -> Waker {
    drop_fn(|| std::panic::resume_unwind(Box::new("angry")))
}

/// Polls with a waker, and drops the waker: only the source keeps a clone.
fn poll(source: &Source<TcpStream>, direction: Direction, waker: Waker) {
    assert!(source.poll_ready(&mut Context::from_waker(&waker), direction).is_pending());
}

fn poll_future(ready: Pin<&mut Ready<'_>>, waker: Waker) {
    assert!(ready.poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_panic_in_a_wakers_drop_is_reported_and_changes_nothing_else() {
    let (host, _guard) = ManualHost::installed();
    let reactor = reactor();
    let count = WakeCount::default();
    let reports = || host.take_reports().len();

    // A second waker displaces it: both wait, and both are woken. The future gets a new waker, and
    // drops the old one.
    let (source, mut peer) = registered(&reactor);
    let mut future = pin!(source.readable());
    poll(&source, Direction::Read, angry());
    poll_future(future.as_mut(), angry());
    assert_eq!((reports(), reactor.waiting()), (0, 2));
    poll(&source, Direction::Read, count.waker());
    poll_future(future.as_mut(), count.waker());
    assert_eq!((reports(), reactor.waiting()), (1, 3));
    peer.write_all(b"x").unwrap();
    wait_until(&reactor, || count.get() == 2);
    assert_eq!((reports(), reactor.waiting()), (1, 0));

    // The future is dropped.
    let (source, _peer) = registered(&reactor);
    let mut future = Box::pin(source.readable());
    poll_future(future.as_mut(), angry());
    drop(future);
    assert_eq!((reports(), reactor.waiting()), (1, 0));

    // The source is dropped, with all other waiters.
    let mut leaked = Box::pin(source.readable());
    poll_future(leaked.as_mut(), angry());
    std::mem::forget(leaked);
    poll(&source, Direction::Read, angry());
    poll(&source, Direction::Priority, count.waker());
    assert_eq!((count.holders(), reactor.waiting()), (3, 3));
    drop(source);
    // The first source has kept the waker of its last poll.
    assert_eq!((reports(), count.holders(), reactor.waiting(), reactor.sources()), (2, 2, 0, 1));
}

thread_local! {
    static SCENE: OnceCell<Scene> = const { OnceCell::new() };
}

/// What the destructor of a waker uses.
struct Scene {
    reactor: Reactor,
    source: Source<TcpStream>,
    /// Sources for which such wakers also wait.
    victims: RefCell<Vec<Source<TcpStream>>>,
    dropped: Cell<usize>,
}

/// A waker whose drop drops a source, registers one, polls both and waits.
fn busy() -> Waker {
    drop_fn(|| {
        SCENE.with(|scene| {
            let Scene { reactor, source, victims, dropped } = scene.get().unwrap();
            dropped.set(dropped.get() + 1);
            let victim = victims.borrow_mut().pop();
            drop(victim);
            let (fresh, _peer) = registered(reactor);
            poll(&fresh, Direction::Read, Waker::noop().clone());
            _ = source.poll_ready(&mut Context::from_waker(Waker::noop()), Direction::Write);
            reactor.wait(Some(Duration::ZERO)).unwrap();
        });
    })
}

#[test]
fn a_wakers_drop_may_use_the_reactor() {
    let (host, _guard) = ManualHost::installed();
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let victims = || {
        let victims: Vec<_> = (0..3).map(|_| registered(&reactor).0).collect();
        victims.iter().for_each(|victim| poll(victim, Direction::Priority, busy()));
        victims
    };
    let scene = Scene { reactor: reactor.clone(), source, victims: RefCell::default(), dropped: Cell::new(0) };
    assert!(SCENE.with(|cell| cell.set(scene)).is_ok());
    SCENE.with(|scene| {
        let Scene { reactor, source, victims: left, dropped } = scene.get().unwrap();
        let count = WakeCount::default();

        // Another waker replaces it, after its wake.
        left.replace(victims());
        poll(source, Direction::Read, busy());
        peer.write_all(b"x").unwrap();
        wait_until(reactor, || source.known().contains(Readiness::READABLE));
        while source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).is_ok() {}
        poll(source, Direction::Read, count.waker());
        assert_eq!((dropped.get(), reactor.sources()), (4, 1));
        let mut future = Box::pin(source.readable());
        left.replace(victims());
        poll_future(future.as_mut(), busy());
        poll_future(future.as_mut(), busy());
        assert_eq!((dropped.get(), reactor.sources()), (8, 1));

        // The future is dropped, then the source.
        left.replace(victims());
        drop(future);
        assert_eq!((dropped.get(), reactor.sources()), (12, 1));
        let (doomed, _peer) = registered(reactor);
        left.replace(victims());
        poll(&doomed, Direction::Read, busy());
        poll(&doomed, Direction::Priority, busy());
        drop(doomed);
        assert_eq!((dropped.get(), reactor.sources()), (17, 1));

        peer.write_all(b"x").unwrap();
        wait_until(reactor, || count.get() == 1);
        wait_until(reactor, || reactor.waiting() == 0);
    });
    assert!(host.take_reports().is_empty());
}
