//! The global allocator is foreign code: this one calls wakers, and each waker calls the reactor.
//! In a binary of its own, because it serves every allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use picot_reactor::{Direction, Reactor, ReadyList, Source};

struct CallsBack;

thread_local! {
    /// Whether the allocator calls back on this thread, and how often it has.
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static SCENE: RefCell<Option<Rc<Scene>>> = const { RefCell::new(None) };
}

/// Calls wakers, unless such a call is active already.
fn call_back() {
    if IS_ON.try_with(|is_on| is_on.replace(false)).unwrap_or(false) {
        CALLS.set(CALLS.get() + 1);
        let scene = SCENE.with_borrow(Option::clone);
        scene.inspect(|scene| scene.use_all());
        IS_ON.set(true);
    }
}

// SAFETY: The system allocator does the work. The callbacks use this allocator as other code does,
// and never the memory that is about to be returned.
unsafe impl GlobalAlloc for CallsBack {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        call_back();
        // SAFETY: The caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: The caller upholds the same contract.
        unsafe { System.dealloc(memory, layout) };
        call_back();
    }
}

#[global_allocator]
static ALLOCATOR: CallsBack = CallsBack;

/// What the allocator's callbacks use.
struct Scene {
    reactor: Reactor,
    source: Source<TcpStream>,
    peer: TcpStream,
    list: ReadyList,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Scene {
    /// Registers, lists, waits in every way, waits for events, and drops everything.
    fn use_all(&self) {
        let waker = Waker::from(self.wakes.clone());
        let mut cx = Context::from_waker(&waker);
        self.source.acknowledge();
        self.source.enqueue();
        if cfg!(any(polling_test_poll_backend, not(target_os = "linux"))) {
            // `polling` has its own locks, so on its path an allocator may only wake.
            return self.reactor.wake_handle().wake();
        }
        let mut wait = Box::pin(self.source.ready(Direction::Priority));
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        let _ = self.source.poll_ready(&mut cx, Direction::Read);
        self.reactor.wake_handle().wake();
        (&self.peer).write_all(b"x").unwrap();
        self.reactor.wait(Some(Duration::ZERO)).unwrap();
        // Not each time, because a socket is slow.
        if CALLS.get() % 16 == 0 {
            let (one, _two) = pair();
            let other = self.reactor.register(one).unwrap();
            other.list_in(&self.list, 1);
            let _ = other.poll_ready(&mut cx, Direction::Read);
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (stream, peer)
}

fn with_callbacks<R>(call: impl FnOnce() -> R) -> R {
    IS_ON.set(true);
    let result = call();
    IS_ON.set(false);
    result
}

#[test]
#[cfg_attr(miri, ignore = "too slow under Miri")]
fn an_allocator_may_call_the_reactor_during_its_allocations() {
    let reactor = Reactor::new().unwrap();
    let (stream, peer) = pair();
    let list = ReadyList::new();
    let source = reactor.register(stream).unwrap();
    source.list_in(&list, 0);
    let wakes = Arc::<Wakes>::default();
    let scene = Scene { reactor: reactor.clone(), source, peer, list, wakes: wakes.clone() };
    SCENE.set(Some(Rc::new(scene)));
    let scene = SCENE.with_borrow(Option::clone).unwrap();
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    let mut sources = Vec::new();
    for n in 0..20 {
        // The table grows, and so does the ready list.
        let (stream, mut peer) = pair();
        let source = with_callbacks(|| reactor.register(stream).unwrap());
        with_callbacks(|| source.list_in(&scene.list, n));
        // Several different wakers: they are displaced, and the list of futures grows.
        let others: Vec<_> = (0..20).map(|_| Waker::from(Arc::<Wakes>::default())).collect();
        for other in &others {
            let mut cx = Context::from_waker(other);
            with_callbacks(|| assert!(source.poll_ready(&mut cx, Direction::Read).is_pending()));
        }
        let mut waits: Vec<_> = (0..20).map(|_| Box::pin(source.readable())).collect();
        for wait in &mut waits {
            let mut wait: Pin<_> = wait.as_mut();
            with_callbacks(|| assert!(wait.as_mut().poll(&mut cx).is_pending()));
        }
        for wait in waits.split_off(5) {
            with_callbacks(|| drop(wait));
        }
        let before = wakes.0.load(Ordering::Relaxed);
        peer.write_all(b"x").unwrap();
        let woken = || wakes.0.load(Ordering::Relaxed) - before;
        for _ in 0..100 {
            if woken() >= 5 {
                break;
            }
            with_callbacks(|| reactor.wait(Some(Duration::from_millis(10))).unwrap());
        }
        assert!(woken() >= 5, "round {n}");
        drop(waits);
        let read = with_callbacks(|| source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])));
        assert_eq!(read.unwrap(), 1);
        let mut tokens = vec![0];
        with_callbacks(|| while scene.list.poll_take(&mut cx, &mut tokens).is_ready() && tokens.len() < 1000 {});
        assert!(tokens.contains(&n), "round {n}");
        sources.push((source, peer));
    }
    assert_eq!(reactor.sources(), 21);
    for (source, _peer) in sources {
        with_callbacks(|| drop(source));
    }
    assert!(CALLS.get() > 500, "{} calls", CALLS.get());
    drop(SCENE.take());
    with_callbacks(|| drop(scene));
    assert_eq!((reactor.sources(), reactor.waiting()), (0, 0));
    with_callbacks(|| reactor.close());
}
