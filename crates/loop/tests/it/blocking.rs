//! Blocking jobs: they run on other threads, and end as tasks of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use picot_loop::{EventLoop, LoopHandle, SubmitError, spawn_blocking, yield_now};

use crate::trace::{one_turn, quiet_panic};

#[test]
fn a_job_runs_on_another_thread_and_its_task_returns_the_result() {
    let event_loop = EventLoop::new().unwrap();
    let here = thread::current().id();
    let there = event_loop
        .run_until_complete(async {
            let there = spawn_blocking(|| thread::current().id()).await.unwrap();
            assert_eq!(thread::current().id(), here);
            there
        })
        .unwrap();
    assert_ne!(there, here);
}

#[test]
fn a_job_starts_whether_it_is_awaited_or_not() {
    let event_loop = EventLoop::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let task = event_loop.handle().spawn_blocking(move || sender.send(()).unwrap());
    receiver.recv().unwrap();
    drop(task);
}

#[test]
fn jobs_beyond_the_bound_wait_and_then_run() {
    let event_loop = EventLoop::builder().blocking_threads(2).build().unwrap();
    let sum: u64 = event_loop
        .run_until_complete(async {
            let jobs: Vec<_> = (0..100).map(|n| spawn_blocking(move || n)).collect();
            let mut sum = 0;
            for job in jobs {
                sum += job.await.unwrap();
            }
            sum
        })
        .unwrap();
    assert_eq!(sum, 4950);
}

#[test]
fn a_panicking_job_makes_its_task_panic() {
    let event_loop = EventLoop::new().unwrap();
    let error = event_loop.run_until_complete(async {
        let job: picot_loop::Task<()> = spawn_blocking(|| quiet_panic("boom"));
        job.await.unwrap_err()
    });
    let payload = error.unwrap().into_panic().unwrap();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"boom"));
}

#[test]
fn cancelling_abandons_a_waiting_job_and_no_other() {
    let event_loop = EventLoop::builder().blocking_threads(1).build().unwrap();
    let (end, ended) = mpsc::channel::<()>();
    let ran = Arc::new(AtomicBool::new(false));
    event_loop
        .run_until_complete(async {
            let first = spawn_blocking(move || ended.recv().is_err());
            let inside = ran.clone();
            let second = spawn_blocking(move || inside.store(true, Ordering::Relaxed));
            yield_now().await;
            assert!(second.cancel_and_wait("the test has ended").await.is_none());
            drop(end);
            assert!(first.await.unwrap());
            assert_eq!(spawn_blocking(|| 3).await.unwrap(), 3);
        })
        .unwrap();
    assert!(!ran.load(Ordering::Relaxed));
}

#[test]
fn close_names_a_running_job_and_does_not_wait_for_it() {
    let event_loop = EventLoop::builder().blocking_threads(1).build().unwrap();
    let (started, has_started) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let line = line!() + 1;
    let running = event_loop.handle().spawn_blocking(move || {
        started.send(()).unwrap();
        let _ = ended.recv();
    });
    has_started.recv().unwrap();
    let waiting = event_loop.handle().spawn_blocking(|| unreachable!());
    one_turn(&event_loop);
    let report = event_loop.close().unwrap();
    assert_eq!(report.running_jobs.len(), 1);
    assert_eq!(report.running_jobs[0].place.line(), line);
    assert_eq!(report.tasks.len(), 2);
    drop((running, waiting));
    drop(end);
}

/// Ends a job by dropping a sender, as soon as the loop is about to wait.
struct EndsWhenWaiting(std::cell::Cell<Option<mpsc::Sender<()>>>);

impl picot_loop::Hooks for EndsWhenWaiting {
    fn park(&self) {
        drop(self.0.take());
    }
}

/// Abandons a running job, which ends while the loop waits.
async fn abandon_a_running_job() {
    let (started, has_started) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let job = spawn_blocking(move || {
        started.send(()).unwrap();
        let _ = ended.recv();
    });
    has_started.recv().unwrap();
    assert!(job.cancel_and_wait("the test has ended").await.is_none());
    picot_loop::LoopHandle::current().set_hooks(std::rc::Rc::new(EndsWhenWaiting(Some(end).into())));
}

#[test]
fn the_end_of_an_abandoned_job_lets_a_virtual_clock_jump() {
    let (event_loop, _trace, clock) = crate::trace::virtual_loop();
    event_loop
        .run_until_complete(async {
            abandon_a_running_job().await;
            picot_loop::sleep(std::time::Duration::from_secs(3600)).await;
        })
        .unwrap();
    assert_eq!(clock.elapsed().as_secs(), 3600);
}

