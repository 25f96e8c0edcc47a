//! Supervised scopes: the failure of one child does not end the others.

use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::TaskInfo;
use pin_project_lite::pin_project;

use crate::child::Child;
use crate::contained::Mapped;
use crate::error::ScopeEnded;
use crate::scope::{Inner, ScopeRun, expect_open};

/// Runs `body` with a [`Supervisor`] to spawn children, and waits until the body and all children
/// have ended.
///
/// As in [`scope`](crate::scope()), children may borrow. But an error or a panic of one child does
/// not end the others (Kotlin's `supervisorScope`): an error is an output like any other. An error
/// or a panic that no wait takes goes to the loop's error hook.
///
/// # Panics
/// If this thread has no loop. If the body panics: its panic resumes here once the children were
/// dropped. If scopes are nested too deep, as in [`scope`](crate::scope()).
///
/// # If dropped
/// The body is dropped, and then the children, the youngest first.
///
/// ```
/// use picot_tasks::supervised;
///
/// picot_loop::run(async {
///     let names = vec!["ada".to_string(), "grace".to_string()];
///     let lengths = supervised(async |s| {
///         let children = names.iter().map(|name| s.spawn(async move { name.len() }));
///         let children: Vec<_> = children.collect();
///         picot_tasks::gather(children).await
///     });
///     assert_eq!(lengths.await.unwrap(), [3, 5]);
/// });
/// ```
#[doc(alias = "supervisorScope")]
#[track_caller]
pub fn supervised<'env, T, F, Fut>(body: F) -> Supervised<'env, T, impl Future<Output = Result<T, Infallible>>>
where
    F: FnOnce(Supervisor<'env>) -> Fut,
    Fut: Future<Output = T>,
{
    let inner = Inner::new(Location::caller(), true);
    let body = body(Supervisor { inner: inner.clone() });
    Supervised { scope: ScopeRun::new(inner, Mapped::new(body, Ok)) }
}

/// The handle of a supervised scope, by which its body and children spawn children. Clones refer to
/// the same scope.
///
/// ```
/// use picot_tasks::{Supervisor, supervised};
///
/// async fn serve(s: Supervisor<'_>) -> usize {
///     drop(s.spawn(async { "connection" }));
///     s.len()
/// }
///
/// picot_loop::run(async { assert_eq!(supervised(serve).await, 1) });
/// ```
#[derive(Clone)]
pub struct Supervisor<'env> {
    inner: Rc<Inner<'env, Infallible>>,
}

impl<'env> Supervisor<'env> {
    /// Makes `future` a child of this scope. Its first poll is in a later step.
    ///
    /// # Panics
    /// If the scope has ended; see [`try_spawn`](Supervisor::try_spawn). The future is dropped.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         assert_eq!(s.spawn(async { 1 }).await.unwrap(), 1);
    ///     })
    ///     .await;
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F: Future<Output: 'env> + 'env>(&self, future: F) -> Child<F::Output> {
        expect_open(self.spawn_at(Location::caller(), None, future))
    }

    /// Spawns a child with a name for reports, otherwise as [`spawn`](Supervisor::spawn).
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         assert_eq!(s.spawn_named("reader", async {}).info().given_name(), Some("reader"));
    ///     })
    ///     .await;
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_named<F: Future<Output: 'env> + 'env>(&self, name: &str, future: F) -> Child<F::Output> {
        expect_open(self.spawn_at(Location::caller(), Some(name), future))
    }

    /// [`spawn`](Supervisor::spawn) that returns an error if the scope has ended.
    ///
    /// # Errors
    /// [`ScopeEnded`] if the scope has ended. The future is dropped.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     let mut late = None;
    ///     picot_tasks::supervised(async |s| late = Some(s)).await;
    ///     assert!(late.unwrap().try_spawn(async {}).is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<F: Future<Output: 'env> + 'env>(&self, future: F) -> Result<Child<F::Output>, ScopeEnded> {
        self.spawn_at(Location::caller(), None, future)
    }

    fn spawn_at<F: Future<Output: 'env> + 'env>(
        &self,
        place: picot_context::Place,
        name: Option<&str>,
        future: F,
    ) -> Result<Child<F::Output>, ScopeEnded> {
        self.inner.spawn(place, name, false, Mapped::new(future, Ok))
    }

    /// Returns the number of children that have not ended.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         drop(s.spawn(async {}));
    ///         assert_eq!(s.len(), 1);
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns whether all children have ended.
    ///
    /// ```
    /// picot_loop::run(async { picot_tasks::supervised(async |s| assert!(s.is_empty())).await });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the children that have not ended, in the order in which they were spawned.
    ///
    /// ```
    /// picot_loop::run(async {
    ///     picot_tasks::supervised(async |s| {
    ///         drop(s.spawn_named("reader", async {}));
    ///         assert_eq!(s.children()[0].given_name(), Some("reader"));
    ///     })
    ///     .await;
    /// });
    /// ```
    pub fn children(&self) -> Vec<TaskInfo> {
        self.inner.children()
    }
}

impl fmt::Debug for Supervisor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("children", &self.len()).finish_non_exhaustive()
    }
}

pin_project! {
    /// A running supervised scope; made by [`supervised`].
    ///
    /// ```
    /// assert_eq!(picot_loop::run(async { picot_tasks::supervised(async |_| 1).await }), 1);
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Supervised<'env, T, Fut> {
        #[pin]
        scope: ScopeRun<'env, T, Infallible, Fut>,
    }
}

impl<T, Fut: Future<Output = Result<T, Infallible>>> Future for Supervised<'_, T, Fut> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.project().scope.poll(cx).map(|result| match result {
            Ok(value) => value,
            Err(_) => unreachable!("nothing fails or cancels a supervised scope: its error is `Infallible`"),
        })
    }
}
