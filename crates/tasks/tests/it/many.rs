//! Nesting within its limit, and chains that use no stack. `src/visits.rs` holds by counts what is
//! linear in the number of members.

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;

use picot_loop::{EventLoop, Hooks, LoopHandle, Step, VirtualClock, yield_now};
use picot_tasks::{JoinSet, Scope, ScopeError, Shield, scope, shield};

use crate::trace::run;

/// Scopes that are nested through children cost stack, and a number of child steps that is
/// quadratic in the depth. So there is a limit, and an error beyond it. Up to the limit they fit
/// into the stack of a test's thread.
#[test]
fn scopes_nest_through_256_children_and_deeper_ones_are_an_error() {
    fn nest(left: usize) -> Pin<Box<dyn Future<Output = Result<usize, ScopeError<()>>>>> {
        Box::pin(scope(async move |s: Scope<'_, ()>| {
            if left == 0 {
                return Ok(0);
            }
            let inner = s.spawn(async move { Ok::<_, ()>(nest(left - 1).await) }).await;
            // The panic of the deepest child has ended its scope before, so this is the error of
            // that scope.
            inner.unwrap().map(|depth| depth + 1).map_err(drop)
        }))
    }
    let polls = |depth: usize| {
        let steps = Rc::new(Cell::new(0));
        let result = run(|_| async {
            LoopHandle::current().set_hooks(Rc::new(Steps(steps.clone())));
            nest(depth).await
        });
        (result, steps.get())
    };
    let (result, steps) = polls(256);
    assert_eq!(result.unwrap(), 256);
    assert!(steps <= 2 * 256 * 256, "{steps} steps");
    let (result, _) = polls(257);
    assert_eq!(result.unwrap_err().failures().len(), 1);
}

/// Counts the steps of a loop, including those of children.
struct Steps(Rc<Cell<usize>>);

impl Hooks for Steps {
    fn before_step(&self, _: Step) {
        self.0.set(self.0.get() + 1);
    }
}

/// Each task of a chain owns the set or the shield with the next one. The end of the first ends all
/// of them, turn by turn.
#[test]
fn chains_of_tasks_use_no_stack() {
    const LONG: usize = 200_000;

    let chain = || {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        let result = event_loop.run_until_complete(async {
            let alive = Rc::new(());
            let mut set: JoinSet<()> = JoinSet::new();
            let mut last: Shield<()> = shield(pending());
            for _ in 0..LONG {
                let (next, here) = (std::mem::take(&mut set), alive.clone());
                set.spawn(async move {
                    let _next = (next, here);
                    pending().await
                });
                last = shield(async { _ = last.await });
            }
            yield_now().await;
            last.cancel("the last of those that wait for each other");
            drop(set);
            while Rc::strong_count(&alive) > 1 {
                yield_now().await;
            }
        });
        result.unwrap();
        // The cancelled shield is the one that ends by itself; its drop lets the others continue.
        assert_eq!(event_loop.close().unwrap().tasks.len(), LONG);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(chain).unwrap().join().unwrap();
}
