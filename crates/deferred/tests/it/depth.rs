//! No chain uses stack: each of these runs on 256 KiB, and is a million links long, or a tenth of
//! that without optimization, where even three bytes of stack for each link would be too much.

use std::cell::Cell;
use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State, when_all, when_any, when_race, when_settled};

use crate::trace::Deferred;

type P = Promise<i32, &'static str>;

const LONG: usize = match (cfg!(miri), cfg!(debug_assertions)) {
    (true, _) => 200,
    (_, true) => 100_000,
    _ => 1_000_000,
};

/// Runs `test` on a small stack, with a host.
fn on_a_small_stack(test: impl FnOnce(&ManualHost) + Send + 'static) {
    let run = move || {
        let (host, guard) = ManualHost::installed();
        test(&host);
        drop(guard);
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
}

/// A chain of `LONG` links, its first deferred and its last promise.
fn chain(link: Link) -> (Deferred, P) {
    let first = Deferred::new();
    let mut last = first.promise();
    for _ in 0..LONG {
        last = link(&last);
    }
    (first, last)
}

/// A promise that a callback of `before` settles.
fn by_callback(before: &P, add: impl FnOnce(&P, Deferred)) -> P {
    let next = Deferred::new();
    let promise = next.promise();
    add(before, next);
    promise
}

/// Makes the next promise of a chain.
type Link = fn(&P) -> P;

const LINKS: [(&str, Link); 6] = [
    ("race", |last| when_race([last.clone()])),
    ("done", |last| {
        by_callback(last, |last, next| {
            last.done(move |n| _ = next.resolve(*n));
        })
    }),
    ("always", |last| {
        by_callback(last, |last, next| {
            last.always(move |outcome| _ = outcome.map(|n| next.resolve(*n)));
        })
    }),
    ("all", |last| {
        by_callback(last, |last, next| {
            when_all([last.clone()]).done(move |values| _ = next.resolve(values[0]));
        })
    }),
    ("settled", |last| {
        by_callback(last, |last, next| {
            when_settled([last.clone()]).done(move |outcomes| _ = outcomes[0].as_ref().map(|n| next.resolve(*n)));
        })
    }),
    ("any", |last| {
        by_callback(last, |last, next| {
            when_any([last.clone()]).done(move |n| _ = next.resolve(*n));
        })
    }),
];

#[test]
fn groups_and_callbacks_that_settle_the_next_use_no_stack() {
    for (name, link) in LINKS {
        on_a_small_stack(move |_| {
            let (first, last) = chain(link);
            first.resolve(7);
            assert_eq!(last.outcome(), Some(Ok(&7)), "{name}");
        });
    }
}

#[test]
fn passed_on_rejections_use_no_stack() {
    on_a_small_stack(|_| {
        let (first, last) = chain(|last| {
            by_callback(last, |last, next| {
                last.fail(move |rejection| _ = next.reject(rejection.error().unwrap()));
            })
        });
        first.reject("no");
        assert_eq!(last.outcome(), Some(Err(&Rejection::from("no"))));
    });
}

#[test]
fn dropping_chains_from_either_end_uses_no_stack() {
    for (name, link) in LINKS {
        for first_goes_first in [true, false] {
            on_a_small_stack(move |_| {
                let (first, last) = chain(link);
                if first_goes_first {
                    drop(first);
                    assert_eq!(last.outcome(), Some(Err(&Rejection::Abandoned)), "{name}");
                } else {
                    drop(last);
                    drop(first);
                }
            });
        }
    }
}

#[test]
fn cancelling_chains_uses_no_stack() {
    for link in [|last: &P| when_race([last.clone()]), |last: &P| last.then(Ok), |last: &P| when_race([last.then(Ok)])]
    {
        on_a_small_stack(move |_| {
            let (first, last) = chain(link);
            assert!(last.cancel());
            assert_eq!(first.state(), State::Rejected, "nothing else waits for it");
        });
    }
}

#[test]
fn cancellers_that_cancel_or_drop_the_next_promise_use_no_stack() {
    for is_dropped in [false, true] {
        on_a_small_stack(move |_| {
            let all: Vec<_> = (0..LONG).map(|_| Deferred::new()).collect();
            for pair in all.windows(2) {
                let next = pair[1].promise();
                pair[0].on_cancel(move |_| if is_dropped { drop(next) } else { _ = next.cancel() });
            }
            let is_cancelled = Rc::new(Cell::new(false));
            let inside = is_cancelled.clone();
            all[LONG - 1].on_cancel(move |_| inside.set(true));
            let first = all[0].promise();
            if is_dropped {
                drop(first)
            } else {
                assert!(first.cancel())
            }
            assert!(is_cancelled.get() && all.iter().all(|one| one.state() == State::Rejected));
        });
    }
}

#[test]
fn cancellers_that_hold_the_next_deferred_use_no_stack() {
    on_a_small_stack(|_| {
        let first = Deferred::new();
        let mut last = first.clone();
        for _ in 0..LONG {
            let next = Deferred::new();
            let held = next.clone();
            last.on_cancel(move |_| drop(held));
            last = next;
        }
        let promise = last.promise();
        drop(last);
        first.resolve(1);
        assert_eq!(promise.outcome(), Some(Err(&Rejection::Abandoned)));
    });
}

#[test]
fn removed_callbacks_that_hold_the_next_deferred_use_no_stack() {
    on_a_small_stack(|host| {
        let first = Deferred::new();
        let mut last = first.clone();
        let mut ids = Vec::new();
        for _ in 0..LONG {
            let next = Deferred::new();
            let held = next.clone();
            ids.push(last.promise().on_settled(move |_| drop(held)));
            last = next;
        }
        let promise = last.promise();
        drop(last);
        assert_eq!(first.promise().remove(ids), 1);
        // Each of the others is scheduled and drops the next; the last promise is reported.
        assert_eq!(host.run_until_stalled(), LONG);
        assert_eq!(promise.outcome(), Some(Err(&Rejection::Abandoned)));
    });
}

#[test]
fn passed_on_progress_uses_no_stack() {
    on_a_small_stack(|_| {
        type Notifying = picot_deferred::Deferred<(), (), usize>;
        let first = Notifying::with_progress();
        let mut last = first.clone();
        for _ in 0..LONG {
            let next = Notifying::with_progress();
            let notified = next.clone();
            last.promise().progress(move |n| _ = notified.notify(n + 1));
            last = next;
        }
        let count = Rc::new(Cell::new(0));
        let inside = count.clone();
        last.promise().progress(move |n| inside.set(*n));
        first.notify(0);
        assert_eq!(count.get(), LONG);
        // The callbacks hold the chain, and the settling of the first drops them.
        first.resolve(());
    });
}

#[test]
fn values_that_hold_the_next_promise_use_no_stack() {
    #[derive(Clone)]
    struct Node(#[expect(dead_code, reason = "held for its drop")] Option<Promise<Node, ()>>);
    on_a_small_stack(|_| {
        let mut list = Promise::settled(Ok(Node(None)));
        for _ in 0..LONG {
            list = Promise::settled(Ok(Node(Some(list))));
        }
        drop(list);
    });
}

#[test]
fn adoptions_and_handlers_of_a_closing_host_use_no_stack() {
    on_a_small_stack(|host| {
        let (first, last) = chain(|last| {
            let adopted = last.clone();
            P::settled(Ok(0)).then(move |_| adopted)
        });
        assert_eq!(host.run_until_stalled(), LONG);
        let second = last.clone();
        assert!(last.cancel());
        assert_eq!(first.state(), State::Rejected, "a cancel goes up all adoptions");
        assert_eq!(second.outcome(), Some(Err(&Rejection::Cancelled)));

        let (first, last) = chain(|last| last.then(Ok));
        first.resolve(1);
        host.close();
        assert_eq!(last.outcome(), Some(Err(&Rejection::Abandoned)));
    });
}

#[test]
fn sixteen_settlings_nest_and_deeper_ones_run_after_the_callback_of_the_sixteenth() {
    let (_host, _guard) = ManualHost::installed();
    let trace = crate::trace::Trace::default();
    let all: Vec<_> = (0..20).map(|_| Deferred::new()).collect();
    for (nth, pair) in all.windows(2).enumerate() {
        let (next, inside) = (pair[1].clone(), trace.clone());
        pair[0].promise().done(move |_| {
            next.resolve(1);
            inside.add(nth);
        });
    }
    all[0].resolve(1);
    let inner = (0..16).rev();
    let order = [15, 16, 17, 18].into_iter().chain(inner.skip(1)).map(|nth| nth.to_string());
    assert_eq!(trace.take(), order.collect::<Vec<_>>(), "the promise is settled at once, its callbacks wait");
}
