//! Scopes: children that borrow, that are tasks of their own, and that end before the scope does.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use picot_context::budget;
use picot_loop::{
    Clock, EventLoop, Exit, Hooks, LoopHandle, Step, TaskInfo, VirtualClock, current, exclusive, sleep, spawn,
    task_local, yield_now,
};
use picot_tasks::{Failure, Scope, ScopeError, Started, gather, scope, timeout};

use crate::trace::{Gate, Trace, millis, reports, run, sleeper};

/// The texts of the failures of a scope, in their order.
fn texts<T>(result: Result<T, ScopeError<&'static str>>) -> Vec<String> {
    let failures = result.err().expect("the scope has failed").into_failures();
    failures
        .into_iter()
        .map(|failure| match failure {
            Failure::Body(error) => format!("body: {error}"),
            Failure::Child(_, error) => error.to_string(),
            Failure::Panic(_, payload) => format!("panic: {payload}"),
            _ => unreachable!("there are no others"),
        })
        .collect()
}

/// Fails after a while.
async fn fails(time: u64, error: &'static str) -> Result<(), &'static str> {
    sleep(millis(time)).await;
    Err(error)
}

#[test]
fn children_borrow_and_the_scope_waits_for_all_of_them() {
    run(|trace| async move {
        let words = vec!["c".to_string(), "a".to_string()];
        let mut own = [0, 0];
        let [first, second] = &mut own;
        let value = scope(async |s| {
            let _ = s.spawn(async move { *first += 1 });
            let _ = s.spawn(async move { *second += 2 });
            for (time, word) in [3, 1].into_iter().zip(&words) {
                let trace = &trace;
                let _ = s.spawn(async move {
                    sleep(millis(time)).await;
                    trace.add(word);
                });
            }
            trace.add("body");
            Ok::<_, Infallible>("value")
        })
        .await;
        assert_eq!(value.unwrap(), "value");
        assert_eq!(own, [1, 2]);
        assert_eq!(trace.take(), ["body", "a", "c"]);
    });
}

#[test]
fn children_that_are_added_late_or_while_it_drains_are_waited_for() {
    run(|trace| async move {
        fn tree<'env>(s: &Scope<'env, Infallible>, trace: &'env Trace, depth: u32) {
            let late = s.clone();
            let _ = s.spawn(async move {
                sleep(millis(1)).await;
                trace.add(depth);
                if depth > 0 {
                    tree(&late, trace, depth - 1);
                    tree(&late, trace, depth - 1);
                }
            });
        }
        scope(async |s| {
            tree(&s, &trace, 3);
            Ok(())
        })
        .await
        .unwrap();
        let depths: Vec<_> = trace.take();
        assert_eq!(depths, "3 2 2 1 1 1 1 0 0 0 0 0 0 0 0".split(' ').collect::<Vec<_>>());
    });
}

#[test]
fn a_wait_for_a_child_returns_its_value() {
    run(|_| async {
        let result = scope(async |s| {
            let one = s.spawn(async { Ok::<_, io::Error>(1) });
            let mut two = s.spawn(async {
                sleep(millis(5)).await;
                io::Result::Ok(2)
            });
            assert!(timeout(millis(1), &mut two).await.is_err(), "watching does not cancel");
            assert!(!two.is_finished());
            Ok(gather((one, two)).await.unwrap())
        });
        assert_eq!(result.await.unwrap(), (1, 2));
    });
}

#[test]
fn the_first_error_drops_siblings_and_body_and_is_returned_with_its_child() {
    run(|trace| async move {
        let result = scope(async |s| {
            let _ = s.spawn(async { _ = sleeper(&trace, "before", 1).await });
            let _ = s.spawn_named("bad", fails(2, "no"));
            let _ = s.spawn(async { _ = sleeper(&trace, "sibling", 9).await });
            sleeper(&trace, "body", 9).await;
            trace.add("body continues");
            Ok(())
        });
        let error = result.await.unwrap_err();
        trace.add("after");
        assert_eq!(trace.take(), ["before", "before dropped", "body dropped", "sibling dropped", "after"]);
        let [failure] = error.failures() else { panic!("{error:?}") };
        assert_eq!((failure.error(), failure.task().unwrap().given_name()), (Some(&"no"), Some("bad")));
        assert!(error.request().is_none());
    });
}

