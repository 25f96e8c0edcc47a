//! Chains: values are mapped, rejections are passed on, promises are adopted.

use std::cell::RefCell;
use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::{Promise, Rejection, State};

use crate::trace::{Deferred, Trace};

#[test]
fn a_handler_maps_the_value_and_can_reject() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let first = deferred.promise().then(|n| Ok(n + 1));
    first.then(|n| Ok(format!("text {n}"))).done(trace.note("mapped"));
    first.then(|_| Err::<(), _>("refused")).fail(trace.note("rejected"));
    deferred.resolve(1);
    assert_eq!((first.state(), trace.take().len()), (State::Pending, 0), "not inside of `resolve`");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["mapped text 2", "rejected Error(refused)"]);
}

#[test]
fn a_rejection_skips_the_handler() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let handler = trace.clone();
    let next = deferred.promise().then(move |n| {
        handler.add("not reached");
        Ok(n)
    });
    next.then(Ok).fail(trace.note("fail"));
    deferred.reject("no");
    assert!(trace.take().is_empty(), "not inside of `reject`");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["fail Error(no)"]);
}

#[test]
fn a_returned_promise_is_adopted_whether_pending_or_settled() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, inner, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    let promise = inner.promise();
    let next = deferred.promise().then(move |_| promise);
    next.done(trace.note("adopted"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(next.state(), State::Pending);
    inner.resolve(2);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["adopted 2"]);

    let settled = inner.promise();
    deferred.promise().then(move |_| settled).done(trace.note("adopted"));
    host.run_until_stalled();
    assert_eq!(trace.take(), ["adopted 2"]);
}

#[test]
fn a_handler_that_returns_its_own_promise_is_rejected_and_does_not_hang() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let own = Rc::new(RefCell::new(None::<Promise<i32, &'static str>>));
    let inner = own.clone();
    let next = deferred.promise().then(move |_| inner.take().unwrap());
    next.fail(trace.note("fail"));
    own.replace(Some(next));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["fail Cycle"]);
}

/// The length of a chain that would not fit on a stack.
const LONG: usize = if cfg!(miri) { 200 } else { 1_000_000 };

/// A chain in which each promise has adopted the previous one, and the first is pending.
fn adoptions(host: &ManualHost, first: &Deferred) -> Promise<i32, &'static str> {
    let mut promise = first.promise();
    for _ in 0..LONG {
        let adopted = promise;
        promise = Promise::settled(Ok(0)).then(move |_| adopted);
    }
    assert_eq!(host.run_until_stalled(), LONG);
    promise
}

#[test]
fn a_chain_of_a_million_adoptions_does_not_use_the_stack() {
    let (host, _guard) = ManualHost::installed();
    let (first, trace) = (Deferred::new(), Trace::default());
    let promise = adoptions(&host, &first);
    promise.done(trace.note("done"));
    first.resolve(7);
    assert_eq!(host.run_until_stalled(), LONG);
    assert_eq!(trace.take(), ["done 7"]);
}

#[test]
fn dropping_a_chain_of_a_million_adoptions_does_not_use_the_stack() {
    for close in [false, true] {
        let (host, _guard) = ManualHost::installed();
        let (first, trace) = (Deferred::new(), Trace::default());
        let promise = adoptions(&host, &first);
        promise.fail(trace.note("fail"));
        drop(promise);
        if close {
            host.close();
        }
        drop(first);
        assert_eq!(trace.take().len(), usize::from(close), "a closed host drops the handlers at once");
        assert_eq!(host.run_until_stalled(), if close { 0 } else { LONG });
        if !close {
            assert_eq!(trace.take(), ["fail Abandoned"]);
        }
    }
}

#[test]
fn a_host_that_closes_over_a_million_handlers_does_not_use_the_stack() {
    let (host, _guard) = ManualHost::installed();
    let (first, trace) = (Deferred::new(), Trace::default());
    let mut promise = first.promise();
    for _ in 0..LONG {
        promise = promise.then(Ok);
    }
    promise.fail(trace.note("fail"));
    first.resolve(1);
    host.close();
    assert_eq!(trace.take(), ["fail Abandoned"]);
}

#[test]
fn a_closed_host_abandons_what_was_scheduled() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let next = deferred.promise().then(Ok);
    next.fail(trace.note("fail"));
    host.close();
    deferred.resolve(1);
    assert_eq!(trace.take(), ["fail Abandoned"]);
}

