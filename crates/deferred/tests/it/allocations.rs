//! One allocation for a deferred with its promise, one for a callback, none for a member of a
//! group.

use picot_context::ManualHost;
use picot_deferred::{Promise, when_all};
use picot_testkit::alloc::{Counting, allocations, allocations_of};

use crate::trace::Deferred;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_deferred_with_its_promise_is_one_allocation_and_settling_is_none() {
    let (_host, _guard) = ManualHost::installed();
    let (count, (deferred, promise)) = allocations_of(|| {
        let deferred = Deferred::new();
        let promise = deferred.promise();
        (deferred, promise)
    });
    assert_eq!(count, 1);
    assert_eq!(allocations(|| _ = deferred.resolve(1)), 0);
    assert_eq!(allocations(|| drop(promise.clone())), 0);
}

#[test]
fn a_callback_is_one_allocation_and_one_without_captures_is_none() {
    let (_host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    let promise = deferred.promise();
    let held = std::rc::Rc::new(());
    assert_eq!(allocations(|| _ = promise.done(move |_| drop(held))), 1);
    assert_eq!(allocations(|| _ = deferred.resolve(1)), 0);
    assert_eq!(allocations(|| _ = promise.done(|_| {})), 0);
}

#[test]
fn a_then_allocates_its_promise_and_its_handler() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::new();
    // The queue of the host grows first.
    drop(deferred.promise().then(Ok));
    deferred.resolve(1);
    host.run_until_stalled();
    let deferred = Deferred::new();
    let (count, next) = allocations_of(|| deferred.promise().then(|n| Ok(n + 1)));
    assert_eq!(count, 2);
    let count = allocations(|| {
        deferred.resolve(1);
        host.run_until_stalled();
    });
    assert_eq!(count, 0, "the handler is passed to the host without another box");
    assert_eq!(next.outcome(), Some(Ok(&2)));
}

#[test]
fn a_group_allocates_the_same_for_ten_members_as_for_ten_thousand() {
    let (_host, _guard) = ManualHost::installed();
    let count = |members: usize| {
        let members: Vec<_> = (0..members).map(|_| Deferred::new()).collect();
        let (made, group) = allocations_of(|| when_all(members.iter().map(Deferred::promise)));
        let settled = allocations(|| members.iter().for_each(|member| _ = member.resolve(1)));
        assert_eq!(group.outcome().map(|values| values.map(Vec::len)), Some(Ok(members.len())));
        (made, settled)
    };
    assert_eq!(count(10), count(if cfg!(miri) { 100 } else { 10_000 }));
    assert_eq!(count(10).0, 3, "the list of the members, the group, its promise");
}

#[test]
fn a_settled_promise_is_one_allocation() {
    let (_host, _guard) = ManualHost::installed();
    assert_eq!(allocations(|| drop(Promise::<i32, ()>::settled(Ok(1)))), 1);
}
