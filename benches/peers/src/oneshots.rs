//! One-shot channels, with `futures`' `Shared` where several wait, its combinators for a chain, and
//! its `join_all`: what one uses in the place of promises. tokio has a channel of its own and none
//! of the others.

use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use futures_util::FutureExt;
use futures_util::future::join_all;
use picot_benches::deferred::{Promises, ready};

/// `futures-channel`'s `oneshot`.
#[derive(Clone, Copy, Debug)]
pub struct FuturesOneshot;

/// tokio's `oneshot`.
#[derive(Clone, Copy, Debug)]
pub struct TokioOneshot;

/// Polls once, which is how a future begins to wait.
fn begin<F: Future + ?Sized>(future: Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

macro_rules! contestant {
    ($contestant:ident, $name:literal, $channel:path) => {
        impl Promises for $contestant {
            const NAME: &'static str = $name;

            fn settle_and_take(self, value: usize) -> usize {
                let (sender, receiver) = $channel();
                sender.send(value).unwrap();
                ready(receiver).unwrap()
            }

            fn settle_for_many(self, waiters: usize, value: usize) -> usize {
                let (sender, receiver) = $channel();
                if waiters == 1 {
                    let mut receiver = pin!(receiver);
                    begin(receiver.as_mut());
                    sender.send(value).unwrap();
                    return ready(receiver).unwrap();
                }
                let shared = receiver.map(Result::unwrap).shared();
                let mut waiting: Vec<_> = (0..waiters).map(|_| Box::pin(shared.clone())).collect();
                waiting.iter_mut().for_each(|waiter| begin(waiter.as_mut()));
                sender.send(value).unwrap();
                waiting.into_iter().map(ready).sum()
            }

            fn chain(self, links: usize) -> usize {
                let (sender, receiver) = $channel();
                let mut last: Pin<Box<dyn Future<Output = usize>>> = Box::pin(receiver.map(Result::unwrap));
                for _ in 0..links {
                    last = Box::pin(last.map(|n| n + 1));
                }
                begin(last.as_mut());
                sender.send(0).unwrap();
                ready(last)
            }

            fn all(self, members: usize) -> Vec<usize> {
                let (senders, receivers): (Vec<_>, Vec<_>) = (0..members).map(|_| $channel()).unzip();
                let mut all = pin!(join_all(receivers));
                begin(all.as_mut());
                for (value, sender) in senders.into_iter().enumerate() {
                    sender.send(value).unwrap();
                }
                ready(all).into_iter().map(Result::unwrap).collect()
            }
        }
    };
}

contestant!(FuturesOneshot, "futures oneshot", futures_channel::oneshot::channel);
contestant!(TokioOneshot, "tokio oneshot", tokio::sync::oneshot::channel);
