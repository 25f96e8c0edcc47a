//! Promises on the loop as their host: another thread wakes a sleeping loop, and the error hook
//! gets unhandled rejections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;

use picot::event_loop::Cause;
use picot::{Deferred, EventLoop};

#[test]
fn a_resolver_wakes_the_loop_from_another_thread() {
    let event_loop = EventLoop::new().unwrap();
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (resolver, caller): (picot::deferred::Resolver<i32, String>, _) = receiver.recv().unwrap();
        assert_ne!(caller, std::thread::current().id());
        resolver.resolve(7)
    });
    let settled_on = Rc::new(RefCell::new(None));
    let noted = settled_on.clone();
    let outcome = event_loop.run_until_complete(async move {
        let deferred = Deferred::<i32, String>::new();
        let promise = deferred.promise();
        promise.done(move |_| _ = noted.replace(Some(std::thread::current().id())));
        sender.send((deferred.resolver(), std::thread::current().id())).unwrap();
        promise.await
    });
    assert_eq!(outcome.unwrap(), Ok(7));
    assert_eq!(*settled_on.borrow(), Some(std::thread::current().id()));
    assert_eq!(thread.join().unwrap(), Ok(()));
}

#[test]
fn the_error_hook_gets_an_unhandled_rejection() {
    let event_loop = EventLoop::new().unwrap();
    let reported = Rc::new(RefCell::new(Vec::new()));
    let inside = reported.clone();
    event_loop.handle().set_error_hook(move |report| {
        if let Cause::Unhandled(reason) = &report.cause {
            inside.borrow_mut().push((reason.to_string(), report.origin.place.unwrap().line()));
        }
    });
    let made = line!() + 1;
    event_loop.run_until_complete(async { Deferred::<(), String>::new().reject("no".into()) }).unwrap();
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert_eq!(*reported.borrow(), [("no".to_string(), made)]);
}

#[test]
fn a_rejection_of_the_last_turn_is_reported_when_the_loop_closes() {
    let event_loop = EventLoop::new().unwrap();
    let reported = Rc::new(RefCell::new(Vec::new()));
    let inside = reported.clone();
    event_loop.handle().set_error_hook(move |report| inside.borrow_mut().push(report.to_string()));
    let late = event_loop.run_until_complete(async {
        let late = Deferred::<(), String>::new();
        Deferred::<(), String>::new().reject("unhandled".into());
        late.reject("handled before the loop closes".into());
        late.promise()
    });
    // As in asyncio, the return of a run decides nothing: the next run may handle the rejection.
    assert!(reported.borrow().is_empty());
    late.unwrap().fail(|_| {});
    drop(event_loop);
    assert_eq!(reported.borrow().len(), 1, "{reported:?}");
    assert!(reported.borrow()[0].contains("unhandled"), "{reported:?}");
}
