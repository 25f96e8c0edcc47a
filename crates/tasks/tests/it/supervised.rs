//! Supervised scopes: the failure of a child does not end the others.

use picot_loop::{sleep, yield_now};
use picot_tasks::supervised;

use crate::trace::{millis, reports, run};

/// Panics without a line on standard error, and with a type that is not `!`.
fn panics(text: &'static str) {
    std::panic::resume_unwind(Box::new(text));
}

#[test]
fn an_error_or_a_panic_of_a_child_does_not_end_the_others() {
    run(|trace| async move {
        let (values, reports) = (vec![1, 2, 3], reports());
        let sum = supervised(async |s| {
            let bad = s.spawn(async { Err::<i32, _>("no") });
            let worse = s.spawn(async {
                sleep(millis(1)).await;
                panics("boom");
            });
            let good = s.spawn_named("good", async {
                sleep(millis(2)).await;
                trace.add("good");
                values.iter().sum::<i32>()
            });
            assert_eq!(s.len(), 3);
            assert_eq!(bad.await.unwrap(), Err("no"));
            assert!(worse.await.unwrap_err().is_panic());
            good.await.unwrap()
        });
        assert_eq!(sum.await, 6);
        assert_eq!(trace.take(), ["good"]);
        yield_now().await;
        assert_eq!(reports.take(), Vec::<String>::new(), "the waiter got the panic");
    });
}

#[test]
fn a_panic_without_a_wait_is_reported_at_once() {
    run(|trace| async move {
        let reports = reports();
        supervised(async |s| {
            drop(s.spawn(async { panics("alone") }));
            sleep(millis(1)).await;
            assert_eq!(reports.take(), ["panicked with \"alone\""]);
            let _ = s.spawn(async {
                sleep(millis(1)).await;
                trace.add("the last");
            });
        })
        .await;
        assert_eq!(trace.take(), ["the last"]);
    });
}
