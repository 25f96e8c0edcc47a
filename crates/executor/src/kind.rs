//! What the tasks that one place has spawned from one type of future have in common, kept once for all of them: their executor,
//! their place, and the functions of their wakers. A task refers to its kind, and to nothing else.
//!
//! The invariant: all tasks of a kind come from one instance of [`Spawner::make`](crate::Spawner), so their memory is laid out in
//! one way, and what the first of them shows of its waker holds for all. There are as many kinds as the program has places that
//! spawn, and each executor has its own.

use std::any::TypeId;
use std::collections::HashMap;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::RawWakerVTable;

use picot_context::Place;

use crate::shared::{Phase, Shared};

pub(crate) struct Kind {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    future: TypeId,
    /// Of the wakers; known as soon as one of the tasks was polled.
    vtable: OnceLock<&'static RawWakerVTable>,
    /// References that were forgotten, for the next tasks to take. Read and written on the executor's thread only, so that a
    /// spawn and an end there cost no atomic operation each.
    spare: AtomicUsize,
}

impl Kind {
    #[inline]
    fn is(&self, place: Place, future: TypeId) -> bool {
        ptr::eq(self.place, place) && self.future == future
    }

    /// Makes a reference for a task, which gives it back by [`release`](Kind::release). On the executor's thread.
    #[inline]
    fn refer(self: &Arc<Kind>) -> NonNull<Kind> {
        let kind = match self.spare.load(Ordering::Relaxed) {
            0 => Arc::into_raw(self.clone()),
            spare => {
                self.spare.store(spare - 1, Ordering::Relaxed);
                Arc::as_ptr(self)
            }
        };
        NonNull::new(kind.cast_mut()).expect("it is no null pointer")
    }

    /// Takes a reference back, on any thread.
    ///
    /// # Safety
    /// `kind` was made by [`refer`](Kind::refer), and is not used any more.
    #[inline]
    pub(crate) unsafe fn release(kind: NonNull<Kind>) {
        // SAFETY: The reference that is given back is still there.
        let known = unsafe { kind.as_ref() };
        if known.shared.local.get().is_some_and(|local| local.phase.get() != Phase::Closed) {
            return known.spare.store(known.spare.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        // SAFETY: As above; it is one that `refer` has taken from an `Arc`.
        unsafe { Arc::decrement_strong_count(kind.as_ptr()) }
    }

    /// Lets go of what was forgotten; nothing is kept once the executor is closed.
    fn drop_spare(self: &Arc<Kind>) {
        for _ in 0..self.spare.swap(0, Ordering::Relaxed) {
            // SAFETY: Each is a reference that was forgotten.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(self)) }
        }
    }

    /// The functions of the wakers, unless none of the tasks was ever polled.
    #[inline]
    pub(crate) fn vtable(&self) -> Option<&'static RawWakerVTable> {
        self.vtable.get().copied()
    }

    /// One of the tasks is polled, with a waker of these functions.
    pub(crate) fn learn(&self, vtable: &'static RawWakerVTable) {
        let _ = self.vtable.set(vtable);
    }
}

/// All kinds of an executor.
#[derive(Default)]
pub(crate) struct Kinds {
    all: HashMap<(*const std::panic::Location<'static>, TypeId), Arc<Kind>>,
    /// Some of them, by a few bits of their place.
    recent: [Option<Arc<Kind>>; RECENT],
}

const RECENT: usize = 32;

impl Kinds {
    /// A reference to the kind of a task that is about to be made, for its metadata.
    #[inline]
    pub(crate) fn refer(&mut self, place: Place, future: TypeId, shared: &Arc<Shared>) -> NonNull<Kind> {
        let recent = ptr::from_ref(place).addr() / align_of_val(place) % RECENT;
        match &self.recent[recent] {
            Some(kind) if kind.is(place, future) => kind.refer(),
            _ => self.refer_to_other(recent, place, future, shared),
        }
    }

    #[cold]
    #[inline(never)]
    fn refer_to_other(&mut self, recent: usize, place: Place, future: TypeId, shared: &Arc<Shared>) -> NonNull<Kind> {
        let kind = self.all.entry((place, future)).or_insert_with(|| {
            let (vtable, spare) = (OnceLock::new(), AtomicUsize::new(0));
            Arc::new(Kind { shared: shared.clone(), place, future, vtable, spare })
        });
        self.recent[recent] = Some(kind.clone());
        kind.refer()
    }

    /// Forgets all of them. Each stays for as long as it has a task.
    pub(crate) fn clear(&mut self) {
        self.recent = Default::default();
        self.all.drain().for_each(|(_, kind)| kind.drop_spare());
    }
}
