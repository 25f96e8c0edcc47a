//! Everything of a closed loop answers at once: with a panic, an error, or a value that still
//! holds.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use picot_loop::{
    Closed, EventLoop, Hooks, Instant, Interval, LoopHandle, Metrics, Origin, RemoteHandle, Report, RunError, Sleep,
    TimerHandle, TurnHook, interval, sleep, sleep_until, spawn,
};
use picot_testkit::{WakeCount, poll_once, quiet_panic, waker_fn};

use crate::trace::virtual_loop;

const SECOND: Duration = Duration::from_secs(1);

/// How a method of a closed loop answers.
#[derive(Debug, PartialEq)]
enum Answer {
    /// It panics. The text says that the loop is closed.
    Panic,
    /// It returns an error. The text says that the loop is closed.
    Error,
    /// It returns a value that holds for a closed loop, and does not wait.
    Value,
}

/// A closed loop, and every object that it has left.
struct Left {
    event_loop: EventLoop,
    handle: LoopHandle,
    remote: RemoteHandle,
    timer: TimerHandle,
    hook: TurnHook,
    metrics: Metrics,
    sleep: Sleep,
    interval: Interval,
    source: Rc<picot_loop::Source<std::net::UdpSocket>>,
}

impl Left {
    fn new() -> Left {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let left = Left {
            remote: handle.remote(),
            timer: handle.call_later(SECOND, || ()),
            hook: handle.on_check(|| ()),
            metrics: handle.metrics(),
            sleep: sleep(SECOND),
            interval: interval(SECOND),
            source: Rc::new(handle.register(socket).unwrap()),
            handle,
            event_loop,
        };
        left.event_loop.close().unwrap();
        left
    }
}

struct NoHooks;
impl Hooks for NoHooks {}

fn io_answer<T>(result: std::io::Result<T>) -> Answer {
    assert!(result.err().unwrap().to_string().contains("closed"));
    Answer::Error
}

fn submit_answer<T>(result: Result<T, picot_loop::SubmitError>) -> Answer {
    assert!(result.err().unwrap().to_string().contains("closed"));
    Answer::Error
}

fn refused<T, E: ToString>(result: Result<T, E>) -> Answer {
    let text = result.err().unwrap().to_string();
    assert!(text.contains("the loop is closed"), "{text}");
    Answer::Error
}

/// Checks that a closed loop has cancelled the task at once. Its join needs no loop.
fn cancelled(task: picot_loop::Task<()>) -> Answer {
    let Poll::Ready(Err(error)) = poll_once(pin!(task.into_future())) else {
        panic!("the task has not ended as cancelled")
    };
    assert_eq!(error.reason().unwrap().as_str(), "the loop that ran it was closed");
    Answer::Error
}

/// Checks that `f` panics because the loop is closed.
fn panics<T>(f: impl FnOnce() -> T) -> Answer {
    let payload = catch_unwind(AssertUnwindSafe(f)).err().expect("it panics");
    assert_eq!(payload.downcast_ref::<String>(), Some(&Closed::new().to_string()));
    Answer::Panic
}

fn value<T>(f: impl FnOnce() -> T) -> Answer {
    f();
    Answer::Value
}

