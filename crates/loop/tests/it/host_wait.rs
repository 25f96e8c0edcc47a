//! A host waits on the loop's descriptor. Everything that needs a turn makes it readable, also from
//! the loop's own thread: the host's callbacks run there while the loop does not.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use picot_deferred::Deferred;
use picot_loop::{
    Cause, EventLoop, Hooks, Instant, Kind, LoopHandle, Origin, Report, exclusive, sleep, sleep_until, yield_now,
};
use picot_sync::{Mutex, Queue};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const HOUR: Duration = Duration::from_secs(3600);

/// Whether a host's wait would end at once. `None` if the platform has no descriptor.
fn is_readable(event_loop: &EventLoop) -> Option<bool> {
    let descriptor = event_loop.backend_fd()?;
    let mut waits = [PollFd::new(&descriptor, PollFlags::IN)];
    Some(poll(&mut waits, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1)
}

/// Runs turns, as a host does, until nothing is left to do.
fn settle(event_loop: &EventLoop) {
    loop {
        let steps = event_loop.turn(Some(Duration::ZERO)).unwrap();
        if steps == 0 && event_loop.next_timeout() != Some(Duration::ZERO) {
            return;
        }
    }
}

/// A host's callback.
type Callback = Box<dyn FnOnce()>;

type Way = (&'static str, fn(&LoopHandle) -> Callback);

/// Each way in which a host's callback can cause a turn: prepares the loop, and returns the
/// callback.
const WAYS: &[Way] = &[
    ("wakes a task", |handle| {
        let (waker, is_woken) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(false)));
        let (task_waker, task_woken) = (waker.clone(), is_woken.clone());
        drop(handle.spawn(poll_fn(move |cx| {
            task_waker.set(Some(cx.waker().clone()));
            if task_woken.get() { Poll::Ready(()) } else { Poll::Pending }
        })));
        Box::new(move || {
            is_woken.set(true);
            waker.take().unwrap().wake();
        })
    }),
    ("spawns a task", |handle| {
        let handle = handle.clone();
        Box::new(move || drop(handle.spawn(async {})))
    }),
    ("spawns an eager task that sleeps", |handle| {
        let handle = handle.clone();
        Box::new(move || drop(handle.build_task().eager().spawn(sleep(HOUR))))
    }),
    ("spawns a task that sleeps", |handle| {
        let handle = handle.clone();
        Box::new(move || drop(handle.spawn(sleep(HOUR))))
    }),
    ("cancels a task", |handle| {
        let task = handle.spawn(std::future::pending::<()>());
        Box::new(move || assert!(task.cancel("for the test")))
    }),
    ("schedules a callback", |handle| {
        let handle = handle.clone();
        Box::new(move || drop(handle.call_soon(|| ())))
    }),
    ("schedules a callback for later", |handle| {
        let handle = handle.clone();
        Box::new(move || drop(handle.call_later(HOUR, || ())))
    }),
    ("moves a deadline to an earlier time", |handle| {
        let mut sleep = Box::pin(sleep_until(handle.now() + 2 * HOUR));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Box::new(move || {
            sleep.reset(Instant::now() + HOUR);
            std::mem::forget(sleep);
        })
    }),
    ("settles a promise", |handle| {
        let deferred = Deferred::<u8, ()>::new();
        let promise = deferred.promise();
        drop(handle.spawn(async move { assert_eq!(promise.await, Ok(1)) }));
        Box::new(move || _ = deferred.resolve(1))
    }),
    ("settles a promise that is chained", |_| {
        let deferred = Deferred::<u8, ()>::new();
        drop(deferred.promise().then(|_| Ok(())));
        Box::new(move || _ = deferred.resolve(1))
    }),
    ("releases a lock", |handle| {
        let mutex: &Mutex<()> = Box::leak(Box::default());
        let guard = mutex.try_lock().unwrap();
        drop(handle.spawn(async { drop(mutex.lock().await) }));
        Box::new(|| drop(guard))
    }),
    ("puts into a queue", |handle| {
        let queue = Rc::new(Queue::unbounded());
        let getter = queue.clone();
        drop(handle.spawn(async move { assert_eq!(getter.get().await.unwrap(), 1) }));
        Box::new(move || queue.try_put(1).unwrap())
    }),
    ("ends an exclusive section", |handle| {
        let guard = Rc::new(Cell::new(None));
        let slot = guard.clone();
        drop(handle.spawn(async move {
            slot.set(Some(exclusive().await));
            std::future::pending::<()>().await
        }));
        drop(handle.spawn(async {
            yield_now().await; // the section holds this back
        }));
        Box::new(move || drop(guard.take().unwrap()))
    }),
    ("drops a task whose error was not taken", |handle| {
        let task = handle.spawn(async { Err::<(), _>(std::io::Error::other("the host drops this")) });
        Box::new(move || drop(task))
    }),
    ("reports", |handle| {
        let handle = handle.clone();
        Box::new(move || {
            handle.report(Report::new(Origin::new(Kind::Loop), Cause::Io(std::io::Error::other("the host's"))))
        })
    }),
    ("stops the loop", |handle| {
        let handle = handle.clone();
        Box::new(move || handle.stop())
    }),
    ("calls from another thread", |handle| {
        let remote = handle.remote();
        Box::new(move || thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap())
    }),
    ("wakes a task from another thread", |handle| {
        let waker = Rc::new(Cell::new(None));
        let slot = waker.clone();
        drop(handle.spawn(poll_fn(move |cx| {
            slot.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        })));
        Box::new(move || {
            let waker = waker.take().unwrap();
            thread::spawn(|| waker.wake()).join().unwrap();
        })
    }),
];

