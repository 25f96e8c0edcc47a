//! A waker is foreign code in `clone`, `wake` and `drop`: an end that such code causes is never
//! lost, and later events are not either.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use picot_loop::{EventLoop, VirtualClock, yield_now};
use picot_tasks::{
    CancelScope, Child, Scope, Started, as_completed, gather, gather_settled, race, race_staggered, scope, supervised,
    timeout,
};

use crate::trace::millis;

/// A call that is made at most once.
type Call = RefCell<Option<Box<dyn FnOnce()>>>;

/// A future whose type does not matter.
type AnyFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The action of a waker when it is cloned, woken or dropped, once.
#[derive(Default)]
struct Hooks {
    calls: [Call; 3],
    wakes: Cell<usize>,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Clone,
    Wake,
    Drop,
}

impl Hooks {
    fn call(&self, when: When) {
        let call = self.calls[when as usize].take();
        if let Some(call) = call {
            call();
        }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker with hooks. It stays on this thread.
fn waker(hooks: &Rc<Hooks>) -> Waker {
    let data = Rc::into_raw(hooks.clone()).cast();
    // SAFETY: The functions of the table keep the reference count, and no test moves a waker to
    // another thread.
    unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
}

fn borrow(data: *const ()) -> ManuallyDrop<Rc<Hooks>> {
    // SAFETY: `data` is from `into_raw`, and the waker that holds it still exists.
    ManuallyDrop::new(unsafe { Rc::from_raw(data.cast()) })
}

fn clone(data: *const ()) -> RawWaker {
    let hooks = Rc::clone(&borrow(data));
    hooks.call(When::Clone);
    RawWaker::new(Rc::into_raw(hooks).cast(), &VTABLE)
}

fn wake_by_ref(data: *const ()) {
    let hooks = Rc::clone(&borrow(data));
    hooks.wakes.set(hooks.wakes.get() + 1);
    hooks.call(When::Wake);
}

fn wake(data: *const ()) {
    wake_by_ref(data);
    drop_waker(data);
}

fn drop_waker(data: *const ()) {
    let hooks = ManuallyDrop::into_inner(borrow(data));
    hooks.call(When::Drop);
}

/// The gate that two of the futures wait for. It checks again after each clone itself.
#[derive(Clone, Default)]
struct Door(Rc<(Cell<bool>, RefCell<Option<Waker>>)>);

impl Door {
    fn open(&self) {
        self.0.0.set(true);
        let waiter = self.0.1.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            let new = cx.waker().clone();
            let old = self.0.1.replace(Some(new));
            drop(old);
            if self.0.0.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A future, the action inside of its waker, and the later action that ends it.
struct Case {
    future: Pin<Box<dyn Future<Output = ()>>>,
    inside: Box<dyn FnOnce()>,
    later: Box<dyn FnOnce()>,
}

/// A case whose future passes two gates.
fn gated<F: Future + 'static>(make: impl FnOnce(Door, Door) -> F) -> Case {
    let (first, second) = (Door::default(), Door::default());
    let future = make(first.clone(), second.clone());
    let future = Box::pin(async { _ = future.await });
    Case { future, inside: Box::new(move || first.open()), later: Box::new(move || second.open()) }
}

async fn both(first: Door, second: Door) -> Result<(), ()> {
    first.wait().await;
    second.wait().await;
    Ok(())
}

async fn forever() -> Result<(), ()> {
    pending().await
}

fn cases() -> Vec<(&'static str, Case)> {
    let cancelled = {
        let scope = CancelScope::new();
        let token = scope.token();
        let future = Box::pin(async move { _ = token.cancelled().await });
        Case { future, inside: Box::new(move || _ = scope.cancel("inside")), later: Box::new(|| ()) }
    };
    let run = {
        let scope = CancelScope::new();
        let future = scope.run(pending::<()>());
        let future = Box::pin(async { _ = future.await });
        Case { future, inside: Box::new(move || _ = scope.cancel("inside")), later: Box::new(|| ()) }
    };
    // A scope that is polled by hand. The waker of a waiter for its child drops it or lets it
    // continue.
    let child = {
        let slot: Rc<RefCell<Option<Child<()>>>> = Rc::default();
        let inside = slot.clone();
        let all = Box::pin(supervised(async move |s| {
            inside.replace(Some(s.spawn(pending::<()>())));
        }));
        let mut all: Pin<Box<dyn Future<Output = ()>>> = all;
        assert!(all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let child = slot.take().unwrap();
        let future = Box::pin(async move { _ = child.await });
        Case { future, inside: Box::new(move || drop(all)), later: Box::new(|| ()) }
    };
    let start = {
        let started: Rc<RefCell<Option<Started<()>>>> = Rc::default();
        let slot: Rc<RefCell<Option<AnyFuture>>> = Rc::default();
        let (inside, start_slot) = (started.clone(), slot.clone());
        let mut all: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
            let all = scope(async move |s: Scope<'_, ()>| {
                let start = s.start(async move |started: Started<()>| {
                    inside.replace(Some(started));
                    pending::<()>().await;
                });
                start_slot.replace(Some(Box::pin(async { _ = start.await.map(drop) })));
                Ok(())
            });
            _ = all.await;
        });
        while started.borrow().is_none() {
            assert!(all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let start = slot.take().unwrap();
        // The scope lives as long as the start: its end would end the start, too.
        let future = Box::pin(async move {
            let _all = all;
            start.await;
        });
        Case { future, inside: Box::new(move || started.take().unwrap().ready(())), later: Box::new(|| ()) }
    };
    let many = |first: Door, second: Door| {
        (0..20).map(move |n| {
            let (first, second) = (first.clone(), second.clone());
            async move { if n == 0 { both(first, second).await } else { Ok(()) } }
        })
    };
    vec![
        ("cancelled", cancelled),
        ("run", run),
        ("child", child),
        ("start", start),
        ("gather", gated(|a, b| gather([both(a, b)]))),
        ("gather of many", gated(move |a, b| gather(many(a, b)))),
        ("gather_settled", gated(|a, b| gather_settled((both(a, b), async {})))),
        (
            "race",
            gated(|a, b| async {
                race([Box::pin(both(a, b)) as Pin<Box<dyn Future<Output = _>>>, Box::pin(forever())]).await
            }),
        ),
        ("race_staggered", gated(|a, b| race_staggered([both(a, b)], millis(60_000)))),
        ("as_completed", gated(|a, b| async { as_completed([both(a, b)]).next().await })),
        ("timeout", gated(|a, b| timeout(millis(60_000), both(a, b)))),
        (
            "scope",
            gated(|a, b| {
                scope(async move |s| {
                    drop(s.spawn(both(a, b)));
                    Ok(())
                })
            }),
        ),
        ("scope's body", gated(|a, b| scope(async move |_| both(a, b).await))),
        ("supervised", gated(|a, b| supervised(async move |s| drop(s.spawn(both(a, b)).ignore_errors())))),
    ]
}

#[test]
fn an_end_that_a_waker_causes_in_its_clone_wake_or_drop_is_not_lost() {
    for when in [When::Clone, When::Wake, When::Drop] {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        event_loop
            .run_until_complete(async {
                let kinds = cases().len();
                for kind in 0..kinds {
                    // The waker that acts is the first one, or the second one, which replaces the
                    // first. Only the second one drops another.
                    let first = usize::from(matches!(when, When::Drop));
                    for acts_at in first..3 {
                        check(when, kind, acts_at).await;
                    }
                }
            })
            .unwrap();
    }
}

async fn check(when: When, kind: usize, acts_at: usize) {
    let (what, Case { mut future, inside, later }) = cases().swap_remove(kind);
    let mut inside = Some(inside);
    let mut all: Vec<Rc<Hooks>> = Vec::new();
    let mut last = Rc::new(Hooks::default());
    let mut is_done = false;
    for poll in 0..3 {
        let hooks = Rc::new(Hooks::default());
        all.push(hooks.clone());
        let new = waker(&hooks);
        if poll == acts_at {
            // A drop is that of the previous waker, so there must be one.
            let acting = if matches!(when, When::Drop) { &last } else { &hooks };
            acting.calls[when as usize].replace(inside.take());
        }
        is_done = future.as_mut().poll(&mut Context::from_waker(&new)).is_ready();
        if poll == acts_at && matches!(when, When::Wake) {
            new.wake_by_ref();
        }
        drop(new);
        last = hooks;
        if is_done {
            return;
        }
        // Members that wait for a later step get one, under the current waker.
        while last.wakes.replace(0) > 0 && !is_done {
            yield_now().await;
            is_done = future.as_mut().poll(&mut Context::from_waker(&waker(&last))).is_ready();
        }
        if is_done {
            return;
        }
    }
    // Not every future clones or drops its waker at each poll.
    let left: Vec<_> = all.iter().filter_map(|hooks| hooks.calls[when as usize].take()).chain(inside.take()).collect();
    left.into_iter().for_each(|call| call());
    later();
    for _ in 0..100 {
        if last.wakes.replace(0) > 0 {
            is_done = future.as_mut().poll(&mut Context::from_waker(&waker(&last))).is_ready();
            if is_done {
                return;
            }
        }
        yield_now().await;
    }
    assert!(is_done, "{what} has lost its wake: {when:?} at poll {acts_at}");
}
