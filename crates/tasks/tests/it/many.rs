//! A hundred thousand of each, in linear time, and chains that cost no stack.

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use picot_loop::{EventLoop, Hooks, LoopHandle, Step, Task, VirtualClock, spawn, yield_now};
use picot_tasks::{
    CancelScope, Child, JoinSet, Scope, ScopeError, Shield, TokenCancelled, as_completed, gather_settled, scope,
    shield, supervised, timeout,
};

use picot_testkit::poll_once;

use crate::trace::run;

/// Runs `work` for n and for a sixteenth of it. What is linear takes some 16 times as long for n,
/// what is quadratic 256 times; the bound between them leaves room for caches and for a busy
/// machine. The best of several attempts counts.
#[expect(clippy::disallowed_methods, reason = "how the time grows is what is asked; nothing outside counts a search")]
fn is_linear(what: &str, n: usize, work: impl Fn(usize)) {
    let best = |n: usize, attempts: usize| {
        let times = (0..attempts).map(|_| {
            let start = Instant::now();
            work(n);
            start.elapsed()
        });
        times.min().unwrap()
    };
    let (few, many) = (best(n / 16, 4), best(n, 2));
    assert!(many < 64 * few + Duration::from_millis(20), "{what}: {few:?} for {}, {many:?} for {n}", n / 16);
}

const MANY: usize = 100_000;

#[test]
fn waits_that_are_dropped_in_either_order_cost_the_same_however_many_there_are() {
    is_linear("waits for a token", MANY, |n| {
        let token = CancelScope::new().token();
        for is_reversed in [false, true] {
            let mut waits: Vec<Pin<Box<TokenCancelled>>> = (0..n).map(|_| Box::pin(token.cancelled())).collect();
            waits.iter_mut().for_each(|wait| _ = poll_once(wait.as_mut()));
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
                    runs.iter_mut().for_each(|run| _ = poll_once(run.as_mut()));
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
    is_linear("tasks of a set", MANY, |n| {
        run(|_| async {
            let tasks: Vec<Task<()>> = (0..n).map(|_| spawn(pending())).collect();
            tasks.iter().rev().for_each(|task| _ = task.cancel("in reverse"));
            let mut set: JoinSet<()> = tasks.into_iter().collect();
            while set.next().await.is_some() {}
        });
    });
    is_linear("outputs", MANY, |n| {
        run(|_| async {
            let mut outputs = as_completed((0..n).map(|n| async move { n }));
            while outputs.next().await.is_some() {}
            let mut waiting = as_completed((0..n).map(|_| pending::<()>()));
            assert!(timeout(Duration::from_millis(1), waiting.next()).await.is_err());
        });
    });
    is_linear("children", MANY, |n| {
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
    is_linear("cancels", MANY, |n| {
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
                    runs.iter_mut().for_each(|run| _ = poll_once(run.as_mut()));
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

/// Scopes that are nested through children cost a number of child steps that is quadratic in the
/// depth, and stack. So there is a limit, and beyond it an error; up to it they fit into the stack
/// of a test's thread.
#[test]
fn scopes_nest_through_256_children_and_deeper_ones_are_an_error() {
    fn nest(left: usize) -> Pin<Box<dyn Future<Output = Result<usize, ScopeError<()>>>>> {
        Box::pin(scope(async move |s: Scope<'_, ()>| {
            if left == 0 {
                return Ok(0);
            }
            let inner = s.spawn(async move { Ok::<_, ()>(nest(left - 1).await) }).await;
            // The panic of the deepest child has ended its scope before; so this is the error of
            // that scope.
            inner.unwrap().map(|depth| depth + 1).map_err(drop)
        }))
    }
    let polls = |depth: usize| {
        let steps = Rc::new(Cell::new(0));
        let result = run(|_| async {
            LoopHandle::current().set_hooks(Rc::new(Steps(steps.clone())));
            nest(depth).await
        });
        (result, steps.get())
    };
    let (result, steps) = polls(256);
    assert_eq!(result.unwrap(), 256);
    assert!(steps <= 2 * 256 * 256, "{steps} steps");
    let (result, _) = polls(257);
    assert_eq!(result.unwrap_err().failures().len(), 1);
}

/// Counts the steps of a loop, those of children included.
struct Steps(Rc<Cell<usize>>);

impl Hooks for Steps {
    fn before_step(&self, _: Step) {
        self.0.set(self.0.get() + 1);
    }
}

/// Each task of a chain owns the set or the shield with the next one; the end of the first ends
/// them all, turn by turn.
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
        // The shield that was cancelled is the one that ends by itself; its drop lets the others
        // run on.
        assert_eq!(event_loop.close().unwrap().tasks.len(), LONG);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(chain).unwrap().join().unwrap();
}
