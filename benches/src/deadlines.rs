//! The workloads of a queue of deadlines, as a data structure: no clock, no task, no sleep. And the
//! queues of std that people use for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hint::black_box;

use picot_timers::{TimerKey, Wheel};

use crate::{Table, measure};

/// What a workload needs of a queue. Times are nanoseconds.
pub trait Deadlines {
    /// The name in the table.
    const NAME: &'static str;
    /// Whether it tells the true next deadline at any time.
    const KNOWS_NEXT: bool = true;
    /// Names one deadline in the queue.
    type Key: Copy;

    /// An empty queue at the time 0.
    fn new() -> Self;

    /// Adds a deadline.
    fn insert(&mut self, deadline: u64, value: u64) -> Self::Key;

    /// Removes a deadline that is there.
    fn cancel(&mut self, key: Self::Key);

    /// The earliest deadline.
    fn next_deadline(&mut self) -> Option<u64>;

    /// Takes out what is due, and returns how many.
    fn expire(&mut self, now: u64) -> usize;
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const CROWD: usize = 100_000;
const PAIRS: usize = 200_000;

/// Numbers that look random and are the same in each run.
fn scattered(n: u64, below: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) % below
}

/// Measures all workloads on a queue, but for those whose name does not contain `filter`.
pub fn all<D: Deadlines>(table: &mut Table, filter: &str) {
    let pairs = [
        ("insert + cancel", 0),
        ("insert + cancel, 1 000 pending", 1_000),
        ("insert + cancel, 100 000 pending", CROWD),
        ("insert + cancel, 1 000 000 pending", 1_000_000),
    ];
    for (name, pending) in pairs {
        if name.contains(filter) {
            let mut queue = crowded::<D>(pending);
            table.add(name, D::NAME, measure(PAIRS, || insert_and_cancel(&mut queue)));
        }
    }
    let name = "100 000 expire within 1 s";
    if name.contains(filter) {
        table.add(name, D::NAME, measure(CROWD, expire_all::<D>));
    }
    let name = "100 000 in one slot, the first cancelled";
    if name.contains(filter) && D::KNOWS_NEXT {
        table.add(name, D::NAME, measure(CROWD, cancel_the_first::<D>));
    }
}

/// A queue whose deadlines lie within the hour after the next minute.
fn crowded<D: Deadlines>(pending: usize) -> D {
    let mut queue = D::new();
    for n in 0..pending as u64 {
        queue.insert(60 * SECOND + scattered(n, 3600 * SECOND), n);
    }
    queue
}

/// Timeouts of 10 to 40 s that are cancelled at once, with a look at the next deadline now and
/// then, as a loop takes it.
fn insert_and_cancel<D: Deadlines>(queue: &mut D) {
    for n in 0..PAIRS as u64 {
        let key = queue.insert(10 * SECOND + scattered(n, 30 * SECOND), n);
        if D::KNOWS_NEXT && n % 64 == 0 {
            black_box(queue.next_deadline());
        }
        queue.cancel(key);
    }
}

/// Scattered deadlines that expire as the time goes on by a millisecond at a time.
fn expire_all<D: Deadlines>() {
    let mut queue = D::new();
    for n in 0..CROWD as u64 {
        queue.insert(MILLISECOND + scattered(n, SECOND), n);
    }
    let expired: usize = (1..=1_002).map(|now| queue.expire(now * MILLISECOND)).sum();
    assert_eq!(expired, CROWD);
}

/// Idle timeouts a minute ahead, within a tenth of a second; the earliest is cancelled, the next
/// deadline asked for, until none is left.
fn cancel_the_first<D: Deadlines>() {
    let mut queue = D::new();
    let mut keys: Vec<_> = (0..CROWD as u64).map(|n| 60 * SECOND + scattered(n, SECOND / 10)).collect();
    keys.sort_unstable();
    let keys: Vec<_> = keys.into_iter().map(|deadline| (deadline, queue.insert(deadline, 0))).collect();
    for (deadline, key) in keys {
        assert_eq!(queue.next_deadline(), Some(deadline));
        queue.cancel(key);
    }
}

