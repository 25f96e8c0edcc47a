//! A hundred thousand of each, in linear time, and chains that cost no stack.

use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use picot_loop::{EventLoop, Task, VirtualClock, spawn, yield_now};
use picot_tasks::{
    CancelScope, Child, JoinSet, Shield, TokenCancelled, as_completed, gather_settled, shield, supervised, timeout,
};

use crate::trace::run;

/// Runs `work` for n and for four times n: what is linear takes some four times as long, what is quadratic sixteen times. Of
/// several attempts the best counts, as the machine may be busy.
fn is_linear(what: &str, n: usize, work: impl Fn(usize)) {
    let best = |n: usize| {
        let times = (0..4).map(|_| {
            let start = Instant::now();
            work(n);
            start.elapsed()
        });
        times.min().unwrap()
    };
    let (few, many) = (best(n / 4), best(n));
    assert!(many < 10 * few + Duration::from_millis(2), "{what}: {few:?} for {}, {many:?} for {n}", n / 4);
}

const MANY: usize = 100_000;

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) {
    let _ = future.poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn waits_that_are_dropped_in_either_order_cost_the_same_however_many_there_are() {
    is_linear("waits for a token", MANY, |n| {
        let token = CancelScope::new().token();
        for is_reversed in [false, true] {
            let mut waits: Vec<Pin<Box<TokenCancelled>>> = (0..n).map(|_| Box::pin(token.cancelled())).collect();
            waits.iter_mut().for_each(|wait| poll_once(wait.as_mut()));
            if is_reversed {
                while waits.pop().is_some() {}
            }
        }
    });
    is_linear("scopes in a scope", MANY, |n| {
        run(|_| async {
            let outer = CancelScope::new();
            outer
                .run(async {
                    let mut runs: Vec<_> = (0..n).map(|_| Box::pin(CancelScope::new().run(pending::<()>()))).collect();
                    runs.iter_mut().for_each(|run| poll_once(run.as_mut()));
                    outer.cancel("a mistake");
                    assert!(outer.withdraw());
                    for _ in 0..n {
                        outer.reschedule(None).unwrap();
                    }
                    while runs.pop().is_some() {}
                })
                .await
                .unwrap();
        });
    });
}

#[test]
fn removals_from_sets_and_cancels_in_reverse_are_linear() {
    is_linear("tasks of a set", MANY / 4, |n| {
        run(|_| async {
            let tasks: Vec<Task<()>> = (0..n).map(|_| spawn(pending())).collect();
            tasks.iter().rev().for_each(|task| _ = task.cancel("in reverse"));
            let mut set: JoinSet<()> = tasks.into_iter().collect();
            while set.next().await.is_some() {}
        });
    });
    is_linear("outputs", MANY / 4, |n| {
        run(|_| async {
            let mut outputs = as_completed((0..n).map(|n| async move { n }));
            while outputs.next().await.is_some() {}
            let mut waiting = as_completed((0..n).map(|_| pending::<()>()));
            assert!(timeout(Duration::from_millis(1), waiting.next()).await.is_err());
        });
    });
    is_linear("children", MANY / 4, |n| {
        run(|_| async {
            supervised(async |s| {
                let children: Vec<Child<()>> = (0..n).map(|_| s.spawn(pending())).collect();
                yield_now().await;
                children.iter().rev().for_each(|child| _ = child.cancel("in reverse"));
                gather_settled(children).await;
            })
            .await;
        });
    });
}

#[test]
fn a_scope_that_is_cancelled_again_and_again_looks_at_its_children_once() {
    is_linear("cancels", MANY / 4, |n| {
        run(|_| async {
            let all = picot_tasks::scope(async |s: picot_tasks::Scope<'_, ()>| {
                for _ in 0..n {
                    drop(s.spawn(pending::<()>()));
                }
                yield_now().await;
                for _ in 0..n {
                    s.cancel("again");
                }
                Ok(())
            });
            _ = all.await;
            let outer = CancelScope::new().grace(Duration::from_secs(1));
            outer
                .run(async {
                    let mut runs: Vec<_> = (0..n).map(|_| Box::pin(CancelScope::new().run(pending::<()>()))).collect();
                    runs.iter_mut().for_each(|run| poll_once(run.as_mut()));
                    for _ in 0..n {
                        outer.cancel("again");
                    }
                })
                .await
                .unwrap();
        });
    });
}

/// Nested cancel scopes are polled in time that is linear in their number.
#[test]
fn nested_cancel_scopes_and_timeouts_are_linear() {
    fn nest(depth: usize) -> Pin<Box<dyn Future<Output = ()>>> {
        if depth == 0 {
            return Box::pin(async {
                for _ in 0..4 {
                    yield_now().await;
                }
            });
        }
        Box::pin(async move {
            if depth % 2 == 0 {
                CancelScope::new().run(nest(depth - 1)).await.unwrap();
            } else {
                timeout(Duration::from_secs(depth as u64), nest(depth - 1)).await.unwrap();
            }
        })
    }
    let on_a_large_stack = || is_linear("nested", 2_000, |n| run(|_| nest(n)));
    std::thread::Builder::new().stack_size(256 << 20).spawn(on_a_large_stack).unwrap().join().unwrap();
}

/// Each task of a chain owns the set or the shield with the next one; the end of the first ends them all, turn by turn.
#[test]
fn chains_of_tasks_cost_no_stack() {
    const LONG: usize = 200_000;

    let chain = || {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        let result = event_loop.run_until_complete(async {
            let alive = Rc::new(());
            let mut set: JoinSet<()> = JoinSet::new();
            let mut last: Shield<()> = shield(pending());
            for _ in 0..LONG {
                let (next, here) = (std::mem::take(&mut set), alive.clone());
                set.spawn(async move {
                    let _next = (next, here);
                    pending().await
                });
                last = shield(async { _ = last.await });
            }
            yield_now().await;
            last.cancel("the last of those that wait for each other");
            drop(set);
            while Rc::strong_count(&alive) > 1 {
                yield_now().await;
            }
        });
        result.unwrap();
        // The shield that was cancelled is the one that ends by itself; its drop lets the others run on.
        assert_eq!(event_loop.close().unwrap().tasks.len(), LONG);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(chain).unwrap().join().unwrap();
}
