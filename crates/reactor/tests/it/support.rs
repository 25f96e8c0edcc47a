//! What the tests share: wakers that count, connected sockets, and a wait that ends when something has come.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use picot_reactor::driver::Portable;
use picot_reactor::{Direction, Reactor, Source};

/// A waker that counts how often it is woken.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<Counter>);

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    pub(crate) fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// How many hold it, this one included.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Polls `f` with this waker.
    pub(crate) fn poll<R>(&self, f: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
        f(&mut Context::from_waker(&self.waker()))
    }
}

/// A waker that runs a function. It does not keep itself while it does so: whoever calls it by reference has it.
pub(crate) fn waker_fn(f: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Call<F>(F);
    impl<F: Fn() + Send + Sync> Wake for Call<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(Call(f)).into()
}

/// A waker that runs a function when the last of it is dropped.
pub(crate) fn drop_fn(f: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Call<F: Fn()>(F);
    impl<F: Fn() + Send + Sync> Wake for Call<F> {
        fn wake(self: Arc<Self>) {}
    }
    impl<F: Fn()> Drop for Call<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Arc::new(Call(f)).into()
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

/// The reactor under test: on this platform's driver, or, if the variable `PICOT_TEST_DRIVER` says `portable`, on the portable
/// one in whichever mode it has here. On Linux that is its edges, which is how macOS and FreeBSD run it.
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

/// Whether events come through `polling`.
pub(crate) fn is_portable() -> bool {
    cfg!(any(polling_test_poll_backend, not(target_os = "linux"))) || asks_for_portable()
}

/// A registered socket and its peer.
pub(crate) fn registered(reactor: &Reactor) -> (Source<TcpStream>, TcpStream) {
    let (stream, peer) = pair();
    (reactor.register(stream).unwrap(), peer)
}

/// Waits until `done`, turn by turn. Loopback delivers at once, so the limit is only there to fail rather than hang.
pub(crate) fn wait_until(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    for _ in 0..100 {
        if done() {
            return;
        }
        reactor.wait(Some(Duration::from_millis(100))).unwrap();
    }
    panic!("nothing came in ten seconds");
}

/// Takes out what is on its way, without waiting.
pub(crate) fn drain(reactor: &Reactor) {
    while reactor.wait(Some(Duration::ZERO)).unwrap() != 0 {}
}

/// Writes until there is no room, and none comes. Returns how many bytes that were.
pub(crate) fn fill(reactor: &Reactor, source: &Source<TcpStream>) -> usize {
    let (block, mut written) = ([0_u8; 65536], 0);
    // What is still on its way from the one buffer to the other makes room once more.
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
