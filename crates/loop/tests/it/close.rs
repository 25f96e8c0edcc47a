//! Closing: everything is dropped in order, and later requests fail with a clear error.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_loop::{Closed, EventLoop, Kind, LoopHandle, Origin, Payload, Report, RunError, sleep};
use picot_testkit::WakeCount;

use crate::trace::{Trace, one_turn, quiet_panic, reports, virtual_loop};

fn refused<R>(f: impl FnOnce() -> R) -> bool {
    let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).err().unwrap();
    text.downcast_ref::<String>().unwrap() == &Closed::new().to_string()
}

#[test]
fn after_close_every_request_fails_and_closing_again_is_fine() {
    let event_loop = EventLoop::new().unwrap();
    let (handle, remote) = (event_loop.handle(), event_loop.handle().remote());
    event_loop.close().unwrap();
    assert!(event_loop.close().unwrap().tasks.is_empty());

    assert_eq!(event_loop.run_until_complete(async {}), Err(RunError::Closed));
    assert_eq!(event_loop.run_forever(), Err(RunError::Closed));
    assert!(refused(|| handle.call_soon(|| ())));
    assert!(refused(|| handle.call_later(Duration::ZERO, || ())));
    assert!(refused(|| handle.call_at(handle.now(), || ())));
    assert!(handle.spawn(async {}).is_finished() && handle.spawn_named("late", async {}).is_finished());
    assert!(refused(|| handle.spawn_blocking(|| ())));
    assert!(handle.build_task().spawn(async {}).is_finished());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(handle.register(socket).unwrap_err().to_string().contains("the loop is closed"));
    assert!(remote.call_soon(|| ()).is_err() && remote.stop().is_err());
    assert!(handle.is_closed());
}

#[test]
fn the_report_lists_everything_that_was_left() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    drop(handle.spawn_named("sleeper", sleep(Duration::from_secs(1))));
    drop(handle.spawn(std::future::pending::<()>()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = handle.register(socket).unwrap();
    crate::trace::one_turn(&event_loop);
    handle.call_later(Duration::from_secs(1), trace.adds("timer"));
    handle.call_later(Duration::from_secs(1), trace.adds("timer")).cancel();
    handle.call_soon(trace.adds("call"));
    let remote = handle.remote();
    std::thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap();

    let report = event_loop.close().unwrap();
    assert_eq!(report.tasks.len(), 2);
    assert_eq!(report.tasks[0].given_name(), Some("sleeper"));
    assert_eq!((report.timers, report.callbacks, report.sources, report.leaked), (1, 2, 1, 0));
    assert!(trace.take().is_empty(), "nothing ran");
    drop(source);
}

#[test]
fn a_waiter_for_a_source_of_a_closed_loop_is_woken_and_gets_an_error() {
    let event_loop = EventLoop::new().unwrap();
    let source = event_loop.handle().register(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let woken = WakeCount::default();
    let waker = woken.waker();
    let mut cx = Context::from_waker(&waker);
    let mut waiting = pin!(source.readable());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    event_loop.close().unwrap();
    assert_eq!(woken.get(), 1);
    let is_closed = |result: std::io::Result<()>| {
        result.is_err_and(|error| error.get_ref().is_some_and(|error| error.is::<Closed>()))
    };
    let Poll::Ready(result) = waiting.poll(&mut cx) else { panic!("the wait does not end at once") };
    assert!(is_closed(result));
    // Also when the thread has another loop.
    let other = EventLoop::new().unwrap();
    assert!(is_closed(other.run_until_complete(source.writable()).unwrap()));
}

#[test]
fn timers_are_dropped_before_callbacks_and_callbacks_before_tasks() {
    let (event_loop, trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    for (name, kind) in [("task", 0), ("callback", 1), ("timer", 2)] {
        let held = trace.on_drop(name);
        match kind {
            0 => drop(handle.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            })),
            1 => drop(handle.call_soon(move || drop(held))),
            _ => drop(handle.call_later(Duration::from_secs(1), move || drop(held))),
        }
    }
    drop(event_loop);
    assert_eq!(trace.take(), ["timer", "task", "callback"], "the task was queued before the callback");
}

#[test]
fn closing_drops_a_timers_captures_even_if_its_handle_is_kept() {
    let (event_loop, trace, _clock) = virtual_loop();
    let held = trace.on_drop("dropped");
    let timer = event_loop.handle().call_later(Duration::from_secs(1), move || drop(held));
    assert_eq!(event_loop.close().unwrap().timers, 1);
    assert_eq!(trace.take(), ["dropped"]);
    assert!(timer.is_cancelled() && !timer.cancel());
}

#[test]
fn destructors_find_their_closing_loop_but_can_schedule_nothing_on_it() {
    struct Asks(Trace);
    impl Drop for Asks {
        fn drop(&mut self) {
            let handle = LoopHandle::try_current();
            self.0.add(handle.is_ok_and(|handle| handle.is_closed()));
            self.0.add(
                picot_context::host().unwrap().run_later(std::panic::Location::caller(), Box::new(|| ())).is_err(),
            );
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let trace = Trace::default();
    let asks = Asks(trace.clone());
    drop(event_loop.handle().spawn(async move {
        let _asks = asks;
        std::future::pending::<()>().await;
    }));
    drop(event_loop);
    assert_eq!(trace.take(), ["true", "true"]);
    assert!(LoopHandle::try_current().is_err());
}

#[test]
fn panicking_destructors_are_reported_and_the_rest_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in drop");
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let reports = reports(&event_loop);
    let bomb = Bomb;
    event_loop.handle().call_later(Duration::from_secs(1), move || drop(bomb));
    let bomb = Bomb;
    drop(event_loop.handle().spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    }));
    let trace = Trace::default();
    let held = trace.on_drop("the last");
    drop(event_loop.handle().spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    }));
    event_loop.close().unwrap();
    assert_eq!(trace.take(), ["the last"]);
    assert_eq!(reports.take().len(), 2);
}

