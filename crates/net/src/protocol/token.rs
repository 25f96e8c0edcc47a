//! How a connection says that it has something to do: its waker, and the list of those that were woken.
//!
//! The list goes through the tokens themselves, so being woken allocates nothing. It is of plain loads and stores: a token's
//! waker is known to the reactor alone, which wakes on its own thread. (Woken from elsewhere, against all rules, it could lose
//! a wake-up; it could not do harm.)

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

/// The end of the list.
const NONE: u32 = u32::MAX;

/// Not in the list.
const OUT: u32 = u32::MAX - 1;

/// The connections of a set that have something to do, the latest first.
pub(super) struct Woken {
    head: AtomicU32,
    /// Wakes the task that serves the set. Unset until that was polled first, which it will be anyway.
    task: OnceLock<Waker>,
}

/// A connection in the list of the woken, or not.
pub(super) struct Token {
    woken: Arc<Woken>,
    slot: u32,
    /// The slot that was woken before it, or that there is none, or that it is not in the list itself.
    next: AtomicU32,
}

impl Woken {
    pub(super) fn new() -> Arc<Woken> {
        Arc::new(Woken { head: AtomicU32::new(NONE), task: OnceLock::new() })
    }

    pub(super) fn served_by(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// Takes the list: calls `each` with the slots of the woken, the latest first. It gives the slot's token, which leaves
    /// the list thereby.
    pub(super) fn take<'a>(&self, mut each: impl FnMut(u32) -> Option<&'a Token>) {
        let mut slot = self.head.load(Relaxed);
        self.head.store(NONE, Relaxed);
        while slot != NONE {
            let Some(token) = each(slot) else { return };
            slot = token.next.load(Relaxed);
            token.next.store(OUT, Relaxed);
        }
    }
}

impl Token {
    pub(super) fn new(woken: &Arc<Woken>, slot: u32) -> Arc<Token> {
        Arc::new(Token { woken: woken.clone(), slot, next: AtomicU32::new(OUT) })
    }

    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether it is in the list. Its slot must stay its own until it has left.
    pub(super) fn is_woken(&self) -> bool {
        self.next.load(Relaxed) != OUT
    }

    pub(super) fn wake(&self) {
        if self.is_woken() {
            return;
        }
        let head = self.woken.head.load(Relaxed);
        self.next.store(head, Relaxed);
        self.woken.head.store(self.slot, Relaxed);
        if head == NONE {
            self.woken.wake_task();
        }
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        Token::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Token::wake(self);
    }
}
