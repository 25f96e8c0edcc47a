//! Tasks that other threads spawn: made, run and dropped on the executor's thread; cancelled and
//! awaited from any thread.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use picot_executor::{Executor, RemoteTask, WaitError};

use crate::trace::{Bomb, Trace, quiet_panic, reports, yield_now};

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<RemoteTask<String>>();

/// Records its drop, and checks the thread of it.
struct Home(thread::ThreadId, Arc<AtomicUsize>);

impl Home {
    fn new(drops: &Arc<AtomicUsize>) -> Home {
        Home(thread::current().id(), drops.clone())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.0, "dropped on the wrong thread");
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs the executor until the thread has ended, and returns the result of the thread.
fn drive<T>(executor: &Executor, thread: thread::JoinHandle<T>) -> T {
    while !thread.is_finished() {
        executor.run_until_stalled();
        thread::yield_now();
    }
    executor.run_until_stalled();
    thread.join().unwrap()
}

#[test]
fn the_future_is_made_and_dropped_on_the_executors_thread_and_its_value_moves() {
    let executor = Executor::new();
    let (remote, drops) = (executor.remote(), Arc::new(AtomicUsize::new(0)));
    let (home, counted) = (thread::current().id(), drops.clone());
    let thread = thread::spawn(move || {
        let mut task = remote
            .spawn(move || {
                let (held, shared) = (Home::new(&counted), Rc::new(6));
                async move {
                    yield_now().await;
                    assert_eq!(thread::current().id(), home);
                    drop(held);
                    *shared * 7
                }
            })
            .unwrap();
        let value = task.wait(None).unwrap();
        assert!(task.is_finished());
        value
    });
    assert_eq!(drive(&executor, thread), 42);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(executor.spawner().tasks().is_empty());
}

#[test]
fn after_the_limit_the_task_continues_and_a_cancel_reaches_both_sides() {
    let executor = Executor::new();
    let (remote, drops) = (executor.remote(), Arc::new(AtomicUsize::new(0)));
    let counted = drops.clone();
    let (started, has_started) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut task = remote
            .spawn(move || {
                let held = Home::new(&counted);
                async move {
                    let _held = held;
                    started.send(()).unwrap();
                    std::future::pending::<()>().await
                }
            })
            .unwrap();
        has_started.recv().unwrap();
        assert!(matches!(task.wait(Some(Duration::from_millis(1))), Err(WaitError::TimedOut)));
        assert!(task.cancel("too slow"));
        let Err(WaitError::Join(error)) = task.wait(None) else { panic!("it was cancelled") };
        assert!(!task.cancel("again"));
        error.reason().unwrap().as_str().to_string()
    });
    assert_eq!(drive(&executor, thread), "too slow");
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(executor.spawner().tasks().is_empty());
}

#[test]
fn a_remote_task_that_is_cancelled_before_its_first_step_never_makes_its_future() {
    let executor = Executor::new();
    let (remote, made) = (executor.remote(), Arc::new(AtomicBool::new(false)));
    let flag = made.clone();
    let task = thread::spawn(move || {
        let task = remote.spawn(move || async move { flag.store(true, Ordering::Relaxed) }).unwrap();
        assert!(task.cancel("at once"));
        task
    })
    .join()
    .unwrap();
    executor.run_until_stalled();
    let error = executor.block_on(async { task.await.unwrap_err() });
    assert_eq!(error.reason().unwrap().as_str(), "at once");
    assert!(!made.load(Ordering::Relaxed));
}

#[test]
fn a_remote_task_can_be_awaited_on_another_executor_and_dropping_that_wait_cancels() {
    let (here, drops) = (Executor::new(), Arc::new(AtomicUsize::new(0)));
    let (remote, counted) = (here.remote(), drops.clone());
    let (started, has_started) = mpsc::channel();
    let thread = thread::spawn(move || {
        let there = Executor::new();
        there.block_on(async {
            let value = remote.spawn(|| async { "value" }).unwrap().await.unwrap();
            let mut watched = remote
                .spawn(move || {
                    let held = Home::new(&counted);
                    async move {
                        let _held = held;
                        started.send(()).unwrap();
                        std::future::pending::<()>().await
                    }
                })
                .unwrap();
            has_started.recv().unwrap();
            // Watched first, which has no effect when dropped.
            assert!(futures_lite::future::poll_once(&mut watched).await.is_none());
            assert!(futures_lite::future::poll_once(&mut watched).await.is_none());
            drop(watched.into_future());
            value
        })
    });
    assert_eq!(drive(&here, thread), "value");
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(here.spawner().tasks().is_empty());
}

