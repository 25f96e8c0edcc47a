//! The workloads of waiting for many, written once for every way to do so: what is measured is the
//! way, on whatever runs it.
//!
//! Members wait once: they put their waker into a crowd, and the last one to come wakes all of
//! them, in an order that is not that of their making. So each member is polled twice and woken
//! once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::{Table, measure};

/// A way to wait for many.
pub trait Waiting {
    /// The name in the table.
    const NAME: &'static str;

    /// Runs this, often, on one new runtime: makes `count` members, waits for all, and returns the
    /// sum of what they give.
    fn run(rounds: usize, count: usize) -> u64;
}

/// How many members are waited for in one run.
const MEMBERS: usize = 100_000;

/// The rows: how many members at a time.
const COUNTS: [(usize, &str); 5] = [
    (10, "gather 10"),
    (100, "gather 100"),
    (1_000, "gather 1000"),
    (10_000, "gather 10000"),
    (100_000, "gather 100000"),
];

/// Measures one way for all counts; a figure is for one member.
pub fn all<W: Waiting>(table: &mut Table, filter: &str) {
    for (count, name) in COUNTS {
        if format!("{name}: {}", W::NAME).contains(filter) {
            let rounds = MEMBERS / count;
            let sum = (0..count as u64).sum::<u64>() * rounds as u64;
            table.add(name, W::NAME, measure(MEMBERS, || assert_eq!(W::run(rounds, count), sum)));
        }
    }
}

/// Where the members of one round meet.
pub struct Meeting {
    count: usize,
    wakers: RefCell<Vec<Waker>>,
    is_over: Cell<bool>,
}

impl Meeting {
    /// A meeting of so many.
    pub fn new(count: usize) -> Rc<Meeting> {
        Rc::new(Meeting { count, wakers: RefCell::new(Vec::with_capacity(count)), is_over: Cell::new(false) })
    }

    /// Waits for all to come, and gives `n`.
    pub async fn member(self: Rc<Meeting>, n: u64) -> u64 {
        poll_fn(|cx| {
            if self.is_over.get() {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            if self.wakers.borrow().len() == self.count {
                self.is_over.set(true);
                let mut wakers = self.wakers.take();
                // Neither the order of their making nor its reverse.
                let (one, other) = wakers.split_at_mut(self.count / 2);
                one.iter_mut().step_by(2).zip(other).for_each(|(one, other)| std::mem::swap(one, other));
                wakers.into_iter().for_each(Waker::wake);
            }
            Poll::Pending
        })
        .await;
        n
    }
}

impl std::fmt::Debug for Meeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting").field("count", &self.count).finish_non_exhaustive()
    }
}
