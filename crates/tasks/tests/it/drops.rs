//! Futures dropped at every await point leave nothing behind.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_loop::{EventLoop, VirtualClock, sleep, spawn, yield_now};
use picot_tasks::{CancelScope, JoinSet, as_completed, gather, race, race_staggered, scope, supervised, timeout};

use crate::trace::millis;

/// Counts the live values of its kind.
pub(crate) struct Alive(Rc<Cell<isize>>);

impl Alive {
    pub(crate) fn new(count: &Rc<Cell<isize>>) -> Alive {
        count.set(count.get() + 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Polls the future a number of times, and drops it if it has not ended.
struct Limited<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.left -= 1;
        let poll = self.future.as_mut().unwrap().as_mut().poll(cx);
        if poll.is_pending() && self.left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        poll.map(Some)
    }
}

/// Runs the future of `make` once for each number of polls, until it ends. Each time nothing may be
/// left, neither its guards nor tasks of the loop. Returns how many polls it took.
fn drop_at_every_poll<F: Future>(make: impl Fn(Rc<Cell<isize>>) -> F) -> usize {
    for polls in 0.. {
        let alive = Rc::new(Cell::new(0));
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        let future = Limited { future: Some(Box::pin(make(alive.clone()))), left: polls };
        let is_done = event_loop.run_until_complete(async {
            let is_done = future.await.is_some();
            // Tasks that were cancelled are dropped at their next step, and no later.
            yield_now().await;
            is_done
        });
        assert_eq!(alive.get(), 0, "dropped after {polls} polls");
        let timers = event_loop.handle().metrics().snapshot().timers;
        assert_eq!(timers, 0, "dropped after {polls} polls");
        let report = event_loop.close().unwrap();
        assert!(report.tasks.is_empty() && report.leaked == 0, "dropped after {polls} polls: {report:?}");
        if is_done.unwrap() {
            return polls;
        }
        assert!(polls < 1_000, "it never ends");
    }
    unreachable!("the numbers do not end")
}

async fn work(alive: &Rc<Cell<isize>>, time: u64) -> Result<u64, String> {
    let _alive = Alive::new(alive);
    yield_now().await;
    let _second = Alive::new(alive);
    sleep(millis(time)).await;
    if time == 13 { Err("thirteen".to_string()) } else { Ok(time) }
}

#[test]
fn gathers() {
    let polls = drop_at_every_poll(|alive| async move {
        gather([3, 1, 2].map(|time| work(&alive, time))).await.unwrap();
        gather((work(&alive, 1), work(&alive, 13), work(&alive, 20))).await.unwrap_err();
        let tasks = [1, 20].map(|time| {
            let alive = alive.clone();
            spawn(async move { work(&alive, time).await })
        });
        gather(tasks).await.unwrap();
    });
    assert!(polls > 8, "{polls}");
}

#[test]
fn completed_sets_and_races() {
    let polls = drop_at_every_poll(|alive| async move {
        let mut completed = as_completed([3, 1, 2].map(|time| work(&alive, time)));
        while completed.next().await.is_some() {}
        let mut set = JoinSet::new();
        for time in [3, 1, 2] {
            let alive = alive.clone();
            set.spawn(async move { work(&alive, time).await });
        }
        set.wait_first().limit(millis(1)).await.unwrap();
        set.next().await.unwrap().1.unwrap().unwrap();
        drop(set);
        yield_now().await;
        race([3, 1, 2].map(|time| work(&alive, time))).await.unwrap();
        race_staggered([13, 5, 1].map(|time| work(&alive, time)), millis(4)).await.unwrap();
    });
    assert!(polls > 12, "{polls}");
}

#[test]
fn timeouts() {
    let polls = drop_at_every_poll(|alive| async move {
        timeout(millis(5), work(&alive, 3)).await.unwrap().unwrap();
        timeout(millis(3), work(&alive, 5)).await.unwrap_err();
        timeout(millis(5), timeout(millis(5), work(&alive, 9))).await.unwrap_err();
        let graceful = CancelScope::with_timeout(millis(2)).grace(millis(9));
        let token = graceful.token();
        let polite = async {
            token.cancelled().await;
            work(&alive, 4).await
        };
        graceful.run(polite).await.unwrap().unwrap();
    });
    assert!(polls > 8, "{polls}");
}

#[test]
fn scopes() {
    let polls = drop_at_every_poll(|alive| async move {
        let all = scope(async |s| {
            let _alive = Alive::new(&alive);
            for time in [3, 1, 2] {
                let _ = s.spawn(work(&alive, time));
            }
            let waited = s.spawn(work(&alive, 4)).await.unwrap();
            let _ = s.shield(work(&alive, 9));
            let late = s.clone();
            let alive = &alive;
            let _ = s.spawn(async move {
                yield_now().await;
                let _ = late.spawn(work(alive, 2));
            });
            Ok(waited)
        });
        all.await.unwrap();
        let failing = scope(async |s| {
            let _ = s.shield(work(&alive, 20));
            let _ = s.spawn(work(&alive, 13));
            s.spawn(work(&alive, 99)).await.map_err(|error| error.to_string())
        });
        assert_eq!(failing.await.unwrap_err().failures().len(), 1);
        supervised(async |s| {
            let nested = s.spawn(async {
                scope(async |s| s.spawn(work(&alive, 2)).await.map_err(|error| error.to_string())).await
            });
            nested.await.unwrap().unwrap();
        })
        .await;
    });
    assert!(polls > 12, "{polls}");
}
