//! Scopes: children that borrow from their parent, run inside of it, and end before it goes on.
//!
//! A scope is one future. It holds its body and its children, and polls those that were woken, each child in a step of its
//! own. That is why children may borrow, and why no unsafe code is needed: whatever happens to the scope's future, its
//! children are inside of it. The invariant: when it is done or dropped, no child is left.

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

use crate::child::{Body, Child, Ended, Identity, Job, Record, Slot, unclaimed};
use crate::contained::{self, Mapped};
use crate::cooperate::Gate;
use crate::crowd::{Crowd, Out, POLLS_PER_STEP};
use crate::error::{Failure, ScopeEnded, ScopeError};
use crate::request::{CancelRequest, CancelToken, wake};
use crate::start::{Start, Started};
use crate::wake::Ready;

/// Runs `body`, which gets a [`Scope`] to spawn children in, and waits until both it and all children have ended (asyncio's
/// `TaskGroup`, trio's nursery).
///
/// Children may borrow whatever was declared before the scope. They run inside of the task that awaits this, take turns with
/// the rest of the loop, and have an id, a name, locals and a budget of their own. They may spawn siblings, also while the
/// scope waits for the last of them.
///
/// The first failure (an error of the body or of a child, or a panic of a child) ends the rest: what was woken for the same
/// step still runs it, and then the body and the children that have not ended are dropped. If several fail in that step,
/// their errors come together. Where one child's failure is to stay its own, use [`supervised`](crate::supervised).
///
/// # Errors
/// [`ScopeError`] with all that failed; or with nothing, if the scope was [cancelled](Scope::cancel) before its body had
/// ended.
///
/// # Panics
/// If this thread has no loop. If the body panics: its panic resumes here, when the children have been dropped. If scopes
/// are nested through more than 256 children, each a child of the scope before: spawn into the outermost scope instead.
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

/// A scope as its body and its children have it: spawns children. Clones speak of the same scope.
pub struct Scope<'env, E> {
    inner: Rc<Inner<'env, E>>,
}

