//! What tasks wait for: the description of a wait, and the lists from which a report collects them.
//!
//! A leaf operation that waits has a record somewhere anyway: in a timer wheel, a source, a line of
//! waiters. Such a crate lists its records when a report asks, by [`list_waits_with`]. A leaf
//! without such a record keeps a [`WaitNote`] while it is pending. Either way the wait belongs to
//! the task whose step began it, whatever waker that step was polled with.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Escaped, Place, Step, TaskId, TaskInfo, running};

/// What a task waits for, in one of its branches.
///
/// ```
/// use picot_context::{WaitInfo, WaitKind};
///
/// let place = std::panic::Location::caller();
/// let mut wait = WaitInfo::new(WaitKind::Queue, "an item of the queue");
/// assert_eq!(wait.to_string(), "an item of the queue");
/// wait.place = Some(place);
/// assert_eq!(wait.to_string(), format!("an item of the queue, at {place}"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitInfo {
    /// The kind of the operation.
    pub kind: WaitKind,
    /// What it waits for, in words: `data from 127.0.0.1:4000`, or `the lock`.
    pub what: Cow<'static, str>,
    /// Where the awaited object was made.
    pub made: Option<Place>,
    /// Where the holder of the lock requested it.
    pub held_since: Option<Place>,
    /// Where the task waits, if the operation knows.
    pub place: Option<Place>,
    /// The tasks that it depends on: the one that it joins, the holder of a lock, the children of a
    /// scope. They are the edges of the graph of waits.
    pub on: Vec<TaskId>,
}

impl WaitInfo {
    /// A wait without a place that depends on no task.
    ///
    /// ```
    /// use picot_context::{WaitInfo, WaitKind};
    ///
    /// let wait = WaitInfo::new(WaitKind::Signal, "the signal SIGTERM");
    /// assert!(wait.place.is_none() && wait.on.is_empty());
    /// ```
    pub fn new(kind: WaitKind, what: impl Into<Cow<'static, str>>) -> WaitInfo {
        WaitInfo { kind, what: what.into(), made: None, held_since: None, place: None, on: Vec::new() }
    }

    /// The same for an object that was made at `place`.
    ///
    /// ```
    /// use picot_context::{WaitInfo, WaitKind};
    ///
    /// let place = std::panic::Location::caller();
    /// let wait = WaitInfo::new(WaitKind::Promise, "the promise").made(place);
    /// assert!(wait.to_string().starts_with("the promise made at "));
    /// ```
    pub fn made(self, place: Place) -> WaitInfo {
        WaitInfo { made: Some(place), ..self }
    }

    /// The same in an operation that was called at `place`.
    ///
    /// ```
    /// use picot_context::{WaitInfo, WaitKind};
    ///
    /// let wait = WaitInfo::new(WaitKind::Sleep, "a sleep").at(std::panic::Location::caller());
    /// assert!(wait.to_string().starts_with("a sleep, at "));
    /// ```
    pub fn at(self, place: Place) -> WaitInfo {
        WaitInfo { place: Some(place), ..self }
    }

    /// A wait for the end of the task `id`.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{WaitInfo, TaskId};
    ///
    /// let task = TaskId::new(NonZeroU64::new(7).unwrap());
    /// assert_eq!(WaitInfo::task(task).to_string(), "task 7");
    /// ```
    pub fn task(id: TaskId) -> WaitInfo {
        WaitInfo { on: vec![id], ..WaitInfo::new(WaitKind::Task, "") }
    }
}