#[test]
fn dropping_the_handle_detaches() {
    let executor = Executor::new();
    let remote = executor.remote();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(remote.spawn(move || async move { sender.send("ran").unwrap() }))).join().unwrap();
    executor.run_until_stalled();
    assert_eq!(receiver.try_recv(), Ok("ran"));
}

#[test]
fn a_panic_without_a_waiter_goes_to_the_hook_and_to_a_later_waiter() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let remote = executor.remote();
    // A waiter that is there in time gets the panic instead of the hook: a unit test in
    // `src/remote/task.rs` covers that, where it can see which thread blocks.
    let mut task: RemoteTask<()> = remote.spawn(|| async { quiet_panic("no waiter yet") }).unwrap();
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);
    let waited = thread::spawn(move || task.wait(None)).join().unwrap();
    let Err(WaitError::Join(error)) = waited else { panic!("it panicked") };
    assert_eq!(error.into_panic().unwrap().downcast_ref(), Some(&"no waiter yet"));

    let task = remote.spawn(|| async { quiet_panic("detached") }).unwrap();
    drop::<RemoteTask<()>>(task);
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);

    // Making the future is a part of the task, too.
    let task = remote.spawn(|| -> std::future::Ready<()> { quiet_panic("in make") }).unwrap();
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1, "there was no waiter when it happened");
    assert!(executor.block_on(async { task.await.unwrap_err() }).is_panic(), "and a later wait gets it all the same");
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

#[test]
fn a_waiter_claims_the_panic() {
    let (executor, other) = (Executor::new(), Executor::new());
    let reports = reports(&executor);
    let task = executor.remote().spawn(|| async { quiet_panic("claimed") }).unwrap();
    let waiter = other.spawn(async move {
        let outcome: Result<(), _> = task.await;
        outcome.unwrap_err().is_panic()
    });
    other.run_until_stalled();
    executor.run_until_stalled();
    assert!(other.block_on(async { waiter.await.unwrap() }));
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

#[test]
fn a_thread_cannot_block_for_a_task_of_its_own() {
    let executor = Executor::new();
    let mut task = executor.remote().spawn(|| async { 5 }).unwrap();
    assert!(matches!(task.wait(None), Err(WaitError::OwnThread)));
    executor.run_until_stalled();
    assert_eq!(task.wait(None).unwrap(), 5, "an ended task needs no wait");
}

#[test]
fn a_task_that_waits_for_itself_gets_an_error() {
    let executor = Executor::new();
    let (handle, own) = mpsc::channel::<RemoteTask<()>>();
    let (event, events) = mpsc::channel();
    let task = executor.remote().spawn(move || async move {
        let mut own = own.recv().unwrap();
        event.send((&mut own).await.unwrap_err().to_string()).unwrap();
        event.send(own.wait(None).unwrap_err().to_string()).unwrap();
        let mut own = own.into_future();
        event.send((&mut own).await.unwrap_err().to_string()).unwrap();
        drop(own);
        yield_now().await;
        event.send("goes on".to_string()).unwrap();
    });
    // The handle exists before the first step.
    handle.send(task.unwrap()).unwrap();
    executor.run_until_stalled();
    let events: Vec<_> = events.try_iter().collect();
    let [watched, blocked, awaited, goes_on] = &events[..] else { panic!("it has said: {events:?}") };
    assert!(
        watched.starts_with("task 1 ") && watched.ends_with("waits for itself, which would never end"),
        "{watched}"
    );
    assert!(blocked.contains("must not block for it"), "{blocked}");
    assert_eq!((awaited, goes_on.as_str()), (watched, "goes on"));
    assert!(executor.spawner().tasks().is_empty());
}

#[test]
fn in_an_exclusive_section_a_remote_spawn_does_not_wait_and_awaiting_it_is_reported() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let (remote, spawner) = (executor.remote(), executor.spawner().clone());
    executor.block_on(async move {
        let guard = spawner.exclusive().await;
        let mut task = remote.spawn(|| async {}).unwrap();
        yield_now().await;
        assert!(reports.take().is_empty());
        assert!(futures_lite::future::poll_once(&mut task).await.is_none());
        yield_now().await;
        let texts = reports.take();
        assert!(texts.len() == 1 && texts[0].contains("main") && texts[0].contains("waits for task 2"), "{texts:?}");
        drop(guard);
        task.await.unwrap();
    });
}

#[test]
fn a_remote_spawn_on_the_own_thread_is_in_one_order_with_local_spawns() {
    let (executor, trace) = (Executor::new(), Trace::default());
    let (sender, receiver) = mpsc::channel();
    let note = |name: &'static str| {
        let sender = sender.clone();
        move || sender.send(name).unwrap()
    };
    executor.call_soon(note("first"));
    let call = note("second");
    drop(executor.remote().spawn(move || async move { call() }));
    let call = note("third");
    drop(executor.spawn(async move { call() }));
    executor.run_until_stalled();
    receiver.try_iter().for_each(|name| trace.add(name));
    assert_eq!(trace.take(), ["first", "second", "third"]);
}

