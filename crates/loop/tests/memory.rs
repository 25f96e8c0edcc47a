//! The loop releases the memory of a peak. A binary of its own, for a counting allocator.

use std::task::{Context, Waker};
use std::time::Duration;

use picot_loop::{EventLoop, LoopHandle, VirtualClock, sleep, spawn};
use picot_testkit::alloc::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test here: a second one would run beside it and allocate, too.
#[test]
fn memory_of_a_peak_of_timers_is_released_at_the_end_of_a_run_and_in_sleeps() {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let second = Duration::from_secs(1);
    let run = |peak: fn()| {
        let tasks = async move {
            peak();
            sleep(3 * second).await;
        };
        event_loop.run_until_complete(tasks).unwrap();
    };
    run(|| {});
    let before = live_bytes();
    let peaks: [(&str, fn()); 3] = [
        ("sleeping tasks", || (0..10_000).for_each(|n| drop(spawn(sleep(Duration::from_micros(n)))))),
        ("callbacks", || {
            (0..10_000).for_each(|n| _ = LoopHandle::current().call_later(Duration::from_micros(n), || {}));
        }),
        ("sleeps with wakers of others", || {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut sleeps: Vec<_> = (0..10_000).map(|n| Box::pin(sleep(Duration::from_micros(n)))).collect();
            sleeps.iter_mut().for_each(|sleep| _ = sleep.as_mut().poll(cx));
        }),
    ];
    for (name, peak) in peaks {
        run(peak);
        let left = live_bytes().saturating_sub(before);
        assert!(left < 132_000, "{left} bytes are left of a peak of {name}");
    }

    // Within one run: every 64th sleep shrinks, and the sleeping task itself may have a high index
    // at first. A virtual clock never sleeps, so this needs a real one.
    drop(event_loop);
    let event_loop = EventLoop::new().unwrap();
    let left = event_loop.run_until_complete(async {
        (0..10_000).for_each(|n| _ = LoopHandle::current().call_later(Duration::from_micros(n), || {}));
        for _ in 0..300 {
            sleep(Duration::from_micros(200)).await;
        }
        live_bytes().saturating_sub(before)
    });
    assert!(left.unwrap() < 132_000, "{} bytes are left within a run", left.unwrap());
}
