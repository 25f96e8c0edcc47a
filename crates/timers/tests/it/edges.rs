//! Edge cases: level and slot boundaries, zero, `u64::MAX`, and long uptimes.

use std::rc::Rc;

use picot_timers::{Wheel, saturating_nanos};

const MILLISECOND: u64 = 1_000_000;

#[test]
fn an_empty_wheel_has_no_deadline_and_expires_nothing() {
    let mut wheel: Wheel<()> = Wheel::new();
    assert_eq!((wheel.len(), wheel.next_deadline(), wheel.expire(u64::MAX).count()), (0, None, 0));
}

#[test]
fn a_timer_on_any_level_expires_exactly_at_its_deadline() {
    for bit in 0..64 {
        for deadline in [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1] {
            for start in [0, deadline / 2, deadline.saturating_sub(1)] {
                let mut wheel = Wheel::new();
                wheel.expire(start).for_each(drop);
                wheel.insert(deadline, deadline);
                if let Some(before) = deadline.checked_sub(1).filter(|before| *before >= start) {
                    assert_eq!(wheel.expire(before).next(), None, "{deadline} from {start}");
                }
                assert_eq!(wheel.next_deadline(), Some(deadline));
                assert_eq!(wheel.expire(deadline).next(), Some(deadline));
                assert!(wheel.is_empty());
            }
        }
    }
}

#[test]
fn equal_deadlines_keep_insertion_order_across_a_move_to_a_lower_level() {
    let mut wheel = Wheel::new();
    let deadline = 5_000 * MILLISECOND;
    for order in 0..20 {
        wheel.insert(deadline, order);
    }
    wheel.expire(4_999 * MILLISECOND).for_each(drop);
    for order in 20..40 {
        wheel.insert(deadline, order);
    }
    assert!(wheel.expire(deadline).eq(0..40));
}

#[test]
fn timers_inserted_in_the_past_expire_first_and_in_order() {
    let mut wheel = Wheel::new();
    wheel.expire(1_000).for_each(drop);
    wheel.insert(1_000, "now");
    wheel.insert(999, "just missed");
    wheel.insert(0, "long ago");
    wheel.insert(999, "just missed, second");
    assert_eq!(wheel.next_deadline(), Some(0));
    assert_eq!(wheel.expire(1_000).collect::<Vec<_>>(), ["long ago", "just missed", "just missed, second", "now"]);
}

#[test]
fn time_that_goes_backwards_is_ignored() {
    let mut wheel = Wheel::new();
    wheel.expire(1_000).for_each(drop);
    wheel.insert(2_000, ());
    assert_eq!(wheel.expire(500).count(), 0);
    assert_eq!(wheel.next_deadline(), Some(2_000));
    assert_eq!(wheel.expire(2_000).count(), 1);
}

/// The bug of tokio 1.53.1: with one very long sleep pending, short ones stopped once the uptime
/// passed 2^30 ms.
#[test]
fn a_short_sleep_is_on_time_at_any_uptime_beside_a_very_long_one() {
    for uptime in [1u64 << 30, 1 << 32, 1 << 36].map(|ms| ms * MILLISECOND) {
        for start in [0, uptime - 1, uptime] {
            let mut wheel = Wheel::new();
            wheel.expire(start).for_each(drop);
            wheel.insert(u64::MAX, "long");
            let mut now = start;
            while now < uptime + 20 * MILLISECOND {
                now = now.max(uptime - 10 * MILLISECOND) + MILLISECOND;
                wheel.insert(now + 5 * MILLISECOND, "short");
                assert_eq!(wheel.next_deadline(), Some(now + 5 * MILLISECOND));
                assert_eq!(wheel.expire(now + 5 * MILLISECOND - 1).next(), None);
                now += 5 * MILLISECOND;
                assert!(wheel.expire(now).eq(["short"]));
            }
            assert_eq!(wheel.next_deadline(), Some(u64::MAX));
        }
    }
}

#[test]
fn the_longest_duration_is_a_valid_deadline() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(saturating_nanos(std::time::Duration::MAX), ());
    assert_eq!(wheel.expire(u64::MAX - 1).count(), 0);
    assert_eq!(wheel.deadline(key), Some(u64::MAX));
    assert_eq!(wheel.expire(u64::MAX).count(), 1);
}

#[test]
fn a_stale_key_stays_stale_when_its_entry_is_reused() {
    let mut wheel = Wheel::new();
    let old = wheel.insert(1, 'a');
    assert_eq!(wheel.cancel(old), Some('a'));
    let new = wheel.insert(1, 'b');
    assert_ne!(old, new);
    assert_eq!((wheel.cancel(old), wheel.reset(old, 2), wheel.deadline(old)), (None, false, None));
    assert!(wheel.expire(1).eq(['b']));
    assert_eq!(wheel.cancel(new), None);
}

