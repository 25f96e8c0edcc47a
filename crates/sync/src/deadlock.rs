//! Circles of locks, found when the last lock closes one.
//!
//! A circle can only be closed by a task that holds one lock and waits for another. So a wait is
//! noted only while a second lock is held on the thread. A noted wait is an edge from the waiter to
//! the lock, the lock knows its holder, and each new edge is followed from holder to holder.
//!
//! Tasks are identified by task id and waker, which tells the children of a `FuturesUnordered`
//! apart. Branches of one `join!` share both and cannot be told apart.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::task::Waker;

use picot_context::{Cause, Kind, LockWait, Origin, Place, Report, Step, TaskId, report};

/// A task that can hold a lock or wait for one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) task: Option<TaskId>,
    /// The address of the waker's data; 0 where it is not known.
    pub(crate) waker: usize,
}

impl Who {
    #[inline]
    pub(crate) fn running(waker: Option<&Waker>) -> Who {
        Who {
            task: picot_context::running().as_ref().and_then(Step::task_id),
            waker: waker.map_or(0, |waker| waker.data().addr()),
        }
    }

    /// Whether both are the same task, as far as is known. Two unknown tasks are not.
    fn is(self, other: Who) -> bool {
        self.task == other.task
            && if self.waker == 0 || other.waker == 0 { self.task.is_some() } else { self.waker == other.waker }
    }

    /// The keys of the edges that may begin here.
    fn edges(self) -> std::ops::RangeInclusive<EdgeKey> {
        let last = if self.waker == 0 { usize::MAX } else { self.waker };
        EdgeKey(self, 0)..=EdgeKey(Who { waker: last, ..self }, u32::MAX)
    }
}

/// The task that holds a lock, and the source location where it requested the lock.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) who: Who,
    pub(crate) place: Place,
}

/// A lock as the search sees it: its holder, which changes during waits.
pub(crate) type Seen = Rc<Cell<Option<Holder>>>;

/// The waiting task, and its number among the waiters of the thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EdgeKey(Who, u32);

/// A wait for a lock.
struct Edge {
    lock: Seen,
    made: Place,
    task: Option<picot_context::TaskInfo>,
    place: Place,
}

/// The most waits that one search visits. Each wait for a lock may search, so following a long
/// chain to its end each time would be quadratic.
const LOOKED_AT: usize = 64;

thread_local! {
    /// How many locks are held on this thread.
    static HELD: Cell<usize> = const { Cell::new(0) };
    static EDGES: RefCell<BTreeMap<EdgeKey, Edge>> = const { RefCell::new(BTreeMap::new()) };
}

#[inline]
pub(crate) fn taken() {
    HELD.set(HELD.get() + 1);
}

#[inline]
pub(crate) fn released() {
    HELD.set(HELD.get() - 1);
}

/// Whether a wait for a lock has to be noted: it could be part of a circle, now or later, only if a
/// second lock is held.
#[inline]
pub(crate) fn matters() -> bool {
    HELD.get() > 1
}

/// Records that `who` waits for a lock, and reports the circle that this closes, if any.
#[cold]
pub(crate) fn begin(who: Who, waiter: u32, place: Place, lock: Seen, made: Place) -> EdgeKey {
    let key = EdgeKey(who, waiter);
    let edge = Edge { lock, made, task: picot_context::current(), place };
    let circle = EDGES.with_borrow_mut(|edges| {
        edges.insert(key, edge);
        circle(edges, key)
    });
    // The map is not borrowed any more: a hook that gets the report may lock.
    if let Some(circle) = circle {
        let origin = Origin::running().unwrap_or(Origin::new(Kind::Task).at(place));
        report(Report::new(origin, Cause::Deadlock(circle)));
    }
    key
}

/// Removes a wait that has ended or was dropped.
#[cold]
pub(crate) fn end(key: EdgeKey) {
    // After the end of the thread's map there is nothing to forget.
    let edge = EDGES.try_with(|edges| edges.borrow_mut().remove(&key));
    drop(edge);
}

/// Finds the way from the wait `first` back to the task that waits there.
fn circle(edges: &BTreeMap<EdgeKey, Edge>, first: EdgeKey) -> Option<Vec<LockWait>> {
    // Each with the index of the one from whose holder it begins.
    let mut found = vec![(first, None)];
    let mut seen = BTreeSet::from([first]);
    let mut index = 0;
    while let Some(&(key, _)) = found.get(index).filter(|_| index < LOOKED_AT) {
        if let Some(holder) = edges[&key].lock.get() {
            // A task that holds what it waits for may have branches, one of which holds and will
            // let go.
            if holder.who.is(key.0) {
                index += 1;
                continue;
            }
            if holder.who.is(first.0) {
                return Some(way(edges, &found, index));
            }
            let next = edges.range(holder.who.edges()).map(|(next, _)| *next);
            found.extend(next.filter(|next| seen.insert(*next)).map(|next| (next, Some(index))));
        }
        index += 1;
    }
    None
}

fn way(edges: &BTreeMap<EdgeKey, Edge>, found: &[(EdgeKey, Option<usize>)], last: usize) -> Vec<LockWait> {
    let mut way: Vec<_> = std::iter::successors(Some(last), |index| found[*index].1)
        .filter_map(|index| {
            let edge = &edges[&found[index].0];
            Some(LockWait::new(edge.task.clone(), edge.place, edge.made, edge.lock.get()?.place))
        })
        .collect();
    way.reverse();
    way
}
