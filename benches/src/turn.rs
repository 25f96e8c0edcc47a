//! What the loop adds to the executor: the turn, with a coarse clock read after each step, so that
//! a slow one has a name.

use std::hint::black_box;
use std::time::Duration;

use picot_executor::Executor;
use picot_loop::EventLoop;

use crate::scheduler::yield_now;
use crate::{Table, measure};

const YIELDS: usize = 1_000_000;
const CROWD: usize = 1_000;
const TURNS: usize = 100_000;
const EVENTS: usize = 100_000;
const PARKED: usize = 10_000;

/// Measures all rows, but for those whose name does not contain `filter`.
pub fn all(table: &mut Table, filter: &str) {
    let mut row = |name: &'static str, column: &'static str, operations: usize, block: &mut dyn FnMut()| {
        if name.contains(filter) {
            table.add(name, column, measure(operations, block));
        }
    };
    row("the root yields", "executor", YIELDS, &mut || Executor::new().block_on(yields(YIELDS)));
    row("the root yields", "loop", YIELDS, &mut || picot_loop::run(yields(YIELDS)));
    row("the root yields", "loop, hooks set", YIELDS, &mut || {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().set_hooks(std::rc::Rc::new(NoHooks));
        event_loop.run_until_complete(yields(YIELDS)).unwrap();
    });
    row("1000 tasks yield", "loop, hooks set", YIELDS, &mut || {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().set_hooks(std::rc::Rc::new(NoHooks));
        crowd(&event_loop);
    });
    row("1000 tasks yield", "loop, steps recorded", YIELDS, &mut || {
        let event_loop = EventLoop::builder().record_steps().build().unwrap();
        crowd(&event_loop);
    });
    row("1000 tasks yield", "loop, traced", YIELDS, &mut || {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().begin_trace(EVENTS);
        crowd(&event_loop);
    });
    let parked = EventLoop::new().unwrap();
    for _ in 0..PARKED {
        drop(parked.handle().spawn(std::future::pending::<()>()));
    }
    parked.turn(Some(Duration::ZERO)).unwrap();
    row("a dump of 10000 tasks, each", "loop", PARKED, &mut || drop(black_box(parked.handle().dump())));
    row("a dump of 10000 tasks as text, each", "loop", PARKED, &mut || {
        drop(black_box(parked.handle().dump().to_string()));
    });
    drop(parked);
    row("a turn with nothing to do", "loop", TURNS, &mut || {
        let event_loop = EventLoop::new().unwrap();
        for _ in 0..TURNS {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
    });
}

fn crowd(event_loop: &EventLoop) {
    let handle = event_loop.handle();
    let tasks: Vec<_> = (0..CROWD).map(|_| handle.spawn(yields(YIELDS / CROWD))).collect();
    event_loop
        .run_until_complete(async {
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
}

async fn yields(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

struct NoHooks;

impl picot_loop::Hooks for NoHooks {}
