//! Panics with the source location of the caller: each public function that needs a loop, called
//! without one.

use std::cell::RefCell;
use std::future::{pending, ready};
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use picot_executor::Executor;
use picot_loop::{EventLoop, Instant, VirtualClock};
use picot_tasks::{
    CancelScope, JoinSet, Scope, move_on_after, move_on_at, race, race_staggered, scope, shield, supervised, timeout,
    timeout_at,
};

use crate::trace::millis;

thread_local! {
    static SEEN: RefCell<Option<(String, u32, String)>> = const { RefCell::new(None) };
}

/// The place and the message of the panic of `f`.
fn panic_of(f: impl FnOnce()) -> (String, u32, String) {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().unwrap();
            let text = match info.payload().downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => info.payload().downcast_ref::<&str>().unwrap_or(&"").to_string(),
            };
            SEEN.set(Some((place.file().to_string(), place.line(), text)));
            before(info);
        }));
    });
    SEEN.set(None);
    panic::catch_unwind(AssertUnwindSafe(f)).expect_err("it needs a loop");
    SEEN.take().unwrap()
}

#[track_caller]
fn points_here(f: impl FnOnce()) {
    let here = Location::caller();
    let (file, line, text) = panic_of(f);
    assert_eq!((file.as_str(), line), (here.file(), here.line()), "{text}");
}

/// The panic is inside of a poll; its text names the line of the call.
#[track_caller]
fn names_this<F: Future>(f: F) {
    let here = Location::caller();
    let (_, _, text) = panic_of(|| _ = pin!(f).poll(&mut Context::from_waker(Waker::noop())));
    assert!(text.contains(&format!("{}:{}", here.file(), here.line())), "{text}");
}

#[test]
#[rustfmt::skip]
fn functions_that_need_a_loop_panic_at_the_line_of_the_caller() {
    let ms = millis(1);
    points_here(|| drop(timeout(ms, pending::<()>())));
    points_here(|| drop(move_on_after(ms, pending::<()>())));
    points_here(|| drop(CancelScope::with_timeout(ms)));
    points_here(|| drop(scope(async |_: Scope<'_, ()>| Ok(()))));
    points_here(|| drop(supervised(async |_| ())));
    points_here(|| drop(shield(pending::<()>())));
    points_here(|| _ = JoinSet::new().spawn(pending::<()>()));

    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let now = event_loop.run_until_complete(async { Instant::now() }).unwrap();
    drop(event_loop);
    names_this(timeout_at(now, pending::<()>()));
    names_this(move_on_at(now, pending::<()>()));
    names_this(CancelScope::with_deadline(now).run(pending::<()>()));
    names_this(race_staggered([pending::<Result<(), ()>>()], ms));
    names_this(race([] as [std::future::Ready<()>; 0]));
    // A closed loop ends its tasks, so that the wait would end before its limit. An executor
    // without a loop still runs its tasks.
    let executor = Executor::new();
    let mut set: JoinSet<()> = [executor.spawn(pending())].into_iter().collect();
    names_this(set.wait_all().limit(ms));
    let untouched = timeout(None, ready(1));
    assert!(pin!(untouched).poll(&mut Context::from_waker(Waker::noop())).is_ready(), "without a deadline it needs none");
}

#[test]
#[rustfmt::skip]
fn mistakes_with_scopes_panic_at_the_line_of_the_caller() {
    let used = CancelScope::new();
    drop(used.run(ready(())));
    points_here(|| drop(used.run(ready(()))));
    points_here(|| drop(used.clone().grace(Duration::ZERO)));
    picot_loop::run(async {
        let ended = Rc::new(RefCell::new(None));
        scope(async |s: Scope<'_, ()>| { ended.replace(Some(s)); Ok(()) }).await.unwrap();
        let ended = ended.take().unwrap();
        points_here(|| drop(ended.spawn(async {})));
        points_here(|| drop(ended.spawn_named("late", async {})));
        points_here(|| drop(ended.shield(async {})));
        points_here(|| drop(ended.start(async |_: picot_tasks::Started<()>| ())));
    });
}
