//! Connecting to a host that has several addresses: happy eyeballs, after RFC 8305.
//!
//! Invariant: attempts start in order, each when the previous one has failed or the stagger has
//! passed. The first success drops all other attempts. A single address needs no race and no
//! allocation.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use picot_loop::{Sleep, sleep};

use crate::address::Address;
use crate::operation_error::Attempts;

/// Returns the first success of `attempt` over the `addresses` of `target`.
///
/// The address families alternate, and the attempts start `stagger` apart. If all fail, the error
/// names each attempt.
pub(crate) async fn race<T, F>(
    target: &Address,
    addresses: Vec<SocketAddr>,
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    // No allocation for the usual case of one address.
    if let [address] = addresses[..] {
        return attempt(address).await.map_err(|error| Attempts::combine(target, vec![(address, error)]));
    }
    let mut race = Race {
        target,
        waiting: interleave(addresses),
        running: Vec::new(),
        failed: Vec::new(),
        next: None,
        stagger,
        attempt: |address| Box::pin(attempt(address)),
    };
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<'a, A, F> {
    target: &'a Address,
    waiting: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next attempt starts unless one fails earlier.
    next: Option<Sleep>,
    stagger: Duration,
    attempt: A,
}

impl<T, A, F> Race<'_, A, F>
where
    A: Fn(SocketAddr) -> Pin<Box<F>>,
    F: Future<Output = io::Result<T>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            // Running attempts are polled before a new one starts, so that a connection that is
            // ready at the end of the stagger wins without another attempt.
            let failed = self.failed.len();
            if let Some(winner) = self.poll_running(cx) {
                return Poll::Ready(Ok(winner));
            }
            let has_failed = self.failed.len() > failed;
            let is_due = self.next.as_mut().is_none_or(|next| Pin::new(next).poll(cx).is_ready());
            // A failure starts the next attempt at once.
            if !has_failed && !is_due && !self.running.is_empty() {
                return Poll::Pending;
            }
            match self.waiting.pop_front() {
                Some(address) => {
                    self.running.push((address, (self.attempt)(address)));
                    // No timer without a next address: only the running attempts count then.
                    self.next = (!self.waiting.is_empty()).then(|| sleep(self.stagger));
                }
                None if self.running.is_empty() => {
                    let failed = std::mem::take(&mut self.failed);
                    return Poll::Ready(Err(Attempts::combine(self.target, failed)));
                }
                None => return Poll::Pending,
            }
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let mut index = 0;
        while let Some((address, attempt)) = self.running.get_mut(index) {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(winner)) => return Some(winner),
                Poll::Ready(Err(error)) => {
                    // `remove` and not `swap_remove`: the attempts are polled in their order.
                    self.failed.push((*address, error));
                    drop(self.running.remove(index));
                }
                Poll::Pending => index += 1,
            }
        }
        None
    }
}

/// Alternates the families, beginning with that of the first address, in the resolver's order
/// within each.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    // The resolver's first address decides which family comes first (RFC 8305, section 4).
    let prefers_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == prefers_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Tries one address after the other until one succeeds, for operations that do not wait.
