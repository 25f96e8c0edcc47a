//! Promises on the loop as their host: another thread wakes a loop that sleeps, and the loop's hook is told of rejections that
//! nobody looks at.

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
fn the_error_hook_is_told_of_a_rejection_that_nobody_looks_at() {
    let event_loop = EventLoop::new().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let inside = told.clone();
    event_loop.handle().set_error_hook(move |report| {
        if let Cause::Unhandled(reason) = &report.cause {
            inside.borrow_mut().push((reason.to_string(), report.origin.place.unwrap().line()));
        }
    });
    let made = line!() + 1;
    event_loop.run_until_complete(async { Deferred::<(), String>::new().reject("no".into()) }).unwrap();
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert_eq!(*told.borrow(), [("no".to_string(), made)]);
}
