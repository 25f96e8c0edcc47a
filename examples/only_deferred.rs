//! picot-deferred alone: no loop, no executor, no thread but the program's own. A queue that is
//! driven by hand is the host, and the program prints what happens in which turn.

use picot_context::ManualHost;
use picot_deferred::{Deferred, Rejection, when_all};

fn main() {
    let (host, _guard) = ManualHost::installed();
    let turn = || println!("turn: {} ran", host.turn());

    let breakfast = Deferred::<&str, String>::new();
    breakfast.promise().done(|what| println!("done: {what}, at once"));
    let next = breakfast.promise().then(|what| Ok(what.len()));
    next.done(|letters| println!("then: {letters} letters, a turn later"));
    breakfast.resolve("porridge");
    println!("resolved");
    turn();

    let parts: Vec<_> = (0..3).map(|_| Deferred::<i32, String>::new()).collect();
    when_all(parts.iter().map(Deferred::promise)).done(|sum| println!("when_all: {sum:?}"));
    for (n, part) in parts.iter().enumerate().rev() {
        part.resolve(n as i32 * 10);
    }

    let download = Deferred::<(), String>::new();
    download.on_cancel(|_| println!("cancelled: the download stops"));
    let shown = download.promise().then(|()| Ok(()));
    shown.cancel();

    let forgotten = Deferred::<(), String>::new();
    forgotten.promise().fail(|rejection| println!("fail: {rejection}"));
    drop(forgotten);

    let elsewhere = Deferred::<i32, String>::new();
    let (promise, resolver) = (elsewhere.promise(), elsewhere.resolver());
    std::thread::spawn(move || resolver.resolve(7)).join().expect("it does not panic").expect("the promise is pending");
    host.run_until_stalled();
    println!("from a thread: {:?}", promise.outcome());

    Deferred::<(), _>::new().reject("unhandled".to_string());
    host.run_until_stalled();
    for report in host.take_reports() {
        println!("report: {}", report.cause);
    }
    assert_eq!(shown.outcome(), Some(Err(&Rejection::Cancelled)));
}