#[test]
fn the_end_of_an_abandoned_job_may_be_a_dead_end() {
    let event_loop =
        EventLoop::builder().error_on_deadlock().deadlock_delay(std::time::Duration::ZERO).build().unwrap();
    let reports = crate::trace::reports(&event_loop);
    let result = event_loop.run_until_complete(async {
        abandon_a_running_job().await;
        std::future::pending::<()>().await;
    });
    assert_eq!((result, reports.take().len()), (Err(picot_loop::RunError::DeadEnd), 1));
}

/// Four lookups that hang, until their senders are dropped.
fn hanging_lookups(event_loop: &EventLoop) -> (Vec<mpsc::Sender<()>>, Vec<picot_loop::Task<thread::ThreadId>>) {
    let (begun, begins) = mpsc::channel();
    let (senders, tasks) = (0..4)
        .map(|_| {
            let (sender, receiver) = mpsc::channel::<()>();
            let begun = begun.clone();
            let task = event_loop.handle().spawn_lookup(move || {
                begun.send(()).unwrap();
                let _ = receiver.recv();
                thread::current().id()
            });
            (sender, task.unwrap())
        })
        .unzip();
    for _ in 0..4 {
        begins.recv().unwrap();
    }
    (senders, tasks)
}

#[test]
fn four_lookups_run_at_a_time_and_do_not_delay_other_jobs() {
    let event_loop = EventLoop::new().unwrap();
    let (mut senders, tasks) = hanging_lookups(&event_loop);
    let (sender, fifth) = mpsc::channel();
    let waits = event_loop.handle().spawn_lookup(move || sender.send(()).unwrap()).unwrap();
    event_loop
        .run_until_complete(async {
            spawn_blocking(|| ()).await.unwrap();
            assert!(fifth.try_recv().is_err(), "a fifth lookup has to wait");
            drop(senders.pop());
            waits.await.unwrap();
            fifth.recv().unwrap();
            drop(senders);
            let mut threads = Vec::new();
            for task in tasks {
                threads.push(task.await.unwrap());
            }
            assert!(!threads.contains(&thread::current().id()));
            threads.sort_by_key(|id| format!("{id:?}"));
            threads.dedup();
            assert_eq!(threads.len(), 4);
        })
        .unwrap();
}

#[test]
fn a_lookup_that_is_cancelled_before_it_starts_never_runs() {
    let event_loop = EventLoop::new().unwrap();
    let (senders, tasks) = hanging_lookups(&event_loop);
    let (sender, receiver) = mpsc::channel();
    let abandoned = event_loop.handle().spawn_lookup(move || sender.send(()).unwrap()).unwrap();
    event_loop
        .run_until_complete(async {
            assert!(abandoned.cancel_and_wait("the test has ended").await.is_none());
            drop(senders);
            for task in tasks {
                task.await.unwrap();
            }
            event_loop.handle().spawn_lookup(|| ()).unwrap().await.unwrap();
        })
        .unwrap();
    assert!(receiver.try_recv().is_err(), "a later lookup has run, and the cancelled one has not");
}

#[test]
fn hanging_lookups_do_not_delay_close() {
    let event_loop = EventLoop::new().unwrap();
    let (senders, tasks) = hanging_lookups(&event_loop);
    let report = event_loop.close().unwrap();
    assert_eq!(report.running_jobs.len(), 4, "close names the lookups and does not wait for them");
    drop((senders, tasks));
}

/// Four abandoned lookups used to delay all later ones, even those that need no name server.
#[test]
fn a_lookup_is_answered_while_abandoned_ones_occupy_all_threads() {
    let event_loop = EventLoop::builder().lookup_threads(2).build().unwrap();
    let (answer, ended) = mpsc::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    let found = event_loop.run_until_complete(async {
        for _ in 0..6 {
            let (ended, (started, has_started)) = (ended.clone(), mpsc::channel());
            let stuck = LoopHandle::current().spawn_lookup(move || {
                started.send(()).unwrap();
                ended.lock().unwrap().recv().is_err()
            });
            has_started.recv().unwrap();
            assert!(stuck.unwrap().cancel_and_wait("the test has ended").await.is_none());
        }
        LoopHandle::current().spawn_lookup(|| "localhost").unwrap().await
    });
    assert_eq!(found.unwrap().unwrap(), "localhost");
    drop(answer);
}

#[test]
fn a_closed_loop_refuses_blocking_jobs_with_an_error_at_once() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    event_loop.close().unwrap();
    assert!(matches!(handle.try_spawn_blocking(|| ()), Err(SubmitError::Closed { .. })));
    assert!(matches!(handle.spawn_lookup(|| ()), Err(SubmitError::Closed { .. })));
}
