//! Futures that panic in their poll and again in their drop, values that panic in their drop, and
//! unclaimed errors.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::FutureExt;
use picot_loop::{LoopHandle, sleep, spawn, yield_now};
use picot_tasks::{
    CancelScope, JoinSet, Scope, as_completed, gather, gather_settled, move_on_after, race, race_staggered, scope,
    supervised, timeout,
};

use crate::trace::{millis, reports, run};

/// Panics in its drop, and counts that.
struct Bomb(Rc<Cell<u32>>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        resume_unwind(Box::new("in drop"));
    }
}

/// Panics in its poll, unless it is to stay pending or to be ready.
struct Both {
    poll: Option<Poll<()>>,
    _bomb: Bomb,
}

impl Future for Both {
    type Output = Result<(), ()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.poll {
            Some(poll) => poll.map(Ok),
            None => resume_unwind(Box::new("in poll")),
        }
    }
}

/// Bombs of all three kinds, and their count.
#[derive(Default)]
struct Bombs(Rc<Cell<u32>>);

impl Bombs {
    fn panics(&self) -> Both {
        Both { poll: None, _bomb: Bomb(self.0.clone()) }
    }

    fn waits(&self) -> Both {
        Both { poll: Some(Poll::Pending), _bomb: Bomb(self.0.clone()) }
    }

    fn is_done(&self) -> Both {
        Both { poll: Some(Poll::Ready(())), _bomb: Bomb(self.0.clone()) }
    }
}

/// Awaits a future inside of an `async` frame that is unwound. Checks the number of drops and
/// reports.
async fn blow_up<F: Future>(what: &str, bombs: u32, make: impl FnOnce(&Bombs) -> F) {
    let (reports, all) = (reports(), Bombs::default());
    let future = make(&all);
    #[expect(clippy::redundant_async_block, reason = "the frame around the future is what is unwound")]
    let framed = async { future.await };
    let result = AssertUnwindSafe(framed).catch_unwind().await;
    let text = result.err().and_then(|payload| payload.downcast_ref::<&str>().map(ToString::to_string));
    assert_eq!(text.as_deref(), Some("in poll"), "{what}");
    yield_now().await;
    yield_now().await;
    assert_eq!(all.0.get(), bombs, "{what}: drops");
    assert_eq!(reports.take(), vec!["panicked with \"in drop\""; bombs as usize], "{what}: reports");
}

#[test]
fn the_panic_of_a_member_resumes_and_panics_of_drops_are_reported() {
    run(|_| async {
        blow_up("gather", 3, |b| gather([b.waits(), b.panics(), b.waits()])).await;
        blow_up("gather of a done one", 3, |b| gather([b.is_done(), b.panics(), b.waits()])).await;
        let many = |b: &Bombs| (0..40).map(|n| if n == 20 { b.panics() } else { b.waits() }).collect::<Vec<_>>();
        blow_up("gather of many", 40, |b| gather(many(b))).await;
        blow_up("gather of a tuple", 3, |b| gather((b.waits(), b.panics(), b.waits()))).await;
        blow_up("gather_settled", 3, |b| gather_settled([b.waits(), b.panics(), b.waits()])).await;
        blow_up("gather_settled of a tuple", 2, |b| gather_settled((b.waits(), b.panics()))).await;
        blow_up("race", 3, |b| race([b.waits(), b.panics(), b.waits()])).await;
        blow_up("race of a tuple", 3, |b| race((b.waits(), b.panics(), b.waits()))).await;
        blow_up("race_staggered", 1, |b| race_staggered([b.panics()], millis(1))).await;
        blow_up("as_completed", 3, |b| {
            let members = [b.waits(), b.panics(), b.waits()];
            async { as_completed(members).next().await }
        })
        .await;
        blow_up("timeout", 1, |b| timeout(millis(9), b.panics())).await;
        blow_up("move_on_after", 1, |b| move_on_after(None, b.panics())).await;
        blow_up("cancel scope", 1, |b| CancelScope::new().run(b.panics())).await;
        blow_up("scope's body", 2, |b| {
            let (body, child) = (b.panics(), b.waits());
            scope(|s: Scope<'_, ()>| {
                drop(s.spawn(child));
                body
            })
        })
        .await;
        blow_up("supervised body", 2, |b| {
            let (body, child) = (b.panics(), b.waits());
            supervised(|s| {
                drop(s.spawn(child));
                body
            })
        })
        .await;
    });
}

