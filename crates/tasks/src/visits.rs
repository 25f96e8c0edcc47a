//! Counts the entries of lists that operations visit. The tests limit the number of visits of each
//! operation, so that they do not depend on the speed of the machine.

use std::cmp::Ordering;

/// Counts an entry that an operation visits. Does nothing outside of the tests.
#[inline(always)]
pub(crate) fn visit() {
    #[cfg(test)]
    tests::VISITS.set(tests::VISITS.get() + 1);
}

/// The number of an entry in a list. Each comparison of two numbers counts as a visit, and so does
/// each entry that a search reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number(u64);

impl Number {
    /// Increases this number, the last one of a list, and returns it.
    pub(crate) fn next(&mut self) -> Number {
        self.0 += 1;
        *self
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        visit();
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::time::Duration;

    use picot_loop::{EventLoop, Hooks, LoopHandle, Step, Task, VirtualClock, spawn, yield_now};
    use picot_testkit::poll_once;

    use crate::{
        CancelScope, Child, JoinSet, Scope, TokenCancelled, as_completed, gather_settled, scope, supervised, timeout,
    };

    thread_local! {
        pub(super) static VISITS: Cell<usize> = const { Cell::new(0) };
    }

    /// Steps of the loop count as visits.
    struct CountSteps;

    impl Hooks for CountSteps {
        fn before_step(&self, _: Step) {
            super::visit();
        }
    }

    /// Runs `work` for two numbers of members. Linear work takes the same number of visits for each
    /// member, a search of a tree a few more, and quadratic work 16 times as many.
    fn is_linear(what: &str, n: usize, work: impl Fn(usize)) {
        let [few, many] = [n / 16, n].map(|n| {
            VISITS.set(0);
            work(n);
            VISITS.get() / n
        });
        let text = format!("{what}: {few} visits for each of {} members, {many} for each of {n}", n / 16);
        assert!((1..=128).contains(&few) && many <= 2 * few, "{text}");
    }

    const MANY: usize = 3_200;

    fn run<F: Future>(future: impl FnOnce() -> F) {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        event_loop
            .run_until_complete(async {
                LoopHandle::current().set_hooks(Rc::new(CountSteps));
                future().await;
            })
            .unwrap();
    }

    #[test]
    fn waits_dropped_in_either_order_cost_the_same_for_any_number() {
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
            run(|| async {
                let outer = CancelScope::new();
                outer
                    .run(async {
                        let mut runs: Vec<_> =
                            (0..n).map(|_| Box::pin(CancelScope::new().run(pending::<()>()))).collect();
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
            run(|| async {
                let tasks: Vec<Task<()>> = (0..n).map(|_| spawn(pending())).collect();
                tasks.iter().rev().for_each(|task| _ = task.cancel("in reverse"));
                let mut set: JoinSet<()> = tasks.into_iter().collect();
                while set.next().await.is_some() {}
            });
        });
        is_linear("outputs", MANY, |n| {
            run(|| async {
                let mut outputs = as_completed((0..n).map(|n| async move { n }));
                while outputs.next().await.is_some() {}
                let mut waiting = as_completed((0..n).map(|_| pending::<()>()));
                assert!(timeout(Duration::from_millis(1), waiting.next()).await.is_err());
            });
        });
        is_linear("children", MANY, |n| {
            run(|| async {
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
    fn a_scope_that_is_cancelled_repeatedly_visits_its_children_once() {
        is_linear("cancels", MANY, |n| {
            run(|| async {
                let all = scope(async |s: Scope<'_, ()>| {
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
                        let mut runs: Vec<_> =
                            (0..n).map(|_| Box::pin(CancelScope::new().run(pending::<()>()))).collect();
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
        let on_a_large_stack = || is_linear("nested", 2_000, |n| run(|| nest(n)));
        std::thread::Builder::new().stack_size(256 << 20).spawn(on_a_large_stack).unwrap().join().unwrap();
    }
}