#[test]
fn a_destructor_may_close_the_closing_loop_again() {
    let event_loop = std::rc::Rc::new(EventLoop::new().unwrap());
    let trace = Trace::default();
    struct Closes(std::rc::Rc<EventLoop>, Trace);
    impl Drop for Closes {
        fn drop(&mut self) {
            let again = self.0.close().unwrap();
            self.1.add(format!("{} {}", again.tasks.len(), picot_context::host().is_some()));
        }
    }
    let closes = Closes(event_loop.clone(), trace.clone());
    drop(event_loop.handle().spawn(async move {
        let _closes = closes;
        std::future::pending::<()>().await;
    }));
    assert_eq!(event_loop.close().unwrap().tasks.len(), 1);
    assert_eq!(
        trace.take(),
        ["0 true"],
        "the inner close has nothing left, and the host stays until the outer one is done"
    );
    assert!(picot_context::host().is_none() && LoopHandle::try_current().is_err());
}

#[test]
fn an_error_hook_that_reports_during_close_is_not_called_for_ever() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("in a drop");
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let calls = Rc::new(Cell::new(0));
    let (counted, handle) = (calls.clone(), event_loop.handle());
    event_loop.handle().set_error_hook(move |report| {
        counted.set(counted.get() + 1);
        assert!(counted.get() < 100, "the hook is called again for each of its own reports");
        handle.report(Report::panic(Origin::new(Kind::Loop), Payload::new(Box::new(report.to_string()))));
    });
    let bomb = Bomb;
    drop(event_loop.handle().spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await
    }));
    one_turn(&event_loop);
    assert_eq!(calls.get(), 0);
    // Twice by the hook: for the destructor's panic, and for the hook's own report of it. The
    // default hook prints the rest.
    assert_eq!(event_loop.close().unwrap().tasks.len(), 1);
    assert_eq!(calls.get(), 2);
    event_loop.handle().report(Report::panic(Origin::new(Kind::Loop), Payload::new(Box::new("after the close"))));
    assert_eq!(calls.get(), 2, "a closed loop has no custom hook");
}
