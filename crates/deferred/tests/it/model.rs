//! Any series of operations matches a model of the rules: the first settling wins, callbacks run at
//! once and in order, and handlers run in later turns and in order.

use picot_context::ManualHost;
use picot_deferred::CallbackId;
use proptest::prelude::*;

use crate::trace::{Deferred, Trace};

#[derive(Clone, Debug)]
enum Operation {
    Resolve(i32),
    Reject,
    Cancel,
    Done,
    Fail,
    Always,
    Then,
    OnSettled,
    /// The nth callback of `OnSettled`, if there is one.
    Remove(usize),
    Turn,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..9).prop_map(Operation::Resolve),
        Just(Operation::Reject),
        Just(Operation::Cancel),
        Just(Operation::Done),
        Just(Operation::Fail),
        Just(Operation::Always),
        Just(Operation::Then),
        Just(Operation::OnSettled),
        (0..4_usize).prop_map(Operation::Remove),
        Just(Operation::Turn),
    ]
}

/// A registered callback, by its number, which is recorded with the outcome.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Values,
    Rejections,
    Both,
}

#[derive(Default)]
struct Model {
    outcome: Option<String>,
    callbacks: Vec<(usize, Wants)>,
    handlers: Vec<(usize, Wants)>,
    queue: Vec<(usize, Wants)>,
    events: Vec<String>,
}

impl Model {
    fn run(&mut self, (number, wants): (usize, Wants)) {
        let outcome = self.outcome.clone().unwrap();
        let is_wanted = match wants {
            Wants::Values => outcome.starts_with("Ok"),
            Wants::Rejections => outcome.starts_with("Err"),
            Wants::Both => true,
        };
        if is_wanted {
            self.events.push(format!("{number} {outcome}"));
        }
    }

    fn settle(&mut self, outcome: String) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(outcome);
        self.queue.append(&mut self.handlers);
        std::mem::take(&mut self.callbacks).into_iter().for_each(|callback| self.run(callback));
        true
    }

    fn call(&mut self, callback: (usize, Wants)) {
        if self.outcome.is_some() { self.run(callback) } else { self.callbacks.push(callback) }
    }

    fn handle(&mut self, handler: (usize, Wants)) {
        if self.outcome.is_some() { self.queue.push(handler) } else { self.handlers.push(handler) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_promise_matches_its_model(operations in proptest::collection::vec(operation(), 0..24)) {
        let (host, _guard) = ManualHost::installed();
        let (deferred, trace, mut model) = (Deferred::new(), Trace::default(), Model::default());
        let promise = deferred.promise();
        // Handles the rejection, so that no check of it is queued.
        promise.fail(|_| {});
        let mut ids: Vec<(usize, CallbackId)> = Vec::new();
        let mut next_promises = Vec::new();
        for (number, operation) in operations.into_iter().enumerate() {
            let inside = trace.clone();
            match operation {
                Operation::Resolve(n) => prop_assert_eq!(deferred.resolve(n), model.settle(format!("Ok({n})"))),
                Operation::Reject => prop_assert_eq!(deferred.reject("no"), model.settle("Err(Error(no))".into())),
                Operation::Cancel => prop_assert_eq!(promise.cancel(), model.settle("Err(Cancelled)".into())),
                Operation::Done => {
                    model.call((number, Wants::Values));
                    promise.done(move |n| inside.add(format!("{number} Ok({n})")));
                }
                Operation::Fail => {
                    model.call((number, Wants::Rejections));
                    promise.fail(move |rejection| inside.add(format!("{number} Err({rejection:?})")));
                }
                Operation::Always => {
                    model.call((number, Wants::Both));
                    promise.always(move |outcome| inside.add(format!("{number} {outcome:?}")));
                }
                Operation::Then => {
                    model.handle((number, Wants::Values));
                    let next = promise.then(move |n| {
                        inside.add(format!("{number} Ok({n})"));
                        Ok(())
                    });
                    next.fail(|_| {});
                    next_promises.push(next);
                }
                Operation::OnSettled => {
                    model.handle((number, Wants::Both));
                    ids.push((number, promise.on_settled(move |outcome| inside.add(format!("{number} {outcome:?}")))));
                }
                Operation::Remove(nth) => {
                    let Some(&(number, id)) = ids.get(nth) else { continue };
                    let before = model.handlers.len();
                    model.handlers.retain(|(other, _)| *other != number);
                    prop_assert_eq!(promise.remove([id]), before - model.handlers.len());
                }
                Operation::Turn => {
                    let batch = std::mem::take(&mut model.queue);
                    prop_assert_eq!(host.turn(), batch.len());
                    batch.into_iter().for_each(|handler| model.run(handler));
                }
            }
            prop_assert_eq!(trace.take(), std::mem::take(&mut model.events));
        }
    }
}
