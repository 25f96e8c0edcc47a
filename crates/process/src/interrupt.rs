//! Runs that end well on Ctrl-C.
//!
//! The first signal cancels the main future through a cancel scope. From then on the signal's
//! default is in force, put there inside of the handler, so that a second one ends the process even
//! if the loop is stuck in a step.

use std::fmt;
use std::future::poll_fn;
use std::io;
#[cfg(unix)]
use std::pin::Pin;
use std::pin::pin;
use std::process;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(unix)]
use futures_core::Stream;
use picot_context::{Cause, Escaped, Kind, Origin, Place, Report, TaskInfo};
use picot_loop::{EventLoop, Instant, LoopHandle, RunError};
use picot_tasks::{CancelScope, CancelToken};

use crate::signal::Signal;
#[cfg(unix)]
use crate::signal::disposition::{DefaultAfterFirst, default_after_first, is_ignored};
#[cfg(unix)]
use crate::signal::{Signals, signals};

/// How long the main future may clean up, unless set.
const GRACE: Duration = Duration::from_secs(5);

/// Options of a run that ends well on Ctrl-C; `#[picot::main(interrupt)]` is made of it.
///
/// On the first `SIGINT`:
///
/// 1. The main future is cancelled. One that was made with a token
///    ([`run_with`](Interrupt::run_with)) is notified by the token, goes on, and is dropped if it
///    has not ended when the [grace](Interrupt::grace) is over. Any other is dropped at once.
/// 2. Tasks that it leaves are cancelled, as at the end of asyncio's `run`. Work that must clean up
///    asynchronously belongs into a scope of the main future, or is awaited by it.
/// 3. Blocking jobs that run are waited for until the end of the grace.
/// 4. What was still running goes to the loop's error hook, which by default prints it: the main
///    future if it was dropped late, and the tasks, as an [`Interrupted`] in a
///    [`Cause::Failed`](picot_loop::Cause::Failed). The blocking jobs that outlast the grace are
///    always printed, because by then the loop is closed.
/// 5. The process exits with status 130, or 143 for `SIGTERM`. If the main future has returned a
///    value, that is returned instead: then the program chooses.
///
/// A second signal ends the process in the default way, at any time. A signal that the process
/// ignored when it was started is left alone, as is usual for jobs in the background. On Windows no
/// signal is listened to: Ctrl-C ends the process.
///
/// ```no_run
/// use std::time::Duration;
/// use picot_process::Interrupt;
///
/// Interrupt::new().terminate().grace(Duration::from_secs(10)).run_with(|token| async move {
///     println!("press Ctrl-C to end");
///     token.cancelled().await;
///     println!("cleans up");
/// });
/// ```
#[doc(alias = "KeyboardInterrupt")]
#[derive(Clone, Debug)]
#[must_use = "nothing runs until `run` is called"]
pub struct Interrupt {
    is_terminated: bool,
    grace: Duration,
}

impl Interrupt {
    /// Makes the options: for `SIGINT` only, with a grace of 5 s.
    ///
    /// ```
    /// let answer = picot_process::Interrupt::new().run(async { 42 });
    /// assert_eq!(answer, 42);
    /// ```
    pub fn new() -> Interrupt {
        Interrupt { is_terminated: false, grace: GRACE }
    }

    /// Ends on `SIGTERM`, too: what `kill` and service managers send.
    ///
    /// ```
    /// let answer = picot_process::Interrupt::new().terminate().run(async { 42 });
    /// assert_eq!(answer, 42);
    /// ```
    pub fn terminate(self) -> Interrupt {
        Interrupt { is_terminated: true, ..self }
    }

    /// Sets how long a main future with a token, and blocking jobs, may take to end; the default is
    /// 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_process::Interrupt;
    ///
    /// let answer = Interrupt::new().grace(Duration::from_secs(30)).run(async { 42 });
    /// assert_eq!(answer, 42);
    /// ```
    pub fn grace(self, duration: Duration) -> Interrupt {
        Interrupt { grace: duration, ..self }
    }

