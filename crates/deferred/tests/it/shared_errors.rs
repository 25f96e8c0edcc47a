//! Errors that are not `Clone`: each await, handler and group shares the same error.

use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use picot_deferred::{Deferred, ManualHost, Promise, Rejection, when, when_all, when_any, when_race, when_settled};

type P = Promise<i32, io::Error>;

/// Polls the wait for `promise`, which must have ended.
fn outcome<T: Clone>(promise: Promise<T, io::Error>) -> Result<T, Rejection<io::Error>> {
    match pin!(promise.into_future()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the promise is pending"),
    }
}

/// The error of a rejection, to compare its address.
fn error<T>(outcome: Result<T, Rejection<io::Error>>) -> Arc<io::Error> {
    match outcome {
        Err(Rejection::Error(error)) => error,
        _ => panic!("not rejected with an error"),
    }
}

#[test]
fn awaits_handlers_and_groups_get_the_same_error() {
    let (host, _guard) = ManualHost::installed();
    let deferred = Deferred::<i32, io::Error>::new();
    let promise = deferred.promise();
    let next: [(&str, P); 8] = [
        ("await", promise.clone()),
        ("then", promise.then(|n| Ok(n + 1))),
        ("catch", promise.catch(|rejection| P::settled(Err(rejection)))),
        ("finally", promise.finally(|| Ok(()))),
        (
            "adopted",
            P::settled(Ok(1)).then({
                let promise = promise.clone();
                move |_| promise
            }),
        ),
        ("when", when(promise.clone())),
        ("when_all", when_all([promise.clone()]).then(|values| Ok(values[0]))),
        ("when_race", when_race([promise.clone()])),
    ];
    let pair = when((promise.clone(), ready(Ok("other"))));
    let settled = when_settled([promise.clone(), P::settled(Ok(1))]);
    let any = when_any([promise.clone()]);
    deferred.reject(io::Error::other("disk"));
    host.run_until_stalled();

    let first = error(outcome(promise));
    for (name, promise) in next {
        assert!(Arc::ptr_eq(&error(outcome(promise)), &first), "{name}");
    }
    assert!(Arc::ptr_eq(&error(outcome(pair)), &first));
    let outcomes = settled.outcome().unwrap().unwrap();
    assert!(matches!(&outcomes[..], [Err(Rejection::Error(error)), Ok(1)] if Arc::ptr_eq(error, &first)));
    let rejections = any.outcome().unwrap().unwrap_err().error().unwrap();
    assert!(matches!(&rejections[..], [Rejection::Error(error)] if Arc::ptr_eq(error, &first)));
}

#[test]
fn an_error_that_panics_in_its_drop_is_contained_and_reported() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a bug in Drop"));
        }
    }
    let (host, _guard) = ManualHost::installed();
    let promise = Promise::<i32, Bad>::settled(Err(Bad.into()));
    promise.fail(|_| {});
    // The check for an unhandled rejection holds the promise until its turn.
    host.run_until_stalled();
    drop(promise);
    let reports = host.take_reports();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].to_string().contains("a bug in Drop"), "{}", reports[0]);
}

#[test]
fn a_rejection_is_send_if_its_error_is_send_and_sync() {
    fn is_send<T: Send + Sync + std::error::Error + 'static>() {}
    is_send::<Rejection<io::Error>>();
}
