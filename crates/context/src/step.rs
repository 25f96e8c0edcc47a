//! The step that runs now on this thread: one poll of a task, or one callback.
//!
//! The invariant: each [`enter`] is undone by the drop of its frame, also by unwinding, and the
//! previous step is then current again. This file does not decide what runs; executors do.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::rc::Rc;

use crate::locals::Locals;
use crate::{Escaped, Kind, Origin, Report, budget, catch, report};

/// A source location, such as that of a spawn.
///
/// ```
/// use picot_context::Place;
///
/// #[track_caller]
/// fn here() -> Place {
///     std::panic::Location::caller()
/// }
///
/// assert_eq!(here().line(), line!());
/// ```
pub type Place = &'static Location<'static>;

/// A task's number, unique within its executor and increasing in spawn order.
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::TaskId;
///
/// let [first, second] = [1, 2].map(|number| TaskId::new(NonZeroU64::new(number).unwrap()));
/// assert!(first < second);
/// assert_eq!(second.to_string(), "2");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The id with this number. Only executors make ids.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::TaskId;
    ///
    /// assert_eq!(TaskId::new(NonZeroU64::MIN).to_string(), "1");
    /// ```
    pub const fn new(number: NonZeroU64) -> TaskId {
        TaskId(number)
    }

    /// The bare number.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::TaskId;
    ///
    /// assert_eq!(TaskId::new(NonZeroU64::new(7).unwrap()).get(), 7);
    /// ```
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One step: a poll of a task, or a callback, and where it came from.
///
/// ```
/// use picot_context::{Step, enter, running};
///
/// let place = std::panic::Location::caller();
/// let step = enter(Step::callback(place), None);
/// assert_eq!(running().unwrap().place(), place);
/// drop(step);
/// assert!(running().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// 0 for a callback; otherwise the task's number, shifted by one, and a bit for the root.
    /// Packed into one word, because every step of every task writes it.
    what: u64,
    place: Place,
}

impl Step {
    /// A callback that was scheduled at `place`.
    ///
    /// ```
    /// let step = picot_context::Step::callback(std::panic::Location::caller());
    /// assert_eq!(step.task_id(), None);
    /// ```
    pub const fn callback(place: Place) -> Step {
        Step { what: 0, place }
    }

    /// A poll of the task `id`, which was spawned at `place`.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{Step, TaskId};
    ///
    /// let id = TaskId::new(NonZeroU64::new(7).unwrap());
    /// assert_eq!(Step::task(id, std::panic::Location::caller()).task_id(), Some(id));
    /// ```
    pub const fn task(id: TaskId, place: Place) -> Step {
        Step { what: id.get() << 1, place }
    }

    /// A poll of the task `id` that the loop is run for, at `place`; its name is [`ROOT_NAME`].
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{ROOT_NAME, Step, TaskId, current, enter};
    ///
    /// let id = TaskId::new(NonZeroU64::new(1).unwrap());
    /// let _step = enter(Step::root(id, std::panic::Location::caller()), None);
    /// assert_eq!(current().unwrap().given_name(), Some(ROOT_NAME));
    /// ```
    pub const fn root(id: TaskId, place: Place) -> Step {
        Step { what: id.get() << 1 | 1, place }
    }

    const fn is_root(&self) -> bool {
        self.what & 1 != 0
    }

    /// The task, unless this is a callback.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{Step, TaskId};
    ///
    /// let (id, place) = (TaskId::new(NonZeroU64::MIN), std::panic::Location::caller());
    /// assert_eq!(Step::task(id, place).task_id(), Some(id));
    /// assert_eq!(Step::callback(place).task_id(), None);
    /// ```
    pub const fn task_id(&self) -> Option<TaskId> {
        match NonZeroU64::new(self.what >> 1) {
            Some(number) => Some(TaskId(number)),
            None => None,
        }
    }

    /// Where the task was spawned or the callback scheduled.
    ///
    /// ```
    /// use picot_context::Step;
    ///
    /// let step = Step::callback(std::panic::Location::caller());
    /// assert_eq!(step.place().line(), line!() - 1);
    /// ```
    pub const fn place(&self) -> Place {
        self.place
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("task", &self.task_id()).field("place", &self.place).finish()
    }
}