/// What a child of a [`Scope`] may give: nothing, or a `Result` with the scope's error.
pub trait ChildOutput<E> {
    /// What the child's handle gives.
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
    /// Makes `future` a child of this scope. It gives nothing, or a `Result` whose error fails the scope. It is first polled
    /// at a later step; in a scope that has failed or was cancelled it is dropped there instead.
    ///
    /// # Panics
    /// If the scope has ended; see [`try_spawn`](Scope::try_spawn). The future is dropped.
    #[doc(alias = "create_task")]
    #[doc(alias = "start_soon")]
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        open(self.spawn_at(Location::caller(), None, false, future))
    }

    /// [`spawn`](Scope::spawn) with a name for reports.
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &str, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        open(self.spawn_at(Location::caller(), Some(name), false, future))
    }

    /// [`spawn`](Scope::spawn) for those who may be later than the scope's end.
    ///
    /// # Errors
    /// [`ScopeEnded`] if the scope has ended. The future is dropped.
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Child<<F::Output as ChildOutput<E>>::Value>, ScopeEnded>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        self.spawn_at(Location::caller(), None, false, future)
    }

    /// Makes `future` a child that runs to its end also if the scope fails, is cancelled, or the wait for it is dropped
    /// (asyncio's `shield`, for work that borrows). It runs even in a scope that has failed already, and is the place for
    /// asynchronous clean-up. What ends it is [`Child::cancel`], and dropping the scope as a whole: a timeout around the
    /// scope does that. Work that must survive that, too, cannot borrow: give it to the loop by [`shield`](crate::shield()).
    ///
    /// # Panics
    /// If the scope has ended. The future is dropped.
    #[track_caller]
    pub fn shield<F>(&self, future: F) -> Child<<F::Output as ChildOutput<E>>::Value>
    where
        F: Future<Output: ChildOutput<E>> + 'env,
        <F::Output as ChildOutput<E>>::Value: 'env,
    {
        open(self.spawn_at(Location::caller(), None, true, future))
    }

    /// Spawns a child and waits until it says that it is ready, for example that it listens (trio's `nursery.start`). What
    /// it says is given back, with its handle.
    ///
    /// # Errors
    /// Awaiting gives a [`JoinError`] if the child ends without having said so.
    ///
    /// # Panics
    /// If the scope has ended.
    ///
    /// # If dropped
    /// The wait was; so the child is cancelled, unless it was ready.
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
        let (started, said) = Started::new();
        Start::new(said, open(self.spawn_at(Location::caller(), None, false, serve(started))))
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

    /// Ends the scope early: its body and its children are dropped, but for those that are shielded. That is no failure
    /// (asyncio's `TaskGroup.cancel`); the scope's value is the body's if that has ended, and otherwise an error without
    /// failures. The first reason stays. Says whether the scope could still be cancelled: `false` if it has ended.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<CancelReason>) -> bool {
        if self.inner.phase.get() == Phase::Ended {
            return false;
        }
        if self.inner.phase.get() != Phase::Ending {
            self.inner.phase.set(Phase::Ending);
            self.inner.token.set(CancelRequest::new(reason.into(), Location::caller()));
            self.inner.sweep();
        }
        true
    }

    /// Tells shielded children that the scope has failed or was cancelled, so that they can end in good order.
    pub fn token(&self) -> CancelToken {
        self.inner.token.clone()
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether all children have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The children that have not ended, in the order in which they were spawned.
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

/// How many children may lie around a scope, each in a scope of the one before. A wake of the innermost child polls all of
/// them, and starting n nested scopes takes n²/2 child steps; each level also takes stack, some 4 kB in a debug build.
const MAX_NESTING: u32 = 256;

thread_local! {
    /// How many children are being polled on this thread's stack.
    static NESTING: Cell<u32> = const { Cell::new(0) };
}

/// Counts a child that is being polled, also while it unwinds.
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
pub(crate) fn open<T>(result: Result<T, ScopeEnded>) -> T {
    match result {
        Ok(child) => child,
        Err(ended) => panic!("{ended}"),
    }
}

pub(crate) struct Inner<'env, E> {
    crowd: RefCell<Crowd<Member<'env, E>>>,
    ready: Rc<Ready>,
    /// The child that runs, which is not in the crowd then.
    running: RefCell<Option<Identity>>,
    failures: RefCell<Vec<Failure<E>>>,
    token: CancelToken,
    phase: Cell<Phase>,
    /// Whether the body has ended or was dropped.
    is_body_over: Cell<bool>,
    /// Whether a child's panic is its own.
    is_supervised: bool,
    handle: LoopHandle,
    place: Place,
}

type ChildJob<'env, E> = Pin<Box<dyn Job<E> + 'env>>;

enum Member<'env, E> {
    Body,
    Child(ChildJob<'env, E>),
}

