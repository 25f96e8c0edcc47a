//! Task-locals: values of a task, which its children inherit as a snapshot.
//!
//! They follow Python's `contextvars` as asyncio uses them: a child gets a snapshot, and its writes
//! do not affect the parent. The map is copied on the first write, so a snapshot costs one
//! reference count. Two tasks see each other's writes only if one was spawned to
//! [share](crate::shared) the locals of the other.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::AtomicU8;

use crate::{Kind, Origin, contain, step};

/// The values of a step: its own, or a set that it shares on purpose.
pub(crate) enum Locals {
    Own(Values),
    Shared(Rc<RefCell<Values>>),
}

impl Default for Locals {
    fn default() -> Locals {
        Locals::Own(Values::default())
    }
}

impl Locals {
    /// A snapshot of the values, for a child.
    pub(crate) fn snapshot(&self) -> Values {
        match self {
            Locals::Own(values) => values.clone(),
            Locals::Shared(values) => values.borrow().clone(),
        }
    }

    /// Shares the set with a second owner: each sees the writes of the other.
    pub(crate) fn share(&mut self) -> Locals {
        let shared = match self {
            Locals::Own(values) => Rc::new(RefCell::new(std::mem::take(values))),
            Locals::Shared(values) => values.clone(),
        };
        *self = Locals::Shared(shared.clone());
        Locals::Shared(shared)
    }

    /// Takes the values out if this is their only owner, for the caller to drop one by one.
    pub(crate) fn take(&mut self) -> Vec<(usize, Value)> {
        match std::mem::take(self) {
            Locals::Own(mut values) => values.take(),
            Locals::Shared(shared) => Rc::try_unwrap(shared).map_or_else(|_| Vec::new(), |own| own.into_inner().take()),
        }
    }

    fn get(&self, key: usize) -> Option<Value> {
        match self {
            Locals::Own(values) => values.get(key),
            Locals::Shared(values) => values.borrow().get(key),
        }
    }

    fn set(&mut self, key: usize, value: Value) -> Option<Value> {
        match self {
            Locals::Own(values) => values.set(key, value),
            Locals::Shared(values) => values.borrow_mut().set(key, value),
        }
    }
}

/// A list of values, in the order in which they were first set. Few, so a list beats a map.
#[derive(Clone, Default)]
pub(crate) struct Values(Option<Rc<List>>);

type Value = Rc<dyn Any>;

/// The list itself. A value is foreign: it is dropped with the list, and each panic of such a drop
/// is reported, because two would abort the process.
#[derive(Clone, Default)]
struct List(Vec<(usize, Value)>);

impl Drop for List {
    fn drop(&mut self) {
        contain::discard_each(|| Origin::running().unwrap_or(Origin::new(Kind::Task)), self.0.drain(..));
    }
}

impl Values {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn get(&self, key: usize) -> Option<Value> {
        self.0.as_deref()?.0.iter().find(|(other, _)| *other == key).map(|(_, value)| value.clone())
    }

    /// Takes the values out if this is their only owner, for the caller to drop one by one.
    pub(crate) fn take(&mut self) -> Vec<(usize, Value)> {
        let list = self.0.take().and_then(|list| Rc::try_unwrap(list).ok());
        list.map_or_else(Vec::new, |mut list| std::mem::take(&mut list.0))
    }

    /// Returns the previous value, for the caller to drop when nothing is borrowed any more.
    fn set(&mut self, key: usize, value: Value) -> Option<Value> {
        let values = &mut Rc::make_mut(self.0.get_or_insert_default()).0;
        match values.iter_mut().find(|(other, _)| *other == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                values.push((key, value));
                None
            }
        }
    }
}