/// The name of the task that a loop is run for.
///
/// ```
/// assert_eq!(picot_context::ROOT_NAME, "main");
/// ```
pub const ROOT_NAME: &str = "main";

/// The rarely used part of a task or callback: a name, and task-locals.
///
/// Executors keep it beside the task and pass it to [`enter`] at each step. If a step that was
/// entered without details has made some, by setting a local, [`take_made`] returns them.
///
/// ```
/// let details = picot_context::inherited(Some("fetch")).unwrap();
/// assert_eq!(details.name(), Some("fetch"));
/// assert!(picot_context::inherited(None).is_none(), "most tasks have none");
/// ```
#[derive(Default)]
pub struct Details {
    name: Option<Box<str>>,
    pub(crate) locals: RefCell<Locals>,
}

impl Details {
    /// The name of the task, if it has one.
    ///
    /// ```
    /// let details = picot_context::inherited(Some("fetch")).unwrap();
    /// assert_eq!(details.name(), Some("fetch"));
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Clears the locals, at the end of a task or callback. Their destructors run inside this
    /// function, with nothing borrowed. A shared set stays with its other owners.
    ///
    /// # Panics
    /// With the first panic of a destructor, when all have run; the caller contains it. Any other
    /// is reported.
    ///
    /// ```
    /// use picot_context::{Step, enter, take_made};
    ///
    /// picot_context::task_local! {
    ///     static HELD: std::rc::Rc<()>;
    /// }
    ///
    /// let held = std::rc::Rc::new(());
    /// let step = enter(Step::callback(std::panic::Location::caller()), None);
    /// HELD.set(held.clone());
    /// let details = take_made().unwrap();
    /// drop(step);
    /// assert_eq!(std::rc::Rc::strong_count(&held), 2);
    /// details.clear_locals(); // the task has ended
    /// assert_eq!(std::rc::Rc::strong_count(&held), 1);
    /// ```
    pub fn clear_locals(&self) {
        let values = self.locals.borrow_mut().take();
        let mut first = None;
        for value in values {
            match (catch(move || drop(value)), &first) {
                (Err(payload), None) => first = Some(payload),
                (Err(payload), Some(_)) => {
                    report(Report::panic(Origin::running().unwrap_or(Origin::new(Kind::Task)), payload));
                }
                (Ok(()), _) => {}
            }
        }
        if let Some(payload) = first.and_then(|payload| payload.take()) {
            std::panic::resume_unwind(payload);
        }
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which task this is: its id, its name, and where it was spawned.
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::{TaskId, TaskInfo};
///
/// let id = TaskId::new(NonZeroU64::new(7).unwrap());
/// let fetch = TaskInfo::new(id, Some("fetch"), std::panic::Location::caller());
/// println!("{fetch}"); // fetch (task 7, spawned at src/main.rs:5:46)
/// assert_eq!((fetch.id(), fetch.given_name()), (id, Some("fetch")));
/// assert_eq!(fetch.place().line(), line!() - 3);
/// ```
#[derive(Clone, Debug)]
pub struct TaskInfo {
    id: TaskId,
    name: Option<Box<str>>,
    place: Place,
}

impl TaskInfo {
    /// Describes the task `id`; without a `name` it is called `task-<id>`.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{TaskId, TaskInfo};
    ///
    /// let id = TaskId::new(NonZeroU64::MIN);
    /// let info = TaskInfo::new(id, None, std::panic::Location::caller());
    /// assert!(info.to_string().starts_with("task 1 (spawned at "));
    /// ```
    pub fn new(id: TaskId, name: Option<&str>, place: Place) -> TaskInfo {
        TaskInfo { id, name: name.map(Into::into), place }
    }

    /// The task's number.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{TaskId, TaskInfo};
    ///
    /// let id = TaskId::new(NonZeroU64::MIN);
    /// assert_eq!(TaskInfo::new(id, None, std::panic::Location::caller()).id(), id);
    /// ```
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The name from the spawn, if there is one.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{TaskId, TaskInfo};
    ///
    /// let (id, place) = (TaskId::new(NonZeroU64::MIN), std::panic::Location::caller());
    /// assert_eq!(TaskInfo::new(id, Some("fetch"), place).given_name(), Some("fetch"));
    /// assert_eq!(TaskInfo::new(id, None, place).given_name(), None);
    /// ```
    pub fn given_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the task was spawned.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{TaskId, TaskInfo};
    ///
    /// let place = std::panic::Location::caller();
    /// let info = TaskInfo::new(TaskId::new(NonZeroU64::MIN), None, place);
    /// assert_eq!(info.place(), place);
    /// ```
    pub fn place(&self) -> Place {
        self.place
    }
}

/// `fetch (task 7, spawned at src/main.rs:12:5)`, or `task 7 (spawned at …)` without a name. The
/// name is [escaped](Escaped).
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, place) = (self.id, Escaped(self.place));
        match &self.name {
            Some(name) => write!(f, "{} (task {id}, spawned at {place})", Escaped(name)),
            None => write!(f, "task {id} (spawned at {place})"),
        }
    }
}