pub(crate) fn first_success<T>(
    target: &Address,
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut failed = Vec::new();
    for address in addresses {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => failed.push((address, error)),
        }
    }
    Err(Attempts::combine(target, failed))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use picot_loop::{EventLoop, Instant, VirtualClock};

    use super::*;

    const STAGGER: Duration = Duration::from_millis(250);

    /// The plan of an attempt: how long it takes in milliseconds, and whether it succeeds.
    type Plan = (&'static str, u64, bool);
    type Events = Vec<(u64, String)>;

    /// Records when it is dropped before its end.
    struct Note<'a>(&'a dyn Fn(String), SocketAddr, bool);

    impl Drop for Note<'_> {
        fn drop(&mut self) {
            if !self.2 {
                (self.0)(format!("drop {}", self.1));
            }
        }
    }

    /// Races by plan, under a virtual clock. Returns the events with their milliseconds, and the
    /// result.
    fn run(plan: &[Plan]) -> (Events, io::Result<SocketAddr>) {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        let events = Rc::new(RefCell::new(Vec::new()));
        let result = event_loop.run_until_complete(async {
            let start = Instant::now();
            let note = |text: String| {
                events.borrow_mut().push(((Instant::now() - start).as_millis() as u64, text));
            };
            let note: &dyn Fn(String) = &note;
            let addresses = plan.iter().map(|(address, ..)| address.parse().unwrap()).collect();
            race(&"host:1".into(), addresses, STAGGER, |address| {
                let (_, takes, succeeds) =
                    *plan.iter().find(|(planned, ..)| planned.parse() == Ok(address)).expect("a planned address");
                async move {
                    note(format!("start {address}"));
                    let mut on_drop = Note(note, address, false);
                    sleep(Duration::from_millis(takes)).await;
                    on_drop.2 = true;
                    if succeeds { Ok(address) } else { Err(io::Error::other("no")) }
                }
            })
            .await
        });
        (events.take(), result.unwrap())
    }

    #[test]
    fn families_take_turns_and_the_next_starts_after_the_delay() {
        let (events, result) = run(&[
            ("[::1]:1", 9_999, true),
            ("[::2]:1", 9_999, true),
            ("1.1.1.1:1", 9_999, true),
            ("1.1.1.2:1", 100, true),
        ]);
        assert_eq!(result.unwrap(), "1.1.1.2:1".parse().unwrap());
        let starts = [(0, "start [::1]:1"), (250, "start 1.1.1.1:1"), (500, "start [::2]:1"), (750, "start 1.1.1.2:1")];
        let drops = [(850, "drop [::1]:1"), (850, "drop 1.1.1.1:1"), (850, "drop [::2]:1")];
        let expected: Vec<_> = starts.iter().chain(&drops).map(|(at, text)| (*at, text.to_string())).collect();
        assert_eq!(events, expected, "the losers are dropped when there is a winner");
    }

    #[test]
    fn a_failure_starts_the_next_at_once_and_the_delay_begins_anew() {
        let (events, result) =
            run(&[("[::1]:1", 10, false), ("1.1.1.1:1", 9_999, true), ("[::2]:1", 10, true), ("[::3]:1", 0, true)]);
        assert_eq!(result.unwrap(), "[::2]:1".parse().unwrap());
        let expected = [(0, "start [::1]:1"), (10, "start 1.1.1.1:1"), (260, "start [::2]:1"), (270, "drop 1.1.1.1:1")];
        assert_eq!(events, expected.map(|(at, text)| (at, text.to_string())), "the fourth is never tried");
    }

    #[test]
    fn if_all_fail_the_error_names_each_attempt_in_order() {
        let (events, result) = run(&[("[::1]:1", 300, false), ("1.1.1.1:1", 10, false), ("[::2]:1", 1, false)]);
        assert_eq!(result.unwrap_err().to_string(), "1.1.1.1:1: no; [::2]:1: no; [::1]:1: no");
        let expected = [(0, "start [::1]:1"), (250, "start 1.1.1.1:1"), (260, "start [::2]:1")];
        assert_eq!(events, expected.map(|(at, text)| (at, text.to_string())));
    }

    #[test]
    fn operations_that_do_not_wait_are_tried_in_order_until_one_succeeds() {
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        for first in 1..=4 {
            let tried = RefCell::new(Vec::new());
            let result = first_success(&"host:1".into(), addresses.clone(), |address| {
                tried.borrow_mut().push(address.port());
                if address.port() < first { Err(io::Error::other("no")) } else { Ok(address.port()) }
            });
            assert_eq!(tried.take(), (1..=first.min(3)).collect::<Vec<_>>());
            match result {
                Ok(port) => assert_eq!(port, first),
                Err(error) => assert_eq!(error.to_string(), "127.0.0.1:1: no; 127.0.0.1:2: no; 127.0.0.1:3: no"),
            }
        }
    }

    #[test]
    fn a_slow_first_attempt_still_wins_if_it_is_the_first_to_succeed() {
        let (events, result) = run(&[("[::1]:1", 260, true), ("1.1.1.1:1", 20, true)]);
        assert_eq!(result.unwrap(), "[::1]:1".parse().unwrap());
        assert_eq!(events.last().unwrap(), &(260, "drop 1.1.1.1:1".to_string()));
    }
}
