//! Foreign code that panics twice, and foreign code around the reports of those panics: the process
//! survives, the others run, and each panic is reported once.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::{Cause, Kind, Origin, Report};
use picot_executor::{Executor, Hooks, Step, Task};

use crate::trace::{Bomb, Trace, quiet_panic, reports, yield_now};

/// Panics in its poll, from the given one on, and in its destructor.
struct Both(u32);

impl Future for Both {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            quiet_panic("in poll");
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        quiet_panic("in drop");
    }
}

/// Each way to pass a future to the executor, and each moment at which it panics.
#[test]
fn a_future_that_panics_in_its_poll_and_in_its_drop_ends_its_own_task_only() {
    type Way = (&'static str, fn(&Executor, u32) -> Option<Task<()>>);
    let ways: [Way; 5] = [
        ("a task", |executor, polls| Some(executor.spawn(Both(polls)))),
        ("an eager task", |executor, polls| Some(executor.spawner().build_task().eager().spawn(Both(polls)))),
        ("a host's task", |executor, polls| {
            let host: &dyn picot_context::Host = executor.spawner();
            host.spawn(std::panic::Location::caller(), Box::pin(Both(polls))).unwrap();
            None
        }),
        ("a remote task from home", |executor, polls| {
            drop(executor.remote().spawn(move || Both(polls)).unwrap());
            None
        }),
        ("a remote task", |executor, polls| {
            let remote = executor.remote();
            std::thread::spawn(move || drop(remote.spawn(move || Both(polls)).unwrap())).join().unwrap();
            None
        }),
    ];
    for (what, spawn) in ways {
        for polls in 0..3 {
            for closes in [false, true] {
                let executor = Executor::new();
                let reports = reports(&executor);
                let task = spawn(&executor, polls);
                let other = executor.spawn(async { 7 });
                if closes {
                    executor.close();
                    assert!(other.is_finished(), "{what}");
                } else {
                    assert_eq!(executor.block_on(async { other.await.unwrap() }), 7, "{what}");
                    executor.run_until_stalled();
                }
                drop(task);
                let texts = reports.take();
                // A task from another thread that is closed before it was made has no future.
                let made = !closes || what != "a remote task" && what != "a remote task from home";
                let polled = !closes || what == "an eager task" && polls == 0;
                let expected = usize::from(made) + usize::from(polled);
                assert_eq!(texts.len(), expected, "{what}, {polls} polls, closes {closes}: {texts:?}");
            }
        }
    }
}

#[test]
fn the_caller_of_a_root_that_panics_twice_gets_the_first_panic() {
    let executor = Executor::new();
    let reports = reports(&executor);
    let payload = picot_context::catch(|| executor.block_on(Both(1))).unwrap_err();
    assert_eq!(payload.message().as_deref(), Some("in poll"));
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1, "and the second is a report");

    // A root that a panic drops before it has ended.
    let payload = picot_context::catch(|| {
        let _root = std::pin::pin!(executor.root(std::panic::Location::caller(), Both(9)));
        quiet_panic("around it");
    });
    assert_eq!(payload.unwrap_err().message().as_deref(), Some("around it"));
    executor.run_until_stalled();
    assert_eq!(reports.take().len(), 1);
}

picot_context::task_local! {
    static LOCAL: Bomb;
    static OTHER: Bomb;
}

