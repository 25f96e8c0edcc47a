//! Scopes: children that borrow from their parent, run inside it, and end before it continues.
//!
//! A scope is one future. It holds its body and its children, and polls those that were woken, each
//! child in a step of its own. So children may borrow, and no unsafe code is needed: however
//! happens to the scope's future happens to its children. The invariant: when it is done or
//! dropped, no child is left.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use picot_context::{Origin, Payload, Place, Report, TaskInfo, budget, catch, contain, report};
use picot_loop::{CancelReason, JoinError, LoopHandle};
use pin_project_lite::pin_project;

use crate::child::{Child, ChildBody, ChildState, Ended, ErasedChild, Identity, Record, unclaimed};
use crate::contained::{self, Mapped};
use crate::cooperate::Gate;
use crate::error::{Failure, ScopeEnded, ScopeError};
use crate::member_set::{MemberSet, POLLS_PER_STEP, Taken};
use crate::ready_list::ReadyList;
use crate::request::{CancelRequest, CancelToken, wake};
use crate::roster::Listed;
use crate::start::{Start, Started};
use crate::visits::visit;

/// Runs `body` with a [`Scope`] to spawn children, and waits until the body and all children have
/// ended (asyncio's `TaskGroup`, trio's nursery).
///
/// Children may borrow what was declared before the scope. They run inside the task that awaits the
/// scope, take turns with the rest of the loop, and have an id, a name, locals and a budget of
/// their own. They may spawn siblings, also while the scope waits for the last of them.
///
/// The first failure (an error of the body or of a child, or a panic of a child) ends the rest.
/// Children that were woken for the same step still run it; then the body and the children that
/// have not ended are dropped. If several fail in that step, the error holds all of them. To let
/// children fail independently, use [`supervised`](crate::supervised()).
///
/// # Errors
/// [`ScopeError`] with all failures; or without any, if the scope was [cancelled](Scope::cancel)
/// before its body ended.
///
/// # Panics
/// If this thread has no loop. If the body panics: its panic resumes here once the children were
/// dropped. If scopes are nested through more than 256 children, each scope in a child of the one
/// before: spawn into one of the outer scopes instead.
///
/// # If dropped
/// The body is dropped, and then the children, the youngest first.
///
/// ```
/// use std::cell::Cell;
/// use picot_tasks::{ScopeError, scope};
///
/// picot_loop::run(async {
///     let sum = Cell::new(0);
///     let result = scope(async |s| {
///         for text in ["1", "2", "3"] {
///             let sum = &sum;
///             let _ = s.spawn(async move {
///                 sum.set(sum.get() + text.parse::<i32>()?);
///                 Ok(())
///             });
///         }
///         Ok(())
///     });
///     let result: Result<(), ScopeError<std::num::ParseIntError>> = result.await;
///     assert!(result.is_ok());
///     assert_eq!(sum.get(), 6);
/// });
/// ```
#[doc(alias = "TaskGroup")]
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<'env, T, E, F, Fut>(body: F) -> ScopeRun<'env, T, E, Fut>
where
    F: FnOnce(Scope<'env, E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let inner = Inner::new(Location::caller(), false);
    let body = body(Scope { inner: inner.clone() });
    ScopeRun::new(inner, body)
}

/// The handle of a scope, by which its body and children spawn children. Clones refer to the same
/// scope.
///
/// ```
/// use picot_tasks::{Scope, scope};
///
/// async fn work(s: Scope<'_, ()>) -> Result<usize, ()> {
///     drop(s.spawn(async {}));
///     Ok(s.len())
/// }
///
/// picot_loop::run(async { assert_eq!(scope(work).await.unwrap(), 1) });
/// ```
pub struct Scope<'env, E> {
    inner: Rc<Inner<'env, E>>,
}