impl<'env, E> Member<'env, E> {
    fn into_child(self) -> Option<ChildJob<'env, E>> {
        match self {
            Member::Body => None,
            Member::Child(job) => Some(job),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// A child or the body has failed in this step; what was woken for it still runs.
    Failing,
    /// What is left is being dropped, but for what is shielded.
    Ending,
    Ended,
}

impl<'env, E> Inner<'env, E> {
    #[track_caller]
    pub(crate) fn new(place: Place, is_supervised: bool) -> Rc<Inner<'env, E>> {
        let mut crowd = Crowd::new();
        crowd.insert(Member::Body);
        Rc::new(Inner {
            ready: crowd.ready(),
            crowd: RefCell::new(crowd),
            running: RefCell::new(None),
            failures: RefCell::default(),
            token: CancelToken::new(),
            phase: Cell::new(Phase::Open),
            is_body_over: Cell::new(false),
            is_supervised,
            handle: LoopHandle::current(),
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
        if self.phase.get() == Phase::Ended {
            return Err(ScopeEnded);
        }
        let record = Record::new(self.handle.allocate_id(), place, picot_context::inherited(name), is_shielded);
        let slot = Rc::new(Slot::new(record));
        self.handle.tell_hooks(|hooks| hooks.spawned(&slot.record.info()));
        let job = Box::pin(Body::new(future, slot.clone()));
        self.crowd.borrow_mut().insert_with(|waker| {
            slot.record.set_waker(waker.clone());
            Member::Child(job)
        });
        // It is queued behind whatever runs now; whoever polls the scope must come back for it.
        self.ready.end();
        Ok(Child::new(slot))
    }

    pub(crate) fn len(&self) -> usize {
        self.crowd.borrow().len() - usize::from(!self.is_body_over.get())
    }

    pub(crate) fn children(&self) -> Vec<TaskInfo> {
        let mut children: Vec<_> = self.running.borrow().iter().map(Identity::info).collect();
        let crowd = self.crowd.borrow();
        children.extend(crowd.values().filter_map(|member| match member {
            Member::Body => None,
            Member::Child(job) => Some(job.record().info()),
        }));
        children.sort_unstable_by_key(TaskInfo::id);
        children
    }

    /// Queues all that is to be dropped.
    fn sweep(&self) {
        let reason =
            self.token.peek().map_or(CancelReason::from("its scope has failed"), |request| request.reason().clone());
        let wakers: Vec<_> = {
            let crowd = self.crowd.borrow();
            let is_swept = |member: &Member<'env, E>| match member {
                Member::Body => true,
                Member::Child(job) => job.record().sweep(&reason),
            };
            crowd.wakers().filter(|(member, _)| is_swept(member)).map(|(_, waker)| waker.clone()).collect()
        };
        wakers.into_iter().for_each(wake);
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase.get(), Phase::Ending | Phase::Ended)
    }

    fn fail(&self, failure: Failure<E>) {
        self.failures.borrow_mut().push(failure);
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Failing);
            let reason = CancelReason::from("its scope has failed");
            self.token.set(CancelRequest::new(reason, self.place));
        }
    }

    /// The step is over: if something has failed in it, the rest is to end.
    fn end_failing(&self) {
        if self.phase.get() == Phase::Failing {
            self.phase.set(Phase::Ending);
            self.sweep();
        }
    }

    /// Whether a child is to be dropped rather than polled.
    fn must_end(&self, record: &Record) -> bool {
        let is_over = self.is_ending() || (self.phase.get() == Phase::Failing && !record.is_started.get());
        record.is_cancelled() || (is_over && !record.is_shielded)
    }

    /// Runs a step of a child. Returns whether the coarse clock has moved.
    fn run_child(&self, mut out: Out<Member<'env, E>>) -> bool {
        let Member::Child(job) = &mut out.value else { unreachable!("the body is no child") };
        let (ended, has_ticked) = if self.must_end(job.record()) {
            let (ended, has_ticked) = job.as_mut().clear(&self.handle);
            (Poll::Ready(ended), has_ticked)
        } else {
            self.running.replace(Some(job.record().identity()));
            let nested = Nested::enter();
            let polled = job.as_mut().poll(&mut Context::from_waker(&out.waker), &self.handle);
            drop(nested);
            self.running.replace(None);
            polled
        };
        match ended {
            Poll::Ready(ended) => {
                self.crowd.borrow_mut().remove(out.key);
                let Member::Child(job) = out.value else { unreachable!("the body is no child") };
                self.end_child(job, ended);
            }
            Poll::Pending => {
                if self.is_ending() {
                    // The sweep did not see it, because it was out.
                    let Member::Child(job) = &out.value else { unreachable!("the body is no child") };
                    if !job.record().is_shielded {
                        job.record().cancel(CancelReason::from("its scope was cancelled"));
                    }
                }
                self.crowd.borrow_mut().put_back(out);
            }
        }
        has_ticked
    }

    fn end_child(&self, job: ChildJob<'env, E>, ended: Ended<E>) {
        let info = |job: &ChildJob<'env, E>| job.record().info();
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
                    job.owe_report();
                } else {
                    report(Report::panic(Origin::task(info(&job)), payload));
                }
            }
        }
        job.record().end();
        // If there is no handle, the output is in there.
        contain::discard(contained::origin, job);
    }

    /// The scope is dropped as a whole.
    fn drop_children(&self) {
        self.phase.set(Phase::Ended);
        self.is_body_over.set(true);
        let members = self.crowd.borrow_mut().drain();
        let mut jobs: Vec<_> = members.into_iter().filter_map(Member::into_child).collect();
        jobs.sort_by_key(|job| Reverse(job.record().id));
        for mut job in jobs {
            let (ended, _) = job.as_mut().clear(&self.handle);
            self.end_child(job, ended);
        }
        self.drop_failures();
    }

    /// No result of the scope holds the failures: those of children are reports. That of the body is not: it is what a future
    /// leaves in one that was dropped.
    fn drop_failures(&self) {
        for failure in self.failures.take() {
            match failure {
                Failure::Panic(task, payload) => report(Report::panic(Origin::task(task), payload)),
                Failure::Child(task, error) => {
                    contain::discard(contained::origin, error);
                    report(unclaimed::<E>(task));
                }
                failure => contain::discard(contained::origin, failure),
            }
        }
    }
}