#[test]
fn children_that_panic_twice_are_failures_and_reports() {
    run(|_| async {
        let (reports, bombs) = (reports(), Bombs::default());
        let result = scope(async |s| {
            for child in [bombs.panics(), bombs.waits()] {
                drop(s.spawn(child));
            }
            drop(s.spawn_named("shield", bombs.panics()));
            pending::<Result<(), ()>>().await
        });
        assert!(!result.await.unwrap_err().failures().is_empty());
        assert_eq!(bombs.0.get(), 3);
        yield_now().await;
        assert!(reports.take().iter().all(|report| report == "panicked with \"in drop\""));

        let outcomes = supervised(async |s| {
            let children = [s.spawn(bombs.panics()), s.spawn(bombs.panics())];
            gather_settled(children).await
        });
        assert!(outcomes.await.iter().all(|outcome| outcome.as_ref().unwrap_err().is_panic()));
        yield_now().await;
        assert_eq!((bombs.0.get(), reports.take().len()), (5, 2));
    });
}

#[test]
fn values_that_panic_in_their_drop_are_dropped_one_by_one() {
    run(|_| async {
        let (reports, bombs) = (reports(), Rc::new(Cell::new(0)));
        let value = || Bomb(bombs.clone());
        let mut gathered = Box::pin(gather_settled((0..3).map(|n| {
            let value = value();
            async move {
                if n == 2 {
                    pending::<()>().await;
                }
                value
            }
        })));
        assert!(futures_lite::future::poll_once(&mut gathered).await.is_none());
        drop(gathered);
        let mut set = JoinSet::new();
        for value in [value(), value()] {
            set.spawn(async { value });
        }
        set.spawn(pending());
        sleep(millis(1)).await;
        let _ = timeout(millis(1), set.wait_all()).await;
        drop(set);
        supervised(async |s| {
            for value in [value(), value()] {
                drop(s.spawn(async { value }));
            }
            let kept = s.spawn(async { value() });
            while !s.is_empty() {
                yield_now().await;
            }
            drop(kept);
        })
        .await;
        yield_now().await;
        assert_eq!((bombs.get(), reports.take().len()), (8, 8));
    });
}

#[test]
fn an_unclaimed_error_of_a_child_is_reported_once() {
    run(|_| async {
        let reports = reports();
        let count = || reports.take().iter().filter(|report| report.contains("error that nothing has taken")).count();
        supervised(async |s| {
            drop(s.spawn(async { Err::<(), _>("dropped before its end") }));
            let late = s.spawn(async { Err::<(), _>("dropped after its end") });
            let taken = s.spawn(async { Err::<(), _>("taken") });
            drop(s.spawn(async { Err::<(), _>("ignored") }).ignore_errors());
            drop(s.spawn(async { Ok::<_, ()>(()) }));
            taken.await.unwrap().unwrap_err();
            drop(late);
        })
        .await;
        yield_now().await;
        assert_eq!(count(), 2);

        // Failures that were dropped with the scope.
        let all = scope(async |s| {
            drop(s.spawn(async { Err::<(), _>("lost") }));
            drop(s.shield(async { pending::<Result<(), &str>>().await }));
            Ok(())
        });
        assert!(timeout(millis(1), all).await.is_err());
        yield_now().await;
        assert_eq!(count(), 1);
        let all = scope(async |s| {
            drop(s.spawn(async { Err::<(), _>("in the result") }));
            Ok(())
        });
        assert_eq!(all.await.unwrap_err().failures().len(), 1);
        yield_now().await;
        assert_eq!(count(), 0);
        drop((spawn(async {}), LoopHandle::current()));
    });
}

#[test]
fn names_reasons_and_errors_are_on_one_line() {
    run(|_| async {
        let forged = "x\n2026-01-01 all is well\u{1b}[2K";
        let result = scope(async |s| {
            drop(s.spawn_named(forged, async { Err::<(), _>(forged) }));
            yield_now().await;
            Err::<(), _>(forged)
        });
        let error = result.await.unwrap_err();
        assert_eq!(error.failures().len(), 2);
        let scope = CancelScope::new();
        scope.cancel(forged);
        let request = scope.request_info().unwrap().to_string();
        for text in [error.to_string(), scope.run(async {}).await.unwrap_err().to_string(), request] {
            assert!(text.contains("all is well") && !text.contains(char::is_control), "{text:?}");
        }
    });
}