/// Where the details of the running step came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    /// The executor passed them in.
    Given,
    /// The step made them itself.
    Made,
}

// The step, and whether it has details, separate from the details themselves: a thread-local
// without a destructor costs a plain load, and most steps need only these two.
thread_local! {
    static STEP: Cell<Option<Step>> = const { Cell::new(None) };
    static PRESENCE: Cell<Presence> = const { Cell::new(Presence::Absent) };
    static DETAILS: RefCell<Option<Rc<Details>>> = const { RefCell::new(None) };
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// How many executors' steps surround the running one on this thread's stack: 0, unless an eager
/// spawn or another executor runs inside of a step.
///
/// State that surrounds a poll, such as the cancel scope whose future is polled, belongs to the
/// task that is polled there, not to a task that happens to run further up the same stack. Note the
/// nesting with such state, and ignore it at any other. A step that was [entered](enter) by a step
/// itself, such as that of a scope's child, has the nesting of that step.
///
/// ```
/// use picot_context::{Frame, Step, enter, nesting};
///
/// let here = std::panic::Location::caller();
/// let outer = Frame::new(); // as an executor begins a batch
/// outer.begin(Step::callback(here), None);
/// let child = enter(Step::callback(here), None);
/// assert_eq!(nesting(), 0);
/// drop(child);
/// let eager = Frame::new();
/// eager.begin(Step::callback(here), None);
/// assert_eq!(nesting(), 1);
/// drop(eager);
/// assert_eq!(nesting(), 0);
/// ```
pub fn nesting() -> u32 {
    NESTING.get()
}

/// The rare half of a change of steps. Out of line, so that the common half stays small.
#[cold]
#[inline(never)]
fn swap_details(details: Option<Rc<Details>>, presence: Presence) -> (Option<Rc<Details>>, Presence) {
    // While the thread ends, the details have been dropped already, and there is nothing to
    // restore.
    let details = DETAILS.try_with(|cell| cell.replace(details)).unwrap_or(None);
    (details, PRESENCE.replace(presence))
}

#[inline]
fn is_plain() -> bool {
    PRESENCE.get() == Presence::Absent
}

/// Makes `step` the current one until the returned frame is dropped, and fills the [`budget`].
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::{Step, TaskId, current, enter, inherited};
///
/// let id = TaskId::new(NonZeroU64::new(1).unwrap());
/// {
///     let _step = enter(Step::task(id, std::panic::Location::caller()), inherited(Some("fetch")));
///     assert_eq!(current().unwrap().given_name(), Some("fetch"));
/// }
/// assert!(current().is_none());
/// ```
#[inline]
pub fn enter(step: Step, details: Option<Rc<Details>>) -> Frame {
    let frame = Frame::surrounded();
    frame.begin(step, details);
    frame
}

/// Runs one step after the other. When the frame is dropped, also while unwinding, the outer step
/// is current again.
///
/// ```
/// use picot_context::{Frame, Step, running};
///
/// let places = [std::panic::Location::caller(); 3];
/// let frame = Frame::new();
/// for place in places {
///     frame.begin(Step::callback(place), None); // and here a batch runs it
///     assert!(running().is_some());
/// }
/// drop(frame);
/// assert!(running().is_none());
/// ```
#[must_use = "the previous step is current again at once if the frame is dropped"]
#[derive(Debug)]
pub struct Frame {
    step: Option<Step>,
    budget: budget::Left,
    details: Option<Rc<Details>>,
    presence: Presence,
    is_nested: bool,
}

impl Frame {
    /// A frame without a step yet, for an executor. One that is made inside of a step raises the
    /// [`nesting`].
    ///
    /// ```
    /// use picot_context::{Frame, Step, running};
    ///
    /// // An executor makes one frame for a batch, and begins step after step in it.
    /// let frame = Frame::new();
    /// frame.begin(Step::callback(std::panic::Location::caller()), None);
    /// assert!(running().is_some());
    /// drop(frame);
    /// assert!(running().is_none());
    /// ```
    #[inline]
    pub fn new() -> Frame {
        let mut frame = Frame::surrounded();
        // A step runs around this executor: state of that step's task must not apply to tasks here.
        if frame.step.is_some() {
            frame.is_nested = true;
            NESTING.set(NESTING.get() + 1);
        }
        frame
    }

    /// A frame that belongs to the step around it, if there is one.
    #[inline]
    fn surrounded() -> Frame {
        let (details, presence) =
            if is_plain() { (None, Presence::Absent) } else { swap_details(None, Presence::Absent) };
        Frame { step: STEP.take(), budget: budget::unlimited(), details, presence, is_nested: false }
    }

    /// Ends the step before, makes `step` the current one, and fills the [`budget`].
    ///
    /// ```
    /// use picot_context::{Frame, Step, running};
    ///
    /// let frame = Frame::new();
    /// for _ in 0..2 {
    ///     let step = Step::callback(std::panic::Location::caller());
    ///     frame.begin(step, None);
    ///     assert_eq!(running().unwrap().place(), step.place());
    /// }
    /// ```
    #[inline]
    pub fn begin(&self, step: Step, details: Option<Rc<Details>>) {
        // The common step has no details, and neither had the one before: two plain stores are
        // left.
        if details.is_some() || !is_plain() {
            change_details(details);
        }
        STEP.set(Some(step));
        budget::fill();
    }
}

#[cold]
#[inline(never)]
fn change_details(details: Option<Rc<Details>>) {
    let presence = if details.is_some() { Presence::Given } else { Presence::Absent };
    // This may be the last reference to task-locals, whose destructors are user code; no cell is
    // borrowed.
    drop(swap_details(details, presence));
}

impl Default for Frame {
    fn default() -> Frame {
        Frame::new()
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        // Before the details are dropped: destructors of task-locals then run in the outer step.
        STEP.set(self.step);
        if self.is_nested {
            NESTING.set(NESTING.get() - 1);
        }
        if !is_plain() || self.presence != Presence::Absent {
            drop(swap_details(self.details.take(), self.presence));
        }
        // The outer step continues with what it had left.
        budget::restore(self.budget);
    }
}

/// Whether the running step has set its task's first local; then [`take_made`] returns the details
/// that hold it.
///
/// ```
/// use picot_context::{Step, enter, has_made};
///
/// picot_context::task_local! {
///     static USER: &'static str;
/// }
///
/// let _step = enter(Step::callback(std::panic::Location::caller()), None);
/// assert!(!has_made());
/// USER.set("ada");
/// assert!(has_made());
/// ```
#[inline]
pub fn has_made() -> bool {
    PRESENCE.get() == Presence::Made
}

/// The details that the running step has made by setting a local, if it was entered without any.
/// The executor keeps them and passes them to the task's next step.
///
/// ```
/// use picot_context::{Step, enter, take_made};
///
/// picot_context::task_local! {
///     static USER: &'static str;
/// }
///
/// let step = Step::callback(std::panic::Location::caller());
/// let first = enter(step, None);
/// USER.set("ada");
/// let details = take_made(); // the executor keeps them beside the task
/// drop(first);
/// let _second = enter(step, details);
/// assert_eq!(USER.get(), Some("ada"));
/// ```
pub fn take_made() -> Option<Rc<Details>> {
    if has_made() { swap_details(None, Presence::Absent).0 } else { None }
}

/// The step that runs now on this thread, if one does.
///
/// ```
/// use picot_context::{Step, enter, running};
///
/// assert!(running().is_none());
/// let _step = enter(Step::callback(std::panic::Location::caller()), None);
/// assert_eq!(running().unwrap().task_id(), None, "a callback");
/// ```
#[inline]
pub fn running() -> Option<Step> {
    STEP.get()
}

/// The task that runs now on this thread: none in a callback and outside of the loop (asyncio's
/// `current_task`).
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::{Step, TaskId, current, enter};
///
/// let id = TaskId::new(NonZeroU64::new(7).unwrap());
/// let _step = enter(Step::task(id, std::panic::Location::caller()), None);
/// assert_eq!(current().unwrap().id(), id);
/// ```
pub fn current() -> Option<TaskInfo> {
    Running::now().task()
}

/// The step that runs now, to be described later: unlike [`current`], taking it copies no name.
///
/// The default is that nothing runs. It keeps the task's locals alive, so drop it where their
/// destructors may run.
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::{Running, Step, TaskId, enter, inherited};
///
/// let id = TaskId::new(NonZeroU64::new(7).unwrap());
/// let step = enter(Step::task(id, std::panic::Location::caller()), inherited(Some("fetch")));
/// let holder = Running::now(); // as a lock notes who takes it
/// drop(step);
/// assert_eq!(holder.task_id(), Some(id));
/// assert_eq!(holder.task().unwrap().given_name(), Some("fetch"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Running {
    step: Option<Step>,
    details: Option<Rc<Details>>,
}

