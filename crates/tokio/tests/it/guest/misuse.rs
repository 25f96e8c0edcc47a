//! Misuse ends in an error or a panic that says what to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use picot_loop::{EventLoop, RunError};
use picot_testkit::poll_once;
use picot_tokio::{GuestError, run, run_guest};
use tokio::runtime::{Builder, Runtime};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// The text of a panic in `f`.
fn panics<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("it panics");
    payload.downcast_ref::<String>().cloned().or(payload.downcast_ref::<&str>().map(|text| text.to_string())).unwrap()
}

#[test]
fn a_thread_that_has_a_loop_runs_no_other() {
    let _event_loop = EventLoop::new().unwrap();
    let text = panics(|| run(async {}));
    assert!(text.contains("already has an event loop, built at") && text.contains("misuse.rs"), "{text}");
}

#[test]
fn inside_of_a_runtime_the_panic_names_what_to_await() {
    let text = panics(|| current_thread().block_on(async { run(async {}) }));
    assert!(text.contains("await `picot_tokio::run_guest(&event_loop, main)`"), "{text}");
    let text = panics(|| run(async { run(async {}) }));
    assert!(text.contains("run_guest"), "{text}");
}

#[test]
fn a_runtime_with_worker_threads_is_refused() {
    let event_loop = EventLoop::new().unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let error = runtime.block_on(run_guest(&event_loop, async {})).unwrap_err();
    assert!(matches!(error, GuestError::MultiThread));
    assert!(error.to_string().contains("flavor = \"current_thread\""), "{error}");
    // Also in a set of local tasks, whose driver would run on the workers.
    let local = tokio::task::LocalSet::new();
    let error = local.block_on(&runtime, run_guest(&event_loop, async {})).unwrap_err();
    assert!(matches!(error, GuestError::MultiThread));
    assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1), "the loop is usable");
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    let event_loop = EventLoop::new().unwrap();
    let outcome = poll_once(pin!(run_guest(&event_loop, async {})));
    assert!(matches!(outcome, std::task::Poll::Ready(Err(GuestError::NoRuntime))));
    let outcome = event_loop.run_until_complete(async { 1 });
    assert_eq!(outcome, Ok(1));
}

#[test]
fn a_runtime_without_io_names_the_option() {
    let event_loop = EventLoop::new().unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    let text = panics(|| runtime.block_on(run_guest(&event_loop, async {})));
    assert!(text.contains("enable_io"), "{text}");
}

#[test]
fn a_closed_loop_and_a_run_inside_of_itself_are_errors() {
    let event_loop = EventLoop::new().unwrap();
    let nested = event_loop.run_until_complete(async { run_guest(&event_loop, async {}).await });
    assert!(matches!(nested, Ok(Err(GuestError::Run(RunError::Nested)))), "{nested:?}");
    event_loop.close().unwrap();
    let closed = current_thread().block_on(run_guest(&event_loop, async {}));
    assert!(matches!(closed, Err(GuestError::Run(RunError::Closed))));
}

#[test]
fn a_loop_that_is_closed_during_its_run_ends_it() {
    let event_loop = EventLoop::new().unwrap();
    current_thread().block_on(async {
        let mut guest = pin!(run_guest(&event_loop, std::future::pending::<()>()));
        assert!(poll_once(guest.as_mut()).is_pending());
        event_loop.close().unwrap();
        assert!(matches!(guest.await, Err(GuestError::Run(RunError::Closed))));
    });
}
