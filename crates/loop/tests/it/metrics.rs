//! The loop's metrics.

use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, Snapshot, VirtualClock, sleep, spawn};

use crate::trace::{one_turn, virtual_loop};

#[test]
fn turns_steps_and_waits_are_counted() {
    let (event_loop, _trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let metrics = handle.metrics();
    let zero = metrics.snapshot();
    assert_eq!((zero.turns, zero.steps, zero.waits), (0, 0, 0));

    handle.call_soon(|| ());
    let inner = handle.clone();
    handle.call_soon(move || drop(inner.call_soon(|| ())));
    one_turn(&event_loop);
    let one = metrics.snapshot();
    assert_eq!((one.turns, one.steps, one.waits, one.ready), (1, 2, 1, 1));
    one_turn(&event_loop);
    let two = metrics.snapshot();
    assert_eq!((two.turns, two.steps, two.ready), (2, 3, 0));
}

#[test]
fn gauges_are_updated_at_each_event_poll() {
    let (event_loop, _trace, _clock) = virtual_loop();
    let handle = event_loop.handle();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = std::rc::Rc::new(handle.register(socket).unwrap());
    let waits = source.clone();
    drop(handle.spawn(async move { waits.readable().await }));
    handle.call_later(Duration::from_secs(1), || ());
    one_turn(&event_loop);
    let there = |seen: &Snapshot| (seen.tasks, seen.timers, seen.sources, seen.waiting, seen.blocking);
    // The first reader updates the gauges now.
    let metrics = handle.metrics();
    assert_eq!(there(&metrics.snapshot()), (1, 1, 1, 1, 0));

    let remote = handle.remote();
    thread::spawn(move || remote.call_soon(|| ()).unwrap()).join().unwrap();
    handle.call_later(Duration::from_secs(1), || ());
    assert_eq!((metrics.snapshot().remote, there(&metrics.snapshot())), (0, (1, 1, 1, 1, 0)));
    one_turn(&event_loop);
    assert_eq!((metrics.snapshot().remote, there(&metrics.snapshot())), (1, (1, 2, 1, 1, 0)));
    assert_eq!(handle.metrics().snapshot().remote, 0, "the turn took it after the event poll");
}

#[test]
fn the_histogram_counts_steps_by_their_duration() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop.handle().set_error_hook(|_| ());
    event_loop
        .run_until_complete(async {
            for micros in [3, 1_000, 1_000_000] {
                let clock = clock.clone();
                spawn(async move { clock.advance(Duration::from_micros(micros)) }).await.unwrap();
            }
        })
        .unwrap();
    let seen = event_loop.handle().metrics().snapshot();
    let found: Vec<_> = seen.step_times.iter().enumerate().filter(|(_, count)| **count != 0).collect();
    assert_eq!(found, [(0, &(seen.steps - 3)), (1, &1), (9, &1), (19, &1)]);
}

#[test]
fn wake_latency_is_recorded_only_if_the_builder_asks() {
    for asked in [true, false] {
        let clock = VirtualClock::new();
        let mut builder = EventLoop::builder().clock(&clock).slow_step_limit(Duration::MAX);
        if asked {
            builder = builder.record_wake_latency();
        }
        let event_loop = builder.build().unwrap();
        for _ in 0..3 {
            let clock = clock.clone();
            event_loop.handle().call_soon(move || clock.advance(Duration::from_micros(3)));
        }
        one_turn(&event_loop);
        one_turn(&event_loop);
        let seen = event_loop.handle().metrics().snapshot().wake_to_run;
        let found: Vec<_> = seen.iter().enumerate().filter(|(_, count)| **count != 0).collect();
        // Nine microseconds, in the one turn that ran steps.
        assert_eq!(found, if asked { vec![(3, &1)] } else { vec![] });
    }
}

#[test]
fn another_thread_can_read_metrics_and_sleep_is_counted() {
    let event_loop = EventLoop::new().unwrap();
    let metrics = event_loop.handle().metrics();
    event_loop.run_until_complete(sleep(Duration::from_millis(50))).unwrap();
    event_loop.close().unwrap();
    drop(event_loop);
    let asleep = thread::spawn(move || metrics.snapshot().asleep).join().unwrap();
    assert!(asleep >= Duration::from_millis(2), "{asleep:?}");
}
