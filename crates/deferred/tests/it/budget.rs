//! An await that completes at once spends the budget, so that a loop over such awaits lets other
//! tasks run.

use std::cell::Cell;
use std::rc::Rc;

use picot_context::{Host, ManualHost, budget};
use picot_deferred::{Promise, Rejection, when, when_race};

type P = Promise<i32, &'static str>;

#[test]
fn a_loop_over_awaits_of_settled_promises_lets_other_tasks_run() {
    let make: [fn() -> P; 4] = [
        || P::settled(Ok(1)),
        || P::settled(Err(Rejection::Cancelled)),
        || when(P::settled(Ok(1))),
        || when_race([P::settled(Ok(1)), P::settled(Ok(2))]),
    ];
    for make in make {
        let (host, _guard) = ManualHost::installed();
        let awaits = Rc::new(Cell::new(0));
        let (count, place) = (awaits.clone(), std::panic::Location::caller());
        let looping = async move {
            while count.get() < 100 * budget::PER_STEP {
                let _ = make().await;
                count.set(count.get() + 1);
            }
        };
        host.spawn(place, Box::pin(looping)).unwrap();
        for step in 1..=3 {
            assert!(host.step(), "the task is woken again");
            assert_eq!(awaits.get(), step * budget::PER_STEP);
        }
    }
}