impl Running {
    /// The step that runs now on this thread.
    ///
    /// ```
    /// use picot_context::Running;
    ///
    /// assert!(Running::now().task().is_none(), "no step runs here");
    /// ```
    #[inline]
    pub fn now() -> Running {
        let details = if is_plain() { None } else { shared_details() };
        Running { step: STEP.get(), details }
    }

    /// The task's number, if it was a task.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{Running, Step, TaskId, enter};
    ///
    /// let id = TaskId::new(NonZeroU64::MIN);
    /// let _step = enter(Step::task(id, std::panic::Location::caller()), None);
    /// assert_eq!(Running::now().task_id(), Some(id));
    /// ```
    #[inline]
    pub fn task_id(&self) -> Option<TaskId> {
        self.step.as_ref().and_then(Step::task_id)
    }

    /// The task, if it was one.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{Running, Step, TaskId, enter, inherited};
    ///
    /// let id = TaskId::new(NonZeroU64::MIN);
    /// let step = Step::task(id, std::panic::Location::caller());
    /// let _step = enter(step, inherited(Some("fetch")));
    /// assert_eq!(Running::now().task().unwrap().given_name(), Some("fetch"));
    /// ```
    pub fn task(&self) -> Option<TaskInfo> {
        let step = self.step?;
        let name = if step.is_root() { Some(ROOT_NAME) } else { self.details.as_deref().and_then(Details::name) };
        Some(TaskInfo::new(step.task_id()?, name, step.place))
    }
}

