//! The workloads of promises, written once for all contestants, and picot's implementation.

use std::fmt::Write;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use picot_context::ManualHost;
use picot_deferred::{Deferred, when_all};

use crate::{Table, count_allocations, measure};

/// What a workload needs of a contestant.
pub trait Promises: Copy {
    /// The name in the table.
    const NAME: &'static str;

    /// Makes a pair of ends, settles it by `value`, and takes the value at the other end.
    fn settle_and_take(self, value: usize) -> usize;

    /// Makes a pair of ends with so many that wait for it, settles it by `value`, and returns the
    /// sum of what they got.
    fn settle_for_many(self, waiters: usize, value: usize) -> usize;

    /// Makes a chain of so many links, each of which adds one, settles its start by 0, and returns
    /// what comes out.
    fn chain(self, links: usize) -> usize;

    /// Makes so many pairs, waits for all of them together, settles them in turn, and returns the
    /// values.
    fn all(self, members: usize) -> Vec<usize>;
}

/// What is counted as one operation is done this often.
const OPERATIONS: usize = 200_000;

/// Measures all workloads on `contestant`, but for those whose name does not contain `filter`.
/// Returns a line of the table of allocations for each.
pub fn all<P: Promises>(table: &mut Table, contestant: P, filter: &str) -> String {
    let mut allocations = String::new();
    let mut row = |name: &'static str, operations: usize, block: &mut dyn FnMut()| {
        if !name.contains(filter) {
            return;
        }
        let rounds = (OPERATIONS / operations).max(1);
        table.add(name, P::NAME, measure(rounds * operations, || (0..rounds).for_each(|_| block())));
        let count = count_allocations(block) as f64 / operations as f64;
        writeln!(allocations, "| {name} | {} | {count:.2} |", P::NAME).expect("a string takes everything");
    };
    row("settle, take", 1, &mut || assert_eq!(contestant.settle_and_take(black_box(7)), 7));
    row("settle, 1 waits", 1, &mut || assert_eq!(contestant.settle_for_many(1, black_box(7)), 7));
    row("settle, 100 wait", 100, &mut || assert_eq!(contestant.settle_for_many(100, black_box(7)), 700));
    row("chain of 100", 100, &mut || assert_eq!(contestant.chain(100), 100));
    for (name, members) in [
        ("all of 10", 10),
        ("all of 100", 100),
        ("all of 1000", 1000),
        ("all of 10000", 10_000),
        ("all of 100000", 100_000),
    ] {
        row(name, members, &mut || assert!(contestant.all(members).into_iter().eq(0..members)));
    }
    allocations
}

/// Polls a future once; it must be ready.
pub fn ready<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it was settled"),
    }
}

/// picot's deferreds, on a host that is driven by hand: no scheduler is measured.
#[derive(Clone, Copy, Debug)]
pub struct Picot;

impl Picot {
    /// Runs a workload on a host of its own.
    fn on_host<R>(self, f: impl FnOnce(&ManualHost) -> R) -> R {
        thread_local! {
            static HOST: (std::rc::Rc<ManualHost>, picot_context::HostGuard) = ManualHost::installed();
        }
        HOST.with(|(host, _)| f(host))
    }
}

impl Promises for Picot {
    const NAME: &'static str = "picot-deferred";

    fn settle_and_take(self, value: usize) -> usize {
        self.on_host(|_| {
            let deferred = Deferred::<usize, ()>::new();
            let promise = deferred.promise();
            deferred.resolve(value);
            ready(promise.into_future()).unwrap()
        })
    }

    fn settle_for_many(self, waiters: usize, value: usize) -> usize {
        self.on_host(|_| {
            let deferred = Deferred::<usize, ()>::new();
            let promise = deferred.promise();
            let sum = std::rc::Rc::new(std::cell::Cell::new(0));
            for _ in 0..waiters {
                let sum = sum.clone();
                promise.done(move |value| sum.set(sum.get() + value));
            }
            deferred.resolve(value);
            sum.get()
        })
    }

    fn chain(self, links: usize) -> usize {
        self.on_host(|host| {
            let deferred = Deferred::<usize, ()>::new();
            let mut promise = deferred.promise();
            for _ in 0..links {
                promise = promise.then(|n| Ok(n + 1));
            }
            deferred.resolve(0);
            host.run_until_stalled();
            ready(promise.into_future()).unwrap()
        })
    }

    fn all(self, members: usize) -> Vec<usize> {
        self.on_host(|_| {
            let (deferreds, promises): (Vec<_>, Vec<_>) = (0..members)
                .map(|_| {
                    let deferred = Deferred::<usize, ()>::new();
                    let promise = deferred.promise();
                    (deferred, promise)
                })
                .unzip();
            let group = when_all(promises);
            for (value, deferred) in deferreds.into_iter().enumerate() {
                deferred.resolve(value);
            }
            ready(group.into_future()).unwrap()
        })
    }
}
