//! Each registration is undone: after each kind of end, no member holds a waker, no timer runs, and
//! no waker of the waiter is left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use picot_loop::{EventLoop, VirtualClock, spawn, yield_now};
use picot_tasks::{
    CancelScope, JoinSet, Scope, Started, as_completed, gather, gather_settled, move_on_after, race, race_staggered,
    scope, shield, supervised, timeout,
};

use crate::trace::{millis, run};

/// An object that stays pending and keeps a list of its waiters.
#[derive(Clone, Default)]
struct Source {
    waiting: Rc<RefCell<BTreeMap<usize, Waker>>>,
    last: Rc<Cell<usize>>,
}

/// Waits for a source; its drop removes it from the list.
struct Listed {
    source: Source,
    number: usize,
}

impl Source {
    fn wait(&self) -> Listed {
        self.last.set(self.last.get() + 1);
        Listed { source: self.clone(), number: self.last.get() }
    }

    fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

impl Future for Listed {
    type Output = Result<u32, u32>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let old = self.source.waiting.borrow_mut().insert(self.number, cx.waker().clone());
        drop(old);
        Poll::Pending
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let old = self.source.waiting.borrow_mut().remove(&self.number);
        drop(old);
    }
}

struct Plain;

impl Wake for Plain {
    fn wake(self: Arc<Plain>) {}
}

/// Polls a future inside of a step until it has ended or `polls` polls were made. It is kept after
/// its end, and then dropped; each time the lists must be as before.
fn check<F: Future>(what: &str, polls: usize, make: impl FnOnce(Source) -> F) {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let (source, plain) = (Source::default(), Arc::new(Plain));
    let waker = Waker::from(plain.clone());
    let wakers = Arc::strong_count(&plain);
    event_loop
        .run_until_complete(async {
            let mut future = Box::pin(make(source.clone()));
            let mut has_ended = false;
            for _ in 0..polls {
                // The loop runs meanwhile, under a waker of the test's own.
                has_ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
                if has_ended {
                    assert_eq!(source.len(), 0, "{what} has ended and left members waiting");
                    assert_eq!(picot_loop::LoopHandle::current().metrics().snapshot().timers, 0, "{what} left a timer");
                    break;
                }
                picot_loop::sleep(millis(2)).await;
            }
            assert!(has_ended || polls < 50, "{what} never ends");
            drop(future);
            // Tasks that were cancelled are dropped at their next step.
            yield_now().await;
            yield_now().await;
            assert_eq!(source.len(), 0, "{what} was dropped and left members waiting");
            assert_eq!(picot_loop::LoopHandle::current().metrics().snapshot().timers, 0, "{what} left a timer");
        })
        .unwrap();
    assert_eq!(Arc::strong_count(&plain), wakers, "{what} left a waker");
    assert!(event_loop.close().unwrap().tasks.is_empty(), "{what} left a task");
}

macro_rules! each_end {
    ($($what:literal: $make:expr;)*) => {
        for polls in [0, 1, 2, 50] {
            $(check($what, polls, $make);)*
        }
    };
}