/// The details that a task or callback made now starts with: a snapshot of the current locals, and
/// `name`. `None` if there is neither, which is the common case and costs nothing.
///
/// ```
/// use picot_context::{Step, enter, inherited};
///
/// picot_context::task_local! {
///     static USER: &'static str;
/// }
///
/// let parent = enter(Step::callback(std::panic::Location::caller()), None);
/// USER.set("ada");
/// let details = inherited(Some("child"));
/// USER.set("grace");
/// drop(parent);
/// let _child = enter(Step::callback(std::panic::Location::caller()), details);
/// assert_eq!(USER.get(), Some("ada"), "as it was when the child was made");
/// ```
#[inline]
pub fn inherited(name: Option<&str>) -> Option<Rc<Details>> {
    if name.is_none() && is_plain() { None } else { inherited_details(name) }
}

/// Out of line, so that the common half stays small.
#[inline(never)]
fn inherited_details(name: Option<&str>) -> Option<Rc<Details>> {
    let locals = with_details(|details| details.map(|details| details.locals.borrow().snapshot())).unwrap_or_default();
    if name.is_none() && locals.is_empty() {
        return None;
    }
    Some(Rc::new(Details { name: name.map(Into::into), locals: RefCell::new(Locals::Own(locals)) }))
}

/// The details of a task that shares the current locals: each sees what the other sets from now on,
/// as asyncio's `create_task(…, context=…)` with the caller's own context. Outside of a task it
/// shares the locals that are set there.
///
/// ```
/// use picot_context::{Step, enter, shared};
///
/// picot_context::task_local! {
///     static STEPS: u32;
/// }
///
/// let _parent = enter(Step::callback(std::panic::Location::caller()), None);
/// let child = enter(Step::callback(std::panic::Location::caller()), Some(shared(None)));
/// STEPS.set(1);
/// drop(child);
/// assert_eq!(STEPS.get(), Some(1), "what one sets the other sees");
/// ```
pub fn shared(name: Option<&str>) -> Rc<Details> {
    let locals = details_or_new().locals.borrow_mut().share();
    Rc::new(Details { name: name.map(Into::into), locals: RefCell::new(locals) })
}

