//! Collects what is shown, from this loop and from others, at a bounded part of their time.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use picot_context::Escaped;
use picot_loop::{Dump, Instant, LoopHandle, Metrics, RemoteHandle, SlowStep, Snapshot, sleep_until};
use picot_tasks::timeout;

/// After a walk over the tasks that took time t, the next one begins 50 t later at the earliest. So
/// all pages and scripts together take at most 2 % of a loop's time.
const REST: u32 = 50;

/// How long another loop has to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// What a loop has said about itself.
pub(crate) struct Collected {
    pub(crate) dump: Dump,
    pub(crate) slow_steps: Vec<SlowStep>,
    /// When it was collected, by the clock of that loop.
    pub(crate) at: Instant,
    /// How long the walk over the tasks took.
    pub(crate) took: Duration,
}

impl Collected {
    /// Collects from this thread's loop.
    fn now(handle: &LoopHandle) -> Collected {
        let begin = handle.now();
        let (dump, slow_steps, at) = (handle.dump(), handle.slow_steps(), handle.now());
        Collected { dump, slow_steps, at, took: at - begin }
    }
}

/// A loop that is shown.
pub(crate) struct Watched {
    pub(crate) name: String,
    from: From,
    metrics: RefCell<Option<Metrics>>,
    /// When the next walk may begin.
    next: Cell<Option<Instant>>,
}

enum From {
    Here(LoopHandle),
    Elsewhere(RemoteHandle),
}

/// The loops that are shown. The first is the one that serves.
pub(crate) struct Loops {
    all: RefCell<Vec<Rc<Watched>>>,
    handle: LoopHandle,
}

impl Loops {
    /// The loop of this thread, which begins to measure its steps.
    pub(crate) fn of_thread() -> Loops {
        let handle = LoopHandle::current();
        handle.record_steps(true);
        let first = Watched::new("main", From::Here(handle.clone()), Some(handle.metrics()));
        Loops { all: RefCell::new(vec![Rc::new(first)]), handle }
    }

    pub(crate) fn add(&self, name: &str, remote: &RemoteHandle) -> io::Result<()> {
        let begin = || LoopHandle::current().record_steps(true);
        let about = |error| io::Error::other(format!("inspect the loop `{}`: {error}", Escaped(name)));
        remote.call_soon(begin).map_err(about)?;
        self.all.borrow_mut().push(Rc::new(Watched::new(name, From::Elsewhere(remote.clone()), None)));
        Ok(())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.all.borrow().iter().map(|watched| watched.name.clone()).collect()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Rc<Watched>> {
        self.all.borrow().get(index).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Rc<Watched>> {
        self.all.borrow().clone()
    }

    pub(crate) fn now(&self) -> Instant {
        self.handle.now()
    }
}

/// Why there is no answer of a loop.
#[derive(Debug)]
pub(crate) struct NoAnswer(pub(crate) String);

impl Watched {
    fn new(name: &str, from: From, metrics: Option<Metrics>) -> Watched {
        Watched { name: name.to_string(), from, metrics: RefCell::new(metrics), next: Cell::new(None) }
    }

    /// The current metrics; those of another loop are of its last wait.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, NoAnswer> {
        if let From::Here(handle) = &self.from {
            return Ok(handle.metrics().snapshot());
        }
        let known = self.metrics.borrow().clone();
        let metrics = match known {
            Some(metrics) => metrics,
            None => self.ask(|handle| handle.metrics()).await?,
        };
        *self.metrics.borrow_mut() = Some(metrics.clone());
        Ok(metrics.snapshot())
    }

    /// The tasks of the loop, as soon as the next walk over them may begin.
    pub(crate) async fn collect(&self, here: &LoopHandle) -> Result<Collected, NoAnswer> {
        while let Some(next) = self.next.get().filter(|next| here.now() < *next) {
            sleep_until(next).await;
        }
        let collected = match &self.from {
            From::Here(handle) => Collected::now(handle),
            From::Elsewhere(_) => {
                // Until it answers, other requests wait instead of asking as well.
                self.next.set(Some(here.now() + ANSWER));
                self.ask(Collected::now).await?
            }
        };
        self.next.set(None);
        self.charge(here.now(), collected.took);
        Ok(collected)
    }

    /// Delays the next walk for work that took `took` until `now`. Work for another loop's page is
    /// done here, and delays that page as well.
    pub(crate) fn charge(&self, now: Instant, took: Duration) {
        let base = self.next.get().filter(|next| *next > now).unwrap_or(now);
        self.next.set(Some(base + took * REST));
    }

    /// How long a page waits before it asks again.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.next.get().map_or(Duration::ZERO, |next| next - now)
    }

    async fn ask<T: Send + 'static>(&self, ask: fn(&LoopHandle) -> T) -> Result<T, NoAnswer> {
        let From::Elsewhere(remote) = &self.from else { return Ok(ask(&LoopHandle::current())) };
        let name = Escaped(&self.name);
        let asked = remote.spawn(move || async move { ask(&LoopHandle::current()) });
        let asked = asked.map_err(|_| NoAnswer(format!("the loop `{name}` is closed")))?;
        match timeout(ANSWER, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(NoAnswer(format!("the loop `{name}` has not answered: {error}"))),
            Err(_) => Err(NoAnswer(format!(
                "the loop `{name}` has not answered for {ANSWER:?}: a step blocks it, or it does not run"
            ))),
        }
    }
}
