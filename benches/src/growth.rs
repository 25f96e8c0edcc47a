//! How the cost of an operation grows with the number of things that it is one of.
//!
//! Each row makes `n` things, and then does one operation to each of them; only these operations
//! count. An operation whose cost does not grow takes as long in each column, but for what the
//! processor's caches no longer hold.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use picot_deferred::Deferred;
use picot_loop::{EventLoop, LoopHandle, sleep, spawn};
use picot_reactor::{Direction, Reactor};
use picot_tasks::CancelScope;

use crate::{Table, Time, begin_part, end_part, measure_by};

/// The number of operations that a measurement makes at least, so that few things are made again
/// and again.
const OPERATIONS: usize = 20_000;

/// The columns, and the number of things.
const SIZES: [(&str, usize); 6] =
    [("10", 10), ("100", 100), ("1 000", 1_000), ("10 000", 10_000), ("100 000", 100_000), ("1 000 000", 1_000_000)];

/// In which order things leave.
#[derive(Clone, Copy)]
enum Order {
    Reverse,
    Random,
}

impl Order {
    /// The order of `n` things; random ones are the same in each run.
    fn of(self, n: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..n).rev().collect();
        if let Order::Random = self {
            let mut state = 7_u64;
            for last in (1..n).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                order.swap(last, (state >> 33) as usize % (last + 1));
            }
        }
        order
    }
}

/// Takes each thing out in this order and does `end` to it.
fn leave<T>(things: Vec<T>, order: Order, mut end: impl FnMut(T)) {
    let order = order.of(things.len());
    let mut things: Vec<_> = things.into_iter().map(Some).collect();
    begin_part();
    for index in order {
        if let Some(thing) = things[index].take() {
            end(thing);
        }
    }
    end_part();
}

/// Measures all rows, but for those whose name does not contain `filter`.
pub fn all(table: &mut Table, filter: &str, has_million: bool) {
    let mut row = |name: &'static str, time: Time, most: usize, run: &dyn Fn(usize)| {
        if !name.contains(filter) {
            return;
        }
        eprintln!("{name}");
        for (column, n) in SIZES {
            if n <= most && (has_million || n < 1_000_000) {
                // What waits in between is not repeated.
                let repeats = if let Time::Cpu = time { 1 } else { (OPERATIONS / n).max(1) };
                let figures = measure_by(time, n * repeats, || (0..repeats).for_each(|_| run(n)));
                table.add(name, column, format!("{:.0}", figures.nanos));
            }
        }
    };
    const ANY: usize = usize::MAX;
    row("promise: begin to await it", Time::Wall, ANY, &|n| in_loop(|| drop(awaits(n, true).1)));
    row("promise: poll each wait again", Time::Wall, ANY, &|n| {
        in_loop(|| {
            let (_deferred, mut waits) = awaits(n, false);
            begin_part();
            waits.iter_mut().for_each(poll);
            end_part();
        });
    });
    row("promise: drop waits, reverse", Time::Wall, ANY, &|n| in_loop(|| drop_awaits(n, Order::Reverse)));
    row("promise: drop waits, random", Time::Wall, ANY, &|n| in_loop(|| drop_awaits(n, Order::Random)));
    row("promise: remove callbacks, reverse", Time::Wall, ANY, &|n| in_loop(|| remove_callbacks(n, Order::Reverse)));
    row("promise: remove callbacks, random", Time::Wall, ANY, &|n| in_loop(|| remove_callbacks(n, Order::Random)));
    row("source: drop waits, reverse", Time::Wall, ANY, &|n| source_waits(n, Order::Reverse));
    row("source: drop waits, random", Time::Wall, ANY, &|n| source_waits(n, Order::Random));
    row("hooks of the turn: remove, reverse", Time::Wall, ANY, &|n| hooks(n, Order::Reverse));
    row("hooks of the turn: remove, random", Time::Wall, ANY, &|n| hooks(n, Order::Random));
    row("hooks of the turn: call", Time::Wall, ANY, &|n| {
        let event_loop = EventLoop::new().unwrap();
        (0..n).for_each(|_| _ = event_loop.handle().on_check(|| ()));
        begin_part();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        end_part();
    });
    row("cancel scopes: nest, poll a level", Time::Wall, 1_000, &|n| in_loop(|| nested_scopes(n)));
    row("tasks: spawn and run", Time::Wall, ANY, &|n| {
        let event_loop = EventLoop::new().unwrap();
        begin_part();
        (0..n).for_each(|_| drop(event_loop.handle().spawn(async {})));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        end_part();
    });
    row("tasks: cancel, reverse", Time::Wall, ANY, &|n| cancel_tasks(n, Order::Reverse));
    row("tasks: cancel, random", Time::Wall, ANY, &|n| cancel_tasks(n, Order::Random));
    row("tasks: close with them", Time::Wall, ANY, &|n| {
        let event_loop = EventLoop::new().unwrap();
        (0..n).for_each(|_| drop(event_loop.handle().spawn(pending::<()>())));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        begin_part();
        event_loop.close().unwrap();
        end_part();
    });
    row("timers: set", Time::Wall, ANY, &|n| timers(n, |_, _| ()));
    row("timers: cancel, random", Time::Wall, ANY, &|n| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let timers = (0..n).map(|n| handle.call_later(after(n), || ())).collect();
        leave(timers, Order::Random, |timer| _ = timer.cancel());
    });
    row("timers: close with them", Time::Wall, ANY, &|n| {
        let event_loop = EventLoop::new().unwrap();
        (0..n).for_each(|n| _ = event_loop.handle().call_later(after(n), || ()));
        begin_part();
        event_loop.close().unwrap();
        end_part();
    });
    row("sleepers over 50 ms (CPU)", Time::Cpu, ANY, &|n| {
        picot_loop::run(async move {
            let sleepers: Vec<_> = (0..n)
                .map(|index| spawn(sleep(Duration::from_nanos(50_000_000 * (index as u64 + 1) / n as u64))))
                .collect();
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
        });
    });
}