#[test]
fn errors_of_one_step_are_returned_together() {
    run(|_| async {
        let result = scope(async |s| {
            let _ = s.spawn(fails(2, "one"));
            let _ = s.spawn(fails(2, "two"));
            let _ = s.spawn(fails(3, "never"));
            Ok(())
        });
        assert_eq!(texts(result.await), ["one", "two"]);
    });
}

#[test]
fn errors_of_the_body_and_of_children_are_both_kept() {
    run(|trace| async move {
        let result = scope(async |s| {
            let _ = s.spawn(async { _ = sleeper(&trace, "child", 9).await });
            let _ = s.shield(fails(5, "shielded"));
            sleep(millis(1)).await;
            Err::<(), _>("mine")
        });
        assert_eq!(texts(result.await), ["body: mine", "shielded"]);
        assert_eq!(trace.take(), ["child dropped"]);
    });
}

#[test]
fn a_panic_of_a_child_is_a_failure_and_one_of_the_body_resumes_after_the_children_were_dropped() {
    run(|trace| async move {
        let reports = reports();
        let result = scope(async |s| {
            let _ = s.spawn(async {
                if true {
                    std::panic::resume_unwind(Box::new("boom"));
                }
            });
            pending::<Result<(), &'static str>>().await
        });
        assert_eq!(texts(result.await), ["panic: \"boom\""]);

        let inside = trace.clone();
        let task = spawn(async move {
            let body = scope(async |s| {
                let _ = s.spawn(async { _ = sleeper(&inside, "child", 9).await });
                sleep(millis(1)).await;
                let _drop = inside.on_drop("body dropped");
                std::panic::resume_unwind(Box::new("body"));
                #[expect(unreachable_code, reason = "it determines the type of the body")]
                Ok::<(), Infallible>(())
            });
            body.await.unwrap();
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(trace.take(), ["body dropped", "child dropped"]);
        assert_eq!(reports.take(), Vec::<String>::new());
    });
}

#[test]
fn cancelling_from_outside_drops_the_body_and_then_the_youngest_first() {
    run(|trace| async move {
        let inside = trace.clone();
        let task = spawn(async move {
            let all = scope(async |s| {
                for name in ["eldest", "middle", "youngest"] {
                    let trace = &inside;
                    let _ = s.spawn(async move { _ = sleeper(trace, name, 9).await });
                }
                sleeper(&inside, "body", 9).await;
                Ok::<_, Infallible>(())
            });
            all.await.unwrap();
        });
        sleep(millis(1)).await;
        assert!(task.cancel_and_wait("the test has ended").await.is_none());
        assert_eq!(trace.take(), ["body dropped", "youngest dropped", "middle dropped", "eldest dropped"]);
    });
}

#[test]
fn an_outer_cancellation_takes_effect_after_a_handled_failure() {
    run(|trace| async move {
        let inside = trace.clone();
        let task = spawn(async move {
            let result = scope(async |s| {
                let _ = s.spawn(fails(1, "no"));
                Ok(())
            });
            assert_eq!(texts(result.await), ["no"]);
            inside.add("handled");
            sleep(millis(1)).await;
            inside.add("no request lingers");
            pending::<()>().await;
        });
        sleep(millis(3)).await;
        assert!(task.cancel("from outside"));
        assert_eq!(task.await.unwrap_err().reason().unwrap().as_str(), "from outside");
        assert_eq!(trace.take(), ["handled", "no request lingers"]);
    });
}

#[test]
fn spawning_after_the_end_is_an_error_and_the_future_is_dropped() {
    run(|trace| async move {
        let kept = RefCell::new(None);
        scope(async |s| {
            kept.replace(Some(s));
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        let s = kept.take().unwrap();
        let guard = trace.on_drop("future dropped");
        let refused = s.try_spawn(async move { drop(guard) });
        assert!(refused.unwrap_err().to_string().starts_with("this scope has ended"));
        assert_eq!(trace.take(), ["future dropped"]);
        assert!(!s.cancel("too late"));
        assert!(catch_unwind(AssertUnwindSafe(|| s.spawn(async {}))).is_err(), "`spawn` panics with the same text");

        let dropped = scope(async |s| {
            kept.replace(Some(s));
            pending::<Result<(), Infallible>>().await
        });
        assert!(timeout(millis(1), dropped).await.is_err());
        let s = kept.take().unwrap();
        assert!(s.is_empty() && s.children().is_empty() && s.try_spawn(async {}).is_err());
    });
}

#[test]
fn a_child_that_is_spawned_into_a_failed_scope_ends_before_its_first_poll() {
    run(|trace| async move {
        let result = scope(async |s| {
            let clean_up = s.clone();
            let trace = &trace;
            let _ = s.shield(async move {
                clean_up.token().cancelled().await;
                let late = clean_up.spawn(async move { trace.add("polled") });
                assert!(late.await.unwrap_err().is_cancelled());
                clean_up.shield(async move { trace.add("clean-up") }).await.unwrap();
            });
            fails(1, "no").await
        });
        assert_eq!(texts(result.await), ["body: no"]);
        assert_eq!(trace.take(), ["clean-up"]);
    });
}

#[test]
fn a_scope_is_cancelled_without_failing() {
    run(|trace| async move {
        let result = scope(async |s| {
            let _ = s.spawn(async { _ = sleeper(&trace, "child", 9).await });
            sleep(millis(1)).await;
            assert!(s.cancel("enough") && s.cancel("again"));
            pending::<Result<(), &'static str>>().await
        });
        let error = result.await.unwrap_err();
        assert!(error.failures().is_empty());
        assert_eq!(error.request().unwrap().reason().as_str(), "enough");
        assert_eq!(trace.take(), ["child dropped"]);

        let result = scope(async |s| {
            let ender = s.clone();
            let _ = s.spawn(async move {
                sleep(millis(1)).await;
                ender.cancel("the body has ended already");
                pending::<()>().await;
            });
            Ok::<_, Infallible>(7)
        });
        assert_eq!(result.await.unwrap(), 7);
    });
}

#[test]
fn one_child_is_cancelled_and_the_others_continue() {
    run(|trace| async move {
        let result = scope(async |s| {
            let one = s.spawn(async { _ = sleeper(&trace, "one", 9).await });
            let two = s.spawn(async { _ = sleeper(&trace, "two", 2).await });
            sleep(millis(1)).await;
            assert!(one.cancel("not this one"));
            let error = one.await.unwrap_err();
            assert_eq!(error.reason().unwrap().as_str(), "not this one");
            assert!(timeout(millis(5), two).await.unwrap().is_ok());
            let unpolled = s.spawn(async { trace.add("polled") });
            assert!(unpolled.cancel("before its first step"));
            drop(s.spawn(async { _ = sleeper(&trace, "waited for", 9).await }).into_future());
            Ok::<_, Infallible>(())
        });
        result.await.unwrap();
        assert_eq!(trace.take(), ["one dropped", "two", "two dropped"]);
    });
}

#[test]
fn a_shielded_child_survives_the_wait_and_the_failure_but_not_the_drop() {
    run(|trace| async move {
        let result = scope(async |s| {
            let work = s.shield(async { Ok(sleeper(&trace, "borrowed", 5).await) });
            assert!(timeout(millis(1), work).await.is_err());
            fails(1, "no").await
        });
        assert_eq!(texts(result.await), ["body: no"]);
        assert_eq!(trace.take(), ["borrowed", "borrowed dropped"]);
        let all = scope(async |s| {
            let _ = s.shield(async { _ = sleeper(&trace, "borrowed", 5).await });
            Ok::<_, Infallible>(())
        });
        assert!(timeout(millis(1), all).await.is_err());
        assert_eq!(trace.take(), ["borrowed dropped"]);
    });
}

#[test]
fn start_waits_until_the_child_is_ready() {
    run(|trace| async move {
        let result = scope(async |s| {
            let serve = |started: Started<u16>| async {
                sleep(millis(3)).await;
                started.ready(8080);
                sleeper(&trace, "server", 3).await;
            };
            let (port, server) = s.start(serve).await.unwrap();
            trace.add(port);
            server.await.unwrap();
            let silent = s.start(|_: Started<()>| async {}).await.unwrap_err();
            assert!(silent.to_string().ends_with("it ended without reporting that it was ready"), "{silent}");
            let late = s.start(|_: Started<()>| async { _ = sleeper(&trace, "late", 9).await });
            assert!(timeout(millis(1), late).await.is_err(), "dropping the wait cancels the child");
            Ok::<_, Infallible>(())
        });
        result.await.unwrap();
        assert_eq!(trace.take(), ["8080", "server", "server dropped", "late dropped"]);
    });
}

#[test]
fn a_child_that_waits_for_itself_gets_an_error() {
    run(|_| async {
        let handle = RefCell::new(None::<picot_tasks::Child<()>>);
        scope(async |s| {
            let child = s.spawn(async {
                yield_now().await;
                let own = handle.take().unwrap();
                assert!(own.await.unwrap_err().to_string().contains("waits for itself"));
            });
            handle.replace(Some(child));
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
    });
}

task_local! {
    static USER: &'static str;
}

#[test]
fn a_child_has_an_id_a_name_a_place_and_locals_of_its_own() {
    run(|_| async {
        let parent = current().unwrap();
        USER.set("ada");
        scope(async |s| {
            assert_eq!(current().unwrap().id(), parent.id(), "the body is the parent");
            let named = s.spawn_named("named", async {
                let this = current().unwrap();
                assert_eq!((this.given_name(), USER.get()), (Some("named"), Some("ada")));
                USER.set("grace");
                yield_now().await;
                assert_eq!((current().unwrap().id(), USER.get()), (this.id(), Some("grace")));
            });
            let plain = s.spawn(async {
                let this = current().unwrap();
                assert_eq!((this.given_name(), USER.get(), this.place().file()), (None, Some("ada"), file!()));
                yield_now().await;
                assert_eq!(USER.get(), Some("ada"));
            });
            let task = spawn(async {});
            assert!(parent.id() < named.id() && named.id() < plain.id() && plain.id() < task.id(), "one order");
            assert_eq!(s.children().iter().map(|child| child.id()).collect::<Vec<_>>(), [named.id(), plain.id()]);
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        assert_eq!((USER.get(), current().unwrap().id()), (Some("ada"), parent.id()));
    });
}

#[test]
fn a_child_keeps_the_first_local_that_it_sets() {
    run(|_| async {
        scope(async |s| {
            for name in ["ada", "grace"] {
                let _ = s.spawn(async move {
                    assert_eq!(USER.get(), None);
                    USER.set(name);
                    sleep(millis(1)).await;
                    assert_eq!(USER.get(), Some(name));
                });
            }
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        assert_eq!(USER.get(), None);
    });
}

#[test]
fn a_child_is_dropped_in_its_own_step_however_it_ends() {
    run(|_| async {
        struct Last<'a>(&'a Cell<Option<u64>>);
        impl Drop for Last<'_> {
            fn drop(&mut self) {
                self.0.set(current().map(|task| task.id().get()));
            }
        }
        let seen = [const { Cell::new(None) }; 3];
        let ids = RefCell::new(Vec::new());
        let all = scope(async |s| {
            let [done, cancelled, dropped] = seen.each_ref().map(Last);
            let done = s.spawn(async move { drop(done) });
            let cancelled = s.spawn(async move {
                let _last = cancelled;
                pending::<()>().await;
            });
            let dropped = s.spawn(async move {
                let _last = dropped;
                pending::<()>().await;
            });
            ids.borrow_mut().extend([done.id(), cancelled.id(), dropped.id()].map(|id| Some(id.get())));
            yield_now().await;
            cancelled.cancel("one");
            pending::<Result<(), Infallible>>().await
        });
        assert!(timeout(millis(1), all).await.is_err());
        assert_eq!(seen.map(Cell::into_inner).to_vec(), ids.take());
    });
}

struct Watch(Trace);

impl Hooks for Watch {
    fn spawned(&self, task: &TaskInfo) {
        self.0.add(format!("spawned {}", task.given_name().unwrap_or("?")));
    }

    fn before_step(&self, step: Step) {
        let name = current().filter(|task| Some(task.id()) == step.task_id()).unwrap();
        self.0.add(format!("{} begins", name.given_name().unwrap_or("?")));
    }

    fn after_step(&self, step: Step) {
        let name = current().filter(|task| Some(task.id()) == step.task_id()).unwrap();
        self.0.add(format!("{} rests", name.given_name().unwrap_or("?")));
    }

    fn exited(&self, task: &TaskInfo, exit: Exit) {
        assert_eq!(current().unwrap().id(), task.id());
        self.0.add(format!("{} {exit:?}", task.given_name().unwrap_or("?")));
    }
}

#[test]
fn the_hooks_see_a_child_as_a_task() {
    run(|trace| async move {
        LoopHandle::current().set_hooks(Rc::new(Watch(trace.clone())));
        scope(async |s| {
            let _ = s.spawn_named("child", async { yield_now().await });
            let never = s.spawn_named("never", pending::<()>());
            never.cancel("before its first step");
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        LoopHandle::current().reset_hooks();
        let events = trace.take();
        let of = |name: &str| events.iter().filter(|event| event.contains(name)).cloned().collect::<Vec<_>>();
        assert_eq!(
            of("child"),
            ["spawned child", "child begins", "child rests", "child begins", "child Returned", "child rests"]
        );
        assert_eq!(of("never"), ["spawned never", "never begins", "never Cancelled", "never rests"]);
    });
}

#[test]
fn an_exclusive_section_of_a_child_belongs_to_its_parent_and_covers_the_siblings() {
    run(|trace| async move {
        let inside = trace.clone();
        let other = spawn(async move {
            for _ in 0..3 {
                inside.add("other");
                yield_now().await;
            }
        });
        scope(async |s| {
            let _ = s.spawn(async {
                let alone = exclusive().await;
                trace.add("begins");
                for _ in 0..3 {
                    yield_now().await;
                }
                trace.add("ends");
                drop(alone);
            });
            let _ = s.spawn(async {
                yield_now().await;
                trace.add("sibling");
            });
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        other.await.unwrap();
        let events = trace.take();
        let at = |name: &str| events.iter().position(|event| event == name).unwrap();
        assert!(!events[at("begins")..at("ends")].contains(&"other".to_string()), "{events:?}");
        assert!(events[at("begins")..at("ends")].contains(&"sibling".to_string()), "{events:?}");
        assert_eq!(events.iter().filter(|event| *event == "other").count(), 3);
    });
}

#[test]
fn each_child_has_a_budget_of_its_own() {
    run(|_| async {
        let done = Cell::new(0);
        scope(async |s| {
            for _ in 0..2 {
                let _ = s.spawn(async {
                    for _ in 0..budget::PER_STEP {
                        std::future::poll_fn(budget::poll_left).await;
                        budget::spend();
                        done.set(done.get() + 1);
                    }
                });
            }
            yield_now().await;
            assert_eq!(done.get(), 2 * budget::PER_STEP, "both in one step");
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
    });
}

#[test]
fn slow_steps_of_a_child_and_of_its_parent_are_reported_by_their_names() {
    /// The virtual clock stands still in a step; this one advances by the time that a step takes.
    #[derive(Clone, Debug)]
    struct PassingClock(VirtualClock);
    impl Clock for PassingClock {
        fn now(&self) -> std::time::Duration {
            self.0.elapsed()
        }
    }
    let clock = VirtualClock::new();
    let passing = PassingClock(clock.clone());
    let event_loop = EventLoop::builder().clock(&passing).slow_step_limit(millis(100)).build().unwrap();
    let reports = Trace::default();
    let hook = reports.clone();
    event_loop.handle().set_error_hook(move |report| {
        let name = report.origin.task.as_ref().and_then(|task| task.given_name()).unwrap_or("?").to_string();
        hook.add(format!("{name}: {}", report.cause).split(';').next().unwrap());
    });
    event_loop
        .run_until_complete(scope(async |s| {
            let _ = s.spawn_named("slow child", async { clock.advance(millis(300)) });
            let _ = s.spawn_named("quick child", async {});
            clock.advance(millis(200));
            Ok::<_, Infallible>(())
        }))
        .unwrap()
        .unwrap();
    let took = "kept the loop from everything else for";
    assert_eq!(reports.take(), [format!("main: {took} 200ms"), format!("slow child: {took} 300ms")]);
}

#[test]
fn a_wake_polls_one_child_and_a_step_a_bounded_number() {
    run(|_| async {
        let polls = Rc::new(Cell::new(0));
        let most_at_once = Rc::new(Cell::new(0));
        let other = spawn({
            let (polls, most) = (polls.clone(), most_at_once.clone());
            async move {
                let mut seen = 0;
                while polls.get() < 1_000 {
                    most.set(most.get().max(polls.get() - seen));
                    seen = polls.get();
                    yield_now().await;
                }
            }
        });
        scope(async |s| {
            for _ in 0..1_000 {
                let polls = &polls;
                let _ = s.spawn(async move {
                    let mut sleep = std::pin::pin!(sleep(millis(5)));
                    std::future::poll_fn(|cx| {
                        polls.set(polls.get() + 1);
                        sleep.as_mut().poll(cx)
                    })
                    .await;
                });
            }
            s.spawn(async { sleep(millis(1)).await }).await.unwrap();
            assert_eq!(polls.get(), 1_000, "the one that was woken was no other");
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap();
        assert_eq!(polls.get(), 2_000);
        other.await.unwrap();
        assert_eq!(most_at_once.get(), 32);
    });
}

#[test]
fn a_sibling_that_has_not_begun_when_one_fails_ends_before_its_first_poll() {
    run(|trace| async move {
        let result = scope(async |s| {
            let _ = s.spawn(async { Err::<(), _>("at once") });
            let _ = s.spawn(async { trace.add("polled") });
            pending::<Result<(), _>>().await
        });
        assert_eq!(texts(result.await), ["at once"]);
        assert_eq!(trace.take(), Vec::<String>::new());
    });
}

#[test]
fn after_a_child_that_took_long_the_rest_of_the_loop_runs_before_the_next() {
    let clock = VirtualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).slow_step_limit(std::time::Duration::MAX).build().unwrap();
    let trace = Trace::default();
    let other = event_loop.handle().spawn({
        let trace = trace.clone();
        async move {
            for _ in 0..4 {
                trace.add("other");
                yield_now().await;
            }
        }
    });
    let work = scope(async |s| {
        for name in ["one", "two", "three"] {
            let (trace, clock) = (&trace, &clock);
            let _ = s.spawn(async move {
                trace.add(name);
                clock.advance(millis(30));
            });
        }
        Ok::<_, Infallible>(())
    });
    event_loop
        .run_until_complete(async {
            work.await.unwrap();
            other.await.unwrap();
        })
        .unwrap();
    assert_eq!(trace.take(), ["other", "other", "one", "other", "two", "other", "three"]);
}

thread_local! {
    static REENTERED: RefCell<Option<Scope<'static, Infallible>>> = const { RefCell::new(None) };
}

/// A waker that uses the scope inside of its wake and of its drop.
struct Reenters;

impl Reenters {
    fn reenter() {
        let scope = REENTERED.with_borrow(Option::clone);
        if let Some(scope) = scope {
            let child = scope.spawn(async {});
            child.cancel("it is there");
            assert!(scope.children().len() <= scope.len());
        }
    }
}

impl Wake for Reenters {
    fn wake(self: Arc<Reenters>) {
        Reenters::reenter();
    }
}

impl Drop for Reenters {
    fn drop(&mut self) {
        Reenters::reenter();
    }
}

#[test]
fn a_waker_can_use_the_scope_that_wakes_or_drops_it() {
    run(|_| async {
        let gate = Gate::default();
        let opener = gate.clone();
        let mut all = Box::pin(scope(async move |s| {
            REENTERED.set(Some(s.clone()));
            let ended = s.spawn(async move { gate.wait().await });
            let shielded = s.shield(async { yield_now().await });
            ended.await.unwrap();
            shielded.await.unwrap();
            s.cancel("enough");
            pending::<Result<(), Infallible>>().await
        }));
        let mut poll = || {
            let waker = Waker::from(Arc::new(Reenters));
            all.as_mut().poll(&mut Context::from_waker(&waker))
        };
        assert!(poll().is_pending());
        assert!(poll().is_pending());
        opener.open();
        let end = (0..100).find_map(|_| match poll() {
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                // Each wake adds a child; the last wakes add none.
                REENTERED.set(None);
                None
            }
        });
        assert_eq!(end.unwrap().unwrap_err().request().unwrap().reason().as_str(), "enough");
    });
}

#[test]
fn a_panic_in_the_drop_of_a_child_or_its_value_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("bomb"));
        }
    }
    run(|_| async {
        let reports = reports();
        let result = scope(async |s| {
            let _ = s.spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            });
            let _ = s.spawn(async { Ok(Bomb) });
            yield_now().await;
            Err::<(), _>("no")
        });
        assert_eq!(texts(result.await), ["body: no", "panic: \"bomb\""]);
        let all = scope(async |s| {
            let _ = s.spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            });
            pending::<Result<(), Infallible>>().await
        });
        assert!(timeout(millis(1), all).await.is_err());
        sleep(millis(1)).await;
        assert_eq!(
            reports.take(),
            ["panicked with \"bomb\""; 2],
            "the value's, and that of the scope that was dropped"
        );
    });
}