type Case = (&'static str, Answer, fn(&mut Left) -> Answer);

/// Every public method, with its expected answer.
fn cases() -> Vec<Case> {
    use Answer::{Error, Panic, Value};
    vec![
        ("EventLoop::backend_fd", Value, |left| value(|| left.event_loop.backend_fd())),
        ("EventLoop::close", Value, |left| {
            assert!(left.event_loop.close().unwrap().tasks.is_empty());
            Value
        }),
        ("EventLoop::close_within", Value, |left| value(|| left.event_loop.close_within(Duration::MAX).unwrap())),
        ("EventLoop::handle", Value, |left| value(|| left.event_loop.handle())),
        ("EventLoop::is_running", Value, |left| value(|| assert!(!left.event_loop.is_running()))),
        ("EventLoop::next_timeout", Value, |left| {
            assert_eq!(left.event_loop.next_timeout(), Some(Duration::ZERO), "a host does not wait for a closed loop");
            Value
        }),
        ("EventLoop::run_forever", Error, |left| refused(left.event_loop.run_forever())),
        ("EventLoop::run_until_complete", Error, |left| {
            assert_eq!(left.event_loop.run_until_complete(async {}), Err(RunError::Closed));
            Error
        }),
        ("EventLoop::stop", Value, |left| value(|| left.event_loop.stop())),
        ("EventLoop::turns_until_complete", Error, |left| refused(left.event_loop.turns_until_complete(async {}))),
        ("EventLoop::turn", Error, |left| refused(left.event_loop.turn(None))),
        ("Interval::missed_tick", Value, |left| {
            let other = std::mem::replace(&mut left.interval, picot_loop::interval_at(left.timer.when(), SECOND));
            value(|| other.missed_tick(picot_loop::MissedTick::Skip))
        }),
        ("Interval::period", Value, |left| value(|| left.interval.period())),
        ("Interval::poll_tick", Panic, |left| {
            panics(|| left.interval.poll_tick(&mut Context::from_waker(Waker::noop())))
        }),
        ("Interval::reset", Value, |left| value(|| left.interval.reset())),
        ("Interval::reset_after", Value, |left| value(|| left.interval.reset_after(SECOND))),
        ("Interval::reset_at", Value, |left| value(|| left.interval.reset_at(left.timer.when()))),
        ("Interval::tick", Panic, |left| panics(|| poll_once(pin!(left.interval.tick())))),
        ("LoopHandle::add_reader", Panic, |left| panics(|| left.handle.add_reader(&left.source, |_| ()))),
        ("LoopHandle::add_writer", Panic, |left| panics(|| left.handle.add_writer(&left.source, |_| ()))),
        ("LoopHandle::allocate_id", Value, |left| value(|| left.handle.allocate_id())),
        ("LoopHandle::build_task", Error, |left| cancelled(left.handle.build_task().spawn(async {}))),
        #[expect(deprecated)]
        ("LoopHandle::task", Error, |left| cancelled(left.handle.task().spawn(async {}))),
        ("LoopHandle::call_at", Panic, |left| panics(|| left.handle.call_at(left.timer.when(), || ()))),
        ("LoopHandle::call_later", Panic, |left| panics(|| left.handle.call_later(SECOND, || ()))),
        ("LoopHandle::call_soon", Panic, |left| panics(|| left.handle.call_soon(|| ()))),
        ("LoopHandle::call_soon_at", Error, |left| {
            refused(left.handle.call_soon_at(std::panic::Location::caller(), || ()))
        }),
        ("LoopHandle::begin_trace", Panic, |left| panics(|| left.handle.begin_trace(1))),
        ("LoopHandle::dump", Value, |left| value(|| assert!(left.handle.dump().tasks.is_empty()))),
        ("LoopHandle::end_trace", Value, |left| value(|| assert!(left.handle.end_trace().is_none()))),
        ("LoopHandle::end_inner_step", Value, |left| value(|| assert!(!left.handle.end_inner_step()))),
        ("LoopHandle::has_virtual_clock", Value, |left| value(|| left.handle.has_virtual_clock())),
        ("LoopHandle::is_closed", Value, |left| value(|| assert!(left.handle.is_closed()))),
        ("LoopHandle::is_running", Value, |left| value(|| assert!(!left.handle.is_running()))),
        ("LoopHandle::metrics", Value, |left| value(|| left.handle.metrics())),
        ("LoopHandle::now", Value, |left| value(|| left.handle.now())),
        ("LoopHandle::on_check", Panic, |left| panics(|| left.handle.on_check(|| ()))),
        ("LoopHandle::on_idle", Panic, |left| panics(|| left.handle.on_idle(|| ()))),
        ("LoopHandle::on_prepare", Panic, |left| panics(|| left.handle.on_prepare(|| ()))),
        ("LoopHandle::record_steps", Panic, |left| panics(|| left.handle.record_steps(true))),
        ("LoopHandle::register", Error, |left| {
            io_answer(left.handle.register(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()))
        }),
        ("LoopHandle::remote", Value, |left| value(|| left.handle.remote())),
        ("LoopHandle::remove_reader", Value, |left| value(|| assert!(!left.handle.remove_reader(&left.source)))),
        ("LoopHandle::remove_writer", Value, |left| value(|| assert!(!left.handle.remove_writer(&left.source)))),
        ("LoopHandle::report", Value, |left| {
            let cause = picot_loop::Cause::Io(std::io::Error::other("a report that is printed at once"));
            value(|| left.handle.report(Report::new(Origin::new(picot_loop::Kind::Loop), cause)))
        }),
        ("LoopHandle::reset_error_hook", Value, |left| value(|| left.handle.reset_error_hook())),
        ("LoopHandle::reset_hooks", Value, |left| value(|| left.handle.reset_hooks())),
        ("LoopHandle::set_error_hook", Panic, |left| panics(|| left.handle.set_error_hook(|_| ()))),
        ("LoopHandle::set_hooks", Panic, |left| panics(|| left.handle.set_hooks(Rc::new(NoHooks)))),
        ("LoopHandle::slow_steps", Value, |left| value(|| assert!(left.handle.slow_steps().is_empty()))),
        ("LoopHandle::spawn", Error, |left| cancelled(left.handle.spawn(async {}))),
        ("LoopHandle::spawn_blocking", Panic, |left| {
            let text = catch_unwind(AssertUnwindSafe(|| left.handle.spawn_blocking(|| ()))).err().unwrap();
            assert!(text.downcast_ref::<String>().unwrap().contains("closed"));
            Panic
        }),
        ("LoopHandle::spawn_lookup", Error, |left| submit_answer(left.handle.spawn_lookup(|| ()))),
        ("LoopHandle::spawn_named", Error, |left| cancelled(left.handle.spawn_named("late", async {}))),
        ("LoopHandle::stop", Value, |left| value(|| left.handle.stop())),
        ("LoopHandle::tasks", Value, |left| value(|| assert!(left.handle.tasks().is_empty()))),
        ("LoopHandle::tell_hooks", Value, |left| value(|| left.handle.tell_hooks(|_| unreachable!()))),
        ("LoopHandle::waiting", Value, |left| value(|| assert!(left.handle.waiting().is_empty()))),
        ("LoopHandle::try_spawn_blocking", Error, |left| submit_answer(left.handle.try_spawn_blocking(|| ()))),
        ("Metrics::snapshot", Value, |left| value(|| left.metrics.snapshot())),
        ("RemoteHandle::backlog", Value, |left| value(|| assert_eq!(left.remote.backlog(), 0))),
        ("RemoteHandle::call_soon", Error, |left| refused(left.remote.call_soon(|| ()))),
        ("RemoteHandle::dump", Error, |left| refused(left.remote.dump())),
        ("RemoteHandle::spawn", Error, |left| refused(left.remote.spawn(|| async {}))),
        ("RemoteHandle::stop", Error, |left| refused(left.remote.stop())),
        ("RemoteHandle::with_limit", Value, |left| value(|| left.remote.clone().with_limit(1))),
        ("Sleep::deadline", Value, |left| value(|| left.sleep.deadline())),
        ("Sleep::poll", Panic, |left| panics(|| poll_once(Pin::new(&mut left.sleep)))),
        ("Sleep::reset", Value, |left| value(|| left.sleep.reset(left.timer.when()))),
        ("TimerHandle::cancel", Value, |left| value(|| assert!(!left.timer.cancel()))),
        ("TimerHandle::is_cancelled", Value, |left| value(|| assert!(left.timer.is_cancelled()))),
        ("TimerHandle::when", Value, |left| value(|| left.timer.when())),
        ("TurnHook::remove", Value, |left| value(|| assert!(!left.hook.remove()))),
    ]
}

/// The public methods of these types, from this crate's sources.
fn methods_of(types: &[&str]) -> Vec<String> {
    let mut methods = Vec::new();
    let mut paths = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let mut of = None;
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if let Some(name) = line.strip_prefix("impl ").and_then(|rest| rest.strip_suffix(" {")) {
                of = types.iter().find(|known| **known == name);
            }
            let name = line.strip_prefix("    pub fn ").or(line.strip_prefix("    pub async fn "));
            let (Some(of), Some(name)) = (of, name) else { continue };
            let head = lines[number..].iter().take_while(|line| !line.ends_with('{')).chain([&lines[number]]);
            if head.into_iter().any(|line| line.contains("self")) {
                methods.push(format!("{of}::{}", name.split(['(', '<']).next().unwrap()));
            }
        }
    }
    methods.sort();
    methods
}