pin_project! {
    /// A scope that runs; made by [`scope`].
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

    fn poll_body(self: Pin<&mut Self>, out: Out<Member<'env, E>>) {
        let mut this = self.project();
        let inner = &**this.inner;
        let polled = if !inner.is_ending() {
            let body = this.body.as_mut().as_pin_mut().expect("the body is in the crowd until it is over");
            catch(|| body.poll(&mut Context::from_waker(&out.waker)))
        } else {
            Ok(Poll::Pending)
        };
        if matches!(polled, Ok(Poll::Pending)) && !inner.is_ending() {
            return inner.crowd.borrow_mut().put_back(out);
        }
        let dropped = catch(|| this.body.set(None));
        inner.is_body_over.set(true);
        inner.crowd.borrow_mut().remove(out.key);
        let polled = match (polled, dropped) {
            (Ok(poll), Ok(())) => Ok(poll),
            (Ok(poll), Err(payload)) => {
                contain::discard(contained::origin, poll);
                Err(payload)
            }
            (Err(payload), dropped) => {
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
                *this.value = Some(Err(payload));
                inner.phase.set(Phase::Ending);
                inner.sweep();
            }
        }
    }

    fn finish(self: Pin<&mut Self>) -> Result<T, ScopeError<E>> {
        let this = self.project();
        this.inner.phase.set(Phase::Ended);
        // Handles of the scope may outlive it; they are no reason to keep the task that has run it.
        this.inner.ready.forget_parent();
        budget::spend();
        let value = match this.value.take() {
            Some(Err(payload)) => {
                this.inner.drop_failures();
                let payload = payload.take().expect("the payload of the body's panic is in no other hands");
                std::panic::resume_unwind(payload)
            }
            Some(Ok(value)) => Some(value),
            None => None,
        };
        let failures = this.inner.failures.take();
        match value {
            Some(value) if failures.is_empty() => Ok(value),
            value => {
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
        let ready = inner.ready.begin(cx.waker()).min(POLLS_PER_STEP);
        // What the parent has done so far in this step is its own, and no child's.
        let mut has_ticked = inner.handle.end_inner_step();
        for n in 0..ready {
            if has_ticked && n > 0 {
                break;
            }
            let out = inner.crowd.borrow_mut().take();
            let Some(out) = out else { break };
            has_ticked = match out.value {
                Member::Body => {
                    self.as_mut().poll_body(out);
                    inner.handle.end_inner_step()
                }
                Member::Child(_) => inner.run_child(out),
            };
        }
        inner.end_failing();
        if inner.crowd.borrow().len() == 0 {
            return Poll::Ready(self.finish());
        }
        inner.ready.end();
        Poll::Pending
    }
}

impl<T, E, Fut> fmt::Debug for ScopeRun<'_, T, E, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeRun").field("children", &self.inner.len()).finish_non_exhaustive()
    }
}
