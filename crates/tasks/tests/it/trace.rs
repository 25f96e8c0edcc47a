//! What these tests share: a list of events, loops under a virtual clock, and futures that are
//! finished by hand.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use picot_loop::{EventLoop, VirtualClock, sleep, yield_now};

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A list of events that tasks, destructors and the test write to in turn.
#[derive(Clone, Default)]
pub(crate) struct Trace(pub(crate) Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(crate) fn add(&self, event: impl ToString) {
        self.0.borrow_mut().push(event.to_string());
    }

    /// Adds an event when it is dropped.
    pub(crate) fn on_drop(&self, event: impl ToString) -> OnDrop {
        OnDrop(self.clone(), event.to_string())
    }

    /// The events so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Sleeps; then adds an event and gives it.
    pub(crate) async fn sleeper(&self, event: &'static str, time: u64) -> &'static str {
        let _drop = self.on_drop(format!("{event} dropped"));
        sleep(millis(time)).await;
        self.add(event);
        event
    }
}

pub(crate) struct OnDrop(Trace, String);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add(&self.1);
    }
}

/// Runs a future on a loop under a virtual clock, closes the loop, and checks that nothing was left
/// in it.
pub(crate) fn run<F: Future>(future: impl FnOnce(Trace) -> F) -> F::Output {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let output = event_loop
        .run_until_complete(async {
            let output = future(Trace::default()).await;
            // Tasks that were cancelled by the end of it are dropped at their next step, and no
            // later.
            yield_now().await;
            output
        })
        .unwrap();
    let report = event_loop.close().unwrap();
    assert!(report.tasks.is_empty(), "left: {:?}", report.tasks);
    output
}

/// Collects the texts of reports of this thread's loop.
pub(crate) fn reports() -> Trace {
    let trace = Trace::default();
    let hook = trace.clone();
    picot_loop::LoopHandle::current().set_error_hook(move |report| hook.add(&report.cause));
    trace
}

/// A flag that is raised by hand, for one to wait for.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    is_open: Rc<Cell<bool>>,
    waiter: Rc<RefCell<Option<Waker>>>,
    /// How often it was polled.
    pub(crate) polls: Rc<Cell<usize>>,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.is_open.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            self.polls.set(self.polls.get() + 1);
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiter.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