/// Hooks, locals and closures that panic in their destructors, each beside another panic.
#[test]
fn a_panicking_destructor_beside_another_panic_is_contained() {
    struct Faulty(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    impl Hooks for Faulty {
        fn before_step(&self, _: Step) {
            quiet_panic("in a hook");
        }
    }
    let executor = Executor::new();
    let trace = reports(&executor);
    let spawner = executor.spawner().clone();

    // A callback whose local panics after its own panic, and one whose closure and locals panic
    // when it is cancelled.
    let inside = spawner.clone();
    executor.call_soon(move || {
        LOCAL.set(Bomb("an inherited local"));
        OTHER.set(Bomb("and another"));
        inside.call_soon(|| quiet_panic("in a callback")).unwrap();
        drop(inside.spawn(async { quiet_panic("in a task") }));
    });
    LOCAL.set(Bomb("a local of the thread"));
    let (captured, _guard) = (Bomb("captured"), picot_context::install(Rc::new(spawner.clone())));
    let call = executor.call_soon(move || drop(captured));
    assert!(call.cancel());
    executor.run_until_stalled();
    let texts = trace.take();
    for expected in ["in a callback", "in a task", "captured", "an inherited local", "and another"] {
        assert_eq!(texts.iter().filter(|text| text.ends_with(&format!("with {expected:?}"))).count(), 1, "{texts:?}");
    }

    // Hooks that panic, and that replace themselves.
    spawner.set_hooks(Rc::new(Faulty(Bomb("the hooks"))));
    executor.call_soon(|| ());
    executor.run_until_stalled();
    spawner.reset_hooks();
    executor.run_until_stalled();
    let texts = trace.take();
    assert!(texts.iter().any(|text| text == "Hook: a hook panicked with \"the hooks\""), "{texts:?}");

    // An error hook that panics, replaces itself, sets a local that panics in its destructor, and
    // panics in its own.
    let bomb = Bomb("the error hook");
    spawner.set_error_hook({
        let spawner = spawner.clone();
        move |_| {
            let _bomb = &bomb;
            spawner.reset_error_hook();
            LOCAL.set(Bomb("a hook's local"));
            quiet_panic("in the error hook");
        }
    });
    executor.call_soon(|| quiet_panic("for the hook"));
    executor.run_until_stalled();
    let trace = reports(&executor);
    executor.call_soon(|| quiet_panic("control"));
    executor.run_until_stalled();
    assert!(trace.take().iter().any(|text| text.contains("control")));
    drop(_guard);
}

/// An error whose `Display`, `Debug` and destructor fail as its bits say.
struct Evil {
    text: u8,
    drops: bool,
}

fn fail(how: u8, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    match how {
        0 => quiet_panic("in the text"),
        1 => Err(std::fmt::Error),
        2 => std::panic::resume_unwind(Box::new(Bomb("in the payload's drop"))),
        _ => f.write_str("two\nlines"),
    }
}

impl std::fmt::Display for Evil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fail(self.text, f)
    }
}

impl std::fmt::Debug for Evil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fail(self.text, f)
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        if self.drops {
            quiet_panic("an error's drop");
        }
    }
}

impl std::error::Error for Evil {}

