//! Slow steps: each is reported once, with its name and place.

use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{Cause, EventLoop, Hooks, blocking_section, exclusive, spawn, yield_now};

use crate::trace::{PassingClock, Trace, one_turn, passing_loop, quiet_panic, reports, virtual_loop};

fn slow_loop(limit_millis: u64) -> (EventLoop, Trace, PassingClock) {
    let (event_loop, clock) = passing_loop(Duration::from_millis(limit_millis));
    let reports = reports(&event_loop);
    (event_loop, reports, clock)
}

#[test]
fn a_slow_callback_is_reported_once_with_its_place() {
    let (event_loop, reports, clock) = slow_loop(20);
    let line = line!() + 1;
    event_loop.handle().call_soon(move || clock.advance(Duration::from_millis(50)));
    event_loop.handle().call_soon(|| ());
    for _ in 0..3 {
        one_turn(&event_loop);
    }
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("the callback from "), "{}", texts[0]);
    assert!(texts[0].contains(&format!("slow.rs:{line}:")) && texts[0].contains("50ms"), "{}", texts[0]);
}

#[test]
fn a_slow_poll_is_reported_with_the_tasks_name_and_place() {
    let (event_loop, reports, clock) = slow_loop(20);
    let task = event_loop.handle().spawn_named("sorter", async move {
        yield_now().await;
        clock.advance(Duration::from_millis(20));
    });
    let line = line!() - 4;
    event_loop.run_until_complete(task.into_future()).unwrap().unwrap();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("sorter (task 1, spawned at "), "{}", texts[0]);
    assert!(texts[0].contains(&format!("slow.rs:{line}:")), "{}", texts[0]);
}

#[test]
fn the_root_is_reported_as_main() {
    let (event_loop, reports, clock) = slow_loop(20);
    event_loop.run_until_complete(async { clock.advance(Duration::from_secs(1)) }).unwrap();
    one_turn(&event_loop);
    assert!(reports.take()[0].starts_with("main (task 1, "));
}

#[test]
fn a_step_below_the_limit_is_not_reported() {
    let (event_loop, reports, clock) = slow_loop(20);
    event_loop
        .run_until_complete(async move {
            for _ in 0..10 {
                let clock = clock.clone();
                spawn(async move { clock.advance(Duration::from_millis(19)) }).await.unwrap();
            }
        })
        .unwrap();
    assert!(reports.take().is_empty());
}

#[test]
fn time_between_runs_and_in_waits_is_charged_to_no_step() {
    /// Moves the clock in each wait.
    struct Waits(PassingClock);
    impl Hooks for Waits {
        fn park(&self) {
            self.0.advance(Duration::from_secs(1));
        }
    }
    let (event_loop, reports, clock) = slow_loop(20);
    event_loop.handle().set_hooks(Rc::new(Waits(clock.clone())));
    for _ in 0..3 {
        clock.advance(Duration::from_secs(1));
        event_loop.run_until_complete(picot_loop::sleep(Duration::from_secs(1))).unwrap();
    }
    one_turn(&event_loop);
    assert!(reports.take().is_empty());
}

#[test]
fn a_slow_step_is_detected_by_the_real_clock() {
    let event_loop = EventLoop::builder().slow_step_limit(Duration::from_millis(20)).build().unwrap();
    let took = Trace::default();
    let inside = took.clone();
    event_loop.handle().set_error_hook(move |report| match report.cause {
        Cause::SlowStep(time) => inside.add(time.took.as_millis()),
        ref other => panic!("{other}"),
    });
    event_loop.handle().call_soon(|| {
        #[expect(clippy::disallowed_methods, reason = "this blocks the loop")]
        std::thread::sleep(Duration::from_millis(50));
    });
    one_turn(&event_loop);
    let took = took.take();
    assert_eq!(took.len(), 1);
    // The coarse clock ticks at least a hundred times a second.
    assert!(took[0].parse::<u32>().unwrap() >= 40, "{took:?}");
}

#[test]
fn a_blocking_section_is_not_reported_but_the_rest_of_its_step_is() {
    let (event_loop, reports, clock) = slow_loop(20);
    let time = clock.clone();
    event_loop.handle().call_soon(move || {
        time.advance(Duration::from_millis(12));
        let value = blocking_section(|| {
            time.advance(Duration::from_secs(5));
            7
        });
        assert_eq!(value, 7);
        time.advance(Duration::from_millis(7));
    });
    one_turn(&event_loop);
    assert!(reports.take().is_empty());

    event_loop.handle().call_soon(move || {
        clock.advance(Duration::from_millis(12));
        blocking_section(|| clock.advance(Duration::from_secs(5)));
        clock.advance(Duration::from_millis(8));
    });
    one_turn(&event_loop);
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("for 20ms"), "{texts:?}");
    assert_eq!(blocking_section(|| 8), 8, "without a step and a loop, it only runs the closure");
}

#[test]
fn a_step_in_an_exclusive_section_is_not_reported() {
    let (event_loop, reports, clock) = slow_loop(20);
    event_loop
        .run_until_complete(async {
            let alone = exclusive().await;
            clock.advance(Duration::from_secs(5));
            yield_now().await;
            drop(alone);
            yield_now().await;
        })
        .unwrap();
    assert!(reports.take().is_empty());
}

