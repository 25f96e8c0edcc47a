//! `OnceCell`: a value that the first task that needs it makes, and all others await.
//!
//! One permit is the turn to initialise. A task that has it and is dropped returns it, so the next
//! waiter initialises. With the value the permits are opened, and every wait completes.

use std::cell;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::dump::Waiter;
use crate::permits::Permits;
use crate::wait_list::Ticket;

/// A value that is made at most once, by the first task that needs it.
///
/// It is for values that need an await to make, such as a connection or a configuration. Other
/// tasks wait meanwhile.
///
/// ```
/// use picot_sync::OnceCell;
///
/// async fn connect() -> String {
///     "a connection".to_string()
/// }
///
/// # futures_lite::future::block_on(async {
/// let cell = OnceCell::new();
/// assert_eq!(cell.get_or_init(connect).await, "a connection");
/// assert_eq!(cell.get().unwrap(), "a connection");
/// # });
/// ```
#[doc(alias = "lazy")]
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    turn: Permits,
}

impl<T> OnceCell<T> {
    /// Makes an empty cell.
    ///
    /// ```
    /// assert!(picot_sync::OnceCell::<u8>::new().get().is_none());
    /// ```
    #[track_caller]
    pub const fn new() -> OnceCell<T> {
        OnceCell { value: cell::OnceCell::new(), turn: Permits::new(1, "OnceCell::get_or_init", Location::caller()) }
    }

    /// Returns the value, if it was made.
    ///
    /// ```
    /// let cell = picot_sync::OnceCell::new();
    /// cell.set(7).unwrap();
    /// assert_eq!(cell.get(), Some(&7));
    /// ```
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Sets the value, and ends all waits for it.
    ///
    /// If a task is making a value meanwhile, it gets this one, and its own is dropped.
    ///
    /// # Errors
    /// The value, if there is one already.
    ///
    /// ```
    /// let cell = picot_sync::OnceCell::new();
    /// assert_eq!((cell.set(7), cell.set(8)), (Ok(()), Err(8)));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.turn.open();
        Ok(())
    }

    /// Returns the value. If there is none, `init` makes it, unless another task is doing that:
    /// then this waits for it.
    ///
    /// `init` must not await this cell, because it would wait for itself.
    ///
    /// # If dropped
    /// If this has called `init`, its future is dropped, and the next waiter makes the value. A
    /// panic in `init` has the same effect.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let cell = picot_sync::OnceCell::new();
    /// assert_eq!(cell.get_or_init(async || 7).await, &7);
    /// assert_eq!(cell.get_or_init(async || unreachable!()).await, &7);
    /// # });
    /// ```
    #[track_caller]
    pub fn get_or_init(&self, init: impl AsyncFnOnce() -> T) -> impl Future<Output = &T> {
        let turn = self.turn();
        async move {
            if let Some(claim) = turn.await {
                return claim.fill(init().await);
            }
            self.present()
        }
    }

    /// As [`get_or_init`](OnceCell::get_or_init), with an `init` that may fail.
    ///
    /// # Errors
    /// The error of `init`. The cell is still empty then, and the next waiter calls its own `init`.
    ///
    /// # If dropped
    /// As with [`get_or_init`](OnceCell::get_or_init).
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let cell = picot_sync::OnceCell::<u8>::new();
    /// assert_eq!(cell.get_or_try_init(async || Err("no network")).await, Err("no network"));
    /// assert_eq!(cell.get_or_try_init(async || Ok::<_, ()>(7)).await, Ok(&7));
    /// # });
    /// ```
    #[track_caller]
    pub fn get_or_try_init<E>(&self, init: impl AsyncFnOnce() -> Result<T, E>) -> impl Future<Output = Result<&T, E>> {
        let turn = self.turn();
        async move {
            if let Some(claim) = turn.await {
                return Ok(claim.fill(init().await?));
            }
            Ok(self.present())
        }
    }

    /// Returns the value and drops the cell.
    ///
    /// ```
    /// let cell = picot_sync::OnceCell::new();
    /// cell.set(7).unwrap();
    /// assert_eq!(cell.into_inner(), Some(7));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Lists the tasks that wait for the value, first come first. The task that makes it is none of
    /// them.
    ///
    /// ```
    /// assert!(picot_sync::OnceCell::<u8>::new().waiters().is_empty());
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.turn.waiters.list()
    }

    #[track_caller]
    fn turn(&self) -> Turn<'_, T> {
        Turn { cell: self, waiter: Ticket::new() }
    }

    fn present(&self) -> &T {
        self.value.get().expect("a wait ends with the turn or with the value")
    }
}

impl<T> Default for OnceCell<T> {
    #[track_caller]
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    #[track_caller]
    fn from(value: T) -> OnceCell<T> {
        let cell = OnceCell::new();
        cell.set(value).unwrap_or_else(|_| unreachable!("the cell was made empty above"));
        cell
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell").field("value", &self.get()).field("waiting", &self.turn.waiters.len()).finish()
    }
}

/// Waits for the turn to make the value. Ready with `None` if there is a value.
struct Turn<'a, T> {
    cell: &'a OnceCell<T>,
    waiter: Ticket,
}

impl<'a, T> Future for Turn<'a, T> {
    type Output = Option<Claim<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Turn { cell, waiter } = &mut *self;
        ready!(cell.turn.poll_take(waiter, 1, cx));
        let claim = Claim { cell };
        Poll::Ready(if cell.value.get().is_some() { None } else { Some(claim) })
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.cell.turn.abandon(&mut self.waiter);
    }
}

/// The turn to make the value. Dropping it passes the turn on.
struct Claim<'a, T> {
    cell: &'a OnceCell<T>,
}

impl<'a, T> Claim<'a, T> {
    fn fill(self, value: T) -> &'a T {
        let cell = self.cell;
        // Fails if `set` was faster; then its value counts, and this one is dropped.
        drop(cell.set(value));
        cell.present()
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // With a value the permits are open, and one more is harmless.
        self.cell.turn.give(1);
    }
}
