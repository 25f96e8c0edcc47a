//! An alarm by tokio's timers, where there are no timerfds. It rounds up to milliseconds.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use picot_loop::LoopHandle;
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(crate) fn new(_: LoopHandle) -> io::Result<Alarm> {
        Ok(Alarm { sleep: Box::pin(sleep_until(Instant::now())) })
    }

    /// There is nothing to clear: a sleep that has ended wakes no more.
    pub(crate) fn clear(&mut self, _: &mut Context<'_>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn set(&mut self, timeout: Duration, cx: &mut Context<'_>) -> io::Result<()> {
        // Without a time so far ahead, tokio would overflow.
        const FAR: Duration = Duration::from_secs(24 * 60 * 60);
        self.sleep.as_mut().reset(Instant::now() + timeout.min(FAR));
        if self.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use picot_loop::EventLoop;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Sets the alarm to these times, and returns how long after that it woke the caller.
    async fn ring_after(alarm: &mut Alarm, times: &[Duration]) -> Duration {
        let start = Instant::now();
        let mut is_set = false;
        poll_fn(|cx| {
            alarm.clear(cx).unwrap();
            if std::mem::replace(&mut is_set, true) {
                return Poll::Ready(());
            }
            times.iter().for_each(|time| alarm.set(*time, cx).unwrap());
            Poll::Pending
        })
        .await;
        start.elapsed()
    }

    #[test]
    fn it_rings_at_the_time_for_which_it_was_set_last() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let event_loop = EventLoop::new().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new(event_loop.handle()).unwrap();
            assert!(ring_after(&mut alarm, &[3_600_000 * MILLISECOND, MILLISECOND]).await >= MILLISECOND);
            assert!(ring_after(&mut alarm, &[MILLISECOND, 20 * MILLISECOND]).await >= 20 * MILLISECOND);
            // In the past: at once.
            ring_after(&mut alarm, &[Duration::MAX, Duration::ZERO]).await;
        });
    }
}