/// The outputs of children of a [`Scope`]: nothing, or a `Result` with the scope's error.
///
/// A child that cannot fail and has a value returns `Ok(value)`.
///
/// ```
/// use picot_tasks::{Scope, scope};
///
/// picot_loop::run(async {
///     let sum = scope(async |s: Scope<'_, ()>| {
///         let (one, two) = (s.spawn(async { Ok(1) }), s.spawn(async { Ok(2) }));
///         Ok(one.await.unwrap() + two.await.unwrap())
///     });
///     assert_eq!(sum.await.unwrap(), 3);
/// });
/// ```
///
/// Other values do not compile:
///
/// ```compile_fail,E0277
/// use picot_tasks::{Scope, scope};
///
/// picot_loop::run(async {
///     scope(async |s: Scope<'_, ()>| {
///         drop(s.spawn(async { 1 }));
///         Ok(())
///     })
///     .await
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "a child of this scope returns `()` or a `Result` with the error `{E}`, not `{Self}`",
    label = "the output of this child is `{Self}`",
    note = "end the child with `Ok(value)`, convert its error with `?` or `map_err`, or use `supervised`, whose children return any value"
)]
pub trait ChildOutput<E> {
    /// The value that waiting for the child returns.
    type Value;

    #[doc(hidden)]
    fn into_result(self) -> Result<Self::Value, E>;
}

impl<E> ChildOutput<E> for () {
    type Value = ();

    fn into_result(self) -> Result<(), E> {
        Ok(())
    }
}

impl<T, E> ChildOutput<E> for Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T, E> {
        self
    }
}