#[test]
fn groups_that_have_settled_or_were_dropped_leave_nothing_at_their_members() {
    each_end! {
        "gather with an error": |source: Source| async move {
            let members = (0..40).map(|n| { let source = source.clone(); async move { if n == 20 { Err(0) } else { source.wait().await } } });
            gather(members).await.unwrap_err()
        };
        "gather of few with an error": |source: Source| async move {
            let members = (0..4).map(|n| { let source = source.clone(); async move { if n == 2 { Err(0) } else { source.wait().await } } });
            gather(members).await.unwrap_err()
        };
        "gather of a tuple with an error": |source: Source| async move {
            gather((source.wait(), ready(Err::<(), _>(0)), source.wait())).await.unwrap_err()
        };
        "gather_settled in a timeout": |source: Source| async move {
            let members = [source.wait(), source.wait()];
            timeout(millis(1), gather_settled(members)).await.unwrap_err();
            timeout(millis(1), gather_settled((source.wait(), source.wait()))).await.unwrap_err();
        };
        "race": |source: Source| async move {
            let members = (0..20).map(|n| { let source = source.clone(); async move { if n == 10 { Ok(0) } else { source.wait().await } } });
            race(members).await.unwrap();
            race((source.wait(), ready(Ok(1)), source.wait())).await.unwrap()
        };
        "race_staggered": |source: Source| async move {
            let members = (0..3).map(|n| { let source = source.clone(); async move { if n == 2 { Ok(0) } else { source.wait().await } } });
            race_staggered(members, millis(1)).await.unwrap()
        };
        "as_completed": |source: Source| async move {
            let members = (0..20).map(|n| { let source = source.clone(); async move { if n == 10 { Ok(0) } else { source.wait().await } } });
            as_completed(members).next().await.unwrap().1.unwrap()
        };
        "JoinSet": |source: Source| async move {
            let mut set = JoinSet::new();
            set.spawn(async { Ok(0) });
            let inside = source.clone();
            set.spawn(async move { inside.wait().await });
            set.wait_first().await.unwrap();
            set.wait_all().limit(millis(1)).await.unwrap();
            assert!(timeout(millis(1), set.next()).await.is_err());
            set.cancel_and_wait("the end").await;
        };
        "timeout": |source: Source| async move {
            timeout(millis(1), source.wait()).await.unwrap_err();
            timeout(millis(9), race((source.wait(), ready(Ok(1))))).await.unwrap().unwrap();
            assert!(move_on_after(millis(1), source.wait()).await.is_none());
        };
        "CancelScope": |source: Source| async move {
            let outer = CancelScope::with_timeout(millis(60_000));
            let inner = CancelScope::new();
            let run = outer.run(async { inner.run(gather_settled((source.wait(), async { inner.cancel("enough") }))).await.is_err() });
            assert!(run.await.unwrap());
        };
        "CancelToken": |_: Source| async move {
            let token = CancelScope::new().token();
            assert!(timeout(millis(1), token.cancelled()).await.is_err());
            assert!(race((async { token.cancelled().await; false }, ready(true))).await);
        };
        "scope with an error": |source: Source| async move {
            scope(async |s| {
                let _ = s.spawn(source.wait());
                let _ = s.spawn(async { Err::<(), _>(1) });
                let waited = s.spawn(source.wait());
                drop(s.spawn(async move { Ok(waited.await.unwrap()) }));
                source.wait().await
            }).await.unwrap_err()
        };
        "scope that is cancelled": |source: Source| async move {
            scope(async |s| {
                let _ = s.spawn(source.wait());
                s.cancel("enough");
                source.wait().await
            }).await.unwrap_err()
        };
        "start": |source: Source| async move {
            let result = scope(async |s: Scope<'_, u32>| {
                let start = s.start(|started: Started<()>| { let source = source.clone(); async move { let _started = started; source.wait().await } });
                assert!(timeout(millis(1), start).await.is_err());
                Ok(())
            });
            result.await.unwrap();
        };
        "supervised": |source: Source| async move {
            supervised(async |s| {
                let child = s.spawn(source.wait());
                assert!(timeout(millis(1), child).await.is_err());
            }).await
        };
    }
}

#[test]
fn shielded_and_watched_work_removes_a_dropped_waiter() {
    run(|_| async {
        let plain = Arc::new(Plain);
        let waker = Waker::from(plain.clone());
        let wakers = Arc::strong_count(&plain);
        let scope_handle = RefCell::new(None);
        let mut all = Box::pin(scope(async |s: Scope<'_, ()>| {
            scope_handle.replace(Some(s.clone()));
            let mut child = s.spawn(pending::<()>());
            // Watched by the body, whose waker belongs to the scope, and then by the test's waker.
            assert!(Pin::new(&mut &mut child).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(child);
            assert_eq!(Arc::strong_count(&plain), wakers + 2, "those of the scope itself");
            s.cancel("done");
            Ok(())
        }));
        let poll = poll_fn(|_| Poll::Ready(all.as_mut().poll(&mut Context::from_waker(&waker))));
        let mut is_done = poll.await.is_ready();
        while !is_done {
            yield_now().await;
            is_done = all.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
        assert_eq!(
            Arc::strong_count(&plain),
            wakers,
            "the scope has ended, although it and a handle of it still exist"
        );
        drop(all);

        let mut set: JoinSet<()> = [spawn(pending())].into_iter().collect();
        let mut next = Box::pin(set.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(next);
        assert_eq!(Arc::strong_count(&plain), wakers, "a set forgets a wait that was dropped");
        let mut waiting = Box::pin(set.wait_all());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waiting);
        assert_eq!(Arc::strong_count(&plain), wakers, "also a wait for all");
        let mut completed = as_completed([pending::<()>()]);
        let mut next = Box::pin(completed.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(next);
        assert_eq!(Arc::strong_count(&plain), wakers);
        drop((completed, set, shield(async {})));
    });
}
