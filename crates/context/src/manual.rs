//! A host that a test drives by hand, so that it sees every step of a leaf.
//!
//! It keeps calls and tasks in order, and runs them only when the test steps it. It is not an
//! executor: it has no handles, no cancellation and no other threads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use crate::{Closed, Host, Kind, Origin, Place, Report, Step, catch, contain, enter};

type BoxCall = Box<dyn FnOnce()>;
type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A [`Host`] with a queue that only [`step`](ManualHost::step) and its siblings move.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use picot_context::{Host, ManualHost};
///
/// let host = ManualHost::new();
/// let ran = Rc::new(Cell::new(false));
/// let call = Box::new({ let ran = ran.clone(); move || ran.set(true) });
/// host.run_later(std::panic::Location::caller(), call)?;
/// assert!(!ran.get());
/// assert!(host.step());
/// assert!(ran.get() && !host.step());
/// # Ok::<(), picot_context::Closed>(())
/// ```
#[derive(Default)]
pub struct ManualHost {
    calls: RefCell<VecDeque<(Place, BoxCall)>>,
    tasks: RefCell<Vec<Task>>,
    reports: RefCell<Vec<Report>>,
    closed: Cell<bool>,
}

struct Task {
    place: Place,
    future: BoxFuture,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // Release pairs with the Acquire in `step`: the poll sees all that happened before the
        // wake.
        self.0.store(true, Ordering::Release);
    }
}

impl ManualHost {
    /// A host with nothing to do.
    ///
    /// ```
    /// let host = picot_context::ManualHost::new();
    /// assert_eq!(host.run_until_stalled(), 0);
    /// ```
    pub fn new() -> ManualHost {
        ManualHost::default()
    }

    /// Installs a new host on this thread and returns it with its guard, as most tests begin. When
    /// the guard is dropped, the host is [closed](ManualHost::close): queued items may hold the
    /// host, which would be a reference cycle.
    ///
    /// ```
    /// let (host, _guard) = picot_context::ManualHost::installed();
    /// picot_context::host().unwrap().spawn(std::panic::Location::caller(), Box::pin(async {}))?;
    /// assert_eq!(host.run_until_stalled(), 1);
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn installed() -> (Rc<ManualHost>, crate::HostGuard) {
        let host = Rc::new(ManualHost::new());
        let guard = crate::host::install_until_closed(host.clone());
        (host, guard)
    }

    /// Queues `call` as if the caller of this function had scheduled it.
    ///
    /// ```
    /// let host = picot_context::ManualHost::new();
    /// host.call(|| println!("in a turn"))?;
    /// assert!(host.step());
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    #[track_caller]
    pub fn call(&self, call: impl FnOnce() + 'static) -> Result<(), Closed> {
        self.run_later(Location::caller(), Box::new(call))
    }

    /// Runs the oldest call, or else polls the oldest task that was woken. Returns whether there
    /// was one.
    ///
    /// ```
    /// let host = picot_context::ManualHost::new();
    /// host.call(|| ())?;
    /// host.call(|| ())?;
    /// assert!(host.step() && host.step());
    /// assert!(!host.step());
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn step(&self) -> bool {
        // Taken out first: the call may schedule others.
        let call = self.calls.borrow_mut().pop_front();
        if let Some((place, call)) = call {
            self.contained(Kind::Callback, place, call);
            return true;
        }
        let task = {
            let mut tasks = self.tasks.borrow_mut();
            tasks.iter().position(|task| task.woken.0.swap(false, Ordering::Acquire)).map(|index| tasks.remove(index))
        };
        let Some(mut task) = task else { return false };
        let waker = task.woken.clone().into();
        let poll =
            self.contained(Kind::Task, task.place, || task.future.as_mut().poll(&mut Context::from_waker(&waker)));
        if let Some(Poll::Pending) = poll {
            self.tasks.borrow_mut().push(task);
        } else {
            self.contained(Kind::Task, task.place, || drop(task.future));
        }
        true
    }

    /// Runs exactly the items that are queued now, as one turn does. Returns their number.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_context::ManualHost;
    ///
    /// let host = Rc::new(ManualHost::new());
    /// let inside = host.clone();
    /// host.call(move || inside.call(|| ()).unwrap())?;
    /// assert_eq!(host.turn(), 1);
    /// assert_eq!(host.turn(), 1, "what the first turn has queued");
    /// assert_eq!(host.turn(), 0);
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn turn(&self) -> usize {
        let count = self.calls.borrow().len();
        for _ in 0..count {
            self.step();
        }
        count
    }

    /// Steps until nothing is left to do. Returns the number of steps.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use picot_context::ManualHost;
    ///
    /// let host = Rc::new(ManualHost::new());
    /// let inside = host.clone();
    /// host.call(move || inside.call(|| ()).unwrap())?;
    /// assert_eq!(host.run_until_stalled(), 2);
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn run_until_stalled(&self) -> usize {
        std::iter::from_fn(|| self.step().then_some(())).count()
    }

    /// Refuses everything from now on, and drops the queued items.
    ///
    /// ```
    /// let host = picot_context::ManualHost::new();
    /// host.call(|| unreachable!("it is dropped"))?;
    /// host.close();
    /// assert_eq!(host.run_until_stalled(), 0);
    /// assert!(host.call(|| ()).is_err());
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn close(&self) {
        self.closed.set(true);
        for (place, call) in self.calls.take() {
            self.contained(Kind::Callback, place, || drop(call));
        }
        for task in self.tasks.take() {
            self.contained(Kind::Task, task.place, || drop(task.future));
        }
    }

    /// The reports so far, oldest first.
    ///
    /// ```
    /// let host = picot_context::ManualHost::new();
    /// host.call(|| panic!("boom"))?;
    /// host.run_until_stalled();
    /// assert!(host.take_reports()[0].to_string().ends_with("panicked with \"boom\""));
    /// assert!(host.take_reports().is_empty());
    /// # Ok::<(), picot_context::Closed>(())
    /// ```
    pub fn take_reports(&self) -> Vec<Report> {
        self.reports.take()
    }

    fn contained<R>(&self, kind: Kind, place: Place, f: impl FnOnce() -> R) -> Option<R> {
        let _entered = enter(Step::callback(place), None);
        catch(f).map_err(|payload| self.report(Report::panic(Origin::new(kind).at(place), payload))).ok()
    }

    fn check(&self) -> Result<(), Closed> {
        if self.closed.get() { Err(Closed) } else { Ok(()) }
    }
}

impl Drop for ManualHost {
    fn drop(&mut self) {
        self.close();
        contain::discard_each(|| Origin::new(Kind::Hook), self.reports.take());
    }
}

impl Host for ManualHost {
    fn run_later(&self, place: Place, call: BoxCall) -> Result<(), Closed> {
        self.check()?;
        self.calls.borrow_mut().push_back((place, call));
        Ok(())
    }

    fn spawn(&self, place: Place, future: BoxFuture) -> Result<(), Closed> {
        self.check()?;
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.tasks.borrow_mut().push(Task { place, future, woken });
        Ok(())
    }

    fn report(&self, report: Report) {
        self.reports.borrow_mut().push(report);
    }
}

impl fmt::Debug for ManualHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualHost")
            .field("calls", &self.calls.borrow().len())
            .field("tasks", &self.tasks.borrow().len())
            .finish_non_exhaustive()
    }
}