impl<'env, E: 'env> Scope<'env, E> {
    /// Makes `future` a child of this scope. An `Err` that it returns fails the scope.
    ///
    /// The first poll is in a later step. In a scope that has failed or was cancelled, the future
    /// is dropped there instead.
    ///
    /// # Panics
    /// If the scope has ended; see [`try_spawn`](Scope::try_spawn). The future is dropped.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let text = String::from("borrowed");
    ///     let length = scope(async |s: Scope<'_, ()>| {
    ///         Ok(s.spawn(async { Ok(text.len()) }).await.unwrap())
    ///     });
    ///     assert_eq!(length.await.unwrap(), 8);
    /// });
    /// ```
    #[doc(alias = "create_task")]
    #[doc(alias = "start_soon")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        expect_open(self.spawn_at(Location::caller(), None, false, future))
    }

    /// Spawns a child with a name for reports, otherwise as [`spawn`](Scope::spawn).
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s: Scope<'_, ()>| {
    ///         assert_eq!(s.spawn_named("reader", async {}).info().given_name(), Some("reader"));
    ///         Ok(())
    ///     });
    ///     result.await.unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &str, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        expect_open(self.spawn_at(Location::caller(), Some(name), false, future))
    }

    /// [`spawn`](Scope::spawn) that returns an error if the scope has ended.
    ///
    /// # Errors
    /// [`ScopeEnded`] if the scope has ended. The future is dropped.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let mut late = None;
    ///     scope(async |s: Scope<'_, ()>| Ok(late = Some(s))).await.unwrap();
    ///     assert!(late.unwrap().try_spawn(async {}).is_err());
    /// });
    /// ```
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Child<<F::Output as ChildOutput<E>>::Value>, ScopeEnded>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        self.spawn_at(Location::caller(), None, false, future)
    }

    /// Makes `future` a child that also runs to its end if the scope fails or is cancelled
    /// (asyncio's `shield`, for work that borrows).
    ///
    /// Dropping the wait for the child does not end it either. It runs even in a scope that has
    /// failed already, so it is the place for asynchronous clean-up. Only [`Child::cancel`] ends
    /// it, and dropping the scope as a whole, as a timeout around the scope does. Work that must
    /// survive that cannot borrow: use [`shield`](crate::shield()).
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use picot_tasks::scope;
    ///
    /// picot_loop::run(async {
    ///     let is_saved = Cell::new(false);
    ///     let result = scope(async |s| {
    ///         drop(s.shield(async { is_saved.set(true) }));
    ///         Err::<(), _>("the body fails at once")
    ///     });
    ///     assert!(result.await.is_err() && is_saved.get());
    /// });
    /// ```
    #[track_caller]
    pub fn shield<F>(&self, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        expect_open(self.spawn_at(Location::caller(), None, true, future))
    }

    /// Spawns a child and waits until it reports that it is ready, for example that it listens
    /// (trio's `nursery.start`).
    ///
    /// Awaiting it returns the value that the child reports, and the child's handle.
    ///
    /// # Errors
    /// Awaiting returns a [`JoinError`] if the child ends without a report.
    ///
    /// # Panics
    /// If the scope has ended.
    ///
    /// # If dropped
    /// The child is cancelled, unless it is ready.
    ///
    /// ```
    /// use picot_tasks::{Started, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s| {
    ///         let serve = |started: Started<u16>| async move {
    ///             started.ready(8080);
    ///             std::future::pending::<Result<(), std::io::Error>>().await
    ///         };
    ///         let (port, server) = s.start(serve).await.map_err(std::io::Error::other)?;
    ///         server.cancel("it has served");
    ///         Ok(port)
    ///     });
    ///     assert_eq!(result.await.unwrap(), 8080);
    /// });
    /// ```
    #[track_caller]
    pub fn start<V, F, Fut>(&self, serve: F) -> Start<V, <Fut::Output as ChildOutput<E>>::Value>
    where
        F: FnOnce(Started<V>) -> Fut,
        Fut: Future<Output: ChildOutput<E>> + 'env,
        <Fut::Output as ChildOutput<E>>::Value: 'env,
    {
        let (started, signal) = Started::new();
        Start::new(signal, expect_open(self.spawn_at(Location::caller(), None, false, serve(started))))
    }

    fn spawn_at<F>(
        &self,
        place: Place,
        name: Option<&str>,
        is_shielded: bool,
        future: F,
    ) -> Result<Child<<F::Output as ChildOutput<E>>::Value>, ScopeEnded>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        self.inner.spawn(place, name, is_shielded, Mapped::new(future, ChildOutput::into_result))
    }

    /// Ends the scope early: drops the body and the children, except the shielded ones (asyncio's
    /// `TaskGroup.cancel`).
    ///
    /// If the body has ended by then, the scope returns the body's value. Otherwise there is no
    /// value to return, and the scope returns a [`ScopeError`] without failures. The first reason
    /// stays. Returns `false` if the scope has ended.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let value = scope(async |s: Scope<'_, ()>| {
    ///         drop(s.spawn(std::future::pending::<()>()));
    ///         s.cancel("the body is done"); // ends the child; the body returns in the same poll
    ///         Ok(7)
    ///     });
    ///     assert_eq!(value.await.unwrap(), 7);
    /// });
    /// ```
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.inner.phase.get() == Phase::Ended {
            return false;
        }
        if self.inner.phase.get() != Phase::Ending {
            // Set before the sweep: its wakes may run user code that calls `cancel` again.
            self.inner.phase.set(Phase::Ending);
            self.inner.token.set(CancelRequest::new(reason.into(), Location::caller()));
            self.inner.sweep();
        }
        true
    }

    /// Returns a token that notifies shielded children when the scope fails or is cancelled, so
    /// that they can clean up.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     let result = scope(async |s: Scope<'_, &str>| {
    ///         let token = s.token();
    ///         drop(s.shield(async move { _ = token.cancelled().await }));
    ///         Err::<(), _>("disk full")
    ///     });
    ///     assert_eq!(result.await.unwrap_err().failures().len(), 1);
    /// });
    /// ```
    pub fn token(&self) -> CancelToken {
        self.inner.token.clone()
    }

    /// Returns the number of children that have not ended.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// let body = async |s: Scope<'_, ()>| {
    ///     drop(s.spawn(async {}));
    ///     Ok(s.len())
    /// };
    /// picot_loop::run(async { assert_eq!(scope(body).await.unwrap(), 1) });
    /// ```
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns whether all children have ended.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     assert!(scope(async |s: Scope<'_, ()>| Ok(s.is_empty())).await.unwrap());
    /// });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the children that have not ended, in the order in which they were spawned.
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// let body = async |s: Scope<'_, ()>| {
    ///     drop(s.spawn_named("reader", async {}));
    ///     Ok(s.children()[0].given_name() == Some("reader"))
    /// };
    /// picot_loop::run(async { assert!(scope(body).await.unwrap()) });
    /// ```
    pub fn children(&self) -> Vec<TaskInfo> {
        self.inner.children()
    }
}

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        Scope { inner: self.inner.clone() }
    }
}

