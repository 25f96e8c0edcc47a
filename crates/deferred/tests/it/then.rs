//! Chains: values are mapped, rejections pass by, promises are adopted.

use std::cell::RefCell;
use std::rc::Rc;

use picot_context::ManualHost;
use picot_deferred::{Promise, State};

use crate::trace::{Deferred, Trace};

#[test]
fn a_handler_maps_the_value_and_may_reject() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let first = deferred.promise().then(|n| Ok(n + 1));
    first.then(|n| Ok(format!("text {n}"))).done(trace.note("mapped"));
    first.then(|_| Err::<(), _>("refused")).fail(trace.note("rejected"));
    deferred.resolve(1);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["mapped text 2", "rejected Error(refused)"]);
}

#[test]
fn a_rejection_passes_by_the_handler() {
    let (host, _guard) = ManualHost::installed();
    let (deferred, trace) = (Deferred::new(), Trace::default());
    let handler = trace.clone();
    let next = deferred.promise().then(move |n| {
        handler.add("not reached");
        Ok(n)
    });
    next.then(Ok).fail(trace.note("fail"));
    deferred.reject("no");
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

#[test]
fn a_long_chain_of_adoptions_does_not_use_the_stack() {
    let (host, _guard) = ManualHost::installed();
    let (first, trace) = (Deferred::new(), Trace::default());
    let mut promise = first.promise();
    for _ in 0..if cfg!(miri) { 200 } else { 20_000 } {
        let deferred = Deferred::new();
        let adopted = promise;
        promise = deferred.promise().then(move |_| adopted);
        deferred.resolve(0);
    }
    promise.done(trace.note("done"));
    first.resolve(7);
    host.run_until_stalled();
    assert_eq!(trace.take(), ["done 7"]);
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