#[test]
fn the_only_consumer_gets_the_value_itself_and_others_get_clones() {
    #[derive(Debug)]
    struct Counted(Rc<RefCell<u32>>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            *self.0.borrow_mut() += 1;
            Counted(self.0.clone())
        }
    }
    let (host, _guard) = ManualHost::installed();
    let clones = Rc::new(RefCell::new(0));
    let deferred = picot_deferred::Deferred::<Counted, ()>::new();
    let _next = deferred.promise().then(|_| Ok(()));
    deferred.resolve(Counted(clones.clone()));
    drop(deferred);
    host.run_until_stalled();
    assert_eq!(*clones.borrow(), 0);

    let deferred = picot_deferred::Deferred::<Counted, ()>::new();
    let _one = deferred.promise().then(|_| Ok(()));
    let _other = deferred.promise().then(|_| Ok(()));
    deferred.resolve(Counted(clones.clone()));
    drop(deferred);
    host.run_until_stalled();
    assert_eq!(*clones.borrow(), 1, "the last of the two is the only one left");
}

#[test]
fn catch_recovers_and_a_value_skips_it() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, other, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    let inside = trace.clone();
    let recovered = deferred.promise().catch(move |rejection| {
        inside.add(rejection);
        Ok(6)
    });
    recovered.done(trace.note("recovered"));
    recovered.then(|n| Ok(n + 1)).done(trace.note("goes on"));
    other.promise().catch(|_| -> Result<_, _> { unreachable!("there is a value") }).done(trace.note("passes"));
    deferred.reject("no");
    other.resolve(1);
    trace.add("settled");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["settled", "Error(no)", "recovered 6", "passes 1", "goes on 7"]);
}

#[test]
fn catch_can_reject_again_adopt_or_pass_on_other_rejections() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let promise = deferred.promise();
    promise.catch(|_| Err("worse")).fail(trace.note("anew"));
    let inner = Deferred::new();
    inner.resolve(2);
    let adopted = inner.promise();
    promise.catch(move |_| adopted).done(trace.note("adopted"));
    promise.catch(|_| -> Result<i32, _> { std::panic::resume_unwind(Box::new("boom")) }).fail(trace.note("panics"));
    deferred.reject("no");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["anew Error(worse)", "panics Panicked", "adopted 2"]);

    let pass = |rejection| {
        Promise::settled(match rejection {
            Rejection::Error(_) => Ok(0),
            other => Err(other),
        })
    };
    let abandoned = Deferred::new();
    abandoned.promise().catch(pass).fail(trace.note("passed on"));
    drop(abandoned);
    promise.catch(pass).done(trace.note("replaced"));
    host.run_until_stalled();
    let mut passed = trace.take();
    passed.sort();
    assert_eq!(passed, ["passed on Abandoned", "replaced 0"]);
}

#[test]
fn finally_passes_the_outcome_on_unless_it_fails() {
    let (host, _guard) = ManualHost::installed();
    let (good, bad, trace) = (Deferred::new(), Deferred::new(), Trace::default());
    let note = || {
        let trace = trace.clone();
        move || {
            trace.add("finally");
            Ok(())
        }
    };
    good.promise().finally(note()).always(trace.outcome("good"));
    bad.promise().finally(note()).always(trace.outcome("bad"));
    good.promise().finally(|| Err("from finally")).always(trace.outcome("fails"));
    bad.promise()
        .finally(|| -> Result<(), _> { std::panic::resume_unwind(Box::new("boom")) })
        .always(trace.outcome("panics"));
    good.resolve(1);
    bad.reject("no");
    assert!(trace.take().is_empty());
    host.run_until_stalled();
    let expected = [
        "finally",
        "good Ok(1)",
        "fails Err(Error(from finally))",
        "finally",
        "bad Err(Error(no))",
        "panics Err(Panicked)",
    ];
    assert_eq!(trace.take(), expected);
}

#[test]
fn finally_waits_for_the_promise_that_it_returns() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let gate = picot_deferred::Deferred::<(), &'static str>::new();
    let (open, shut) = (gate.promise(), picot_deferred::Deferred::<(), &'static str>::new());
    let closed = shut.promise();
    deferred.promise().finally(move || open).done(trace.note("open"));
    deferred.promise().finally(move || closed).fail(trace.note("shut"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert!(trace.take().is_empty());
    gate.resolve(());
    shut.reject("no");
    host.run_until_stalled();
    assert_eq!(trace.take(), ["open 1", "shut Error(no)"]);
}

#[test]
fn a_value_whose_clone_panics_rejects_the_next_promise() {
    struct Fragile;
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            std::panic::resume_unwind(Box::new("not twice"));
        }
    }
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (picot_deferred::Deferred::<Fragile, ()>::new(), Trace::default());
    let promise = deferred.promise();
    promise.then(|_| Ok(())).fail(trace.note("fail"));
    picot_deferred::when_all([promise.clone()]).fail(trace.note("group"));
    deferred.resolve(Fragile);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["group Panicked", "fail Panicked"]);
    assert_eq!(host.take_reports().len(), 2);
}
