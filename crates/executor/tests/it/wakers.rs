//! A wake is a push and a flag: it polls no task and drops nothing, on any thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use picot_executor::{Executor, Spawner};

use crate::trace::{Trace, yield_now};

/// A task that is pending, and its waker.
fn waiting(executor: &Executor, mut each_poll: impl FnMut() + 'static) -> Waker {
    let waker = Rc::new(RefCell::new(None));
    let given = waker.clone();
    drop(executor.spawn(poll_fn(move |cx| {
        each_poll();
        given.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        Poll::<()>::Pending
    })));
    executor.run_until_stalled();
    waker.take().unwrap()
}

/// Libraries wake while they hold their own locks. A wake that polled its task would lock the same
/// lock again.
#[test]
fn a_wake_polls_no_task_so_its_caller_can_hold_a_lock_that_the_task_needs() {
    let executor = Executor::new();
    let polls = Rc::new(RefCell::new(0));
    let counted = polls.clone();
    let waker = waiting(&executor, move || *counted.borrow_mut() += 1);
    for expected in 1..4 {
        let held = polls.borrow_mut();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(*held, expected);
        drop(held);
        executor.run_until_stalled();
    }

    // The same on another thread, whose wake must not touch the future either.
    let polls = Arc::new(Mutex::new(0));
    let counted = polls.clone();
    let waker = waiting(&executor, move || *counted.lock().unwrap() += 1);
    let held = polls.clone();
    thread::spawn(move || {
        let held = held.lock().unwrap();
        waker.wake();
        assert_eq!(*held, 1);
    })
    .join()
    .unwrap();
    executor.run_until_stalled();
    assert_eq!(*polls.lock().unwrap(), 2);
}

#[test]
fn the_wake_of_a_cancelled_task_and_the_drop_of_its_last_waker_drop_no_future() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let dropped = trace.on_drop("future dropped");
    let waker = Rc::new(RefCell::new(None));
    let given = waker.clone();
    let task = executor.spawn(async move {
        let _dropped = dropped;
        poll_fn(|cx| {
            given.replace(Some(cx.waker().clone()));
            Poll::<()>::Pending
        })
        .await;
    });
    executor.run_until_stalled();
    task.cancel("no longer wanted");
    drop(task);
    let waker: Waker = waker.take().unwrap();
    waker.wake();
    trace.add("woken");
    executor.run_until_stalled();
    assert_eq!(trace.take(), ["woken", "future dropped"]);
}

/// A waker reaches the executor of its task, not the executor that runs on the thread of the wake.
#[test]
fn a_wake_goes_to_the_executor_of_its_task_from_any_executor_and_any_thread() {
    let (here, there) = (Executor::new(), Executor::new());
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let waker = waiting(&here, move || _ = counted.fetch_add(1, Ordering::Relaxed));

    let inside = waker.clone();
    there.block_on(async move { inside.wake() });
    assert_eq!((there.run_until_stalled(), polls.load(Ordering::Relaxed)), (0, 1));
    assert_eq!((here.run_until_stalled(), polls.load(Ordering::Relaxed)), (1, 2));

    thread::spawn(move || {
        let elsewhere = Executor::new();
        elsewhere.block_on(async move { waker.wake() });
        assert_eq!(elsewhere.run_until_stalled(), 0);
    })
    .join()
    .unwrap();
    assert_eq!((here.run_until_stalled(), polls.load(Ordering::Relaxed)), (1, 3));
}

