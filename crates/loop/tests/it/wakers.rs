//! Wakers are foreign code: their clone, wake and drop may do anything, and no wait of the loop is lost by that.

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

/// A waker has come to this moment. Calls what waits for it, once.
fn comes(moment: Moment) {
    let call = CALL.with_borrow_mut(|call| call.take_if(|(when, _)| *when == moment));
    if let Some((_, call)) = call {
        call();
    }
}

/// What the wakers point to, which tells them apart.
static ONE: u8 = 1;
static OTHER: u8 = 2;

fn wake(data: *const ()) {
    // Only the latest waker that a future was polled with has to be woken.
    if data == ptr::from_ref(&ONE).cast() {
        WAKES.set(WAKES.get() + 1);
    }
    comes(Moment::Wake);
}

static TABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        comes(Moment::Clone);
        RawWaker::new(data, &TABLE)
    },
    wake,
    wake,
    |_| comes(Moment::Drop),
);

/// A waker that calls back. Two of them with different bytes do not wake the same.
fn waker(byte: &'static u8) -> Waker {
    // SAFETY: The functions of the table do not use what the pointer points to, and no test hands the waker to a thread.
    unsafe { Waker::from_raw(RawWaker::new(ptr::from_ref(byte).cast(), &TABLE)) }
}

type Made = Pin<Box<dyn Future<Output = ()>>>;

/// A kind of wait, by its name, and how to begin one.
type Wait = (&'static str, fn() -> Made);

/// What waits for the loop's time or for something that a turn brings.
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

/// Makes what is waited for happen.
fn passes(event_loop: &EventLoop, clock: &picot_loop::VirtualClock) {
    clock.advance(2 * SECOND);
    for _ in 0..3 {
        // Refused in a wake, which is a part of a turn.
        _ = event_loop.turn(Some(Duration::ZERO));
    }
}

#[test]
fn what_comes_while_a_waker_is_cloned_woken_or_dropped_is_not_lost() {
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
                // What was to happen has happened in the poll, or does now, which may be in the middle of a wake.
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
            // The job's end wakes its task, which a turn with a long limit waits for.
            again.turn(Some(Duration::from_secs(60))).unwrap();
        }),
    )));
    WAKES.set(0);
    let waker = waker(&ONE);
    let mut cx = Context::from_waker(&waker);
    let first = job.as_mut().poll(&mut cx);
    if first.is_pending() {
        assert_ne!(WAKES.get(), 0, "its end has come in the poll");
        assert!(matches!(job.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    }
}