#[test]
fn a_seed_decides_the_order_of_a_turn() {
    let order = |seed| {
        let event_loop = EventLoop::builder().shuffle_seed(seed).build().unwrap();
        let trace = Trace::default();
        for n in 0..8 {
            event_loop.handle().call_soon(trace.adds(n));
        }
        event_loop.turn(None).unwrap();
        trace.take()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn the_time_of_the_error_hook_is_charged_to_no_step() {
    let (event_loop, _reports, clock) = slow_loop(20);
    let reports = Trace::default();
    let seen = reports.clone();
    event_loop.handle().set_error_hook(move |report| {
        seen.add(report);
        clock.advance(Duration::from_secs(1));
    });
    event_loop
        .run_until_complete(async {
            drop(spawn(async { quiet_panic("the only report") }));
            for _ in 0..5 {
                yield_now().await;
            }
        })
        .unwrap();
    one_turn(&event_loop);
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("the only report"), "{texts:?}");
}

#[test]
fn a_section_within_one_step_excuses_only_that_step() {
    let (event_loop, reports, clock) = slow_loop(20);
    event_loop
        .run_until_complete(async {
            let alone = exclusive().await;
            clock.advance(Duration::from_secs(5));
            drop(alone);
            yield_now().await;
            clock.advance(Duration::from_secs(7));
            yield_now().await;
        })
        .unwrap();
    let texts = reports.take();
    assert!(texts.len() == 1 && texts[0].contains("for 7s"), "{texts:?}");
}

#[test]
fn advancing_a_virtual_clock_makes_no_step_slow() {
    let (event_loop, trace, clock) = virtual_loop();
    let reports = reports(&event_loop);
    event_loop.handle().call_later(Duration::from_secs(2), trace.adds("timer"));
    event_loop.handle().call_soon({
        let clock = clock.clone();
        move || clock.advance(Duration::from_secs(3))
    });
    event_loop.run_until_complete(async { clock.advance(Duration::from_secs(3600)) }).unwrap();
    one_turn(&event_loop);
    assert_eq!(trace.take(), ["timer"], "the timer is due after the advance");
    assert!(reports.take().is_empty());
}

#[test]
fn a_panicking_step_is_not_reported_as_slow_but_the_next_one_may_be() {
    let (event_loop, reports, clock) = slow_loop(20);
    // As if std's panic hook took long to print a backtrace.
    let panics = |clock: &PassingClock| {
        clock.advance(Duration::from_secs(1));
        quiet_panic("the panic")
    };
    let inside = clock.clone();
    event_loop.handle().call_soon(move || panics(&inside));
    let inside = clock.clone();
    drop(event_loop.handle().spawn(async move { panics(&inside) }));
    event_loop
        .run_until_complete(async {
            let _ = picot_context::catch(|| panics(&clock));
            yield_now().await;
            clock.advance(Duration::from_secs(2));
        })
        .unwrap();
    one_turn(&event_loop);
    let texts = reports.take();
    let (slow, panics): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.contains("kept the loop"));
    assert_eq!(panics.len(), 2, "{texts:?}");
    assert!(slow.len() == 1 && slow[0].contains("for 2s"), "{texts:?}");
}

/// The processor time of this thread.
#[cfg(target_os = "linux")]
fn processor() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(target_os = "linux")]
#[test]
fn the_report_has_the_processor_time_and_advises_only_if_the_step_used_it() {
    let limit = Duration::from_millis(40);
    let event_loop = EventLoop::builder().slow_step_limit(limit).build().unwrap();
    let handle = event_loop.handle();
    let reports = Trace::default();
    let inside = reports.clone();
    handle.set_error_hook(move |report| {
        let Cause::SlowStep(time) = report.cause else { panic!("{report}") };
        let ran = time.ran.expect("Linux has a clock for this");
        assert!(time.took >= limit && ran <= time.took, "{time:?}");
        inside.add(format!("{} {}", time.has_used_processor(), report.cause.to_string().contains("; move the work")));
    });
    // Processor time of earlier short steps is not charged to a later one.
    let run_for = |time| {
        let until = processor() + time;
        while processor() < until {}
    };
    let wait = move || {
        #[expect(clippy::disallowed_methods, reason = "this blocks the loop")]
        std::thread::sleep(limit * 2);
    };
    event_loop
        .run_until_complete(async {
            for _ in 0..100 {
                run_for(Duration::from_millis(1));
                yield_now().await;
            }
            wait();
            yield_now().await;
        })
        .unwrap();
    let texts = reports.take();
    // On a busy machine, one of the short steps may have been preempted, too.
    assert!(!texts.is_empty() && texts.iter().all(|text| text == "false false"), "{texts:?}");
    event_loop
        .run_until_complete(async {
            run_for(limit * 8);
            yield_now().await;
        })
        .unwrap();
    let texts = reports.take();
    assert_eq!(texts.len(), 1);
    // If the machine ran this thread for less than half of the time, the report gives no advice.
    assert!(texts[0] == "true true" || texts[0] == "false false", "{texts:?}");
}

#[test]
fn the_time_of_an_embedding_host_is_not_charged_to_a_step() {
    let (event_loop, reports, clock) = slow_loop(20);
    let mut run = event_loop
        .turns_until_complete(async {
            yield_now().await;
            yield_now().await;
        })
        .unwrap();
    assert_eq!(run.turn(None), Ok(Continue(1)));
    clock.advance(Duration::from_secs(10));
    assert_eq!(run.turn(None), Ok(Continue(1)));
    assert_eq!(run.turn(None), Ok(Break(())));
    drop(run);
    one_turn(&event_loop);
    assert_eq!(reports.take(), [""; 0]);
}