/// The key of a task-local, made by [`task_local!`](crate::task_local).
///
/// ```
/// use picot_context::LocalKey;
///
/// picot_context::task_local! {
///     static DEPTH: u32;
/// }
///
/// fn deeper(key: &'static LocalKey<u32>) {
///     key.set(key.get().unwrap_or(0) + 1);
/// }
///
/// deeper(&DEPTH);
/// deeper(&DEPTH);
/// assert_eq!(DEPTH.get(), Some(2));
/// ```
///
/// A key is a static: a constant would be a new key at each use, and does not compile.
///
/// ```compile_fail,E0716
/// use picot_context::LocalKey;
///
/// const DEPTH: LocalKey<u32> = LocalKey::new();
/// DEPTH.set(1);
/// ```
pub struct LocalKey<T: 'static> {
    /// Never read. Its address identifies the key, and its interior mutability makes that address
    /// unique: a value without it may be promoted from a constant, and equal constants share one
    /// address.
    _address: AtomicU8,
    _value: PhantomData<fn() -> T>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new() -> LocalKey<T> {
        LocalKey { _address: AtomicU8::new(0), _value: PhantomData }
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Calls `f` with the current task's value, or with `None` if neither the task nor an ancestor
    /// before the spawn has set one.
    ///
    /// ```
    /// picot_context::task_local! {
    ///     static TAGS: Vec<&'static str>;
    /// }
    ///
    /// assert_eq!(TAGS.with(|tags| tags.map_or(0, Vec::len)), 0);
    /// TAGS.set(vec!["slow", "retried"]);
    /// assert_eq!(TAGS.with(|tags| tags.map_or(0, Vec::len)), 2);
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        // The value is cloned out first (a reference count), so that `f` can set or enter anything.
        let value = step::with_details(|details| details.and_then(|details| details.locals.borrow().get(self.key())));
        f(value.as_deref().map(|value| value.downcast_ref().expect("a key holds values of its own type only")))
    }

    /// A copy of the current task's value.
    ///
    /// ```
    /// picot_context::task_local! {
    ///     static REQUEST: u64;
    /// }
    ///
    /// assert_eq!(REQUEST.get(), None);
    /// REQUEST.set(7);
    /// assert_eq!(REQUEST.get(), Some(7));
    /// ```
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Sets the value for the current task and for the children that it spawns from now on. Outside
    /// of a task it sets the initial value of tasks that are spawned there.
    ///
    /// ```
    /// use picot_context::{Step, enter, inherited};
    ///
    /// picot_context::task_local! {
    ///     static USER: &'static str;
    /// }
    ///
    /// let step = Step::callback(std::panic::Location::caller());
    /// USER.set("ada");
    /// let child = enter(step, inherited(None)); // as an executor enters a task spawned here
    /// USER.set("grace");
    /// drop(child);
    /// assert_eq!(USER.get(), Some("ada"), "what a child sets does not leak back");
    /// ```
    pub fn set(&'static self, value: T) {
        let details = step::details_or_new();
        let old = details.locals.borrow_mut().set(self.key(), Rc::new(value));
        // Dropped after the borrow, because its destructor is user code.
        drop(old);
    }
}

impl<T: fmt::Debug> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// Declares task-locals.
///
/// A spawned task starts with the values of its parent. Values that it sets later are visible to
/// itself and to the children that it spawns after that (Python's `contextvars`).
///
/// ```
/// picot_context::task_local! {
///     /// On whose behalf this task works.
///     static USER: String;
/// }
///
/// assert_eq!(USER.get(), None);
/// USER.set("ada".to_string());
/// USER.with(|user| assert_eq!(user.map(String::as_str), Some("ada")));
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty;)+) => {
        $($(#[$attr])* $vis static $name: $crate::LocalKey<$type> = $crate::LocalKey::new();)+
    };
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::panic::Location;

    use crate::{Step, TaskId, enter, inherited, shared, take_made};

    task_local! {
        static USER: &'static str;
        static DEPTH: u32;
    }

    fn task(number: u64) -> Step {
        Step::task(TaskId::new(NonZeroU64::new(number).unwrap()), Location::caller())
    }

    #[test]
    fn a_child_starts_with_a_snapshot_and_does_not_leak_back() {
        let parent = enter(task(1), None);
        USER.set("ada");
        DEPTH.set(1);
        let child_details = inherited(None);
        USER.set("grace");

        let child = enter(task(2), child_details);
        assert_eq!((USER.get(), DEPTH.get()), (Some("ada"), Some(1)));
        DEPTH.set(2);
        assert!(take_made().is_none());
        drop(child);

        assert_eq!((USER.get(), DEPTH.get()), (Some("grace"), Some(1)));
        drop(parent);
        assert_eq!(USER.get(), None);
    }

    #[test]
    fn a_set_that_is_shared_on_purpose_is_seen_from_both_sides() {
        let parent = enter(task(1), None);
        USER.set("ada");
        let child = enter(task(2), Some(shared(Some("child"))));
        assert_eq!(USER.get(), Some("ada"));
        USER.set("grace");
        let grandchild = enter(task(3), inherited(None));
        USER.set("mary");
        drop((grandchild, child));
        assert_eq!(USER.get(), Some("grace"), "a snapshot of a shared set is a snapshot");
        DEPTH.set(1);
        let other = enter(task(4), Some(shared(None)));
        assert_eq!((USER.get(), DEPTH.get()), (Some("grace"), Some(1)));
        drop((other, parent));
    }

    #[test]
    fn what_a_step_has_set_is_there_at_its_next_step_only() {
        let first = enter(task(1), None);
        USER.set("ada");
        let details = take_made();
        assert!(details.is_some());
        drop(first);
        assert_eq!(USER.get(), None);

        let other = enter(task(2), None);
        assert_eq!(USER.get(), None);
        drop(other);

        let _again = enter(task(1), details);
        assert_eq!(USER.get(), Some("ada"));
    }
}