/// A deadline that no run reaches: between a minute and an hour.
fn after(n: usize) -> Duration {
    Duration::from_millis(60_000 + (n as u64).wrapping_mul(7919) % 3_540_000)
}

fn timers(n: usize, end: impl FnOnce(EventLoop, usize)) {
    let event_loop = EventLoop::new().unwrap();
    begin_part();
    (0..n).for_each(|n| _ = event_loop.handle().call_later(after(n), || ()));
    end_part();
    end(event_loop, n);
}

/// On a thread with a loop, which is what a promise needs.
fn in_loop(f: impl FnOnce()) {
    let event_loop = EventLoop::new().unwrap();
    f();
    drop(event_loop);
}

type Wait = Pin<Box<dyn Future<Output = Result<u32, ()>>>>;

fn poll(wait: &mut Wait) {
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// A promise and waits for it; `counts` is whether their first polls count.
fn awaits(n: usize, counts: bool) -> (Deferred<u32, ()>, Vec<Wait>) {
    let deferred = Deferred::<u32, ()>::new();
    let promise = deferred.promise();
    let mut waits: Vec<Wait> = (0..n)
        .map(|_| {
            let promise = promise.clone();
            Box::pin(async move { promise.await.map_err(drop) }) as Wait
        })
        .collect();
    if counts {
        begin_part();
    }
    waits.iter_mut().for_each(poll);
    if counts {
        end_part();
    }
    (deferred, waits)
}

fn drop_awaits(n: usize, order: Order) {
    let (_deferred, waits) = awaits(n, false);
    leave(waits, order, drop);
}

fn remove_callbacks(n: usize, order: Order) {
    let deferred = Deferred::<u32, ()>::new();
    let promise = deferred.promise();
    let callbacks = (0..n).map(|_| promise.on_settled(|_| ())).collect();
    leave(callbacks, order, |id| _ = promise.remove([id]));
}

fn source_waits(n: usize, order: Order) {
    let reactor = Reactor::new().unwrap();
    let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let mut waits: Vec<_> = (0..n).map(|_| Box::pin(source.ready(Direction::Read))).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    leave(waits, order, drop);
}

fn hooks(n: usize, order: Order) {
    let event_loop = EventLoop::new().unwrap();
    let hooks = (0..n).map(|_| event_loop.handle().on_check(|| ())).collect();
    leave(hooks, order, |hook| _ = hook.remove());
}

fn cancel_tasks(n: usize, order: Order) {
    let event_loop = EventLoop::new().unwrap();
    let tasks: Vec<_> = (0..n).map(|_| event_loop.handle().spawn(pending::<()>())).collect();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    leave(tasks, order, |task| _ = task.cancel("the end"));
    // The futures are dropped here, in steps of their own.
    begin_part();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    end_part();
}

/// Cancel scopes, each run inside of the one before; the innermost waits. Each level is entered,
/// polled again, and dropped.
fn nested_scopes(depth: usize) {
    let _ = LoopHandle::current();
    let mut work: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
    for _ in 0..depth {
        work = Box::pin(async move { _ = CancelScope::new().run(work).await });
    }
    begin_part();
    for _ in 0..2 {
        assert_eq!(work.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    }
    drop(work);
    end_part();
}