impl Deadlines for Wheel<u64> {
    const NAME: &'static str = "picot-timers";
    type Key = TimerKey;

    fn new() -> Self {
        Wheel::new()
    }

    fn insert(&mut self, deadline: u64, value: u64) -> TimerKey {
        Wheel::insert(self, deadline, value)
    }

    fn cancel(&mut self, key: TimerKey) {
        assert!(Wheel::cancel(self, key).is_some());
    }

    fn next_deadline(&mut self) -> Option<u64> {
        Wheel::next_deadline(self)
    }

    fn expire(&mut self, now: u64) -> usize {
        Wheel::expire(self, now).map(black_box).count()
    }
}

/// A sorted map, by deadline and insertion.
#[derive(Debug)]
pub struct Sorted {
    map: BTreeMap<(u64, u64), u64>,
    inserted: u64,
}

impl Deadlines for Sorted {
    const NAME: &'static str = "BTreeMap";
    type Key = (u64, u64);

    fn new() -> Self {
        Sorted { map: BTreeMap::new(), inserted: 0 }
    }

    fn insert(&mut self, deadline: u64, value: u64) -> (u64, u64) {
        self.inserted += 1;
        self.map.insert((deadline, self.inserted), value);
        (deadline, self.inserted)
    }

    fn cancel(&mut self, key: (u64, u64)) {
        assert!(self.map.remove(&key).is_some());
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.map.first_key_value().map(|(key, _)| key.0)
    }

    fn expire(&mut self, now: u64) -> usize {
        let mut expired = 0;
        while let Some(entry) = self.map.first_entry().filter(|entry| entry.key().0 <= now) {
            black_box(entry.remove());
            expired += 1;
        }
        expired
    }
}

/// A binary heap, from which what was cancelled is removed when it comes to the top, or when it is
/// the greater part: as asyncio has it.
#[derive(Debug)]
pub struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// By slot: the number of the insertion that is there; 0 for none.
    live: Vec<u64>,
    free: Vec<u32>,
    inserted: u64,
    cancelled: usize,
}

impl Heap {
    /// Removes what was cancelled from the top.
    fn clean_top(&mut self) {
        while let Some(Reverse((_, number, slot))) = self.heap.peek() {
            if self.live[*slot as usize] == *number {
                return;
            }
            self.heap.pop();
            self.cancelled -= 1;
        }
    }
}

impl Deadlines for Heap {
    const NAME: &'static str = "BinaryHeap";
    type Key = u32;

    fn new() -> Self {
        Heap { heap: BinaryHeap::new(), live: Vec::new(), free: Vec::new(), inserted: 0, cancelled: 0 }
    }

    fn insert(&mut self, deadline: u64, _value: u64) -> u32 {
        self.inserted += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.live.push(0);
            (self.live.len() - 1) as u32
        });
        self.live[slot as usize] = self.inserted;
        self.heap.push(Reverse((deadline, self.inserted, slot)));
        slot
    }

    fn cancel(&mut self, slot: u32) {
        self.live[slot as usize] = 0;
        self.free.push(slot);
        self.cancelled += 1;
        if self.cancelled > 100 && self.cancelled > self.heap.len() / 2 {
            let live = &self.live;
            self.heap.retain(|Reverse((_, number, slot))| live[*slot as usize] == *number);
            self.cancelled = 0;
        }
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.clean_top();
        self.heap.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    fn expire(&mut self, now: u64) -> usize {
        let mut expired = 0;
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(Reverse((_, _, slot))) = self.heap.pop() {
                self.live[slot as usize] = 0;
                self.free.push(slot);
                expired += 1;
            }
        }
        expired
    }
}
