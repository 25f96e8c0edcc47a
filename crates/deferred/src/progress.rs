//! Progress: notifications before the outcome, and the memory of the last one.
//!
//! As in jQuery's `Callbacks`: a notification that is sent by a progress callback waits until the
//! others have got the one before, and a callback that is added by one gets the same notification
//! behind the others. A settling by one of them locks the list: the notification on its way still
//! reaches the others, those that wait behind it are dropped. The last one is remembered for
//! callbacks that come after the settling.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use picot_context::Place;

type Callback<P> = Rc<RefCell<dyn FnMut(&P)>>;

/// Runs foreign code and reports its panic: of the callback from this place, or of a value.
type Contained<'a> = &'a mut dyn FnMut();

pub(crate) struct Progress<P> {
    /// With the places where they were added.
    callbacks: RefCell<Vec<(Place, Callback<P>)>>,
    queue: RefCell<VecDeque<Rc<P>>>,
    last: RefCell<Option<Rc<P>>>,
    is_firing: Cell<bool>,
    /// Whether it is settled, so that no notification is accepted any more.
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

/// A notification that [`Progress::fire`] is to send, to the callbacks from this index on.
pub(crate) struct Notification<P>(Rc<P>, usize);

/// `contain` gets callbacks, and also the drops of callbacks and values, which are foreign code,
/// too.
impl<P: 'static> Progress<P> {
    /// Adds a callback. Returns the last notification to be sent to it, if there was one. If one is
    /// on its way, it gets that behind the others.
    #[must_use]
    pub(crate) fn add(&self, place: Place, callback: impl FnMut(&P) + 'static) -> Option<Notification<P>> {
        let start = self.callbacks.borrow().len();
        self.callbacks.borrow_mut().push((place, Rc::new(RefCell::new(callback))));
        if self.is_firing.get() {
            return None;
        }
        let last = self.last.borrow().clone();
        if last.is_none() && self.is_closed.get() {
            drop(self.callbacks.take());
        }
        self.is_firing.set(last.is_some());
        last.map(|last| Notification(last, start))
    }

    /// Returns the notification to be sent to all callbacks, in order, or queues it if another is
    /// on its way.
    #[must_use]
    pub(crate) fn notify(&self, value: P) -> Option<Notification<P>> {
        let value = Rc::new(value);
        if self.is_firing.replace(true) {
            self.queue.borrow_mut().push_back(value);
            return None;
        }
        Some(Notification(value, 0))
    }

    /// Sends a notification, and what is queued behind it.
    pub(crate) fn fire(&self, first: Notification<P>, contain: impl Fn(Option<Place>, Contained<'_>)) {
        let mut next = Some(first);
        while let Some(Notification(value, start)) = next {
            discard(None, self.last.replace(Some(value.clone())), &contain);
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

    /// Accepts no notification any more, and lets the callbacks go, once they have got what is on
    /// its way.
    pub(crate) fn close(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        self.is_closed.set(true);
        self.queue.take().into_iter().for_each(|value| discard(None, value, &contain));
        if !self.is_firing.get() {
            self.drop_callbacks(contain);
        }
    }

    /// Forgets the last notification: there is nothing left that could ask for it.
    pub(crate) fn forget(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        discard(None, self.last.take(), contain);
    }

    fn drop_callbacks(&self, contain: impl Fn(Option<Place>, Contained<'_>)) {
        self.callbacks.take().into_iter().for_each(|(place, callback)| discard(Some(place), callback, &contain));
    }
}

fn discard<V>(place: Option<Place>, value: V, contain: impl Fn(Option<Place>, Contained<'_>)) {
    let mut value = Some(value);
    contain(place, &mut || drop(value.take()));
}