#[test]
fn every_public_method_answers_at_once() {
    let expected: BTreeMap<_, _> = cases().into_iter().map(|(name, answer, _)| (name, answer)).collect();
    for (name, expected, ask) in cases() {
        // `interval_at` and `sleep_until` need a loop, so the thread has another one meanwhile.
        let mut left = Left::new();
        let _other = EventLoop::new().unwrap();
        assert_eq!(ask(&mut left), expected, "{name}");
    }
    let types = ["EventLoop", "Interval", "LoopHandle", "Metrics", "RemoteHandle", "Sleep", "TimerHandle", "TurnHook"];
    let missing: Vec<_> = methods_of(&types).into_iter().filter(|name| !expected.contains_key(&**name)).collect();
    assert!(missing.is_empty(), "methods without a case: {missing:?}");
}

/// Counts how often it is woken.
#[test]
fn close_wakes_waits_of_another_executor_which_then_panic() {
    let (event_loop, _trace, clock) = virtual_loop();
    clock.advance(SECOND);
    let (count, now) = (WakeCount::default(), Instant::now());
    let waker = count.waker();
    let mut cx = Context::from_waker(&waker);
    let mut sleeps = [sleep(SECOND), sleep_until(now)];
    let mut ticks = picot_loop::interval_at(now + SECOND, SECOND);
    for sleep in &mut sleeps {
        assert!(Pin::new(sleep).poll(&mut cx).is_pending());
    }
    assert!(ticks.poll_tick(&mut cx).is_pending());
    event_loop.close().unwrap();
    assert_eq!(count.get(), 3);
    assert_eq!(panics(|| ticks.poll_tick(&mut cx)), Answer::Panic);
    for sleep in &mut sleeps {
        assert_eq!(panics(|| Pin::new(sleep).poll(&mut cx)), Answer::Panic);
    }
}