impl<E> fmt::Debug for Scope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("children", &self.inner.len()).finish_non_exhaustive()
    }
}

/// The maximum of children around a scope, each in a scope of the one before.
///
/// A wake of the innermost child polls all of them, starting n nested scopes takes n²/2 child
/// steps, and each level takes stack, some 4 kB in a debug build. 256 levels fit into a thread's
/// default stack of 2 MiB.
const MAX_NESTING: u32 = 256;

thread_local! {
    /// The number of children that are being polled on this thread's stack.
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// Counts a child that is being polled; also correct when the poll unwinds.
struct Nested;

impl Nested {
    fn enter() -> Nested {
        NESTING.set(NESTING.get() + 1);
        Nested
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTING.set(NESTING.get() - 1);
    }
}

#[track_caller]
pub(crate) fn expect_open<T>(result: Result<T, ScopeEnded>) -> T {
    match result {
        Ok(child) => child,
        Err(ended) => panic!("{ended}"),
    }
}

pub(crate) struct Inner<'env, E> {
    members: RefCell<MemberSet<Member<'env, E>>>,
    ready: Rc<ReadyList>,
    /// The running child, which is taken out of `members`.
    running: RefCell<Option<Identity>>,
    failures: RefCell<Vec<Failure<E>>>,
    token: CancelToken,
    phase: Cell<Phase>,
    /// Whether the body has ended or was dropped.
    is_body_over: Cell<bool>,
    /// Whether a child's failure leaves the others alone.
    is_supervised: bool,
    handle: LoopHandle,
    /// The entry for reports.
    listed: Listed,
    place: Place,
}

type BoxedChild<'env, E> = Pin<Box<dyn ErasedChild<E> + 'env>>;

enum Member<'env, E> {
    Body,
    Child(BoxedChild<'env, E>),
}

impl<'env, E> Member<'env, E> {
    fn into_child(self) -> Option<BoxedChild<'env, E>> {
        match self {
            Member::Body => None,
            Member::Child(job) => Some(job),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A child or the body has failed in this step; children that were woken for it still run.
    Failing,
    /// The body and the children that are not shielded are being dropped.
    Ending,
    Ended,
}

impl<'env, E> Inner<'env, E> {
    #[track_caller]
    pub(crate) fn new(place: Place, is_supervised: bool) -> Rc<Inner<'env, E>> {
        let mut members = MemberSet::new();
        members.insert(Member::Body);
        Rc::new(Inner {
            ready: members.ready(),
            members: RefCell::new(members),
            running: RefCell::new(None),
            failures: RefCell::default(),
            token: CancelToken::new(),
            phase: Cell::new(Phase::Open),
            is_body_over: Cell::new(false),
            is_supervised,
            handle: LoopHandle::current(),
            listed: Listed::new(place),
            place,
        })
    }

