//! Memory, measured by a counting allocator: removed timers are reused, and peaks are released.

use picot_testkit::alloc::{self, Counting, allocated_bytes};
use picot_timers::Wheel;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The number of allocations that `f` makes, and their total size in bytes, freed or not.
fn allocations(f: impl FnOnce()) -> (usize, usize) {
    let before = allocated_bytes();
    (alloc::allocations(f), allocated_bytes() - before)
}

/// A deadline on any level.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (n % 60)
}

#[test]
fn an_empty_wheel_allocates_nothing() {
    assert_eq!(allocations(|| drop(Wheel::<String>::new())), (0, 0));
}

#[test]
fn a_hundred_thousand_timers_in_turn_take_the_memory_of_a_hundred() {
    let mut wheel = Wheel::new();
    let mut keys: Vec<_> = (0..100).map(|n| wheel.insert(scattered(n), n)).collect();
    let mut come_and_go = |timers: std::ops::Range<u64>| {
        for n in timers {
            let key = &mut keys[n as usize % 100];
            assert!(wheel.cancel(*key).is_some());
            *key = wheel.insert(scattered(n), n);
            assert!(wheel.next_deadline().is_some());
        }
    };
    // The first rounds allocate nodes while slots are split; after them there are enough.
    come_and_go(100..1_000);
    let (_, bytes) = allocations(|| come_and_go(1_000..100_000));
    assert!(bytes <= 100 * 1024, "{bytes} bytes were allocated");
}

#[test]
fn moving_a_timer_over_known_levels_allocates_nothing() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(0, ());
    // A level keeps its node once it has one.
    for n in 0..60 {
        assert!(wheel.reset(key, scattered(n)));
    }
    let moves = allocations(|| {
        for n in 0..10_000 {
            assert!(wheel.reset(key, scattered(n)));
        }
    });
    assert_eq!(moves, (0, 0));
}

/// The number of bytes that this thread has allocated and not freed.
fn held() -> usize {
    alloc::held_bytes().try_into().unwrap()
}

/// By how many bytes the live memory has grown since it was `before`.
fn live(before: usize) -> usize {
    held() - before
}

#[test]
fn shrinking_releases_the_memory_of_a_peak_however_the_peak_ends() {
    type Ending = fn(&mut Wheel<u64>, Vec<picot_timers::TimerKey>);
    let endings: [(&str, Ending); 4] = [
        ("cancelled", |wheel, keys| keys.into_iter().for_each(|key| _ = wheel.cancel(key))),
        ("cancelled in reverse", |wheel, keys| keys.into_iter().rev().for_each(|key| _ = wheel.cancel(key))),
        ("expired", |wheel, _| wheel.expire(u64::MAX - 1).for_each(drop)),
        ("expired in steps", |wheel, _| {
            for bits in 0..64 {
                wheel.expire((1 << bits) - 1).for_each(drop);
                wheel.next_deadline();
            }
            wheel.expire(u64::MAX - 1).for_each(drop);
        }),
    ];
    for (name, end) in endings {
        for survivors in [0, 20] {
            let before = held();
            let mut wheel = Wheel::new();
            let lasting: Vec<_> = (0..survivors).map(|n| wheel.insert(u64::MAX, n)).collect();
            let keys: Vec<_> = (0..100_000).map(|n| wheel.insert(scattered(n), n)).collect();
            wheel.next_deadline();
            assert!(live(before) > 3_000_000, "{name}: the peak takes {} bytes", live(before));
            end(&mut wheel, keys);
            wheel.shrink();
            assert!(live(before) < 40_000, "{name}, with {survivors} survivors: {} bytes are left", live(before));
            assert_eq!(wheel.len(), survivors as usize);
            assert!(lasting.iter().all(|key| wheel.deadline(*key) == Some(u64::MAX)), "{name}");
            assert!(wheel.expire(u64::MAX).eq(0..survivors), "{name}: equal deadlines keep their order");
        }
    }
}

