//! Random programs of all functions of this crate, dropped at random: no task or value is left, and
//! every wait ends.

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;

use picot_loop::{Cause, EventLoop, VirtualClock, sleep, spawn, yield_now};
use picot_tasks::{
    CancelScope, JoinSet, as_completed, gather, gather_settled, move_on_after, race, race_staggered, scope, shield,
    supervised, timeout,
};

use crate::drops::Alive;
use crate::trace::millis;

/// The dice, and a record of the operations.
#[derive(Clone)]
struct Rig {
    state: Rc<Cell<u64>>,
    operations: Rc<Cell<u64>>,
    alive: Rc<Cell<isize>>,
}

impl Rig {
    fn new(seed: u64) -> Rig {
        Rig { state: Rc::new(Cell::new(seed)), operations: Rc::default(), alive: Rc::default() }
    }

    /// A number below `bound` (xorshift).
    fn dice(&self, bound: u64) -> u64 {
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        (x >> 11) % bound
    }

    /// One random program, with others inside of it.
    fn work(&self, depth: u32) -> Pin<Box<dyn Future<Output = Result<u64, u64>>>> {
        let rig = self.clone();
        Box::pin(async move {
            let _alive = Alive::new(&rig.alive);
            for _ in 0..1 + rig.dice(3) {
                rig.operations.set(rig.operations.get() + 1);
                if depth == 0 || rig.dice(3) == 0 {
                    rig.simple().await;
                } else {
                    rig.nested(depth - 1).await;
                }
            }
            let dice = rig.dice(12);
            if dice == 0 { Err(dice) } else { Ok(dice) }
        })
    }

    async fn simple(&self) {
        match self.dice(6) {
            0 if self.dice(4) == 0 => pending().await,
            1 => sleep(millis(self.dice(20))).await,
            2 => drop(self.work(1)),
            3 => drop(spawn(self.work(0)).into_future()),
            _ => yield_now().await,
        }
    }

    async fn nested(&self, depth: u32) {
        let several = || (0..self.dice(5)).map(move |_| self.limited(depth));
        match self.dice(12) {
            0 => _ = gather(several()).await,
            1 => _ = gather_settled(several()).await,
            2 => {
                _ = gather((
                    self.limited(depth),
                    async { spawn(self.limited(depth)).await.unwrap_or(Err(98)) },
                    self.limited(depth),
                ))
                .await
            }
            3 => _ = race(several().chain([self.limited(depth)])).await,
            4 => _ = race_staggered(several(), millis(self.dice(9))).await,
            5 => {
                let mut completed = as_completed(several());
                while self.dice(4) != 0 && completed.next().await.is_some() {}
            }
            6 => self.set(depth).await,
            7 => self.scope(depth).await,
            8 => {
                _ = supervised(async |s| {
                    let children: Vec<_> = several().map(|work| s.spawn(work)).collect();
                    for child in children {
                        if self.dice(2) == 0 {
                            _ = child.await;
                        }
                    }
                })
                .await
            }
            9 => self.cancel(depth).await,
            10 => _ = timeout(millis(self.dice(30)), shield(self.limited(depth))).await,
            _ => _ = move_on_after(millis(self.dice(30)), self.limited(depth)).await,
        }
    }

    /// Ends at some time, whatever is inside.
    fn limited(&self, depth: u32) -> Pin<Box<dyn Future<Output = Result<u64, u64>>>> {
        let (work, time) = (self.work(depth), millis(self.dice(40)));
        Box::pin(async move { timeout(time, work).await.unwrap_or(Err(99)) })
    }

    async fn set(&self, depth: u32) {
        let mut set: JoinSet<_> = (0..self.dice(5)).map(|_| spawn(self.limited(depth))).collect();
        while !set.is_empty() && self.dice(6) != 0 {
            match self.dice(4) {
                0 => _ = set.next().await,
                1 => set.cancel_all("the dice"),
                2 => _ = set.wait_first().await,
                _ => _ = set.wait_all().limit(millis(self.dice(20))).await,
            }
        }
        match self.dice(3) {
            0 => set.cancel_and_wait("the end").await,
            1 => set.detach(),
            _ => {}
        }
    }

    async fn scope(&self, depth: u32) {
        let _ = scope(async |s| {
            for _ in 0..self.dice(5) {
                let (work, late) = (self.limited(depth), s.clone());
                let child = s.spawn(async move {
                    if self.dice(3) == 0 {
                        drop(late.spawn(self.limited(0)));
                    }
                    work.await
                });
                match self.dice(8) {
                    0 => _ = child.cancel("the dice"),
                    1 => _ = child.await,
                    2 => drop(s.shield(self.limited(0))),
                    3 => drop(child.into_future()),
                    4 if self.dice(4) == 0 => _ = s.cancel("the dice"),
                    _ => {}
                }
            }
            self.limited(depth).await
        })
        .await;
    }

    async fn cancel(&self, depth: u32) {
        let scope = CancelScope::with_timeout(millis(self.dice(30)));
        let scope = if self.dice(2) == 0 { scope.grace(millis(self.dice(20))) } else { scope };
        let (token, other, work) = (scope.token(), scope.clone(), self.limited(depth));
        let time = millis(self.dice(20));
        let withdraws = self.dice(3) == 0;
        let canceller = spawn(async move {
            sleep(time).await;
            other.cancel("the dice");
            if withdraws {
                other.withdraw();
            }
        });
        let _ = scope.run(race((work, async { Err(token.cancelled().await.reason().as_str().len() as u64) }))).await;
        let _ = scope.reschedule(None);
        if self.dice(2) == 0 {
            drop(canceller);
        }
    }
}

/// Runs random programs until `operations` operations are done, each program for a random time.
/// Returns how many operations it ran.
fn random_programs(seed: u64, operations: u64) -> u64 {
    let rig = Rig::new(seed);
    let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
    let reports = Rc::new(Cell::new(0));
    let count = reports.clone();
    // Detached programs may end with an unclaimed error.
    event_loop.handle().set_error_hook(move |report| {
        count.set(count.get() + u32::from(!matches!(report.cause, Cause::Unclaimed(_))));
    });
    event_loop
        .run_until_complete(async {
            while rig.operations.get() < operations {
                let programs = gather_settled((0..8).map(|_| timeout(millis(rig.dice(200)), rig.work(4))));
                let _ = timeout(millis(rig.dice(300)), programs).await;
            }
            // Detached and shielded work has its own time limit; after that nothing is left.
            sleep(millis(100_000)).await;
        })
        .unwrap();
    assert_eq!(event_loop.handle().tasks().len(), 0, "stuck: {:?}", event_loop.handle().tasks());
    assert_eq!(event_loop.handle().metrics().snapshot().timers, 0);
    let report = event_loop.close().unwrap();
    assert!(report.tasks.is_empty() && report.leaked == 0, "{report:?}");
    assert_eq!((rig.alive.get(), reports.get()), (0, 0));
    rig.operations.get()
}

#[test]
fn random_programs_leave_nothing() {
    for seed in 1..=4 {
        assert!(random_programs(seed, 20_000) >= 20_000);
    }
}

/// In a release build it takes a minute or two; see docs/design/tasks.md.
#[test]
#[ignore = "ten million operations"]
fn ten_million_random_operations_leave_nothing() {
    assert!(random_programs(8, 10_000_000) >= 10_000_000);
}
