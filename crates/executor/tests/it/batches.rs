//! Batch after batch, in one call: what ends it.

use std::cell::Cell;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::thread;

use picot_executor::Executor;

use crate::trace::{Trace, quiet_panic, reports, yield_now};

/// Runs batches until they end, of a task that yields for ever. Returns the number of batches.
fn batches_until(executor: &Executor, most: usize) -> usize {
    drop(executor.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    let mut batches = 1;
    executor.run_batches_with(
        None,
        |_| (),
        |_| {
            batches += 1;
            batches <= most
        },
    );
    batches.min(most)
}

/// Queues a chain of callbacks, of which the third does `call`.
fn in_the_third_batch(executor: &Executor, call: impl FnOnce() + 'static) {
    let spawner = executor.spawner().clone();
    executor.call_soon(move || {
        let inside = spawner.clone();
        spawner.call_soon(move || _ = inside.call_soon(call).unwrap()).unwrap();
    });
}

#[test]
fn batches_follow_each_other_until_nothing_is_queued_and_each_runs_what_was_queued() {
    let (executor, trace) = (Executor::new(), Trace::default());
    for (name, yields) in [("a", 2), ("b", 0), ("c", 1)] {
        let trace = trace.clone();
        drop(executor.spawn(async move {
            for n in 0..=yields {
                trace.add(format!("{name}{n}"));
                yield_now().await;
            }
        }));
    }
    let again = |count| {
        trace.add(count);
        true
    };
    assert_eq!(executor.run_batches_with(None, |_| (), again), 1);
    assert_eq!(trace.take(), ["a0", "b0", "c0", "3", "a1", "c1", "3", "a2", "2"]);
}

#[test]
fn the_caller_ends_the_batches() {
    assert_eq!(batches_until(&Executor::new(), 5), 5);
}

#[test]
fn an_item_from_another_thread_ends_the_batches() {
    let executor = Executor::new();
    let remote = executor.remote();
    let push = move || thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap();
    in_the_third_batch(&executor, push);
    assert_eq!(batches_until(&executor, 10), 3);
    assert_eq!(executor.take_remote(), 1);
}

#[test]
fn a_report_ends_the_batches() {
    let executor = Executor::new();
    let reports = reports(&executor);
    in_the_third_batch(&executor, || quiet_panic("boom"));
    assert_eq!(batches_until(&executor, 10), 3);
    assert!(executor.deliver_reports());
    assert_eq!(reports.take().len(), 1);
}

#[test]
fn the_end_of_the_root_ends_the_batches_until_it_is_dropped() {
    let executor = Executor::new();
    let steps = Rc::new(Cell::new(0));
    let count = steps.clone();
    drop(executor.spawn(async move {
        loop {
            count.set(count.get() + 1);
            yield_now().await;
        }
    }));
    {
        let mut root = pin!(executor.root(Location::caller(), async {
            yield_now().await;
            7
        }));
        executor.run_batches_with(Some(root.as_mut()), |_| (), |_| steps.get() < 100);
        assert_eq!(steps.get(), 2);
        assert_eq!(root.as_mut().take_output(), Some(7));
        executor.run_batches_with(Some(root.as_mut()), |_| (), |_| steps.get() < 100);
        assert_eq!(steps.get(), 3, "a batch at a time under a root that is done");
    }
    executor.run_batches_with(None, |_| (), |_| steps.get() < 6);
    assert_eq!(steps.get(), 6);
}
