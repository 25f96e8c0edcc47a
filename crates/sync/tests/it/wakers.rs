//! Wakers that use the primitives while they are woken, cloned or dropped.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use picot_context::{Cause, Kind, ManualHost};
use picot_sync::{Barrier, Condvar, Event, LifoQueue, Mutex, PriorityQueue, Queue, Semaphore, oneshot, waiting, watch};

thread_local! {
    /// The action of a waker when it is woken or dropped.
    static DO: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// A waker that runs the action.
struct Meddler;

fn meddle() {
    let what = DO.with_borrow(Clone::clone);
    if let Some(what) = what {
        what();
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        meddle();
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let waker = Waker::from(Arc::new(Meddler));
    std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// One of each primitive, made again for each kind of action.
#[derive(Clone)]
struct World {
    mutex: Rc<Mutex<i32>>,
    semaphore: Rc<Semaphore>,
    event: Rc<Event>,
    condvar: Rc<Condvar>,
    barrier: Rc<Barrier>,
    queue: Rc<Queue<i32>>,
    priority: Rc<PriorityQueue<i32>>,
    lifo: Rc<LifoQueue<i32>>,
    watch: Rc<watch::Sender<i32>>,
}

impl World {
    fn new() -> World {
        World {
            mutex: Rc::new(Mutex::new(0)),
            semaphore: Rc::new(Semaphore::new(1)),
            event: Rc::default(),
            condvar: Rc::default(),
            barrier: Rc::new(Barrier::new(2)),
            queue: Rc::new(Queue::new(1)),
            priority: Rc::new(PriorityQueue::new(1)),
            lifo: Rc::new(LifoQueue::new(1)),
            watch: Rc::new(watch::channel(0).0),
        }
    }

    /// Calls all methods that do not wait, and polls some that do.
    fn use_everything(&self) {
        drop(self.mutex.try_lock());
        drop(self.semaphore.try_acquire());
        let mut cx = Context::from_waker(Waker::noop());
        drop(std::pin::pin!(self.mutex.lock()).poll(&mut cx));
        drop(std::pin::pin!(self.semaphore.acquire()).poll(&mut cx));
        let _ = std::pin::pin!(self.event.wait()).poll(&mut cx);
        let _ = std::pin::pin!(self.queue.get()).poll(&mut cx);
        let _ = std::pin::pin!(self.queue.put(1)).poll(&mut cx);
        let _ = std::pin::pin!(self.barrier.wait()).poll(&mut cx);
        self.event.set();
        self.event.clear();
        self.condvar.notify_one();
        self.condvar.notify_all();
        let _ = (self.queue.try_put(1), self.queue.try_get());
        let _ = (self.priority.try_put(1), self.priority.try_get());
        let _ = (self.lifo.try_put(1), self.lifo.try_get());
        drop(self.watch.send(1));
        drop((waiting(), format!("{:?} {:?} {:?}", self.mutex, self.queue, self.barrier)));
    }

    /// Waits for each of them, and continues or gives up, in ways that wake, replace and drop
    /// wakers.
    fn wait_for_everything(&self, gives_up: bool) {
        let guard = self.mutex.try_lock().unwrap();
        let (mut lock, mut next) = (self.mutex.lock(), self.mutex.lock());
        // Polled twice with different wakers, so that the first is replaced and dropped.
        assert!(poll(&mut lock).is_pending() && poll(&mut lock).is_pending() && poll(&mut next).is_pending());
        drop(guard);
        if gives_up {
            drop(lock);
            drop(next);
        } else {
            let Poll::Ready(guard) = poll(&mut lock) else { panic!("it has the lock") };
            drop(guard);
            assert!(poll(&mut next).is_ready());
        }

        let permit = self.semaphore.try_acquire().unwrap();
        let mut acquire = self.semaphore.acquire();
        assert!(poll(&mut acquire).is_pending());
        drop(permit);
        assert!(gives_up || poll(&mut acquire).is_ready());

        let (mut one, mut two) = (self.event.wait(), self.event.wait());
        assert!(poll(&mut one).is_pending() && poll(&mut two).is_pending());
        self.event.set();
        assert!(gives_up || poll(&mut one).is_ready() && poll(&mut two).is_ready());
        self.event.clear();

        let mut wait = self.condvar.wait(self.mutex.try_lock().unwrap());
        assert!(poll(&mut wait).is_pending());
        self.condvar.notify_one();
        assert!(gives_up || poll(&mut wait).is_ready());
        drop(wait);

        let mut wait = self.barrier.wait();
        assert!(poll(&mut wait).is_pending());
        self.barrier.reset();
        assert!(gives_up || poll(&mut wait).is_ready());
        drop(wait);

        let mut get = self.queue.get();
        assert!(poll(&mut get).is_pending());
        let put = self.queue.try_put(7);
        assert!(put.is_ok());
        if !gives_up {
            assert!(poll(&mut get).is_ready());
            self.queue.try_put(8).unwrap();
        }
        drop(get);
        let mut put = self.queue.put(9);
        assert!(poll(&mut put).is_pending());
        self.queue.try_get().unwrap();
        assert!(gives_up || poll(&mut put).is_ready());
        drop(put);
        let mut receiver = self.watch.subscribe();
        let mut changed = receiver.changed();
        assert!(poll(&mut changed).is_pending());
        self.watch.send(2);
        assert!(gives_up || poll(&mut changed).is_ready());

        let (sender, mut receiver) = oneshot::channel();
        assert!(poll(&mut receiver).is_pending());
        sender.send(1).unwrap();
        assert!(gives_up || poll(&mut receiver).is_ready());
    }
}

/// Wakers that use all primitives run inside of their methods, so nothing may be borrowed then.
#[test]
fn wakers_can_use_all_primitives_while_they_are_woken_and_dropped() {
    for gives_up in [false, true] {
        let world = World::new();
        // The action changes a separate world, and only reads this one.
        let (own, seen) = (World::new(), world.clone());
        DO.set(Some(Rc::new(move || {
            own.use_everything();
            drop((waiting(), format!("{:?} {:?} {:?}", seen.mutex, seen.queue, seen.semaphore)));
            drop((seen.mutex.waiters(), seen.queue.put_waiters(), seen.event.waiters()));
        })));
        world.wait_for_everything(gives_up);
        DO.set(None);
        assert!(waiting().is_empty());
    }
}

/// The action changes the same world. The outcome is open, but nothing may be borrowed, lost or
/// left.
#[test]
fn wakers_can_use_the_primitive_that_wakes_them() {
    let world = World::new();
    let inside = world.clone();
    DO.set(Some(Rc::new(move || inside.use_everything())));
    {
        let guard = world.mutex.try_lock().unwrap();
        let permit = world.semaphore.try_acquire().unwrap();
        let mut waits: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
            Box::pin(async { drop(world.mutex.lock().await) }),
            Box::pin(async { drop(world.mutex.lock().await) }),
            Box::pin(async { drop(world.semaphore.acquire().await) }),
            Box::pin(async { world.event.wait().await }),
            Box::pin(async {
                let _ = world.queue.get().await;
            }),
            Box::pin(async {
                let _ = world.barrier.wait().await;
            }),
            Box::pin(async { drop(world.watch.subscribe().changed().await) }),
        ];
        for _ in 0..2 {
            waits.retain_mut(|wait| poll(wait).is_pending());
        }
        drop((guard, permit));
        world.event.set();
        let _ = world.queue.try_put(1);
        world.watch.send(3);
        world.barrier.reset();
        for _ in 0..3 {
            waits.retain_mut(|wait| poll(wait).is_pending());
        }
        drop(waits);
    }
    DO.set(None);
    assert!(waiting().is_empty());
    assert!(world.mutex.try_lock().is_some() && world.semaphore.try_acquire().is_some());
}

#[test]
fn a_waker_that_panics_is_reported_and_the_others_are_woken() {
    let (host, _guard) = ManualHost::installed();
    let event = Event::new();
    let waker = picot_testkit::waker_fn(|| picot_testkit::quiet_panic("a waker"));
    let mut first = Box::pin(event.wait());
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = crate::hands::Hand::pending(event.wait());
    event.set();
    assert_eq!(second.wakes(), 1);
    second.ready();
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1);
    assert!(matches!((&reports[0].origin.kind, &reports[0].cause), (Kind::Waker, Cause::Panic(_))));
}

#[test]
fn a_waiter_that_outlives_the_list_of_its_thread_can_be_dropped() {
    thread_local! {
        static WAIT: RefCell<Option<std::pin::Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
    }
    let threads = [true, false].map(|wait_first| {
        std::thread::spawn(move || {
            // Thread-locals are dropped in the order of their first use, or in the opposite order.
            if wait_first {
                WAIT.set(None);
            }
            let event = Rc::new(Event::new());
            let mut wait = Box::pin(async move { event.wait().await });
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            WAIT.set(Some(wait));
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}
