//! A waker is foreign code in its `clone` and `drop`, too: no wake-up is lost when that code acts
//! on the awaited promise.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use picot_context::{Closed, Host, ManualHost, Place, Report, install};
use picot_deferred::{Promise, State, when_race};

use crate::trace::Deferred;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Moment {
    Clone,
    Wake,
    Drop,
}

type Action = Box<dyn FnOnce()>;

thread_local! {
    /// The action of this thread's wakers, its moment, and how many such moments pass before.
    static ACTION: RefCell<Option<(Moment, u32, Action)>> = const { RefCell::new(None) };
}

fn act(moment: Moment) {
    let action = ACTION.with_borrow_mut(|slot| match slot {
        Some((when, passes, _)) if *when == moment => match passes.checked_sub(1) {
            Some(left) => {
                *passes = left;
                None
            }
            None => slot.take(),
        },
        _ => None,
    });
    if let Some((.., action)) = action {
        action();
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// A waker that sets the flag. Each clone is a separate allocation, so that no clone equals another
/// by `will_wake`.
fn waker(flag: Arc<AtomicBool>) -> Waker {
    let data = Box::into_raw(Box::new(flag)).cast_const().cast();
    // SAFETY: The data is a separate box, which `release` and `wake` free once.
    unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }
}

fn flag<'a>(data: *const ()) -> &'a Arc<AtomicBool> {
    // SAFETY: Called only with the data of a live waker that `waker` has made.
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    act(Moment::Clone);
    let data = Box::into_raw(Box::new(flag(data).clone())).cast_const().cast();
    RawWaker::new(data, &TABLE)
}

unsafe fn wake(data: *const ()) {
    flag(data).store(true, Ordering::Relaxed);
    act(Moment::Wake);
    // SAFETY: `wake` consumes the waker.
    drop(unsafe { Box::from_raw(data.cast_mut().cast::<Arc<AtomicBool>>()) });
}

unsafe fn wake_by_ref(data: *const ()) {
    flag(data).store(true, Ordering::Relaxed);
    act(Moment::Wake);
}

unsafe fn release(data: *const ()) {
    act(Moment::Drop);
    // SAFETY: The waker is dropped.
    drop(unsafe { Box::from_raw(data.cast_mut().cast::<Arc<AtomicBool>>()) });
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A host that returns its tasks, so that a test polls them with any waker.
#[derive(Default)]
struct Tasks(RefCell<Vec<Task>>, Rc<ManualHost>);

impl Host for Tasks {
    fn run_later(&self, place: Place, call: Box<dyn FnOnce()>) -> Result<(), Closed> {
        self.1.run_later(place, call)
    }

    fn spawn(&self, _: Place, future: Task) -> Result<(), Closed> {
        self.0.borrow_mut().push(future);
        Ok(())
    }

    fn report(&self, report: Report) {
        self.1.report(report);
    }
}

/// Makes a future of this crate that waits for `deferred`, which the action gets as well.
type Make = fn(&Deferred, &Tasks) -> Task;

const FUTURES: [(&str, Make); 4] = [
    ("await", |deferred, _| {
        let promise = deferred.promise();
        Box::pin(async move { _ = promise.await })
    }),
    ("await of a group", |deferred, _| {
        let group = when_race([deferred.promise()]);
        Box::pin(async move { _ = group.await })
    }),
    ("spawn", |deferred, tasks| {
        // The future never ends: only the cancel of its promise, which the settling causes, ends
        // its task.
        let spawned = Promise::<i32, &'static str>::spawn(poll_fn(|_| Poll::Pending));
        deferred.promise().always(move |_| _ = spawned.cancel());
        tasks.0.borrow_mut().pop().unwrap()
    }),
    ("resolver", |deferred, tasks| {
        let resolver = deferred.resolver();
        let task = tasks.0.borrow_mut().pop().unwrap();
        std::mem::forget(resolver);
        task
    }),
];

type Settle = fn(&Deferred);

const SETTLE: [(&str, Settle); 3] = [
    ("resolve", |deferred| _ = deferred.resolve(1)),
    ("reject", |deferred| _ = deferred.reject("no")),
    ("cancel", |deferred| _ = deferred.promise().cancel()),
];

#[test]
fn a_waker_that_settles_in_its_clone_its_drop_or_its_wake_loses_no_wake_up() {
    let mut acted = 0;
    for (name, make) in FUTURES {
        for (way, settle) in SETTLE {
            for moment in [Moment::Clone, Moment::Wake, Moment::Drop] {
                for passes in 0..4 {
                    let tasks = Rc::new(Tasks::default());
                    let _guard = install(tasks.clone());
                    let deferred = Deferred::new();
                    deferred.promise().fail(|_| {});
                    let mut future = make(&deferred, &tasks);
                    let inner = deferred.clone();
                    ACTION.set(Some((moment, passes, Box::new(move || settle(&inner)))));
                    let woken = Arc::new(AtomicBool::new(true));
                    let is_done = Cell::new(false);
                    for _ in 0..8 {
                        // Each poll has a different waker, so that waiters are replaced.
                        let waker = waker(woken.clone());
                        woken.store(false, Ordering::Relaxed);
                        is_done.set(future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
                        drop(waker);
                        if is_done.get() {
                            break;
                        }
                        let is_settled = deferred.state() != State::Pending;
                        assert!(
                            !is_settled || woken.load(Ordering::Relaxed),
                            "{name}, {way} in {moment:?} after {passes}: settled, pending and not woken"
                        );
                    }
                    let left = ACTION.take();
                    acted += usize::from(left.is_none());
                    assert!(left.is_some() || is_done.get(), "{name}, {way} in {moment:?} after {passes}");
                    // If no waker has settled it, it is settled now, and wakes.
                    if left.is_some() {
                        woken.store(false, Ordering::Relaxed);
                        settle(&deferred);
                        assert!(woken.load(Ordering::Relaxed), "{name}, {way}, {moment:?}");
                    }
                }
            }
        }
    }
    assert!(acted > 40, "the wakers have acted {acted} times");
}

#[test]
fn a_waker_that_panics_in_its_clone_wake_or_drop_does_not_affect_other_waiters() {
    for moment in [Moment::Wake, Moment::Drop] {
        let (host, _guard) = ManualHost::installed();
        let deferred = Deferred::new();
        let (first, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut waits = [deferred.promise().into_future(), deferred.promise().into_future()];
        for (wait, flag) in waits.iter_mut().zip([&first, &second]) {
            assert!(Pin::new(wait).poll(&mut Context::from_waker(&waker(flag.clone()))).is_pending());
        }
        ACTION.set(Some((moment, 0, Box::new(|| std::panic::resume_unwind(Box::new("in the waker"))))));
        if moment == Moment::Drop {
            let [removed, kept] = waits;
            drop(removed);
            deferred.resolve(1);
            drop(kept);
        } else {
            deferred.resolve(1);
            assert!(first.load(Ordering::Relaxed));
        }
        assert!(second.load(Ordering::Relaxed));
        assert_eq!(host.take_reports().len(), 1, "{moment:?}");
    }
}

/// The drop of a waker that a poll replaces, and of one whose clone has settled what it waits for.
#[test]
fn a_waker_that_panics_when_it_is_replaced_or_not_needed_is_reported() {
    for is_replaced in [true, false] {
        let (host, _guard) = ManualHost::installed();
        let deferred = Deferred::new();
        let mut wait = deferred.promise().into_future();
        let wakers = [0, 1].map(|_| waker(Arc::default()));
        let mut poll = |number: usize| Pin::new(&mut wait).poll(&mut Context::from_waker(&wakers[number]));
        let panic: fn() = || std::panic::resume_unwind(Box::new("in the waker"));
        let panics = move || Some((Moment::Drop, 0, Box::new(panic) as Action));
        if is_replaced {
            assert!(poll(0).is_pending());
            ACTION.set(panics());
            assert!(poll(1).is_pending());
            deferred.resolve(1);
        } else {
            let inner = deferred.clone();
            let settles = move || {
                inner.resolve(1);
                ACTION.set(panics());
            };
            ACTION.set(Some((Moment::Clone, 0, Box::new(settles))));
        }
        assert_eq!(poll(1), Poll::Ready(Ok(1)));
        assert_eq!(host.take_reports().len(), 1, "replaced: {is_replaced}");
    }
}