    pub(crate) fn spawn<T: 'env>(
        &self,
        place: Place,
        name: Option<&str>,
        is_shielded: bool,
        future: impl Future<Output = Result<T, E>> + 'env,
    ) -> Result<Child<T>, ScopeEnded>
    where
        E: 'env,
    {
        // A handle of the scope may outlive it: nothing would poll the child.
        if self.phase.get() == Phase::Ended {
            return Err(ScopeEnded);
        }
        let record = Record::new(self.handle.allocate_id(), place, picot_context::inherited(name), is_shielded);
        let state = Rc::new(ChildState::new(record));
        // A hook is user code; the members are not borrowed yet.
        self.handle.tell_hooks(|hooks| hooks.spawned(&state.record.info()));
        let job = Box::pin(ChildBody::new(future, state.clone()));
        self.members.borrow_mut().insert_with(|waker| {
            state.record.set_waker(waker.clone());
            Member::Child(job)
        });
        state.record.row.set(self.listed.add(state.record.info()));
        // The new child is queued as ready. This wakes the scope for it, unless a wake is pending.
        self.ready.end();
        Ok(Child::new(state))
    }

    pub(crate) fn len(&self) -> usize {
        // The body is a member too, until it is over.
        self.members.borrow().len() - usize::from(!self.is_body_over.get())
    }

    pub(crate) fn children(&self) -> Vec<TaskInfo> {
        // The child whose code calls this is out of the set.
        let mut children: Vec<_> = self.running.borrow().iter().map(Identity::info).collect();
        let members = self.members.borrow();
        children.extend(members.values().filter_map(|member| match member {
            Member::Body => None,
            Member::Child(job) => Some(job.record().info()),
        }));
        children.sort_unstable_by_key(TaskInfo::id);
        children
    }

    /// Wakes the body and all children that are not shielded, so that their next step drops them.
    fn sweep(&self) {
        let reason =
            self.token.peek().map_or(CancelReason::from("its scope has failed"), |request| request.reason().clone());
        let wakers: Vec<_> = {
            let members = self.members.borrow();
            let is_swept = |member: &Member<'env, E>| {
                visit();
                match member {
                    Member::Body => true,
                    Member::Child(job) => job.record().sweep(&reason),
                }
            };
            members.wakers().filter(|(member, _)| is_swept(member)).map(|(_, waker)| waker.clone()).collect()
        };
        // Wakers are user code: they run after the borrow of the members has ended.
        wakers.into_iter().for_each(wake);
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase.get(), Phase::Ending | Phase::Ended)
    }

    fn fail(&self, failure: Failure<E>) {
        self.failures.borrow_mut().push(failure);
        // Only the first failure sets the request. `end_failing` cancels the children, after this
        // step has polled those that were ready.
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Failing);
            let reason = CancelReason::from("its scope has failed");
            self.token.set(CancelRequest::new(reason, self.place));
        }
    }

    /// Ends a step: if something failed in it, the rest of the scope ends now.
    fn end_failing(&self) {
        if self.phase.get() == Phase::Failing {
            self.phase.set(Phase::Ending);
            self.sweep();
        }
    }

    /// Returns whether a child must be dropped rather than polled.
    fn must_end(&self, record: &Record) -> bool {
        // In a scope that fails, a child that has not started never starts; the others get the
        // cancel at the end of the step.
        let is_over = self.is_ending() || (self.phase.get() == Phase::Failing && !record.is_started.get());
        record.is_cancelled() || (is_over && !record.is_shielded)
    }

    /// Runs a step of a child. Returns whether the loop's coarse clock has advanced.
    fn run_child(&self, mut out: Taken<Member<'env, E>>) -> bool {
        let Member::Child(job) = &mut out.value else { unreachable!("only children are passed to `run_child`") };
        let (ended, has_ticked) = if self.must_end(job.record()) {
            let (ended, has_ticked) = job.as_mut().clear(&self.handle);
            (Poll::Ready(ended), has_ticked)
        } else {
            // The member is out of the set, so nothing is borrowed while its code runs.
            self.running.replace(Some(job.record().identity()));
            let nested = Nested::enter();
            let polled = job.as_mut().poll(&mut Context::from_waker(&out.waker), &self.handle);
            drop(nested);
            self.running.replace(None);
            polled
        };
        match ended {
            Poll::Ready(ended) => {
                // Removed before `end_child` wakes the joiner, which may count the children.
                self.members.borrow_mut().remove(out.key);
                let Member::Child(job) = out.value else { unreachable!("the body is no child") };
                self.end_child(job, ended);
            }
            Poll::Pending => {
                if self.is_ending() {
                    // `sweep` did not see this child, because it was taken out.
                    let Member::Child(job) = &out.value else { unreachable!("the body is no child") };
                    if !job.record().is_shielded {
                        job.record().cancel(CancelReason::from("its scope was cancelled"));
                    }
                }
                self.members.borrow_mut().put_back(out);
            }
        }
        has_ticked
    }

    fn end_child(&self, job: BoxedChild<'env, E>, ended: Ended<E>) {
        let info = |job: &BoxedChild<'env, E>| job.record().info();
        match ended {
            Ended::Returned => {}
            Ended::Cancelled(reason) => job.fail(JoinError::cancelled(info(&job), reason)),
            Ended::Failed(error) => {
                job.fail(JoinError::cancelled(
                    info(&job),
                    CancelReason::from("it failed; its error went to its scope"),
                ));
                self.fail(Failure::Child(info(&job), error));
            }
            Ended::Panicked(payload) => {
                job.fail(JoinError::panicked(info(&job), payload.clone()));
                if !self.is_supervised && self.phase.get() != Phase::Ended {
                    self.fail(Failure::Panic(info(&job), payload));
                } else if job.record().has_joiner() {
                    // The joiner takes the panic. If it is dropped before that, the state reports.
                    job.owe_report();
                } else {
                    report(Report::panic(Origin::task(info(&job)), payload));
                }
            }
        }
        // After the outcome was set: the joiner takes it.
        job.record().end();
        // Without a handle, dropping the job drops the output too: a user value, whose panic must
        // stay here.
        contain::discard(contained::origin, job);
    }

    /// Drops all children, the youngest first, because the scope itself is dropped.
    fn drop_children(&self) {
        // First, so that a destructor below cannot spawn into this scope.
        self.phase.set(Phase::Ended);
        self.is_body_over.set(true);
        let members = self.members.borrow_mut().drain();
        let mut jobs: Vec<_> = members.into_iter().filter_map(Member::into_child).collect();
        // As nested values are dropped: a child may use an older one, never a younger one.
        jobs.sort_by_key(|job| Reverse(job.record().id));
        for mut job in jobs {
            let (ended, _) = job.as_mut().clear(&self.handle);
            self.end_child(job, ended);
        }
        self.drop_failures();
    }

    /// Reports the failures that no result of the scope will hold.
    ///
    /// The body's own error is not reported: it is dropped like any value inside a future that is
    /// dropped.
    fn drop_failures(&self) {
        for failure in self.failures.take() {
            match failure {
                Failure::Panic(task, payload) => report(Report::panic(Origin::task(task), payload)),
                Failure::Child(task, error) => {
                    contain::discard(contained::origin, error);
                    // Not the error's own text: `E` need not be `Display` or `Debug`.
                    report(unclaimed::<E>(task));
                }
                failure => contain::discard(contained::origin, failure),
            }
        }
    }
}