#[test]
fn each_cause_of_a_turn_makes_the_descriptor_readable_once() {
    for (way, prepare) in WAYS {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().set_error_hook(|_| ());
        let callback = prepare(&event_loop.handle());
        settle(&event_loop);
        let Some(is_rung) = is_readable(&event_loop) else { return };
        assert!(!is_rung, "before a callback that {way}");
        callback();
        assert_eq!(is_readable(&event_loop), Some(true), "after a callback that {way}");
        let before = event_loop.handle().metrics().snapshot().steps;
        settle(&event_loop);
        assert_eq!(is_readable(&event_loop), Some(false), "after the turns for a callback that {way}");
        assert!(event_loop.handle().metrics().snapshot().steps <= before + 3, "a callback that {way}");
    }
}

#[test]
fn an_idle_host_is_not_woken() {
    let event_loop = EventLoop::new().unwrap();
    event_loop.handle().call_later(HOUR, || ());
    for _ in 0..10 {
        assert!(event_loop.next_timeout() > Some(Duration::ZERO));
        assert_ne!(is_readable(&event_loop), Some(true), "asking for the timeout wakes no host");
    }
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(0));
    assert_ne!(is_readable(&event_loop), Some(true), "a turn without steps wakes no host");
}

/// A host may ask several times before it waits. That is one wait.
#[test]
fn a_host_that_asks_again_begins_its_wait_anew() {
    struct Parks(Rc<Cell<i32>>);
    impl Hooks for Parks {
        fn park(&self) {
            self.0.set(self.0.get() + 1);
        }

        fn unpark(&self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let parked = Rc::new(Cell::new(0));
    event_loop.handle().set_hooks(Rc::new(Parks(parked.clone())));
    for _ in 0..3 {
        assert_eq!(event_loop.next_timeout(), None);
        assert_eq!(parked.get(), 1);
    }
    event_loop.handle().call_soon(|| ());
    assert_ne!(is_readable(&event_loop), Some(false));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    assert_eq!(parked.get(), 0);
}

#[test]
fn a_timer_makes_the_descriptor_readable_only_if_it_is_due_before_the_hosts_wait_ends() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    handle.call_later(2 * HOUR, || ());
    assert!(event_loop.next_timeout() > Some(HOUR));
    if event_loop.backend_fd().is_none() {
        return;
    }
    handle.call_later(3 * HOUR, || ());
    assert_eq!(is_readable(&event_loop), Some(false), "the host's wait ends before this timer");
    handle.call_later(HOUR, || ());
    assert_eq!(is_readable(&event_loop), Some(true), "this timer is due before the host's wait ends");
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(0));
    assert!(event_loop.next_timeout() <= Some(HOUR));
    assert_eq!(is_readable(&event_loop), Some(false));

    let mut late = pin!(sleep(2 * HOUR));
    assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(is_readable(&event_loop), Some(false));
    late.reset(handle.now() + 3 * HOUR);
    assert_eq!(is_readable(&event_loop), Some(false), "put off");
    late.reset(handle.now() + HOUR / 2);
    assert_eq!(is_readable(&event_loop), Some(true), "moved to an earlier time than the host's");
}