#[test]
fn a_closed_executor_returns_the_closure() {
    let executor = Executor::new();
    let remote = executor.remote();
    executor.close();
    let refused = remote.spawn(|| async { 1 }).unwrap_err();
    assert!(refused.to_string().contains("closed"));
    let refused_there = thread::spawn(move || remote.spawn(|| async { 2 }).unwrap_err()).join().unwrap();
    let values = Executor::new();
    assert_eq!(values.block_on((refused.into_call())()) + values.block_on((refused_there.into_call())()), 3);
}

#[test]
fn closing_ends_the_wait_of_another_thread_and_counts_tasks_that_never_started() {
    let executor = Executor::new();
    let (remote, drops) = (executor.remote(), Arc::new(AtomicUsize::new(0)));
    let counted = drops.clone();
    let mut running = remote
        .spawn(move || {
            let held = Home::new(&counted);
            async move {
                let _held = held;
                std::future::pending::<()>().await
            }
        })
        .unwrap();
    executor.run_until_stalled();
    let mut waiting = thread::spawn(move || remote.spawn(|| async { 1 }).unwrap()).join().unwrap();
    let report = executor.close();
    assert_eq!((report.tasks.len(), report.leaked, drops.load(Ordering::Relaxed)), (2, 0, 1));
    let closed = thread::spawn(move || {
        let Err(WaitError::Join(first)) = running.wait(None) else { panic!("it was closed") };
        let Err(WaitError::Join(second)) = waiting.wait(None) else { panic!("it was closed") };
        [first, second].map(|error| error.reason().unwrap().as_str().to_string())
    });
    assert_eq!(closed.join().unwrap(), ["the loop that ran it was closed", "the loop that ran it was closed"]);
}

#[test]
fn a_local_task_can_wait_for_tasks_of_another_executor_while_both_run() {
    let (sender, receiver) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let other = thread::spawn(move || {
        let other = Executor::new();
        sender.send(other.remote()).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            other.run_until_stalled();
            thread::yield_now();
        }
    });
    let there = receiver.recv().unwrap();
    let count = if cfg!(miri) { 5 } else { 200 };
    let sum = Executor::new().block_on(async {
        let mut sum = 0;
        for n in 0..count {
            sum += there.spawn(move || async move { n }).unwrap().await.unwrap();
        }
        sum
    });
    assert_eq!(sum, count * (count - 1) / 2);
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
}

/// A panic in the drop of a value is reported: on the executor's thread by the executor, elsewhere
/// by the thread's host.
#[test]
fn an_outcome_that_panics_when_its_handle_is_dropped_is_reported_on_that_thread() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let [at_home, elsewhere] = [(); 2].map(|()| executor.remote().spawn(|| async { Bomb("bomb") }).unwrap());
    executor.run_until_stalled();
    drop(at_home);
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);
    let elsewhere = thread::spawn(move || {
        let (host, _guard) = picot_context::ManualHost::installed();
        drop(elsewhere);
        host.take_reports().iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    assert_eq!(elsewhere.join().unwrap(), ["a task panicked with \"bomb\""]);
    executor.run_until_stalled();
    assert!(reports.take().is_empty());
}

/// A waker may run while its owner holds a lock, and then query the task at once.
#[test]
fn a_waker_can_take_the_outcome_in_its_wake() {
    #[derive(Default)]
    struct Takes(Mutex<Option<RemoteTask<i32>>>, AtomicI32);
    impl Wake for Takes {
        fn wake(self: Arc<Self>) {
            let mut task = self.0.lock().unwrap().take().unwrap();
            assert!(task.is_finished() && !task.cancel("too late"));
            let poll = Pin::new(&mut &mut task).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(value)) = poll else { panic!("it is there: {poll:?}") };
            self.1.store(value, Ordering::Relaxed);
        }
    }
    impl Takes {
        fn wait_for(self: &Arc<Self>, mut task: RemoteTask<i32>) {
            let waker = Waker::from(self.clone());
            assert!(Pin::new(&mut &mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            *self.0.lock().unwrap() = Some(task);
        }
    }
    let executor = Executor::new();
    let reports = reports(&executor);
    let takes = Arc::new(Takes::default());
    takes.wait_for(executor.remote().spawn(|| async { 7 }).unwrap());
    executor.run_until_stalled();
    assert_eq!((takes.1.load(Ordering::Relaxed), reports.take().len()), (7, 0));
}
