//! The reactor in isolation: registering, waking, and waits that find few of many sources ready.

use std::cell::Cell;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use picot_reactor::{Direction, Reactor, Source};

use crate::{Table, measure};

const COLUMN: &str = "picot-reactor";

/// How many sources of a crowd are ready at a time.
const READY: usize = 10;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket that sends to itself: it takes one descriptor, and is ready when it has something to
/// read.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Measures all, but for those whose name does not contain `filter`.
pub fn all(table: &mut Table, filter: &str) {
    let mut row = |name: &'static str, operations: usize, block: &mut dyn FnMut()| {
        if name.contains(filter) {
            table.add(name, COLUMN, measure(operations, block));
        }
    };

    let reactor = Reactor::new().unwrap();
    let kept = Cell::new(Some(socket()));
    row("register, deregister", 50_000, &mut || {
        for _ in 0..50_000 {
            let source = reactor.register(kept.take().unwrap()).unwrap();
            kept.set(Some(source.into_inner()));
        }
    });

    row("wait for nothing", 100_000, &mut || {
        for _ in 0..100_000 {
            reactor.wait(Some(Duration::ZERO)).unwrap();
        }
    });

    let wake = reactor.wake_handle();
    row("wake, wait", 100_000, &mut || {
        for _ in 0..100_000 {
            wake.wake();
            reactor.wait(None).unwrap();
        }
    });

    // Far enough not to be reached, near enough for the timer; and the same in every wait.
    row("wake, wait for a near deadline", 100_000, &mut || {
        for _ in 0..100_000 {
            wake.wake();
            reactor.wait_until(1_000_000, 100_000).unwrap();
        }
    });

    for (name, sources) in [("1 source ready of 1", 1), ("10 ready of 1000", 1_000), ("10 ready of 10000", 10_000)] {
        if name.contains(filter) {
            let crowd = Crowd::new(sources);
            let rounds = 20_000 / crowd.ready();
            row(name, rounds * crowd.ready(), &mut || (0..rounds).for_each(|_| crowd.round()));
        }
    }
}

/// Sources that all wait, of which the first few become ready.
struct Crowd {
    reactor: Reactor,
    sources: Rc<[Source<UdpSocket>]>,
    count: Arc<Count>,
}

impl Crowd {
    fn new(sources: usize) -> Crowd {
        let reactor = Reactor::new().unwrap();
        let sources: Rc<[_]> = (0..sources).map(|_| reactor.register(socket()).unwrap()).collect();
        let crowd = Crowd { reactor, sources, count: Arc::default() };
        let waker = Waker::from(crowd.count.clone());
        for source in &*crowd.sources {
            assert!(source.poll_ready(&mut Context::from_waker(&waker), Direction::Read).is_pending());
        }
        // That they can be written to is told once.
        while crowd.reactor.wait(Some(Duration::ZERO)).unwrap() != 0 {}
        crowd
    }

    fn ready(&self) -> usize {
        READY.min(self.sources.len())
    }

    /// Those few get something, are woken, read it and wait again.
    fn round(&self) {
        let ready = &self.sources[..self.ready()];
        for source in ready {
            source.get_ref().send(b"x").unwrap();
        }
        let before = self.count.0.load(Ordering::Relaxed);
        while self.count.0.load(Ordering::Relaxed) < before + ready.len() {
            self.reactor.wait(None).unwrap();
        }
        let waker = Waker::from(self.count.clone());
        let cx = &mut Context::from_waker(&waker);
        for source in ready {
            assert!(source.poll_io(cx, Direction::Read, |socket| socket.recv(&mut [0; 8])).is_ready());
            // It would block, and so waits.
            assert!(source.poll_io(cx, Direction::Read, |socket| socket.recv(&mut [0; 8])).is_pending());
        }
    }
}