#[test]
fn pushes_outside_of_a_hosts_wait_do_not_make_the_descriptor_readable() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    handle.call_soon(|| ());
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO), "so the host does not wait");
    handle.call_soon(|| ());
    handle.call_later(HOUR, || ());
    assert_ne!(is_readable(&event_loop), Some(true));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(2));
    let again = handle.clone();
    handle.call_soon(move || drop(again.call_soon(|| ())));
    assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(1));
    assert_ne!(is_readable(&event_loop), Some(true));
}

#[test]
fn closing_the_loop_ends_a_hosts_wait() {
    let event_loop = Rc::new(EventLoop::new().unwrap());
    assert_eq!(event_loop.next_timeout(), None);
    event_loop.close().unwrap();
    assert_ne!(is_readable(&event_loop), Some(false));
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    assert!(event_loop.turn(None).is_err());
}

#[test]
fn an_idle_hook_ends_a_hosts_wait() {
    let event_loop = EventLoop::new().unwrap();
    assert_eq!(event_loop.next_timeout(), None);
    let hook = event_loop.handle().on_idle(|| ());
    assert_ne!(is_readable(&event_loop), Some(false));
    assert_eq!(event_loop.next_timeout(), Some(Duration::ZERO));
    assert!(hook.remove());
    settle(&event_loop);
    assert_ne!(is_readable(&event_loop), Some(true));
}

#[test]
fn pushes_that_wake_a_host_keep_their_order() {
    let event_loop = EventLoop::new().unwrap();
    let order = crate::trace::Trace::default();
    for round in 0..3 {
        assert_eq!(event_loop.next_timeout(), None);
        for n in 0..20 {
            event_loop.handle().call_soon(order.adds(n));
            let order = order.clone();
            drop(event_loop.handle().spawn(async move { order.add(format!("task {n}")) }));
        }
        assert_eq!(event_loop.turn(Some(Duration::ZERO)), Ok(40), "round {round}");
        let expected: Vec<_> = (0..20).flat_map(|n| [n.to_string(), format!("task {n}")]).collect();
        assert_eq!(order.take(), expected);
    }
}

/// A turn collects at most 256 events. A host that is told of changes only, as by an edge-triggered
/// epoll, learns nothing of the events that are left.
#[test]
fn a_host_does_not_wait_while_more_events_may_be_left() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let ends: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
    let (near, far): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let near: Vec<_> = near.into_iter().map(|end| Rc::new(register(&handle, end))).collect();
    let count = Rc::new(Cell::new(0));
    // Only the last forty are waited for: a full batch of events may wake no task.
    for source in &near[260..] {
        let (source, count) = (source.clone(), count.clone());
        drop(handle.spawn(async move {
            source.readable().await.unwrap();
            count.set(count.get() + 1);
        }));
    }
    settle(&event_loop);
    for mut end in &far {
        end.write_all(b"x").unwrap();
    }
    // The host sees one edge, and then waits only if the loop allows it.
    while event_loop.turn(Some(Duration::ZERO)).unwrap() > 0 || event_loop.next_timeout() == Some(Duration::ZERO) {}
    assert_eq!(count.get(), 40);
}

fn register(handle: &LoopHandle, end: UnixStream) -> picot_loop::Source<UnixStream> {
    end.set_nonblocking(true).unwrap();
    handle.register(end).unwrap()
}
