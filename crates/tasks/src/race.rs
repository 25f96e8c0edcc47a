//! The first of several futures to end; the others are dropped.

use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use picot_context::{Place, budget, contain};
use picot_loop::{LoopHandle, Sleep, sleep};

use crate::completed::{AsCompleted, as_completed};
use crate::contained;
use crate::cooperate::{Counted, Gate};
use crate::inputs::{Many, Race};

/// Waits for the first member that ends and returns its output, a value or an error. The others are
/// dropped.
///
/// Members are a tuple of up to eight, or anything that can be iterated over. If several members
/// have ended at the first poll, the one that was passed first wins. Of an iterator's members that
/// end later, the first to end wins, however late the race is polled. Of a tuple's members, which
/// are polled in place, the one that was passed first wins among all that have ended by the poll.
///
/// # Panics
/// When awaited, if there are no members, as it would never end. The message names the line of this
/// call.
///
/// # If dropped
/// The members are dropped; tasks among them are cancelled.
///
/// ```
/// use std::future::{pending, ready};
///
/// assert_eq!(picot_loop::run(picot_tasks::race((pending(), ready(1)))), 1);
/// ```
#[doc(alias = "select")]
#[doc(alias = "select_all")]
#[track_caller]
pub fn race<Kind, M: Race<Kind>>(members: M) -> impl Future<Output = M::Output> {
    Counted::new(members.race(Location::caller()))
}

impl<I> Race<Many> for I
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    type Output = <I::Item as IntoFuture>::Output;

    async fn race(self, place: Place) -> Self::Output {
        let mut members = as_completed(self);
        match poll_fn(|cx| members.poll_first(cx)).await {
            Some((_, output)) => output,
            None => panic!("the race at {place} has no members, so it would never end; pass at least one"),
        }
    }
}

/// Starts attempts one after the other and returns the first value, with the number of its attempt
/// (asyncio's `staggered_race`).
///
/// The next attempt starts when `delay` has passed or an attempt has failed. Once there is a value,
/// the other attempts are dropped, and attempts that were not started never run. This is the heart
/// of RFC 8305, "Happy Eyeballs".
///
/// # Errors
/// Returns all errors, in the order of the attempts, if all attempts fail or there are none.
///
/// # Panics
/// When awaited, if this thread has no loop. The message names the line of this call.
///
/// # If dropped
/// The attempts are dropped.
///
/// ```
/// use std::time::Duration;
///
/// async fn connect(address: &str) -> Result<String, &'static str> {
///     if address.starts_with("::") { Err("unreachable") } else { Ok(address.to_string()) }
/// }
///
/// picot_loop::run(async {
///     let attempts = ["::1", "127.0.0.1"].map(connect);
///     let first = picot_tasks::race_staggered(attempts, Duration::from_millis(250)).await;
///     assert_eq!(first, Ok((1, "127.0.0.1".to_string())));
/// });
/// ```
#[doc(alias = "staggered_race")]
#[doc(alias = "happy_eyeballs")]
#[track_caller]
pub fn race_staggered<I, T, E>(
    attempts: I,
    delay: Duration,
) -> Staggered<I::IntoIter, <I::Item as IntoFuture>::IntoFuture, E>
where
    I: IntoIterator,
    I::Item: IntoFuture<Output = Result<T, E>>,
{
    let running = as_completed::<[I::Item; 0]>([]);
    Staggered {
        attempts: attempts.into_iter(),
        delay,
        running,
        errors: Vec::new(),
        pause: None,
        is_over: false,
        place: Location::caller(),
        gate: Gate::default(),
    }
}

/// Attempts that are started one after the other; made by [`race_staggered`].
///
/// ```
/// picot_loop::run(async {
///     let attempts = [async { Ok::<_, ()>("first") }];
///     let race = picot_tasks::race_staggered(attempts, std::time::Duration::ZERO);
///     assert_eq!(race.await, Ok((0, "first")));
/// });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Staggered<I, F: Future, E> {
    attempts: I,
    delay: Duration,
    running: AsCompleted<F>,
    errors: Vec<(usize, E)>,
    /// Ends when the next attempt is due.
    pause: Option<Sleep>,
    /// Whether all attempts were started.
    is_over: bool,
    place: Place,
    gate: Gate,
}

/// The attempts are pinned in boxes of their own.
impl<I, F: Future, E> Unpin for Staggered<I, F, E> {}

impl<I, F, T, E> Staggered<I, F, E>
where
    I: Iterator,
    I::Item: IntoFuture<Output = Result<T, E>, IntoFuture = F>,
    F: Future<Output = Result<T, E>>,
{
    fn start_next(&mut self) {
        match self.attempts.next() {
            Some(attempt) => {
                self.running.push(attempt);
                if let Err(error) = LoopHandle::try_current() {
                    panic!("the attempts of the race at {} need a loop when they are polled: {error}", self.place);
                }
                self.pause = Some(sleep(self.delay));
            }
            None => {
                self.is_over = true;
                self.pause = None;
            }
        }
    }
}

impl<I, F, T, E> Future for Staggered<I, F, E>
where
    I: Iterator,
    I::Item: IntoFuture<Output = Result<T, E>, IntoFuture = F>,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<(usize, T), Vec<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        ready!(this.gate.poll(cx));
        // The first poll. Later ones keep an attempt, an error, or the end.
        if this.running.is_empty() && this.errors.is_empty() && !this.is_over {
            this.start_next();
        }
        loop {
            // Running attempts before the pause: a result that is ready starts no further attempt.
            match this.running.poll_first(cx) {
                Poll::Ready(Some((number, Ok(value)))) => {
                    // The losers go before the value is returned.
                    this.running.clear();
                    this.pause = None;
                    return Poll::Ready(Ok((number, value)));
                }
                Poll::Ready(Some((number, Err(error)))) => {
                    // A failure ends the pause: the next attempt need not wait for it.
                    this.errors.push((number, error));
                    this.start_next();
                    continue;
                }
                Poll::Ready(None) if this.is_over => {
                    budget::spend();
                    // Sorted by attempt: they came in the order of the ends.
                    this.errors.sort_by_key(|(number, _)| *number);
                    return Poll::Ready(Err(this.errors.drain(..).map(|(_, error)| error).collect()));
                }
                Poll::Ready(None) => {
                    this.start_next();
                    continue;
                }
                Poll::Pending => {}
            }
            if !this.pause.as_mut().is_some_and(|pause| Pin::new(pause).poll(cx).is_ready()) {
                return Poll::Pending;
            }
            this.start_next();
        }
    }
}

impl<I, F: Future, E> Drop for Staggered<I, F, E> {
    fn drop(&mut self) {
        contain::discard_each(contained::origin, self.errors.drain(..));
    }
}

impl<I, F: Future, E> fmt::Debug for Staggered<I, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staggered").field("delay", &self.delay).field("running", &self.running).finish_non_exhaustive()
    }
}