#[test]
fn a_key_from_before_a_shrink_identifies_no_new_timer() {
    let mut wheel = Wheel::new();
    let old: Vec<_> = (0..10_000).map(|n| wheel.insert(n, n)).collect();
    for key in &old {
        wheel.cancel(*key);
    }
    wheel.shrink();
    let new: Vec<_> = (0..10_000).map(|n| wheel.insert(n, n)).collect();
    assert!(old.iter().all(|key| wheel.cancel(*key).is_none()));
    assert!(new.iter().all(|key| wheel.cancel(*key).is_some()));
}

#[test]
fn vain_attempts_to_shrink_become_rarer() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..10_000).map(|n| wheel.insert(n, n)).collect();
    for key in &keys[..9_999] {
        wheel.cancel(*key);
    }
    // The last entry stays in use, so nothing can be released. An attempt allocates a node.
    let attempts = (0..1_000).filter(|_| allocations(|| wheel.shrink()).0 > 0).count();
    assert!((7..25).contains(&attempts), "{attempts} attempts in 1 000 requests");
    // The next timer takes the lowest index.
    wheel.insert(1, 1);
    wheel.cancel(keys[9_999]);
    let before = held();
    (0..=64).for_each(|_| wheel.shrink());
    assert!(held() + 300_000 < before, "{} bytes were released", before - held());
}

#[test]
fn a_steady_load_beside_lasting_timers_allocates_nothing() {
    let mut wheel = Wheel::new();
    let _stay: Vec<_> = (0..3_000).map(|n| wheel.insert(u64::MAX, n)).collect();
    let round = |wheel: &mut Wheel<u64>| {
        let keys: Vec<_> = (0..1_500).map(|n| wheel.insert(scattered(n), n)).collect();
        keys.into_iter().for_each(|key| _ = wheel.cancel(key));
        wheel.shrink();
    };
    round(&mut wheel);
    let (count, _) = allocations(|| (0..100).for_each(|_| round(&mut wheel)));
    assert_eq!(count, 100, "one vector of the test per round, and none of the wheel");
}

#[test]
fn a_vain_attempt_to_shrink_does_not_prevent_the_next_release() {
    let before = held();
    let mut wheel = Wheel::new();
    (0..20).for_each(|n| _ = wheel.insert(u64::MAX, n));
    let peak = |wheel: &mut Wheel<u64>, count| -> Vec<_> { (0..count).map(|n| wheel.insert(n, n)).collect() };
    let mut keys = peak(&mut wheel, 10_000);
    // The last entry stays in use, so all memory before it has to stay.
    let last = keys.pop().unwrap();
    keys.into_iter().for_each(|key| _ = wheel.cancel(key));
    wheel.shrink();
    let mut keys = peak(&mut wheel, 20_000);
    keys.truncate(keys.len() - 100);
    wheel.cancel(last);
    keys.into_iter().for_each(|key| _ = wheel.cancel(key));
    wheel.expire(u64::MAX - 1).for_each(drop);
    (0..=64).for_each(|_| wheel.shrink());
    assert_eq!(wheel.len(), 20);
    assert!(live(before) < 40_000, "{} bytes are left", live(before));
}

#[test]
fn shrinking_releases_nodes_that_few_timers_needed() {
    let mut wheel = Wheel::new();
    let before = held();
    let mut keys = Vec::with_capacity(500);
    for cluster in (1..50).rev() {
        // Finding the earliest of nine near deadlines splits slots on every level.
        let known = wheel.insert(cluster << 56, 0);
        keys.extend((1..10).map(|n| wheel.insert((cluster << 56) + n, n)));
        wheel.cancel(known);
        wheel.next_deadline();
    }
    assert!(live(before) > 200_000, "{} bytes", live(before));
    keys.into_iter().for_each(|key| _ = wheel.cancel(key));
    wheel.shrink();
    assert!(live(before) < 60_000, "{} bytes are left", live(before));
}