/// `the lock made at src/main.rs:3:9, held by task 2 since src/main.rs:8:5, at src/main.rs:12:5`:
/// without a leading verb, to follow `waits for`. One line: foreign text in it is
/// [escaped](Escaped).
impl fmt::Display for WaitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &*self.on) {
            (WaitKind::Task, [task]) => write!(f, "task {task}")?,
            _ => write!(f, "{}", Escaped(&self.what))?,
        }
        if let Some(made) = self.made {
            write!(f, " made at {}", Escaped(made))?;
        }
        if let Some(since) = self.held_since {
            match &*self.on {
                [holder] => write!(f, ", held by task {holder} since {}", Escaped(since))?,
                _ => write!(f, ", held since {}", Escaped(since))?,
            }
        }
        match self.place {
            Some(place) => write!(f, ", at {}", Escaped(place)),
            None => Ok(()),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)+) => {
        /// The kind of operation that a task waits in.
        ///
        /// ```
        /// use picot_context::WaitKind;
        ///
        /// assert_eq!(WaitKind::Lock.to_string(), "lock");
        /// assert!(WaitKind::ALL.contains(&WaitKind::Sleep));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum WaitKind {
            $($(#[$doc])* $kind,)+
        }

        impl WaitKind {
            /// All kinds.
            ///
            /// ```
            /// let names = picot_context::WaitKind::ALL.iter().map(|kind| kind.as_str());
            /// assert!(names.clone().all(|name| !name.is_empty()));
            /// ```
            pub const ALL: &'static [WaitKind] = &[$(WaitKind::$kind,)+];

            /// One word, for tools.
            ///
            /// ```
            /// assert_eq!(picot_context::WaitKind::Sleep.as_str(), "sleep");
            /// ```
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(WaitKind::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// A timer.
    Sleep => "sleep",
    /// Data, or the end, of a connection, a pipe or another stream.
    Read => "read",
    /// Room to write to one.
    Write => "write",
    /// A client of a listener.
    Accept => "accept",
    /// A connection to a server.
    Connect => "connect",
    /// The end of another task.
    Task => "task",
    /// The children of a scope.
    Children => "children",
    /// A lock that another task holds.
    Lock => "lock",
    /// Permits of a semaphore.
    Semaphore => "semaphore",
    /// An item of a queue, room in it, or its last item to be done.
    Queue => "queue",
    /// A notification of a condition.
    Condition => "condition",
    /// An event to be set, or a value that is made once.
    Event => "event",
    /// The other tasks of a barrier.
    Barrier => "barrier",
    /// A value of a channel, room in it, or its end.
    Channel => "channel",
    /// A change of a watched value.
    Watch => "watch",
    /// The outcome of a promise.
    Promise => "promise",
    /// A blocking job.
    Job => "job",
    /// The end of a child process.
    Process => "process",
    /// A signal of the operating system.
    Signal => "signal",
    /// A request to cancel.
    Cancellation => "cancellation",
    /// A server or a group of connections: its end, or room in it.
    Server => "server",
}

impl fmt::Display for WaitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The waits of a thread, and the tasks that no executor lists, as a report collects them.
///
/// ```
/// use picot_context::{WaitInfo, WaitKind, Waits};
///
/// // A crate of leaf operations, which has records of its waiters.
/// fn list(waits: &mut Waits) {
///     waits.add(None, WaitInfo::new(WaitKind::Queue, "an item of the queue"));
/// }
///
/// let mut waits = Waits::default();
/// list(&mut waits);
/// assert!(waits.is_empty(), "that waiter was no task");
/// ```
#[derive(Debug, Default)]
pub struct Waits {
    waits: HashMap<TaskId, Vec<WaitInfo>>,
    children: Vec<(Option<TaskId>, TaskInfo)>,
}

impl Waits {
    /// Collects the waits of this thread, from all lists and notes.
    ///
    /// ```
    /// assert!(picot_context::Waits::of_thread().is_empty());
    /// ```
    pub fn of_thread() -> Waits {
        let mut waits = Waits::default();
        LISTS.get().into_iter().flatten().for_each(|list| list(&mut waits));
        _ = NOTES.try_with(|notes| {
            let notes = notes.borrow();
            notes.slots.iter().flatten().for_each(|(_, task, wait)| waits.add(Some(*task), wait.clone()));
        });
        waits
    }

    /// Adds a wait of `task`. A waiter that is no task is ignored.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{WaitInfo, TaskId, WaitKind, Waits};
    ///
    /// let mut waits = Waits::default();
    /// let task = TaskId::new(NonZeroU64::MIN);
    /// waits.add(Some(task), WaitInfo::new(WaitKind::Sleep, "a sleep"));
    /// assert_eq!(waits.take(task).len(), 1);
    /// ```
    pub fn add(&mut self, task: Option<TaskId>, wait: WaitInfo) {
        if let Some(task) = task {
            self.waits.entry(task).or_default().push(wait);
        }
    }

    /// Adds a task that its parent polls, such as the child of a scope.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use picot_context::{TaskId, TaskInfo, Waits};
    ///
    /// let mut waits = Waits::default();
    /// let [parent, child] = [1, 2].map(|id| TaskId::new(NonZeroU64::new(id).unwrap()));
    /// let info = TaskInfo::new(child, Some("child"), std::panic::Location::caller());
    /// waits.add_child(Some(parent), info);
    /// assert_eq!(waits.take_children()[0].0, Some(parent));
    /// ```
    pub fn add_child(&mut self, parent: Option<TaskId>, child: TaskInfo) {
        self.children.push((parent, child));
    }

    /// Whether no task waits, as far as is known.
    ///
    /// ```
    /// assert!(picot_context::Waits::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Takes the waits of `task` out, in the order in which they were added.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    ///
    /// let task = picot_context::TaskId::new(NonZeroU64::MIN);
    /// assert!(picot_context::Waits::default().take(task).is_empty());
    /// ```
    pub fn take(&mut self, task: TaskId) -> Vec<WaitInfo> {
        self.waits.remove(&task).unwrap_or_default()
    }

    /// Takes the tasks out that their parents poll, each with its parent if that is known.
    ///
    /// ```
    /// assert!(picot_context::Waits::default().take_children().is_empty());
    /// ```
    pub fn take_children(&mut self) -> Vec<(Option<TaskId>, TaskInfo)> {
        std::mem::take(&mut self.children)
    }
}

/// Adds the waits that a crate has records of.
type List = fn(&mut Waits);

/// The maximum number of lists: there is one per crate with records.
const MAX_LISTS: usize = 8;

thread_local! {
    static LISTS: Cell<[Option<List>; MAX_LISTS]> = const { Cell::new([None; MAX_LISTS]) };
    static NOTES: RefCell<Notes> = const { RefCell::new(Notes { slots: Vec::new(), free: Vec::new(), last: 0 }) };
}

/// Makes [`Waits::of_thread`] call `list` on this thread. A crate of leaf operations calls it once
/// per thread, when its first record is made.
///
/// # Panics
/// If eight functions were set on this thread.
///
/// ```
/// picot_context::list_waits_with(|_waits| ());
/// ```
#[doc(hidden)]
pub fn list_waits_with(list: fn(&mut Waits)) {
    let mut lists = LISTS.get();
    let vacant = lists.iter_mut().find(|slot| slot.is_none());
    *vacant.expect("at most eight crates have records of waits") = Some(list);
    LISTS.set(lists);
}

/// The notes of the leaves that have no other record.
struct Notes {
    /// Each with a number that tells it from earlier ones in its slot.
    slots: Vec<Option<(u64, TaskId, WaitInfo)>>,
    free: Vec<usize>,
    last: u64,
}

/// A note of what a leaf future waits for, for as long as it is pending. The future owns it.
///
/// A note costs a few dozen instructions. A leaf on a hot path has a record of its waiters already,
/// and lists that instead.
///
/// ```
/// use std::num::NonZeroU64;
/// use picot_context::{WaitInfo, Step, TaskId, WaitKind, WaitNote, Waits, enter};
///
/// let (id, place) = (TaskId::new(NonZeroU64::MIN), std::panic::Location::caller());
/// let _step = enter(Step::task(id, place), None); // a task's future is polled
/// let mut note = WaitNote::new();
/// note.set(|| WaitInfo::new(WaitKind::Signal, "the signal SIGTERM")); // and returns `Pending`
/// assert_eq!(Waits::of_thread().take(id)[0].kind, WaitKind::Signal);
/// drop(note);
/// assert!(Waits::of_thread().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct WaitNote {
    /// The slot and the number of the note, if it is set.
    key: Option<(usize, u64)>,
}

impl WaitNote {
    /// A note that is not set.
    ///
    /// ```
    /// const NOTE: picot_context::WaitNote = picot_context::WaitNote::new();
    /// # let _ = NOTE;
    /// ```
    pub const fn new() -> WaitNote {
        WaitNote { key: None }
    }

    /// Notes that the running task waits. Calls `describe` only if a task runs and the note is not
    /// set yet.
    ///
    /// ```
    /// use picot_context::{WaitInfo, WaitKind, WaitNote};
    ///
    /// let mut note = WaitNote::new();
    /// note.set(|| unreachable!("no task runs here"));
    /// ```
    #[inline]
    pub fn set(&mut self, describe: impl FnOnce() -> WaitInfo) {
        if self.key.is_none() {
            if let Some(task) = running().as_ref().and_then(Step::task_id) {
                self.key = insert(task, describe());
            }
        }
    }

    /// Removes the note: the operation is done.
    ///
    /// ```
    /// let mut note = picot_context::WaitNote::new();
    /// note.clear();
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        if let Some((slot, number)) = self.key.take() {
            remove(slot, number);
        }
    }
}

impl Drop for WaitNote {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

/// Out of line, as is [`remove`], so that a poll that does not wait stays small.
#[inline(never)]
fn insert(task: TaskId, wait: WaitInfo) -> Option<(usize, u64)> {
    // While the thread ends, there is no list any more, and no report that could use it.
    NOTES
        .try_with(|notes| {
            let mut notes = notes.borrow_mut();
            if notes.last == 0 {
                notes.last = first_number();
            }
            notes.last += 1;
            let number = notes.last;
            let slot = notes.free.pop().unwrap_or(notes.slots.len());
            let note = Some((number, task, wait));
            match notes.slots.get_mut(slot) {
                Some(vacant) => *vacant = note,
                None => notes.slots.push(note),
            }
            (slot, number)
        })
        .ok()
}

#[inline(never)]
fn remove(slot: usize, number: u64) {
    _ = NOTES.try_with(|notes| {
        let mut notes = notes.borrow_mut();
        // A future that was dropped on another thread finds no note with its number there.
        let own = notes.slots.get_mut(slot).and_then(|note| note.take_if(|(of, ..)| *of == number));
        if own.is_some() {
            notes.free.push(slot);
        }
    });
}

/// The numbers of each thread's notes begin elsewhere, so that none is used twice in the process.
fn first_number() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    THREADS.fetch_add(1, Ordering::Relaxed) << 40
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::panic::Location;

    use super::*;
    use crate::enter;

    fn task(number: u64) -> TaskId {
        TaskId::new(NonZeroU64::new(number).unwrap())
    }

    fn wait(what: &'static str) -> WaitInfo {
        WaitInfo::new(WaitKind::Queue, what)
    }

    #[test]
    fn notes_belong_to_the_running_task_and_end_with_their_futures() {
        let here = Location::caller();
        let (mut one, mut two, mut other) = (WaitNote::new(), WaitNote::new(), WaitNote::new());
        let step = enter(Step::task(task(1), here), None);
        one.set(|| wait("one"));
        one.set(|| unreachable!("it is set"));
        two.set(|| wait("two"));
        drop(step);
        let step = enter(Step::task(task(2), here), None);
        other.set(|| wait("other"));
        drop(step);
        let mut waits = Waits::of_thread();
        let of_first: Vec<_> = waits.take(task(1)).into_iter().map(|wait| wait.what).collect();
        assert_eq!((of_first, waits.take(task(2)).len()), (vec!["one".into(), "two".into()], 1));
        one.clear();
        one.clear();
        drop(other);
        assert_eq!(Waits::of_thread().take(task(1))[0].what, "two");
        drop(two);
        assert!(Waits::of_thread().is_empty());
    }

    #[test]
    fn a_note_that_is_dropped_on_another_thread_removes_nothing_there() {
        let here = Location::caller();
        let mut first = WaitNote::new();
        let step = enter(Step::task(task(1), here), None);
        first.set(|| wait("first"));
        drop(step);
        std::thread::spawn(move || {
            let mut own = WaitNote::new();
            let _step = enter(Step::task(task(1), here), None);
            own.set(|| wait("own"));
            drop(first);
            assert_eq!(Waits::of_thread().take(task(1)).len(), 1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_description_is_one_line_with_all_places() {
        let here = Location::caller();
        let lock = WaitInfo { held_since: Some(here), on: vec![task(2)], ..WaitInfo::new(WaitKind::Lock, "the lock") };
        let text = lock.made(here).at(here).to_string();
        assert_eq!(text, format!("the lock made at {here}, held by task 2 since {here}, at {here}"));
        assert_eq!(WaitInfo::new(WaitKind::Read, "data from\na").to_string(), "data from\\na");
    }
}