pin_project! {
    /// A running scope; made by [`scope()`].
    ///
    /// ```
    /// use picot_tasks::{Scope, scope};
    ///
    /// picot_loop::run(async {
    ///     assert_eq!(scope(async |_: Scope<'_, ()>| Ok(1)).await.unwrap(), 1);
    /// });
    /// ```
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct ScopeRun<'env, T, E, Fut> {
        #[pin]
        body: Option<Fut>,
        value: Option<Result<T, Payload>>,
        inner: Rc<Inner<'env, E>>,
        gate: Gate,
    }

    impl<'env, T, E, Fut> PinnedDrop for ScopeRun<'env, T, E, Fut> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.phase.get() == Phase::Ended {
                return;
            }
            // A body that runs to its destructors here may neither spawn nor cancel any more. It
            // may use the children's values, so it goes before them.
            // First: destructors of the body may call `spawn`, which must be an error from here on.
            this.inner.phase.set(Phase::Ended);
            contained::clear(this.body.as_mut());
            contain::discard(contained::origin, this.value.take());
            this.inner.drop_children();
            this.inner.ready.forget_parent();
        }
    }
}

impl<'env, T, E, Fut: Future<Output = Result<T, E>>> ScopeRun<'env, T, E, Fut> {
    pub(crate) fn new(inner: Rc<Inner<'env, E>>, body: Fut) -> Self {
        ScopeRun { body: Some(body), value: None, inner, gate: Gate::default() }
    }

