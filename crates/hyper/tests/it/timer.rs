//! The loop's timers as hyper uses them.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::rt::Timer;
use picot_hyper::LoopTimer;
use picot_loop::{Instant, sleep};
use picot_testkit::poll_once;

use crate::run_virtual;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn sleeps_follow_the_loops_clock() {
    run_virtual(async |_| {
        let (timer, start) = (LoopTimer::new(), Instant::now());
        let begin = timer.now();
        timer.sleep(2 * SECOND).await;
        assert_eq!((start.elapsed(), timer.now() - begin), (2 * SECOND, 2 * SECOND));
        timer.sleep_until(begin + 5 * SECOND).await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        timer.sleep_until(begin - SECOND).await;
        assert_eq!(start.elapsed(), 5 * SECOND, "a time that has passed");
    });
}

#[test]
fn a_reset_moves_the_same_sleep() {
    run_virtual(async |_| {
        let (timer, start) = (LoopTimer::new(), Instant::now());
        let mut reset = timer.sleep(SECOND);
        let before: *const () = (&raw const *reset).cast();
        poll_fn(|cx| {
            assert!(reset.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let later = timer.now() + 3 * SECOND;
        timer.reset(&mut reset, later);
        assert_eq!((&raw const *reset).cast(), before, "no new allocation");
        reset.as_mut().await;
        assert_eq!(start.elapsed(), 3 * SECOND);
        // Earlier than planned, and after its end.
        let mut reset = timer.sleep(10 * SECOND);
        assert!(poll_once(reset.as_mut()).is_pending());
        let soon = timer.now() + SECOND;
        timer.reset(&mut reset, soon);
        reset.as_mut().await;
        timer.reset(&mut reset, soon + SECOND);
        reset.await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        sleep(10 * SECOND).await;
    });
}

#[test]
fn a_poll_on_another_thread_panics_with_a_sentence() {
    run_virtual(async |_| {
        let mut sleep = LoopTimer::new().sleep(SECOND);
        let thread = std::thread::spawn(move || {
            let poll = std::panic::AssertUnwindSafe(|| poll_once(Pin::new(&mut sleep)));
            let payload = std::panic::catch_unwind(poll).unwrap_err();
            payload.downcast_ref::<String>().unwrap().clone()
        });
        let text = thread.join().unwrap();
        assert!(text.contains("was used on another thread than the one that made it"), "{text}");
    });
}
