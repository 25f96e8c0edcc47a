//! Shared by the tests: wakers, connected sockets, and waits for a condition.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::task::Waker;
use std::time::Duration;

use picot_reactor::driver::Portable;
use picot_reactor::{Direction, Reactor, Source};
pub(crate) use picot_testkit::{WakeCount, waker_fn};

/// A waker that calls `on_drop` when its last clone is dropped.
pub(crate) fn drop_fn(on_drop: impl Fn() + Send + Sync + 'static) -> Waker {
    picot_testkit::waker_with_drop(|| {}, on_drop)
}

/// Two connected sockets: one in non-blocking mode for the reactor, and its peer.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    peer.set_nodelay(true).unwrap();
    (stream, peer)
}

/// The reactor under test: on this platform's driver, or on the portable one if the variable
/// `PICOT_TEST_DRIVER` is `portable`. On Linux that one is edge-triggered, as on macOS and FreeBSD.
pub(crate) fn reactor() -> Reactor {
    if is_portable() { Reactor::with_driver(Portable::new().unwrap()) } else { Reactor::new().unwrap() }
}

fn asks_for_portable() -> bool {
    static ASKS: OnceLock<bool> = OnceLock::new();
    *ASKS.get_or_init(|| match std::env::var("PICOT_TEST_DRIVER") {
        Ok(name) => name == "portable" || panic!("there is no test driver {name:?}"),
        Err(_) => false,
    })
}

/// Whether `polling` provides the events.
pub(crate) fn is_portable() -> bool {
    cfg!(any(polling_test_poll_backend, not(target_os = "linux"))) || asks_for_portable()
}

/// A registered socket and its peer.
pub(crate) fn registered(reactor: &Reactor) -> (Source<TcpStream>, TcpStream) {
    let (stream, peer) = pair();
    (reactor.register(stream).unwrap(), peer)
}

/// Waits until `done` returns true. Loopback delivers at once; the limit only prevents a hang.
pub(crate) fn wait_until(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        reactor.wait(Some(Duration::from_millis(100))).unwrap();
    }
    panic!("no event within ten seconds");
}

/// Handles the events that have arrived, without waiting.
pub(crate) fn drain(reactor: &Reactor) {
    while reactor.wait(Some(Duration::ZERO)).unwrap() != 0 {}
}

/// Writes until no room is left or appears. Returns the number of bytes.
pub(crate) fn fill(reactor: &Reactor, source: &Source<TcpStream>) -> usize {
    let (block, mut written) = ([0_u8; 65536], 0);
    // Data that moves from one buffer to the other makes room once more.
    for _ in 0..2 {
        source.assume_ready(Direction::Write);
        while let Ok(n) = source.try_io(Direction::Write, |mut io| io.write(&block)) {
            written += n;
        }
        drain(reactor);
    }
    source.assume_ready(Direction::Write);
    while let Ok(n) = source.try_io(Direction::Write, |mut io| io.write(&block)) {
        written += n;
    }
    written
}