    /// Builds a loop on this thread, runs it until `main` is done, and closes it: `picot::run` that
    /// ends well on Ctrl-C.
    ///
    /// Does not return if it was interrupted: the process exits.
    ///
    /// # Panics
    /// If this thread has a loop, or none can be built, or it is stopped before the future is done.
    /// If the operating system refuses to listen to the signals. With the panic of the future.
    ///
    /// ```
    /// let answer = picot_process::Interrupt::new().run(async { 6 * 7 });
    /// assert_eq!(answer, 42);
    /// ```
    #[track_caller]
    pub fn run<F: IntoFuture>(self, main: F) -> F::Output {
        self.run_and_close(|_| main.into_future(), None)
    }

    /// As [`run`](Interrupt::run), for a main future that cleans up when `token` notifies it.
    ///
    /// If it returns by the end of the grace, so does this, and the program chooses its status.
    ///
    /// # Panics
    /// As [`run`](Interrupt::run).
    ///
    /// ```
    /// use picot_process::Interrupt;
    ///
    /// let answer = Interrupt::new().run_with(|token| async move { token.is_cancelled() });
    /// assert!(!answer);
    /// ```
    #[track_caller]
    pub fn run_with<F: Future>(self, main: impl FnOnce(CancelToken) -> F) -> F::Output {
        let grace = self.grace;
        self.run_and_close(main, Some(grace))
    }

    #[track_caller]
    fn run_and_close<F: Future>(&self, main: impl FnOnce(CancelToken) -> F, grace: Option<Duration>) -> F::Output {
        let event_loop = match EventLoop::new() {
            Ok(event_loop) => event_loop,
            Err(error) => panic!("{error}"),
        };
        let (value, request) = match self.drive(&event_loop, main, grace) {
            Ok(ended) => ended,
            Err(error) => panic!("{error}"),
        };
        let Some(request) = request else { return value.expect("only a request ends a run without a value") };
        let handle = event_loop.handle();
        let left = request.until - handle.now();
        let interrupted = request.into_interrupted(&event_loop, value.is_none().then_some(grace).flatten());
        let signal = interrupted.signal;
        // The closing calls the hook for this one before it waits for blocking jobs, so it is known
        // also if a second signal ends that wait.
        interrupted.report_to(&handle);
        let jobs = event_loop.close_within(left).map(|report| report.running_jobs).unwrap_or_default();
        let jobs: Vec<_> = jobs.iter().map(|job| job.place).collect();
        Interrupted { jobs, ..Interrupted::by(signal) }.report_to(&handle);
        match value {
            Some(value) => value,
            None => process::exit(Interrupted::by(signal).status()),
        }
    }

    /// Runs `main` until it is done or interrupted. With a grace, it may go on after a request.
    #[track_caller]
    fn drive<F: Future>(
        &self,
        event_loop: &EventLoop,
        main: impl FnOnce(CancelToken) -> F,
        grace: Option<Duration>,
    ) -> Result<(Option<F::Output>, Option<Request>), RunError> {
        let handle = event_loop.handle();
        if handle.is_closed() {
            return Err(RunError::Closed);
        }
        if handle.is_running() {
            return Err(RunError::Nested);
        }
        let mut listening = match Listening::new(self.is_terminated) {
            Ok(listening) => listening,
            Err(error) => panic!("cannot run until interrupted: {error}"),
        };
        let scope = CancelScope::new();
        let scope = match grace {
            Some(grace) => scope.grace(grace),
            None => scope,
        };
        let mut request = None;
        let main = scope.run(main(scope.token()));
        let value = event_loop.run_until_complete(async {
            let mut main = pin!(main);
            poll_fn(|cx| {
                if request.is_none() {
                    if let Poll::Ready(Some(signal)) = listening.poll(cx) {
                        request = Some(Request { signal, until: handle.now() + self.grace });
                        scope.cancel(format!("interrupted by {signal}"));
                    }
                }
                main.as_mut().poll(cx)
            })
            .await
        })?;
        Ok((value.ok(), request))
    }
}