#[test]
fn waits_of_a_closed_loop_fail_at_once_on_another_loop() {
    for has_begun in [false, true] {
        let first = EventLoop::new().unwrap();
        let mut sleeping = pin!(sleep(Duration::from_secs(3600)));
        if has_begun {
            first.handle().call_soon({
                let handle = first.handle();
                move || handle.stop()
            });
            assert_eq!(first.run_until_complete(sleeping.as_mut()), Err(RunError::Stopped));
        }
        drop(first);
        let other = EventLoop::new().unwrap();
        let result = panics(|| other.run_until_complete(sleeping.as_mut()));
        assert_eq!(result, Answer::Panic);
    }
}

#[test]
fn waking_sleepers_at_close_keeps_the_order_and_contains_panics() {
    let (event_loop, trace, _clock) = virtual_loop();
    let mut foreign = sleep(SECOND);
    let waker = waker_fn(|| quiet_panic("in a waker"));
    assert!(Pin::new(&mut foreign).poll(&mut Context::from_waker(&waker)).is_pending());
    for name in ["first", "second"] {
        let held = trace.on_drop(name);
        drop(spawn(async move {
            let _held = held;
            // Polled with its own waker, as a member of a combinator is.
            let mut sleep = pin!(sleep(SECOND));
            let waker = futures_lite::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let wrapped = waker_fn(move || waker.wake_by_ref());
            futures_lite::future::poll_fn(|_| sleep.as_mut().poll(&mut Context::from_waker(&wrapped))).await;
        }));
    }
    crate::trace::one_turn(&event_loop);
    let report = event_loop.close().unwrap();
    assert_eq!(report.tasks.len(), 2);
    assert_eq!(trace.take(), ["first", "second"]);
}