    fn poll_body(self: Pin<&mut Self>, out: Taken<Member<'env, E>>) {
        let mut this = self.project();
        let inner = &**this.inner;
        let polled = if !inner.is_ending() {
            let body = this.body.as_mut().as_pin_mut().expect("present: the body is a member until it is over");
            catch(|| body.poll(&mut Context::from_waker(&out.waker)))
        } else {
            // The scope is cancelled: the body is dropped below without another poll.
            Ok(Poll::Pending)
        };
        if matches!(polled, Ok(Poll::Pending)) && !inner.is_ending() {
            return inner.members.borrow_mut().put_back(out);
        }
        // The body is over. Also if it is pending and has cancelled its own scope in this poll.
        let dropped = catch(|| this.body.set(None));
        inner.is_body_over.set(true);
        inner.members.borrow_mut().remove(out.key);
        let polled = match (polled, dropped) {
            (Ok(poll), Ok(())) => Ok(poll),
            (Ok(poll), Err(payload)) => {
                contain::discard(contained::origin, poll);
                Err(payload)
            }
            (Err(payload), dropped) => {
                // Only one panic can unwind; the second is reported.
                if let Err(second) = dropped {
                    report(Report::panic(contained::origin(), second));
                }
                Err(payload)
            }
        };
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(Ok(value))) => *this.value = Some(Ok(value)),
            Ok(Poll::Ready(Err(error))) => inner.fail(Failure::Body(error)),
            Err(payload) => {
                // Kept until `finish`: the panic unwinds after all children have ended.
                *this.value = Some(Err(payload));
                inner.phase.set(Phase::Ending);
                inner.sweep();
            }
        }
    }

    fn finish(self: Pin<&mut Self>) -> Result<T, ScopeError<E>> {
        let this = self.project();
        this.inner.phase.set(Phase::Ended);
        // Handles of the scope may outlive it. They must not keep the waker, and so the task, that
        // ran it.
        this.inner.ready.forget_parent();
        budget::spend();
        let value = match this.value.take() {
            Some(Err(payload)) => {
                this.inner.drop_failures();
                let payload = payload.take().expect("present: nothing else has the payload of the body's panic");
                std::panic::resume_unwind(payload)
            }
            Some(Ok(value)) => Some(value),
            None => None,
        };
        let failures = this.inner.failures.take();
        match value {
            Some(value) if failures.is_empty() => Ok(value),
            value => {
                // The failures are the result. A panic in the drop of the body's value is reported.
                contain::discard(contained::origin, value);
                let request = if failures.is_empty() { this.inner.token.peek() } else { None };
                Err(ScopeError::new(failures, request))
            }
        }
    }
}

impl<T, E, Fut: Future<Output = Result<T, E>>> Future for ScopeRun<'_, T, E, Fut> {
    type Output = Result<T, ScopeError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.as_mut().project().gate.poll(cx));
        let inner = self.inner.clone();
        assert!(
            NESTING.get() <= MAX_NESTING,
            "the scope at {} is nested in more than {MAX_NESTING} children; spawn its children into one of the scopes around it",
            inner.place
        );
        inner.listed.set_parent();
        let ready = inner.ready.begin(cx.waker()).min(POLLS_PER_STEP);
        // Charges the time so far in this step to the parent, and not to the first child.
        let mut has_ticked = inner.handle.end_inner_step();
        for n in 0..ready {
            // After a child that took long enough for the clock to advance, the rest of the loop
            // runs first.
            if has_ticked && n > 0 {
                break;
            }
            let out = inner.members.borrow_mut().take();
            let Some(out) = out else { break };
            has_ticked = match out.value {
                Member::Body => {
                    self.as_mut().poll_body(out);
                    inner.handle.end_inner_step()
                }
                Member::Child(_) => inner.run_child(out),
            };
        }
        // After the loop: children that were ready in the same step as the failure got their poll.
        inner.end_failing();
        if inner.members.borrow().len() == 0 {
            return Poll::Ready(self.finish());
        }
        // More than this step's polls may be ready: the list wakes this task for them.
        inner.ready.end();
        Poll::Pending
    }
}

impl<T, E, Fut> fmt::Debug for ScopeRun<'_, T, E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeRun").field("children", &self.inner.len()).finish_non_exhaustive()
    }
}
