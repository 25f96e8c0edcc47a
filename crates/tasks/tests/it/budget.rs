//! Every future that completes at once spends the budget: a loop over it lets the rest of the loop
//! run.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{Task, spawn, yield_now};
use picot_tasks::{
    CancelScope, Child, JoinSet, Scope, Started, as_completed, gather, gather_settled, move_on_after, move_on_at, race,
    race_staggered, scope, shield, supervised, timeout, timeout_at,
};

use crate::trace::run;

const MANY: usize = 2_000;

/// Runs `operation` many times beside a heartbeat, which must not fall behind by more than a
/// budget.
async fn beside_a_heartbeat(what: &str, mut operation: impl AsyncFnMut()) {
    let (done, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (seen_by, most_by) = (done.clone(), most.clone());
    let heartbeat = spawn(async move {
        let mut seen = 0;
        loop {
            most_by.set(most_by.get().max(seen_by.get() - seen));
            seen = seen_by.get();
            yield_now().await;
        }
    });
    for _ in 0..MANY {
        operation().await;
        done.set(done.get() + 1);
    }
    let last = heartbeat.cancel_and_wait("the test has ended").await;
    assert!(last.is_none());
    let most = most.get();
    assert!((1..=128).contains(&most), "{what}: {most} between two beats");
}

macro_rules! beside_a_heartbeat {
    ($($what:ident: $operation:expr;)*) => {$(
        #[test]
        fn $what() {
            run(|_| async { beside_a_heartbeat(stringify!($what), $operation).await });
        }
    )*};
}

fn cancelled_scope() -> CancelScope {
    let scope = CancelScope::new();
    scope.cancel("before");
    scope
}

beside_a_heartbeat! {
    gathers_of_what_is_ready: async || { gather([ready(Ok::<_, ()>(1))]).await.unwrap(); };
    gathers_of_nothing: async || { gather([] as [std::future::Ready<Result<(), ()>>; 0]).await.unwrap(); };
    gathers_of_an_error: async || { gather((ready(Err::<(), _>(1)), ready(Ok(())))).await.unwrap_err(); };
    gathers_of_outcomes: async || _ = gather_settled((ready(1), ready(2))).await;
    races: async || _ = race([ready(1)]).await;
    races_of_tuples: async || _ = race((ready(1), ready(2))).await;
    staggered_races: async || _ = race_staggered([ready(Ok::<_, ()>(1))], Duration::ZERO).await;
    staggered_races_of_nothing: async || _ = race_staggered([] as [std::future::Ready<Result<(), ()>>; 0], Duration::ZERO).await;
    completions: async || _ = as_completed([ready(1)]).next().await;
    completions_of_nothing: async || _ = as_completed([] as [std::future::Ready<()>; 0]).next().await;
    timeouts: async || timeout(Duration::MAX, ready(())).await.unwrap();
    timeouts_that_pass_at_once: async || _ = timeout_at(None, ready(())).await;
    moves_on: async || move_on_after(None, ready(())).await.unwrap();
    moves_on_at: async || move_on_at(None, ready(())).await.unwrap();
    cancel_scopes: async || CancelScope::new().run(ready(())).await.unwrap();
    scopes: async || scope(async |_: Scope<'_, ()>| Ok(())).await.unwrap();
    supervised_scopes: async || supervised(async |_| ()).await;
}

#[test]
fn cancelled_tokens() {
    run(|_| async {
        let token = cancelled_scope().token();
        beside_a_heartbeat("cancelled", async || _ = token.cancelled().await).await;
    });
}

#[test]
fn scopes_that_are_cancelled_before_their_run() {
    run(|_| async {
        beside_a_heartbeat("run", async || _ = cancelled_scope().run(ready(())).await).await;
    });
}

#[test]
fn sets_that_are_empty_or_full_of_ended_tasks() {
    run(|_| async {
        let mut set = JoinSet::<()>::new();
        beside_a_heartbeat("next of an empty set", async || _ = set.next().await).await;
        beside_a_heartbeat("wait for an empty set", async || _ = set.wait_all().await).await;
        beside_a_heartbeat("cancel_and_wait", async || JoinSet::<()>::new().cancel_and_wait("the end").await).await;
        set.extend((0..MANY).map(|_| spawn(async {})));
        yield_now().await;
        beside_a_heartbeat("next", async || _ = set.next().await.unwrap()).await;
        let tasks: RefCell<Vec<Task<()>>> = RefCell::new((0..MANY).map(|_| spawn(async {})).collect());
        yield_now().await;
        let wait_for_one = async || {
            let mut set: JoinSet<_> = [tasks.borrow_mut().pop().unwrap()].into_iter().collect();
            set.wait_all().await.unwrap();
        };
        beside_a_heartbeat("wait", wait_for_one).await;
        let shields: RefCell<Vec<_>> = RefCell::new((0..MANY).map(|_| shield(async {})).collect());
        yield_now().await;
        beside_a_heartbeat("shield", async || {
            let work = shields.borrow_mut().pop().unwrap();
            work.await.unwrap();
        })
        .await;
    });
}

#[test]
fn children_that_have_ended() {
    run(|_| async {
        supervised(async |s| {
            let children: RefCell<Vec<Child<()>>> = RefCell::new((0..MANY).map(|_| s.spawn(async {})).collect());
            while !s.is_empty() {
                yield_now().await;
            }
            beside_a_heartbeat("child", async || {
                let child = children.borrow_mut().pop().unwrap();
                child.await.unwrap();
            })
            .await;
        })
        .await;
        let result = scope(async |s: Scope<'_, ()>| {
            let starts: RefCell<Vec<_>> = RefCell::default();
            for _ in 0..MANY {
                starts.borrow_mut().push(s.start(async |started: Started<()>| started.ready(())));
            }
            while !s.is_empty() {
                yield_now().await;
            }
            beside_a_heartbeat("start", async || {
                let start = starts.borrow_mut().pop().unwrap();
                drop(start.await.unwrap());
            })
            .await;
            Ok(())
        });
        result.await.unwrap();
    });
}
