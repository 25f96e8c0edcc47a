//! Wakers are user code: their clone, wake and drop may do anything, and still no wake of the loop
//! is lost.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use picot_loop::{EventLoop, interval, sleep, sleep_until, spawn, spawn_blocking};

use crate::trace::virtual_loop;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Clone,
    Wake,
    Drop,
}

type Call = Box<dyn FnOnce()>;

thread_local! {
    static CALL: RefCell<Option<(Moment, Call)>> = const { RefCell::new(None) };
    static WAKES: Cell<u32> = const { Cell::new(0) };
}

/// Called by each waker at this moment. Runs the action that is set for the moment, once.
fn at_moment(moment: Moment) {
    let call = CALL.with_borrow_mut(|call| call.take_if(|(when, _)| *when == moment));
    if let Some((_, call)) = call {
        call();
    }
}

/// The data of the wakers, which tells them apart.
static ONE: u8 = 1;
static OTHER: u8 = 2;

fn wake(data: *const ()) {
    // Only the waker of the last poll has to be woken.
    if data == ptr::from_ref(&ONE).cast() {
        WAKES.set(WAKES.get() + 1);
    }
    at_moment(Moment::Wake);
}

static TABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        at_moment(Moment::Clone);
        RawWaker::new(data, &TABLE)
    },
    wake,
    wake,
    |_| at_moment(Moment::Drop),
);

/// A waker that calls `at_moment`. Two of them with different bytes are not equal.
fn waker(byte: &'static u8) -> Waker {
    // SAFETY: The functions of the vtable do not dereference the pointer, and no test sends the
    // waker to another thread.
    unsafe { Waker::from_raw(RawWaker::new(ptr::from_ref(byte).cast(), &TABLE)) }
}

type Made = Pin<Box<dyn Future<Output = ()>>>;

/// A kind of wait: its name, and a function that starts one.
type Wait = (&'static str, fn() -> Made);

/// Waits for the loop's time or for the effect of a turn.
fn waits() -> [Wait; 5] {
    [
        ("sleep", || Box::pin(sleep(SECOND))),
        ("sleep until", || Box::pin(sleep_until(picot_loop::Instant::now() + SECOND))),
        ("interval", || {
            let mut ticks = interval(SECOND);
            ticks.reset();
            Box::pin(async move { _ = ticks.tick().await })
        }),
        ("task", || {
            let task = spawn(sleep(SECOND));
            Box::pin(async move { task.await.unwrap() })
        }),
        ("cancelled task", || {
            let task = spawn(std::future::pending::<()>());
            task.cancel("for the test");
            Box::pin(async move { _ = task.await })
        }),
    ]
}

/// Makes the awaited event happen.
fn passes(event_loop: &EventLoop, clock: &picot_loop::VirtualClock) {
    clock.advance(2 * SECOND);
    for _ in 0..3 {
        // Refused within a wake, which is part of a turn.
        _ = event_loop.turn(Some(Duration::ZERO));
    }
}

#[test]
fn an_event_during_the_clone_wake_or_drop_of_a_waker_is_not_lost() {
    for (name, make) in waits() {
        for moment in [Moment::Clone, Moment::Wake, Moment::Drop] {
            for is_polled_before in [false, true] {
                let (event_loop, _trace, clock) = virtual_loop();
                let event_loop = Rc::new(event_loop);
                let mut future = make();
                if is_polled_before {
                    let before = waker(&OTHER);
                    assert!(future.as_mut().poll(&mut Context::from_waker(&before)).is_pending(), "{name}");
                }
                let (again, time) = (event_loop.clone(), clock.clone());
                CALL.set(Some((moment, Box::new(move || passes(&again, &time)))));
                WAKES.set(0);
                let waker = waker(&ONE);
                let mut cx = Context::from_waker(&waker);
                if future.as_mut().poll(&mut cx) == Poll::Ready(()) {
                    continue;
                }
                // The event happened during the poll, or happens now, maybe within a wake.
                if WAKES.get() == 0 {
                    if moment == Moment::Wake {
                        clock.advance(2 * SECOND);
                        event_loop.turn(Some(Duration::ZERO)).unwrap();
                        CALL.take();
                    }
                    passes(&event_loop, &clock);
                }
                assert_ne!(WAKES.get(), 0, "{name} is not woken: {moment:?}, polled before: {is_polled_before}");
                assert_eq!(future.as_mut().poll(&mut cx), Poll::Ready(()), "{name} {moment:?} {is_polled_before}");
                CALL.take();
            }
        }
    }
}

#[test]
fn a_blocking_job_that_ends_while_a_waker_is_cloned_is_not_lost() {
    let event_loop = Rc::new(EventLoop::new().unwrap());
    let (release, released) = std::sync::mpsc::channel();
    let mut job = Box::pin(spawn_blocking(move || released.recv().unwrap()).into_future());
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    let again = event_loop.clone();
    CALL.set(Some((
        Moment::Clone,
        Box::new(move || {
            release.send(7).unwrap();
            // The end of the job wakes its task. A turn with a long limit waits for that.
            again.turn(Some(Duration::from_secs(60))).unwrap();
        }),
    )));
    WAKES.set(0);
    let waker = waker(&ONE);
    let mut cx = Context::from_waker(&waker);
    let first = job.as_mut().poll(&mut cx);
    if first.is_pending() {
        assert_ne!(WAKES.get(), 0, "the job ended during the poll");
        assert!(matches!(job.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    }
}
