//! picot's ways to wait for many, as the workloads of `waiting` see them.

use std::cell::Cell;
use std::convert::Infallible;

use picot_tasks::{JoinSet, gather_settled, scope};

use crate::waiting::{Meeting, Waiting};

/// `gather_settled`.
#[derive(Clone, Copy, Debug)]
pub struct Gather;

impl Waiting for Gather {
    const NAME: &'static str = "picot gather";

    fn run(rounds: usize, count: usize) -> u64 {
        picot_loop::run(async {
            let mut sum = 0;
            for _ in 0..rounds {
                let meeting = Meeting::new(count);
                sum += gather_settled((0..count as u64).map(|n| meeting.clone().member(n))).await.iter().sum::<u64>();
            }
            sum
        })
    }
}

/// Children of a scope, each a task with an id and steps of its own.
#[derive(Clone, Copy, Debug)]
pub struct Children;

impl Waiting for Children {
    const NAME: &'static str = "picot scope";

    fn run(rounds: usize, count: usize) -> u64 {
        picot_loop::run(async {
            let sum = Cell::new(0);
            for _ in 0..rounds {
                let meeting = Meeting::new(count);
                let all = scope(async |s| {
                    for n in 0..count as u64 {
                        let (member, sum) = (meeting.clone().member(n), &sum);
                        drop(s.spawn(async move {
                            let n = member.await;
                            sum.set(sum.get() + n);
                        }));
                    }
                    Ok::<_, Infallible>(())
                });
                all.await.unwrap();
            }
            sum.get()
        })
    }
}

/// `JoinSet`: tasks of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Set;

impl Waiting for Set {
    const NAME: &'static str = "picot JoinSet";

    fn run(rounds: usize, count: usize) -> u64 {
        picot_loop::run(async {
            let mut sum = 0;
            for _ in 0..rounds {
                let (meeting, mut set) = (Meeting::new(count), JoinSet::new());
                for n in 0..count as u64 {
                    set.spawn(meeting.clone().member(n));
                }
                while let Some((_, outcome)) = set.next().await {
                    sum += outcome.unwrap();
                }
            }
            sum
        })
    }
}
