//! No future that completes at once keeps the others waiting, however often a task awaits it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use picot::time::Instant;
use picot::{spawn, yield_now};

use crate::futures::{Case, list};

/// After this many turns, a case is over.
const TURNS: u32 = 50;

/// A case that never lets the others run is over as well, and has failed.
const AT_MOST: u32 = 10_000;

/// However busy the machine is, no case takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Counts how often a case awaits something between two turns of the heartbeat.
#[derive(Clone, Default)]
pub(crate) struct Beat(Rc<Counts>);

#[derive(Default)]
struct Counts {
    turns: Cell<u32>,
    since_turn: Cell<u32>,
    most: Cell<u32>,
}

impl Beat {
    /// Notes that the case awaits something once more. Returns false when it is over.
    pub(crate) fn goes_on(&self) -> bool {
        let counts = &self.0;
        if counts.turns.get() >= TURNS || counts.since_turn.get() >= AT_MOST {
            return false;
        }
        counts.since_turn.set(counts.since_turn.get() + 1);
        counts.most.set(counts.most.get().max(counts.since_turn.get()));
        true
    }

    fn beats(&self) {
        // Turns in which the case only prepares what it awaits do not count.
        if self.0.since_turn.take() != 0 {
            self.0.turns.set(self.0.turns.get() + 1);
        }
    }
}

#[test]
fn each_lets_the_others_run_after_as_much_as_a_step_may_do() {
    let mut failed = Vec::new();
    for entry in list() {
        let Case::AtOnce(body) = entry.case else { continue };
        let beat = Beat::default();
        let most = picot::run(async {
            let case = spawn(body(beat.clone()));
            let deadline = Instant::now() + DEADLINE;
            while !case.is_finished() && Instant::now() < deadline {
                yield_now().await;
                beat.beats();
            }
            if !case.is_finished() {
                failed.push(format!("it waits for what does not come: {}", entry.names));
            } else if let Err(error) = case.await {
                failed.push(format!("{error}: {}", entry.names));
            }
            beat.0.most.get()
        });
        // One more than a step may do: the case counts before it awaits.
        if most > picot_context::budget::PER_STEP + 1 {
            failed.push(format!("awaited {most} times between two turns of the heartbeat: {}", entry.names));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_that_waits_says_why() {
    for entry in list() {
        if let Case::Waits(reason) = entry.case {
            assert!(reason.len() > 10, "{}", entry.names);
        }
    }
}
