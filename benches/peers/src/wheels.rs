//! The wheel of another crate, as the workloads of `picot_benches::deadlines` see it.

use std::fmt;
use std::time::Duration;

use hierarchical_hash_wheel_timer::IdOnlyTimerEntry;
use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::cancellable::QuadWheelWithOverflow;
use picot_benches::deadlines::Deadlines;

/// The wheel of `hierarchical_hash_wheel_timer`: four levels of 256 slots of a millisecond, and the
/// keys in a hash map.
pub struct QuadWheel {
    wheel: QuadWheelWithOverflow<IdOnlyTimerEntry<u64>>,
    /// Milliseconds.
    now: u64,
    inserted: u64,
}

impl fmt::Debug for QuadWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuadWheel").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Deadlines for QuadWheel {
    const NAME: &'static str = "hierarchical_hash_wheel_timer";
    /// It knows how many milliseconds may be skipped, up to the next slot that holds something.
    const KNOWS_NEXT: bool = false;
    type Key = u64;

    fn new() -> Self {
        QuadWheel { wheel: QuadWheelWithOverflow::new(), now: 0, inserted: 0 }
    }

    fn insert(&mut self, deadline: u64, _value: u64) -> u64 {
        self.inserted += 1;
        let delay = Duration::from_nanos(deadline) - Duration::from_millis(self.now);
        self.wheel.insert(IdOnlyTimerEntry { id: self.inserted, delay }).expect("a new id, and not due yet");
        self.inserted
    }

    fn cancel(&mut self, id: u64) {
        self.wheel.cancel(&id).expect("it is there");
    }

    fn next_deadline(&mut self) -> Option<u64> {
        unreachable!("it does not know")
    }

    fn expire(&mut self, now: u64) -> usize {
        let mut expired = 0;
        while self.now < now / 1_000_000 {
            match self.wheel.can_skip() {
                Skip::Millis(millis) if self.now + u64::from(millis) < now / 1_000_000 => {
                    self.wheel.skip(millis);
                    self.now += u64::from(millis);
                }
                _ => {
                    expired += self.wheel.tick().len();
                    self.now += 1;
                }
            }
        }
        expired
    }
}