#[test]
fn the_value_of_a_pending_timer_can_be_changed() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(1, "old");
    *wheel.get_mut(key).unwrap() = "new";
    assert!(wheel.expire(1).eq(["new"]));
    assert_eq!(wheel.get_mut(key), None);
}

#[test]
fn a_cancelled_or_expired_value_leaves_the_wheel_at_once() {
    let value = Rc::new(());
    let mut wheel = Wheel::new();
    let key = wheel.insert(u64::MAX, value.clone());
    wheel.insert(1, value.clone());
    drop(wheel.cancel(key));
    assert_eq!(Rc::strong_count(&value), 2);
    drop(wheel.expire(1).next());
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_timer_inserted_before_the_known_next_one_becomes_the_next() {
    let mut wheel = Wheel::new();
    // `next_deadline` splits the slot of the far timers. The nearer timer is inserted after that.
    for n in (0..1_000).rev() {
        wheel.insert(60_000 * MILLISECOND + n, n);
    }
    assert_eq!(wheel.next_deadline(), Some(60_000 * MILLISECOND));
    wheel.insert(MILLISECOND, u64::MAX);
    assert_eq!(wheel.next_deadline(), Some(MILLISECOND));
    assert!(wheel.expire(MILLISECOND).eq([u64::MAX]));
    assert!(wheel.expire(61_000 * MILLISECOND).eq(0..1_000));
}

#[test]
fn timers_left_by_a_bounded_expiry_come_next_in_order_with_new_ones() {
    let mut wheel = Wheel::new();
    for n in (0..1_000).rev() {
        wheel.insert(n * MILLISECOND, n);
    }
    let now = 10_000 * MILLISECOND;
    assert!(wheel.expire(now).take(300).eq(0..300));
    wheel.insert(100 * MILLISECOND, 5_000);
    wheel.insert(9_999 * MILLISECOND, 6_000);
    assert_eq!(wheel.next_deadline(), Some(100 * MILLISECOND));
    assert!(wheel.expire(now).take(300).eq(std::iter::once(5_000).chain(300..599)));
    assert!(wheel.expire(now).eq((599..1_000).chain([6_000])));
}

#[test]
fn a_moved_timer_keeps_its_key_and_counts_as_inserted_now() {
    let mut wheel = Wheel::new();
    wheel.expire(100).for_each(drop);
    let moved = wheel.insert(200, "moved");
    wheel.insert(300, "other");
    for deadline in [u64::MAX, 50, 0, 1 << 40, 200, 100, 299] {
        assert!(wheel.reset(moved, deadline));
        assert_eq!((wheel.deadline(moved), wheel.len()), (Some(deadline), 2));
        assert_eq!(wheel.next_deadline(), Some(deadline.min(300)));
    }
    // Last among equal deadlines.
    assert!(wheel.reset(moved, 300));
    assert!(wheel.expire(300).eq(["other", "moved"]));
    assert!(!wheel.reset(moved, 400));
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn jumping_to_the_end_of_time_is_immediate() {
    let mut wheel = Wheel::new();
    for bit in 0..64 {
        wheel.insert(1 << bit, bit);
    }
    // If the wheel advanced tick by tick, this would not end.
    assert!(wheel.expire(u64::MAX).eq(0..64));
    wheel.insert(u64::MAX, 64);
    assert_eq!(wheel.expire(u64::MAX).next(), Some(64));
}

#[test]
fn the_next_deadline_stays_exact_while_a_slot_of_100_000_timers_is_cancelled() {
    let mut wheel = Wheel::new();
    let deadline = |n: u64| 60_000 * MILLISECOND + n * 7_919 % 100_000 * 1_000;
    let mut keys: Vec<_> = (0..100_000).map(|n| (deadline(n), wheel.insert(deadline(n), n))).collect();
    keys.sort_unstable_by_key(|(deadline, _)| *deadline);
    for (deadline, key) in keys {
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert!(wheel.cancel(key).is_some());
    }
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn dropping_a_wheel_drops_the_values_on_every_level() {
    let held = Rc::new(());
    let mut wheel = Wheel::new();
    for bits in 0..64 {
        wheel.insert(1 << bits, held.clone());
    }
    assert_eq!(wheel.expire(1 << 40).take(10).count(), 10);
    wheel.insert(0, held.clone());
    assert_eq!(Rc::strong_count(&held), 56);
    drop(wheel);
    assert_eq!(Rc::strong_count(&held), 1);
}
