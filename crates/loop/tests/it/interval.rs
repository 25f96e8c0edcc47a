//! Intervals: a grid that does not drift, and the choices for missed ticks.

use std::time::Duration;

use picot_loop::{Instant, Interval, MissedTick, interval, interval_at, sleep};

use crate::trace::virtual_loop;

const SECOND: Duration = Duration::from_secs(1);

/// The seconds at which five ticks were set and taken: two on time, the others after the task was
/// busy from 1 s to 4.25 s.
fn ticks(missed: MissedTick) -> Vec<(f64, f64)> {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let start = Instant::now();
            let mut interval = interval(SECOND).missed_tick(missed);
            let mut ticks = Vec::new();
            for n in 0..6 {
                if n == 2 {
                    clock.advance(Duration::from_millis(3_250));
                }
                let tick = interval.tick().await;
                ticks.push(((tick - start).as_secs_f64(), clock.elapsed().as_secs_f64()));
            }
            ticks
        })
        .unwrap()
}

#[test]
fn missed_ticks_come_in_a_burst_by_default() {
    let expected = [(0.0, 0.0), (1.0, 1.0), (2.0, 4.25), (3.0, 4.25), (4.0, 4.25), (5.0, 5.0)];
    assert_eq!(ticks(MissedTick::Burst), expected);
    assert_eq!(MissedTick::default(), MissedTick::Burst);
}

#[test]
fn missed_ticks_are_skipped_and_the_grid_stays() {
    assert_eq!(ticks(MissedTick::Skip), [(0.0, 0.0), (1.0, 1.0), (2.0, 4.25), (5.0, 5.0), (6.0, 6.0), (7.0, 7.0)]);
}

#[test]
fn missed_ticks_are_skipped_and_the_grid_moves() {
    let expected = [(0.0, 0.0), (1.0, 1.0), (2.0, 4.25), (5.25, 5.25), (6.25, 6.25), (7.25, 7.25)];
    assert_eq!(ticks(MissedTick::Delay), expected);
}

#[test]
fn a_tick_that_is_a_little_late_does_not_move_the_grid() {
    for missed in [MissedTick::Burst, MissedTick::Skip, MissedTick::Delay] {
        let (event_loop, _trace, clock) = virtual_loop();
        event_loop
            .run_until_complete(async {
                let start = Instant::now();
                let mut interval = interval(SECOND).missed_tick(missed);
                for n in 0..100 {
                    // Busy until 4 ms after the tick.
                    clock.advance(start + n * SECOND + Duration::from_millis(4) - Instant::now());
                    assert_eq!(interval.tick().await, start + n * SECOND, "{missed:?}");
                }
            })
            .unwrap();
    }
}

#[test]
fn a_dropped_wait_loses_no_tick() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let start = Instant::now() + SECOND;
            let mut interval = interval_at(start, SECOND);
            for n in 0..10 {
                assert!(futures_lite::future::poll_once(interval.tick()).await.is_none());
                assert_eq!(interval.tick().await, start + n * SECOND);
            }
        })
        .unwrap();
    assert_eq!(clock.elapsed(), 10 * SECOND);
}

#[test]
fn a_reset_restarts_the_grid() {
    let (event_loop, _trace, clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let mut interval: Interval = interval(2 * SECOND);
            interval.tick().await;
            clock.advance(SECOND);
            interval.reset();
            assert_eq!(interval.period(), 2 * SECOND);
            interval.tick().await;
            assert_eq!(clock.elapsed(), 3 * SECOND);
            interval.tick().await;
        })
        .unwrap();
    assert_eq!(clock.elapsed(), 5 * SECOND);
}

#[test]
fn the_longest_period_ticks_once() {
    for missed in [MissedTick::Burst, MissedTick::Skip, MissedTick::Delay] {
        let (event_loop, _trace, _clock) = virtual_loop();
        event_loop
            .run_until_complete(async {
                let mut interval = interval(Duration::MAX).missed_tick(missed);
                interval.tick().await;
                assert!(futures_lite::future::poll_once(interval.tick()).await.is_none());
                sleep(SECOND).await;
                assert!(futures_lite::future::poll_once(interval.tick()).await.is_none());
            })
            .unwrap();
    }
}

#[test]
#[should_panic(expected = "an interval needs a period above zero")]
fn a_period_of_zero_is_refused() {
    let (_event_loop, _trace, _clock) = virtual_loop();
    drop(interval(Duration::ZERO));
}

#[test]
fn a_reset_moves_the_grid_to_a_delay_or_a_time() {
    let (event_loop, _trace, _clock) = virtual_loop();
    event_loop
        .run_until_complete(async {
            let start = Instant::now();
            let mut ticks = interval(10 * SECOND);
            assert_eq!(ticks.tick().await, start);
            ticks.reset_after(3 * SECOND);
            assert_eq!((ticks.tick().await, ticks.tick().await), (start + 3 * SECOND, start + 13 * SECOND));
            ticks.reset_at(start + 14 * SECOND);
            assert_eq!((ticks.tick().await, ticks.tick().await), (start + 14 * SECOND, start + 24 * SECOND));
            ticks.reset_after(Duration::ZERO);
            assert_eq!((ticks.tick().await, Instant::now()), (start + 24 * SECOND, start + 24 * SECOND), "at once");
            assert_eq!(ticks.tick().await, start + 34 * SECOND);
        })
        .unwrap();
}
