//! Which public types are `Send`, `Sync`, `Unpin` and unwind safe, as a table, so that no change
//! goes unnoticed.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_executor::*;
use picot_testkit::implements;

/// A future that has none of these traits.
struct Local(#[expect(dead_code, reason = "for its traits")] Rc<Cell<()>>, PhantomPinned);

impl Future for Local {
    type Output = Self;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self> {
        Poll::Pending
    }
}

macro_rules! table {
    ($($type:ty: $expected:expr,)*) => {$(
        let found = [
            implements!($type: Send),
            implements!($type: Sync),
            implements!($type: Unpin),
            implements!($type: UnwindSafe) && implements!($type: RefUnwindSafe),
        ];
        assert_eq!(found, $expected, "{} is or is not Send, Sync, Unpin, and safe to unwind past", stringify!($type));
    )*};
}

#[test]
fn the_auto_traits_of_public_types_are_these() {
    /// Send, Sync, Unpin, and both of UnwindSafe and RefUnwindSafe.
    const HERE: [bool; 4] = [false, false, true, true];
    const ANYWHERE: [bool; 4] = [true, true, true, true];
    table! {
        Executor: HERE,
        Spawner: HERE,
        TaskBuilder<'static>: HERE,
        Task<Local>: HERE,
        Join<Local>: HERE,
        CancelAndWait<Local>: HERE,
        CallHandle: HERE,
        Asleep<'static>: HERE,
        Exclusive: HERE,
        ExclusiveGuard: HERE,
        // The future is inside of it, and a panic may leave anything half done where it is polled.
        Root<Local>: [false, false, false, false],
        Root<std::future::Ready<()>>: [false, false, true, false],
        Remote: ANYWHERE,
        RemoteTask<Local>: [false, false, true, true],
        RemoteTask<Cell<()>>: ANYWHERE,
        RemoteJoin<Cell<()>>: ANYWHERE,
        // As the closure inside.
        Refused: [true, false, true, false],
        Refused<fn()>: ANYWHERE,
        JoinError: ANYWHERE,
        WaitError: ANYWHERE,
        CancelReason: ANYWHERE,
        ClosedTasks: ANYWHERE,
        Exit: ANYWHERE,
    }
}
