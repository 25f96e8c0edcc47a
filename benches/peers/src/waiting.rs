//! Other ways to wait for many, as the workloads of `picot_benches::waiting` see them.

use futures_util::StreamExt;
use picot_benches::waiting::{Meeting, Waiting};

/// `futures_util::future::join_all`, on picot's loop.
#[derive(Clone, Copy, Debug)]
pub struct JoinAll;

/// `futures_util::stream::FuturesUnordered`, on picot's loop.
#[derive(Clone, Copy, Debug)]
pub struct FuturesUnordered;

/// tokio's `JoinSet`, on its `LocalRuntime`.
#[derive(Clone, Copy, Debug)]
pub struct TokioJoinSet;

impl Waiting for JoinAll {
    const NAME: &'static str = "join_all";

    fn run(rounds: usize, count: usize) -> u64 {
        picot_loop::run(async {
            let mut sum = 0;
            for _ in 0..rounds {
                let meeting = Meeting::new(count);
                let members = (0..count as u64).map(|n| meeting.clone().member(n));
                sum += futures_util::future::join_all(members).await.iter().sum::<u64>();
            }
            sum
        })
    }
}

impl Waiting for FuturesUnordered {
    const NAME: &'static str = "FuturesUnordered";

    fn run(rounds: usize, count: usize) -> u64 {
        picot_loop::run(async {
            let mut sum = 0;
            for _ in 0..rounds {
                let meeting = Meeting::new(count);
                let members = (0..count as u64).map(|n| meeting.clone().member(n));
                let mut unordered: futures_util::stream::FuturesUnordered<_> = members.collect();
                while let Some(n) = unordered.next().await {
                    sum += n;
                }
            }
            sum
        })
    }
}

impl Waiting for TokioJoinSet {
    const NAME: &'static str = "tokio JoinSet";

    fn run(rounds: usize, count: usize) -> u64 {
        tokio::runtime::LocalRuntime::new().unwrap().block_on(async {
            let mut sum = 0;
            for _ in 0..rounds {
                let (meeting, mut set) = (Meeting::new(count), tokio::task::JoinSet::new());
                for n in 0..count as u64 {
                    set.spawn_local(meeting.clone().member(n));
                }
                while let Some(outcome) = set.join_next().await {
                    sum += outcome.unwrap();
                }
            }
            sum
        })
    }
}
