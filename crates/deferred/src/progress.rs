//! Progress: notifications before the outcome, and the memory of the last one.
//!
//! The rules are those of jQuery's `Callbacks`. A notification that a progress callback sends waits
//! until the others have got the current one. A callback that is added by a progress callback gets
//! the current one, too, behind the others. If a callback settles the promise, the current
//! notification still reaches the others, and those behind it are dropped. Callbacks that come
//! after the settling get the last one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use picot_context::Place;

type Callback<P> = Rc<RefCell<dyn FnMut(&P)>>;

/// Foreign code to run: a callback, or the drop of a callback or value. A panic of it is reported.
type Contained<'a> = &'a mut dyn FnMut();

pub(crate) struct Progress<P> {
    /// The callbacks, with the places where they were added. Each is in an `Rc`, so that no borrow
    /// of the list is live while it runs.
    callbacks: RefCell<Vec<(Place, Callback<P>)>>,
    /// Notifications that callbacks have sent, behind the current one.
    queue: RefCell<VecDeque<Rc<P>>>,
    /// The last notification, for callbacks that are added later.
    last: RefCell<Option<Rc<P>>>,
    /// Whether callbacks are running, further up the stack.
    is_firing: Cell<bool>,
    /// Whether the promise is settled, so that no notification is accepted any more.
    is_closed: Cell<bool>,
}

impl<P> Default for Progress<P> {
    fn default() -> Self {
        Progress {
            callbacks: RefCell::default(),
            queue: RefCell::default(),
            last: RefCell::default(),
            is_firing: Cell::new(false),
            is_closed: Cell::new(false),
        }
    }
}

/// A notification for [`Progress::fire`] to send, to the callbacks from this index on.
pub(crate) struct Notification<P>(Rc<P>, usize);

/// `contain` runs the callbacks, and also the drops of callbacks and values, which are foreign code
/// as well.
impl<P: 'static> Progress<P> {
    /// Adds a callback. Returns the last notification, if there was one, for the caller to send to
    /// it. While callbacks run, the current pass reaches the new one, and this returns `None`.
    #[must_use]
    pub(crate) fn add(&self, place: Place, callback: impl FnMut(&P) + 'static) -> Option<Notification<P>> {
        let start = self.callbacks.borrow().len();
        self.callbacks.borrow_mut().push((place, Rc::new(RefCell::new(callback))));
        if self.is_firing.get() {
            return None;
        }
        let last = self.last.borrow().clone();
        // Nothing will ever reach the callback.
        if last.is_none() && self.is_closed.get() {
            drop(self.callbacks.take());
        }
        self.is_firing.set(last.is_some());
        last.map(|last| Notification(last, start))
    }

    /// Returns the notification for the caller to send to all callbacks, or queues it if another
    /// one is being sent.
    #[must_use]
    pub(crate) fn notify(&self, value: P) -> Option<Notification<P>> {
        let value = Rc::new(value);
        if self.is_firing.replace(true) {
            self.queue.borrow_mut().push_back(value);
            return None;
        }
        Some(Notification(value, 0))
    }

    /// Sends a notification, and those that are queued behind it.
    pub(crate) fn fire(&self, first: Notification<P>, contain: impl Fn(Option<Place>, Contained<'_>)) {
        let mut next = Some(first);
        while let Some(Notification(value, start)) = next {
            discard(None, self.last.replace(Some(value.clone())), &contain);
            // By index, because a callback may add others, which get this notification as well.
            for index in start.. {
                let callback = self.callbacks.borrow().get(index).cloned();
                let Some((place, callback)) = callback else { break };
                contain(Some(place), &mut || callback.borrow_mut()(&value));
            }
            discard(None, value, &contain);
            next = self.queue.borrow_mut().pop_front().map(|value| Notification(value, 0));
        }
        self.is_firing.set(false);
        if self.is_closed.get() {
            self.drop_callbacks(contain);
        }
    }

    /// Accepts no further notification, and drops the callbacks, after the current notification has
    /// reached them.
    pub(crate) fn close(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        self.is_closed.set(true);
        self.queue.take().into_iter().for_each(|value| discard(None, value, &contain));
        if !self.is_firing.get() {
            self.drop_callbacks(contain);
        }
    }

    /// Drops the last notification, when no promise is left that could read it.
    pub(crate) fn forget(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        discard(None, self.last.take(), contain);
    }

    fn drop_callbacks(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        self.callbacks.take().into_iter().for_each(|(place, callback)| discard(Some(place), callback, &contain));
    }
}

/// Drops `value` contained.
fn discard<V>(place: Option<Place>, value: V, contain: impl Fn(Option<Place>, Contained<'_>)) {
    let mut value = Some(value);
    contain(place, &mut || drop(value.take()));
}
