//! Dead ends in a process without other threads. A program without a test harness, which would be
//! another thread. Threads are counted on Linux only.

use std::future::pending;
use std::future::poll_fn;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, RunError, sleep, yield_now};

fn main() {
    if !cfg!(target_os = "linux") {
        return;
    }
    // A tool, such as a profiler or a sanitizer, may have a thread in this process. Then the
    // process is never alone.
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    if threads == 1 {
        without_other_threads_a_dead_end_is_an_error_at_once();
        a_dead_end_that_an_ended_thread_has_resolved_is_no_error();
        a_dead_end_is_an_error_once_the_last_other_thread_has_ended();
    } else {
        println!("skipped: there are {} other threads", threads - 1);
    }
}

fn without_other_threads_a_dead_end_is_an_error_at_once() {
    let event_loop = EventLoop::builder().deadlock_delay(Duration::MAX).build().unwrap();
    event_loop.handle().set_error_hook(|_| ());
    assert_eq!(event_loop.run_until_complete(pending::<()>()), Err(RunError::DeadEnd));
}

/// A loop whose dead end sends its waker to another thread, which then runs `then`.
fn with_thread(then: impl FnOnce(Waker) + Send + 'static) -> (EventLoop, mpsc::Sender<Waker>, thread::JoinHandle<()>) {
    let event_loop = EventLoop::builder().deadlock_delay(Duration::ZERO).build().unwrap();
    let ((wakers, waker), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    event_loop.handle().set_error_hook(move |_| go.send(()).unwrap());
    let thread = thread::spawn(move || {
        let waker = waker.recv().unwrap();
        may_go.recv().unwrap();
        then(waker);
    });
    (event_loop, wakers, thread)
}

fn a_dead_end_that_an_ended_thread_has_resolved_is_no_error() {
    let (event_loop, wakers, thread) = with_thread(Waker::wake);
    let mut is_first = true;
    let result = event_loop.run_until_complete(async {
        poll_fn(|cx| {
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(());
            }
            wakers.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })
        .await;
        thread.join().unwrap();
        yield_now().await;
        sleep(Duration::from_millis(1)).await;
        7
    });
    assert_eq!(result, Ok(7));
}

fn a_dead_end_is_an_error_once_the_last_other_thread_has_ended() {
    let (event_loop, wakers, _thread) = with_thread(drop);
    let result = event_loop.run_until_complete(poll_fn(|cx| {
        wakers.send(cx.waker().clone()).unwrap();
        Poll::<()>::Pending
    }));
    assert_eq!(result, Err(RunError::DeadEnd));
}
