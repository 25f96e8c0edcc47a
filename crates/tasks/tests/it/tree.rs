//! Random trees of scopes, timeouts, eager tasks, moved deadlines and withdrawn requests, against a
//! model.
//!
//! There are few different times, so that most programs have ties. The model knows only the clock,
//! and no polls: a request that is withdrawn in its own turn must leave no trace.

use std::cell::RefCell;
use std::future::pending;
use std::time::Duration;

use picot_loop::{EventLoop, Instant, LoopHandle, VirtualClock, sleep_until};
use picot_tasks::{CancelScope, gather_settled, scope, timeout_at};
use proptest::prelude::*;

use crate::trace::millis;

/// Work in nested scopes, all times in milliseconds since its beginning.
#[derive(Clone, Debug)]
struct Work {
    /// When the innermost future ends; `None` for never.
    done: Option<u64>,
    /// Deadlines, the innermost first. Each may be moved from inside, at a time, to a later time.
    levels: Vec<(u64, Option<(u64, u64)>)>,
}

#[derive(Clone, Debug)]
enum Child {
    Work(Work),
    /// Cancels the root at a time; a later child withdraws that in the same turn.
    Mistake(u64),
    TakesBack(u64),
    /// Moves the root's deadline, at a time, to a later time.
    Moves(u64, u64),
    /// Spawns a task of the loop at a time. Its first step runs inside of the step of this child.
    Eager(u64, Work),
}

#[derive(Clone, Debug)]
struct Program {
    deadline: u64,
    children: Vec<Child>,
}

const LATEST: u64 = 6;

fn work() -> impl Strategy<Value = Work> {
    let moved = proptest::option::weighted(0.4, (0..LATEST, 1..=LATEST).prop_map(|(at, by)| (at, at + by)));
    let levels = proptest::collection::vec((1..=LATEST, moved), 0..4);
    (proptest::option::weighted(0.7, 1..=LATEST), levels).prop_map(|(done, mut levels)| {
        if done.is_none() {
            // It must end at some time.
            levels.push((LATEST, None));
        }
        Work { done, levels }
    })
}

fn program() -> impl Strategy<Value = Program> {
    let child = prop_oneof![
        4 => work().prop_map(Child::Work),
        2 => (1..=LATEST).prop_map(Child::Mistake),
        2 => (1..=LATEST, 1..=LATEST).prop_map(|(at, by)| Child::Moves(at, at + by)),
        1 => (1..=LATEST, work()).prop_map(|(at, work)| Child::Eager(at, work)),
    ];
    (1..=LATEST, proptest::collection::vec(child, 1..9), any::<u64>()).prop_map(|(deadline, mut children, dice)| {
        let mistakes: Vec<_> = children
            .iter()
            .enumerate()
            .filter_map(|(n, child)| match child {
                Child::Mistake(at) => Some((n, *at)),
                _ => None,
            })
            .collect();
        // From the back, so that the positions stay valid. A child behind each withdraws it.
        for (n, at) in mistakes.into_iter().rev() {
            let behind = n + 1 + dice as usize % (children.len() - n);
            children.insert(behind, Child::TakesBack(at));
        }
        Program { deadline, children }
    })
}

/// When work has ended, and which of its levels has expired and when, if one has.
type End = (u64, Option<(usize, u64)>);

fn end_of(work: &Work) -> End {
    let mut end: Option<End> = work.done.map(|done| (done, None));
    for (level, (deadline, moved)) in work.levels.iter().enumerate() {
        let (mut deadline, mut busy_until) = (*deadline, 0);
        if let Some((at, to)) = moved {
            // The contents of this level end when the mover has ended, too.
            busy_until = *at;
            // Both in one turn: the move is inside, so it happens first.
            if *at <= deadline {
                deadline = *to;
            }
        }
        let inside = end.map(|(time, expired)| (time.max(busy_until), expired));
        let is_in_time = |(time, expired): &End| *time <= deadline && !is_cut(*expired, deadline);
        // A value wins over the deadline of its turn; of two deadlines, the outer one is the error.
        end = Some(inside.filter(is_in_time).unwrap_or((deadline, Some((level, deadline)))));
    }
    end.expect("it has a level if it never ends")
}

/// Whether an inner expiry was in the turn of an outer deadline.
fn is_cut(expired: Option<(usize, u64)>, deadline: u64) -> bool {
    expired.is_some_and(|(_, when)| when == deadline)
}

/// The outcome of a program: for each child with work, when it ends and how, if it does; and when
/// the root ends, and whether by its deadline.
type Outcome = (Vec<Option<(u64, Option<usize>)>>, (u64, bool));

