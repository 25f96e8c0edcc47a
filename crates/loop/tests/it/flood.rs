//! Floods from other threads: the rest of the loop stays on time, and senders can ask for a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, sleep};

use crate::trace::{PassingClock, Trace, one_turn};

/// The number of items that the loop takes per turn.
const PER_TURN: usize = 512;

#[test]
fn a_due_timer_runs_in_the_next_turn_however_long_the_inbox() {
    // Each call advances the clock by a microsecond; otherwise it stands still.
    let clock = PassingClock::default();
    let event_loop = EventLoop::builder().clock(&clock).build().unwrap();
    let handle = event_loop.handle();
    let (remote, calls) = (handle.remote(), 100 * PER_TURN);
    thread::spawn(move || (0..calls).for_each(|_| remote.call_soon(|| ()).unwrap())).join().unwrap();
    assert_eq!(handle.remote().backlog(), calls);

    let trace = Trace::default();
    handle.call_later(Duration::from_millis(5), trace.adds("timer"));
    for turn in 1..=10 {
        clock.advance(Duration::from_millis(1));
        one_turn(&event_loop);
        assert_eq!(handle.remote().backlog(), calls - turn * PER_TURN, "a turn takes a bounded number");
        assert_eq!(trace.take().len(), usize::from(turn == 5), "turn {turn}");
    }
}

#[test]
fn sleeps_end_while_threads_flood_the_loop_without_a_bound() {
    let event_loop = EventLoop::new().unwrap();
    let is_over = Arc::<AtomicBool>::default();
    let ran = Arc::<AtomicU64>::default();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (remote, is_over, ran) = (event_loop.handle().remote(), is_over.clone(), ran.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let ran = ran.clone();
                    remote.call_soon(move || _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap();
                }
            })
        })
        .collect();
    let metrics = event_loop.handle().metrics();
    let counts = event_loop.run_until_complete(async {
        // Until the flood has begun.
        while ran.load(Ordering::Relaxed) < 1_000 {
            sleep(Duration::from_millis(1)).await;
        }
        let (before, ran_before) = (metrics.snapshot(), ran.load(Ordering::Relaxed));
        sleep(Duration::from_millis(5)).await;
        let after = metrics.snapshot();
        assert!(ran.load(Ordering::Relaxed) > ran_before, "the flood goes on");
        (after.turns - before.turns, after.steps - before.steps)
    });
    is_over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (turns, steps) = counts.unwrap();
    // A turn runs the items that it took, the sleeper, and little else.
    assert!(steps <= (turns + 1) * (PER_TURN as u64 + 8), "{steps} steps in {turns} turns");
}

#[test]
fn a_senders_limit_refuses_calls_but_never_a_stop() {
    let event_loop = EventLoop::new().unwrap();
    let remote = event_loop.handle().remote().with_limit(3);
    let sender = thread::spawn(move || {
        let taken = (0..10).take_while(|_| remote.call_soon(|| ()).is_ok()).count();
        let is_full =
            remote.call_soon(|| ()).unwrap_err().is_full() && remote.spawn(|| async {}).unwrap_err().is_full();
        remote.stop().unwrap();
        (taken, is_full, remote.backlog())
    });
    assert_eq!(sender.join().unwrap(), (3, true, 4));
    event_loop.run_forever().unwrap();
    assert_eq!(event_loop.handle().remote().backlog(), 0);
}
