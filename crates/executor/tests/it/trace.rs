//! What the tests share: a list of events, a future that is pending a number of times, a flag to wait for, and panics without noise.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A list of events that tasks and the test write to in turn.
#[derive(Clone, Default)]
pub(crate) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(crate) fn add(&self, event: impl ToString) {
        self.0.borrow_mut().push(event.to_string());
    }

    /// The events so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Adds an event when it is dropped.
    pub(crate) fn on_drop(&self, event: impl ToString) -> OnDrop {
        OnDrop(self.clone(), event.to_string())
    }
}

pub(crate) struct OnDrop(Trace, String);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.add(&self.1);
    }
}

/// Lets everything else that is ready run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A flag that one task waits for.
#[derive(Clone, Default)]
pub(crate) struct Flag(Rc<(Cell<bool>, RefCell<Option<Waker>>)>);

impl Flag {
    pub(crate) fn raise(&self) {
        self.0.0.set(true);
        let waiter = self.0.1.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.0.0.get() {
                return Poll::Ready(());
            }
            self.0.1.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Collects the texts of reports.
pub(crate) fn reports(executor: &picot_executor::Executor) -> Trace {
    let trace = Trace::default();
    let hook = trace.clone();
    executor.spawner().set_error_hook(move |report| hook.add(format!("{:?}: {report}", report.origin.kind)));
    trace
}

/// Panics without a message on the test's output.
pub(crate) fn quiet_panic(payload: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(payload))
}

/// Panics when it is dropped.
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        quiet_panic(self.0);
    }
}