impl Default for Interrupt {
    fn default() -> Interrupt {
        Interrupt::new()
    }
}

/// A signal that has ended a run.
struct Request {
    signal: Signal,
    /// The end of the grace.
    until: Instant,
}

impl Request {
    fn into_interrupted(self, event_loop: &EventLoop, overdue: Option<Duration>) -> Interrupted {
        // What was cancelled ends at its next step.
        let _ = event_loop.turn(Some(Duration::ZERO));
        Interrupted { overdue, tasks: event_loop.handle().tasks(), ..Interrupted::by(self.signal) }
    }
}

/// The signals that a run listens to; none of them if the process ignored them before.
#[cfg(unix)]
struct Listening(Option<(Signals, DefaultAfterFirst)>);

#[cfg(unix)]
impl Listening {
    fn new(is_terminated: bool) -> io::Result<Listening> {
        let wanted = [Some(Signal::INT), is_terminated.then_some(Signal::TERM)];
        let wanted: Vec<_> = wanted.into_iter().flatten().filter(|signal| !is_ignored(*signal)).collect();
        if wanted.is_empty() {
            return Ok(Listening(None));
        }
        // In this order: see `default_after_first`.
        let default = default_after_first(&wanted)?;
        Ok(Listening(Some((signals(wanted)?, default))))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Signal>> {
        match &mut self.0 {
            Some((signals, _)) => Pin::new(signals).poll_next(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(not(unix))]
struct Listening;

#[cfg(not(unix))]
impl Listening {
    fn new(_: bool) -> io::Result<Listening> {
        Ok(Listening)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Signal>> {
        Poll::Pending
    }
}

/// Runs until a signal, as a method of [`EventLoop`]: for loops that are built with options, or
/// that run several times.
///
/// ```
/// use picot_loop::EventLoop;
/// use picot_process::{Interrupt, RunUntilInterrupted};
///
/// let event_loop = EventLoop::builder().blocking_threads(2).build()?;
/// let ended = event_loop.run_until_interrupted(&Interrupt::new(), |_token| async { 42 })?;
/// assert_eq!(ended.unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait RunUntilInterrupted: sealed::Sealed {
    /// Runs the loop until `main` is done, as
    /// [`run_until_complete`](EventLoop::run_until_complete) does, or until a signal ends the run.
    ///
    /// The token notifies `main` of the signal. If it has not ended by the end of the
    /// [grace](Interrupt::grace), it is dropped; set a grace of zero for one that does not use its
    /// token. Tasks that are left stay for the next run or for the end of the loop. After the run,
    /// the signals have the dispositions that they had before.
    ///
    /// # Errors
    /// The outer error as for [`run_until_complete`](EventLoop::run_until_complete). The inner one
    /// if the run was interrupted and `main` has returned no value.
    ///
    /// # Panics
    /// If the operating system refuses to listen to the signals. With the panic of the future.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_process::{Interrupt, RunUntilInterrupted};
    ///
    /// let event_loop = picot_loop::EventLoop::new()?;
    /// let interrupt = Interrupt::new().grace(Duration::from_secs(10));
    /// let ended = event_loop.run_until_interrupted(&interrupt, |token| async move {
    ///     !token.is_cancelled() // a server would race its work against `token.cancelled()`
    /// })?;
    /// assert!(ended.unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    fn run_until_interrupted<F: Future>(
        &self,
        interrupt: &Interrupt,
        main: impl FnOnce(CancelToken) -> F,
    ) -> Result<Result<F::Output, Interrupted>, RunError>;
}

impl RunUntilInterrupted for EventLoop {
    #[track_caller]
    fn run_until_interrupted<F: Future>(
        &self,
        interrupt: &Interrupt,
        main: impl FnOnce(CancelToken) -> F,
    ) -> Result<Result<F::Output, Interrupted>, RunError> {
        Ok(match interrupt.drive(self, main, Some(interrupt.grace))? {
            (Some(value), _) => Ok(value),
            (None, request) => {
                let request = request.expect("only a request ends a run without a value");
                Err(request.into_interrupted(self, Some(interrupt.grace)))
            }
        })
    }
}

mod sealed {
    /// Keeps other crates from implementing the trait.
    pub trait Sealed {}

    impl Sealed for picot_loop::EventLoop {}
}

/// A run that a signal has ended; see [`RunUntilInterrupted`].
///
/// ```no_run
/// use picot_loop::EventLoop;
/// use picot_process::{Interrupt, RunUntilInterrupted};
///
/// let event_loop = EventLoop::new()?;
/// let ended = event_loop.run_until_interrupted(&Interrupt::new(), |token| async move {
///     std::future::pending::<()>().await
/// })?;
/// if let Err(interrupted) = ended {
///     eprintln!("{interrupted}");
///     std::process::exit(interrupted.status());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Interrupted {
    signal: Signal,
    /// The grace, if the main future has not ended within it.
    overdue: Option<Duration>,
    tasks: Vec<TaskInfo>,
    /// Where the blocking jobs were submitted that have not ended within the grace. Known only once
    /// the loop is closed.
    jobs: Vec<Place>,
}

impl Interrupted {
    /// A run that has left nothing.
    fn by(signal: Signal) -> Interrupted {
        Interrupted { signal, overdue: None, tasks: Vec::new(), jobs: Vec::new() }
    }

    /// Returns the signal.
    ///
    /// ```no_run
    /// use picot_loop::EventLoop;
    /// use picot_process::{Interrupt, RunUntilInterrupted};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let main = async |_| std::future::pending::<()>().await;
    /// if let Err(interrupted) = event_loop.run_until_interrupted(&Interrupt::new(), main)? {
    ///     assert_eq!(interrupted.signal(), picot_process::Signal::INT);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Returns the exit status that shells expect: 128 and the number of the signal, so 130 for
    /// `SIGINT` and 143 for `SIGTERM`.
    ///
    /// ```no_run
    /// use picot_loop::EventLoop;
    /// use picot_process::{Interrupt, RunUntilInterrupted};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let main = async |_| std::future::pending::<()>().await;
    /// if let Err(interrupted) = event_loop.run_until_interrupted(&Interrupt::new(), main)? {
    ///     std::process::exit(interrupted.status());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status(&self) -> i32 {
        128 + self.signal.as_raw()
    }

    /// Returns the tasks that were still running, in the order in which they were spawned. The main
    /// future is not among them.
    ///
    /// ```no_run
    /// use picot_loop::EventLoop;
    /// use picot_process::{Interrupt, RunUntilInterrupted};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let main = async |_| std::future::pending::<()>().await;
    /// if let Err(interrupted) = event_loop.run_until_interrupted(&Interrupt::new(), main)? {
    ///     interrupted.tasks().iter().for_each(|task| eprintln!("still running: {task}"));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// Reports what was left, if anything was.
    fn report_to(self, handle: &LoopHandle) {
        if self.overdue.is_some() || !self.tasks.is_empty() || !self.jobs.is_empty() {
            handle.report(Report::new(Origin::new(Kind::Loop), Cause::Failed(Box::new(self))));
        }
    }
}

/// Writes one line: the signal, and what was still running.
impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.signal)?;
        if let Some(grace) = self.overdue {
            write!(f, "; the main future had not ended {grace:?} later and was dropped")?;
        }
        self.tasks.iter().try_for_each(|task| write!(f, "; still running: {}", Escaped(task)))?;
        let job = |place| write!(f, "; still running: the blocking job submitted at {}", Escaped(place));
        self.jobs.iter().try_for_each(job)
    }
}

impl std::error::Error for Interrupted {}