pub(crate) fn with_details<R>(f: impl FnOnce(Option<&Details>) -> R) -> R {
    // Cloned out of the cell first: `f` may run user code, which may enter another step.
    f(shared_details().as_deref())
}

fn shared_details() -> Option<Rc<Details>> {
    DETAILS.try_with(|cell| cell.borrow().clone()).unwrap_or(None)
}

pub(crate) fn details_or_new() -> Rc<Details> {
    if is_plain() {
        PRESENCE.set(Presence::Made);
    }
    DETAILS.with(|cell| cell.borrow_mut().get_or_insert_default().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> TaskId {
        TaskId::new(NonZeroU64::new(number).unwrap())
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let id = TaskId::new(NonZeroU64::MIN);
        let task = TaskInfo::new(id, Some("fetch\r\npicot: all is well"), Location::caller());
        assert!(task.to_string().starts_with("fetch\\r\\npicot: all is well (task 1, spawned at "), "{task}");
    }

    #[test]
    fn steps_nest_and_restore() {
        assert!(running().is_none());
        let outer = enter(Step::task(id(1), Location::caller()), None);
        {
            let _inner = enter(Step::callback(Location::caller()), None);
            assert!(running().is_some());
            assert!(current().is_none(), "a callback is no task");
        }
        assert_eq!(current().unwrap().id(), id(1));
        drop(outer);
        assert!(running().is_none());
    }

    #[test]
    fn a_step_is_left_while_unwinding() {
        let caught = std::panic::catch_unwind(|| {
            let _entered = enter(Step::callback(Location::caller()), None);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(caught.is_err());
        assert!(running().is_none());
    }

    #[test]
    fn the_name_is_seen_only_inside_its_step() {
        let details = inherited(Some("fetch"));
        let entered = enter(Step::task(id(7), Location::caller()), details);
        assert_eq!(current().unwrap().given_name(), Some("fetch"));
        {
            let _other = enter(Step::task(id(8), Location::caller()), None);
            assert_eq!(current().unwrap().given_name(), None);
        }
        assert_eq!(current().unwrap().given_name(), Some("fetch"));
        assert!(take_made().is_none(), "details that were handed in are not handed out");
        drop(entered);
        assert!(inherited(None).is_none());
    }

    #[test]
    fn the_root_is_called_main() {
        let _entered = enter(Step::root(id(1), Location::caller()), None);
        assert_eq!(current().unwrap().given_name(), Some(ROOT_NAME));
    }

    #[test]
    fn what_ran_can_be_described_after_its_step() {
        assert!(Running::now().task().is_none());
        let details = inherited(Some("fetch"));
        let entered = enter(Step::task(id(7), Location::caller()), details);
        let running = Running::now();
        drop(entered);
        assert_eq!((running.task_id(), running.task().unwrap().given_name()), (Some(id(7)), Some("fetch")));
    }
}
