//! Dead ends: when they are found, and what is reported.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use picot_loop::{Cause, EventLoop, RunError, VirtualClock, sleep, spawn};

use crate::trace::{Trace, reports};

fn failing(delay: Duration) -> EventLoop {
    EventLoop::builder().error_on_deadlock().deadlock_delay(delay).build().unwrap()
}

#[test]
fn tasks_that_wait_for_each_other_end_the_run_and_are_reported() {
    let event_loop = failing(Duration::ZERO);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let hook = seen.clone();
    event_loop.handle().set_error_hook(move |report| match &report.cause {
        Cause::DeadEnd(tasks) => hook.borrow_mut().extend(tasks.iter().cloned()),
        other => panic!("{other}"),
    });
    let line = line!() + 2;
    let result = event_loop.run_until_complete(async {
        let stuck = spawn(pending::<()>());
        stuck.await.unwrap();
    });
    assert_eq!(result, Err(RunError::DeadEnd));
    let seen = seen.take();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].task.given_name(), Some("main"));
    assert_eq!(seen[0].waits[0].on, [seen[1].task.id()], "main waits for the other task");
    assert_eq!(seen[1].task.place().line(), line);
    assert!(seen[1].waits.is_empty(), "the other task waits for nothing that is known");
}

#[test]
fn with_other_threads_a_dead_end_is_reported_once_per_run_and_the_loop_waits_on() {
    let event_loop = EventLoop::builder().deadlock_delay(Duration::ZERO).build().unwrap();
    let reports = reports(&event_loop);
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let wakers: Vec<std::task::Waker> = receiver.iter().take(2).collect();
        wakers.into_iter().for_each(std::task::Waker::wake);
    });
    let mut polls = 0;
    let result = event_loop.run_until_complete(poll_fn(|cx| {
        polls += 1;
        if polls == 3 {
            return Poll::Ready("woken");
        }
        // The second wake comes by itself, and leads to the same dead end again.
        let waker = cx.waker().clone();
        if polls == 1 {
            sender.send(waker.clone()).unwrap();
            waker.wake();
        } else {
            sender.send(waker).unwrap();
        }
        Poll::Pending
    }));
    thread.join().unwrap();
    assert_eq!(result, Ok("woken"));
    let texts = reports.take();
    assert!(texts.len() <= 1, "{texts:?}");
}

#[test]
fn waiting_for_a_timer_io_or_a_job_is_no_dead_end() {
    let event_loop = failing(Duration::ZERO);
    let reports = reports(&event_loop);
    event_loop.run_until_complete(sleep(Duration::from_millis(1))).unwrap();

    let (release, released) = mpsc::channel();
    let job = event_loop.handle().spawn_blocking(move || released.recv().unwrap());
    event_loop.handle().call_later(Duration::from_millis(1), move || release.send(7).unwrap());
    assert_eq!(event_loop.run_until_complete(job.into_future()).unwrap().unwrap(), 7);

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let source = event_loop.handle().register(socket).unwrap();
    let thread = thread::spawn(move || {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"!", address).unwrap();
    });
    event_loop.run_until_complete(source.readable()).unwrap().unwrap();
    thread.join().unwrap();
    assert!(reports.take().is_empty());
}

#[test]
fn a_loop_without_tasks_may_wait_for_calls_from_other_threads() {
    let event_loop = EventLoop::builder().deadlock_delay(Duration::ZERO).build().unwrap();
    let reports = reports(&event_loop);
    let remote = event_loop.handle().remote();
    let thread = thread::spawn(move || remote.stop().unwrap());
    event_loop.run_forever().unwrap();
    thread.join().unwrap();
    assert!(reports.take().is_empty());
}

#[test]
fn under_a_virtual_clock_a_dead_end_is_found_after_the_last_timer() {
    let clock = VirtualClock::new();
    let event_loop =
        EventLoop::builder().clock(&clock).error_on_deadlock().deadlock_delay(Duration::ZERO).build().unwrap();
    let trace = Trace::default();
    event_loop.handle().set_error_hook(|_| ());
    event_loop.handle().call_later(Duration::from_secs(9), trace.adds("timer"));
    assert_eq!(event_loop.run_until_complete(pending::<()>()), Err(RunError::DeadEnd));
    assert_eq!((trace.take(), clock.elapsed()), (vec!["timer".into()], Duration::from_secs(9)));
}