#[test]
fn any_number_of_wakes_and_calls_from_other_threads_fit_while_nothing_runs() {
    const EACH: usize = if cfg!(miri) { 100 } else { 100_000 };
    let executor = Executor::new();
    let polls = Rc::new(RefCell::new(0));
    let counted = polls.clone();
    let waker = waiting(&executor, move || *counted.borrow_mut() += 1);
    let (remote, calls) = (executor.remote(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    // The executor takes nothing until this thread has ended: a bounded queue would block the
    // thread for ever.
    thread::spawn(move || {
        for _ in 0..EACH {
            let counted = counted.clone();
            remote.call_soon(move || _ = counted.fetch_add(1, Ordering::Relaxed)).unwrap();
            waker.wake_by_ref();
        }
    })
    .join()
    .unwrap();
    assert_eq!(executor.run_until_stalled(), EACH + 1);
    assert_eq!((calls.load(Ordering::Relaxed), *polls.borrow()), (EACH, 2));
}

thread_local! {
    static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
}

/// Uses the executor of this thread as user code may.
fn use_executor() -> usize {
    SPAWNER.with_borrow(|spawner| {
        let spawner = spawner.as_ref().unwrap();
        spawner.spawn(std::future::pending::<()>()).cancel("by a waker");
        let call = spawner.call_soon(|| unreachable!("it is cancelled")).unwrap();
        assert!(call.cancel());
        spawner.tasks().len()
    })
}

#[test]
fn a_joiners_waker_can_use_the_executor_in_its_wake_and_in_its_drop() {
    static WAKES: AtomicUsize = AtomicUsize::new(0);
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Busy;
    impl Wake for Busy {
        fn wake(self: Arc<Self>) {
            assert!(use_executor() > 0);
            WAKES.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Drop for Busy {
        fn drop(&mut self) {
            assert!(use_executor() > 0);
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let executor = Executor::new();
    let reports = crate::trace::reports(&executor);
    SPAWNER.set(Some(executor.spawner().clone()));
    let mut task = executor.spawn(async { 1 });
    let mut poll_with = |waker: Waker| Pin::new(&mut &mut task).poll(&mut Context::from_waker(&waker)).is_pending();
    // The second replaces the first, which is dropped by that.
    assert!(poll_with(Arc::new(Busy).into()));
    assert!(poll_with(Arc::new(Busy).into()));
    assert_eq!((WAKES.load(Ordering::Relaxed), DROPS.load(Ordering::Relaxed)), (0, 1));
    executor.run_until_stalled();
    assert_eq!((WAKES.load(Ordering::Relaxed), DROPS.load(Ordering::Relaxed)), (1, 2));
    assert!(reports.take().is_empty());
    SPAWNER.set(None);
}

/// Waits once, and returns the key of the running task.
async fn key_of_this_task(spawner: &picot_executor::Spawner, wrapped: bool) -> Option<picot_executor::WakeKey> {
    std::future::poll_fn(|cx| {
        let key = if wrapped { spawner.wake_key(std::task::Waker::noop()) } else { spawner.wake_key(cx.waker()) };
        std::task::Poll::Ready(key)
    })
    .await
}

#[test]
#[cfg_attr(miri, ignore = "a waker is known by its vtable, of which Miri makes several on purpose")]
fn a_key_wakes_its_task_in_any_step_and_no_task_after_its_end() {
    use std::cell::Cell;
    use std::rc::Rc;

    let executor = picot_executor::Executor::new();
    let spawner = executor.spawner().clone();
    let (polls, key) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (inside_polls, inside_key, inside_spawner) = (polls.clone(), key.clone(), spawner.clone());
    let task = executor.spawn(async move {
        assert_eq!(key_of_this_task(&inside_spawner, true).await, None, "another waker than the task's own");
        let first = key_of_this_task(&inside_spawner, false).await;
        inside_key.set(first);
        for _ in 0..3 {
            let mut is_woken = false;
            std::future::poll_fn(|_| {
                inside_polls.set(inside_polls.get() + 1);
                if std::mem::replace(&mut is_woken, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            assert_eq!(key_of_this_task(&inside_spawner, false).await, first, "the same in each step");
        }
    });
    executor.run_until_stalled();
    for expected in [1, 3, 5] {
        assert_eq!(polls.get(), expected);
        spawner.wake(key.get().unwrap());
        assert_eq!(executor.run_until_stalled(), 1);
    }
    assert!(task.is_finished() && polls.get() == 6);

    // Another task has its slot.
    let heir = executor.spawn(std::future::pending::<()>());
    executor.run_until_stalled();
    spawner.wake(key.get().unwrap());
    assert_eq!(executor.run_until_stalled(), 0, "the key of an ended task wakes no task");
    drop(heir);
    assert_eq!(spawner.wake_key(std::task::Waker::noop()), None, "no task runs");
}

#[test]
#[cfg_attr(miri, ignore = "a waker is known by its vtable, of which Miri makes several on purpose")]
fn a_key_can_identify_the_root_and_an_eager_task_inside_of_a_step() {
    let executor = picot_executor::Executor::new();
    let spawner = executor.spawner().clone();
    executor.block_on(async {
        let root = key_of_this_task(&spawner, false).await.unwrap();
        let inside = spawner.clone();
        let eager = spawner.build_task().eager().spawn(async move {
            let key = key_of_this_task(&inside, false).await;
            std::future::pending::<()>().await;
            key
        });
        assert_eq!(key_of_this_task(&spawner, false).await, Some(root), "it is itself again");
        let mut is_woken = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut is_woken, true) {
                return std::task::Poll::Ready(());
            }
            spawner.wake(root);
            std::task::Poll::Pending
        })
        .await;
        drop(eager);
    });
}

/// A waker that calls back in its clone, in its wake and in its drop, once for each time that it is
/// armed.
mod calling_back {
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{RawWaker, RawWakerVTable, Waker};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Moment {
        Clone,
        Wake,
        Drop,
    }

    type Armed = (Moment, Box<dyn FnOnce()>);

    thread_local! {
        static ARMED: RefCell<Option<Armed>> = const { RefCell::new(None) };
    }

    pub(super) fn arm(moment: Moment, call: impl FnOnce() + 'static) {
        ARMED.set(Some((moment, Box::new(call))));
    }

    pub(super) fn is_armed() -> bool {
        ARMED.with_borrow(Option::is_some)
    }

    fn fire(moment: Moment) {
        let armed = ARMED.with_borrow_mut(|armed| armed.take_if(|(when, _)| *when == moment));
        if let Some((_, call)) = armed {
            call();
        }
    }

    /// A waker that counts in `wakes`.
    pub(super) fn waker(wakes: &'static AtomicUsize) -> Waker {
        // SAFETY: The pointer is that of a static counter, and the functions use it only as such.
        unsafe { Waker::from_raw(RawWaker::new(std::ptr::from_ref(wakes).cast(), &VTABLE)) }
    }

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, |_| fire(Moment::Drop));

    unsafe fn clone(wakes: *const ()) -> RawWaker {
        fire(Moment::Clone);
        RawWaker::new(wakes, &VTABLE)
    }

    unsafe fn wake(wakes: *const ()) {
        // SAFETY: The contract of the caller is the same.
        unsafe { wake_by_ref(wakes) }
        fire(Moment::Drop);
    }

    unsafe fn wake_by_ref(wakes: *const ()) {
        // SAFETY: Each of these wakers has the pointer of a counter.
        unsafe { &*wakes.cast::<AtomicUsize>() }.fetch_add(1, Ordering::Relaxed);
        fire(Moment::Wake);
    }
}

/// Each future of the crate, polled with a waker that completes the awaited object, or closes the
/// executor, while it is cloned, woken, or dropped because another replaces it: the last waker is
/// woken, and the next poll returns the outcome.
#[test]
fn no_wake_is_lost_to_a_waker_that_calls_back() {
    use calling_back::{Moment, arm, is_armed, waker};
    type BoxFuture = Pin<Box<dyn Future<Output = bool>>>;
    type Make = fn(&Executor) -> BoxFuture;
    async fn ends_later() -> u32 {
        yield_now().await;
        7
    }
    let futures: [(&str, Make); 6] = [
        ("a watch", |executor| {
            let mut task = executor.spawn(ends_later());
            Box::pin(async move { (&mut task).await.is_ok() })
        }),
        ("a wait", |executor| {
            let task = executor.spawn(ends_later());
            Box::pin(async move { task.await.is_ok() })
        }),
        ("a cancellation", |executor| {
            let task = executor.spawn(ends_later());
            Box::pin(async move { task.cancel_and_wait("the test waits for its end").await.is_some() })
        }),
        ("a watch of a remote task", |executor| {
            let mut task = executor.remote().spawn(ends_later).unwrap();
            Box::pin(async move { (&mut task).await.is_ok() })
        }),
        ("a wait for a remote task", |executor| {
            let task = executor.remote().spawn(ends_later).unwrap();
            Box::pin(async move { task.await.is_ok() })
        }),
        ("a wait for a task of another thread", |executor| {
            let remote = executor.remote();
            let task = thread::spawn(move || remote.spawn(ends_later).unwrap()).join().unwrap();
            Box::pin(async move { task.await.is_ok() })
        }),
    ];
    static OLD: AtomicUsize = AtomicUsize::new(0);
    static NEW: AtomicUsize = AtomicUsize::new(0);
    for (what, make) in futures {
        for moment in [Moment::Clone, Moment::Wake, Moment::Drop] {
            for closes in [false, true] {
                for is_second in [false, true] {
                    let scene = format!("{what}, {moment:?}, closes {closes}, second {is_second}");
                    let executor = Rc::new(Executor::new());
                    let mut future = make(&executor);
                    let (old, new) = (waker(&OLD), waker(&NEW));
                    NEW.store(0, Ordering::Relaxed);
                    if is_second {
                        assert!(future.as_mut().poll(&mut Context::from_waker(&old)).is_pending(), "{scene}");
                    }
                    let inside = executor.clone();
                    arm(moment, move || {
                        if picot_context::running().is_some() {
                            // In the last step of the task, which neither runs nor closes its
                            // executor.
                            drop(inside.spawn(async {}));
                        } else if closes {
                            inside.close();
                        } else {
                            inside.run_until_stalled();
                        }
                    });
                    if future.as_mut().poll(&mut Context::from_waker(&new)).is_ready() {
                        // It has checked again after the clone.
                        assert!(
                            moment == Moment::Clone && what.contains("remote") || what.contains("another"),
                            "{scene}"
                        );
                        continue;
                    }
                    if is_armed() {
                        // No callback has run yet: the end of the task runs it, or never.
                        executor.step();
                        executor.run_until_stalled();
                    }
                    assert!(NEW.load(Ordering::Relaxed) > 0, "{scene}: the wake is lost");
                    let Poll::Ready(has_value) = future.as_mut().poll(&mut Context::from_waker(&new)) else {
                        panic!("{scene}: it has ended");
                    };
                    if !closes && what != "a cancellation" {
                        assert!(has_value, "{scene}");
                    }
                    arm(Moment::Wake, || ());
                }
            }
        }
    }
}