/// Each kind of report with each way in which its printing can fail: the run continues, and the
/// next report is delivered.
#[test]
fn no_report_can_end_a_run_or_lose_another() {
    type Make = fn(Evil) -> Cause;
    let here = std::panic::Location::caller();
    let kinds: [Make; 6] = [
        |evil| Cause::Failed(Box::new(evil)),
        |evil| Cause::Unclaimed(Box::new(evil)),
        |evil| Cause::Io(std::io::Error::other(SendEvil(evil))),
        |evil| {
            Cause::Panic(picot_context::catch(move || std::panic::resume_unwind(Box::new(SendEvil(evil)))).unwrap_err())
        },
        |evil| {
            let text = format!("{:?}", picot_context::Escaped(&evil));
            drop(picot_context::catch(move || drop(evil)));
            Cause::Unhandled(text.into())
        },
        |evil| {
            drop(picot_context::catch(move || drop(evil)));
            Cause::SlowStep(picot_context::StepTime::new(std::time::Duration::from_millis(7), None))
        },
    ];
    /// The action on a report before it is dropped.
    type Hook = fn(&Executor, &Trace);
    let hooks: [Hook; 6] = [
        |executor, _| executor.spawner().reset_error_hook(),
        |executor, trace| {
            let trace = trace.clone();
            executor.spawner().set_error_hook(move |report| trace.add(report));
        },
        |executor, trace| {
            let trace = trace.clone();
            executor.spawner().set_error_hook(move |report| trace.add(format!("{report:?}")));
        },
        |executor, trace| {
            let trace = trace.clone();
            executor.spawner().set_error_hook(move |report| {
                trace.add(report);
                quiet_panic("the hook");
            });
        },
        |executor, trace| {
            let (trace, spawner) = (trace.clone(), executor.spawner().clone());
            executor.spawner().set_error_hook(move |report| {
                trace.add(report);
                if !matches!(report.cause, Cause::SlowStep(_)) {
                    let again =
                        Cause::SlowStep(picot_context::StepTime::new(std::time::Duration::from_millis(8), None));
                    spawner.report(Report::new(Origin::new(Kind::Hook), again));
                }
            });
        },
        |executor, trace| {
            let (trace, spawner) = (trace.clone(), executor.spawner().clone());
            executor.spawner().set_error_hook(move |report| {
                trace.add(report);
                spawner.reset_error_hook();
                std::panic::resume_unwind(Box::new(Bomb("a payload")));
            });
        },
    ];
    for make in kinds {
        for text in 0..4 {
            for drops in [false, true] {
                for (nr, hook) in hooks.iter().enumerate() {
                    for closes in [false, true] {
                        let (executor, trace) = (Executor::new(), Trace::default());
                        hook(&executor, &trace);
                        let cause = make(Evil { text, drops });
                        executor.spawner().report(Report::new(Origin::new(Kind::Callback).at(here), cause));
                        executor.call_soon(|| quiet_panic("control"));
                        executor.run_until_stalled();
                        if closes {
                            executor.spawner().report(Report::new(Origin::new(Kind::Loop), make(Evil { text, drops })));
                            executor.close();
                            executor.spawner().report(Report::new(Origin::new(Kind::Loop), make(Evil { text, drops })));
                        } else {
                            assert_eq!(
                                executor.block_on(async {
                                    yield_now().await;
                                    1
                                }),
                                1
                            );
                        }
                        let texts = trace.take();
                        if (1..=4).contains(&nr) {
                            assert!(texts.iter().any(|text| text.contains("control")), "hook {nr}: {texts:?}");
                        }
                        assert!(texts.iter().all(|text| !text.contains('\n')), "hook {nr}: {texts:?}");
                    }
                }
            }
        }
    }
}

/// Like `Evil`, for values that must be `Send`.
#[derive(Debug)]
struct SendEvil(Evil);

impl std::fmt::Display for SendEvil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SendEvil {}

/// It would recurse on a closed executor, where each report is delivered at once, and never end on
/// one that is closing.
#[test]
fn an_error_hook_that_always_reports_again_ends_with_the_executor() {
    let executor = Executor::new();
    let (spawner, count) = (executor.spawner().clone(), Rc::new(std::cell::Cell::new(0)));
    let again = || {
        Report::new(
            Origin::new(Kind::Hook),
            Cause::SlowStep(picot_context::StepTime::new(std::time::Duration::from_millis(1), None)),
        )
    };
    let set = |count: &Rc<std::cell::Cell<u32>>| {
        let (inside, count) = (spawner.clone(), count.clone());
        spawner.set_error_hook(move |_| {
            count.set(count.get() + 1);
            inside.report(again());
        });
    };
    set(&count);
    spawner.report(again());
    for turn in 1..4 {
        executor.run_batch(usize::MAX);
        assert!(executor.deliver_reports());
        assert_eq!(count.get(), turn, "what it reports waits for the next turn");
    }
    executor.close();
    assert_eq!(count.get(), 5, "the close delivers twice, and prints the rest");
    set(&count);
    spawner.report(again());
    assert_eq!(count.get(), 6, "once, and the next is printed");
}