fn model(program: &Program) -> Outcome {
    let natural = |child: &Child| match child {
        Child::Work(work) => end_of(work).0,
        Child::Mistake(at) | Child::TakesBack(at) | Child::Moves(at, _) | Child::Eager(at, _) => *at,
    };
    // In the order of the times; those of one turn in the order of the children.
    let mut order: Vec<_> = program.children.iter().collect();
    order.sort_by_key(|child| natural(child));
    let (mut deadline, mut is_cancelled) = (program.deadline, false);
    for child in order {
        match child {
            Child::Mistake(_) => is_cancelled = true,
            Child::TakesBack(_) => is_cancelled = false,
            // A request refuses it.
            Child::Moves(at, to) if *at <= deadline && !is_cancelled => deadline = *to,
            _ => {}
        }
    }
    let done = program.children.iter().map(natural).max().unwrap();
    let is_cut_child = |child: &Child| match child {
        Child::Work(work) => is_cut(end_of(work).1, deadline),
        _ => false,
    };
    let is_expired = done > deadline || program.children.iter().any(is_cut_child);
    let end = if is_expired { deadline } else { done };
    let ends = program.children.iter().map(|child| match child {
        Child::Work(work) => {
            let (time, expired) = end_of(work);
            let is_in_time = time <= end && !(is_expired && is_cut(expired, end));
            is_in_time.then(|| (time, expired.map(|(level, _)| level)))
        }
        // The task belongs to the loop: once it exists, the end of the root does not end it.
        Child::Eager(at, work) => (*at <= end).then(|| {
            let (time, expired) = end_of(work);
            (at + time, expired.map(|(level, _)| level))
        }),
        _ => None,
    });
    (ends.collect(), (end, is_expired))
}

async fn nest(work: &Work, level: usize, begin: Instant) -> Option<usize> {
    let at = |time: u64| begin + millis(time);
    let Some((deadline, moved)) = work.levels.get(level) else {
        match work.done {
            Some(done) => sleep_to(at(done)).await,
            None => pending().await,
        }
        return None;
    };
    // The levels are nested from the outside, and listed from the inside.
    let inner = Box::pin(nest_inner(work, level, begin));
    match moved {
        None => timeout_at(at(*deadline), inner).await.unwrap_or(Some(level)),
        Some((when, to)) => {
            let scope = CancelScope::with_deadline(at(*deadline));
            let mover = async {
                sleep_to(at(*when)).await;
                let _ = scope.reschedule(at(*to));
            };
            let both = scope.run(gather_settled((inner, mover)));
            both.await.map_or(Some(level), |(expired, ())| expired)
        }
    }
}

async fn nest_inner(work: &Work, level: usize, begin: Instant) -> Option<usize> {
    match level.checked_sub(1) {
        Some(inner) => nest(work, inner, begin).await,
        None => nest(work, usize::MAX, begin).await,
    }
}

/// Unlike a bare sleep, it takes no turn if the time has passed.
async fn sleep_to(time: Instant) {
    if Instant::now() < time {
        sleep_until(time).await;
    }
}

async fn outermost(work: &Work, begin: Instant) -> Option<usize> {
    nest(work, work.levels.len().wrapping_sub(1), begin).await
}

fn run_program(program: &Program) -> Outcome {
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let outcome = event_loop.run_until_complete(async {
        let begin = Instant::now();
        let now = || (Instant::now() - begin).as_millis() as u64;
        let ends = std::rc::Rc::new(RefCell::new(vec![None; program.children.len()]));
        let root = CancelScope::with_deadline(begin + millis(program.deadline));
        let at = |time: u64| sleep_to(begin + millis(time));
        let result = root.run(scope(async |s| {
            for (n, child) in program.children.iter().enumerate() {
                let (root, ends) = (&root, ends.clone());
                let _ = s.spawn(async move {
                    match child {
                        Child::Work(work) => {
                            let expired = outermost(work, begin).await;
                            ends.borrow_mut()[n] = Some((now(), expired));
                        }
                        Child::Mistake(time) => {
                            at(*time).await;
                            root.cancel("a mistake");
                        }
                        Child::TakesBack(time) => {
                            at(*time).await;
                            root.withdraw();
                        }
                        Child::Moves(time, to) => {
                            at(*time).await;
                            let _ = root.reschedule(begin + millis(*to));
                        }
                        Child::Eager(time, work) => {
                            at(*time).await;
                            let work = work.clone();
                            let task = async move {
                                let expired = outermost(&work, Instant::now()).await;
                                ends.borrow_mut()[n] = Some(((Instant::now() - begin).as_millis() as u64, expired));
                            };
                            drop(LoopHandle::current().build_task().eager().spawn(task));
                        }
                    }
                });
            }
            Ok::<_, ()>(())
        }));
        let is_expired = result.await.is_err();
        let end = now();
        sleep_until(begin + Duration::from_secs(3_600)).await;
        assert_eq!(LoopHandle::current().tasks().len(), 1, "the root");
        let ends = ends.take();
        (ends, (end, is_expired))
    });
    outcome.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn withdrawn_requests_leave_no_trace_and_all_work_ends_at_its_time(program in program()) {
        prop_assert_eq!(run_program(&program), model(&program));
    }
}
