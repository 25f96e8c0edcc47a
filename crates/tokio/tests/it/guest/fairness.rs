//! Neither starves the other: how many steps of one run between two of the other.

use std::cell::Cell;
use std::rc::Rc;

use picot_loop::{spawn, yield_now};
use picot_tokio::run;

/// Counts how often it is polled, and is always ready again.
fn busy(
    count: &Rc<Cell<usize>>,
    is_over: &Rc<Cell<bool>>,
    wakes_itself: impl AsyncFn() + 'static,
) -> impl Future<Output = ()> + 'static {
    let (count, is_over) = (count.clone(), is_over.clone());
    async move {
        while !is_over.get() {
            count.set(count.get() + 1);
            wakes_itself().await;
        }
    }
}

/// Becomes ready at once, but without tokio's deferral.
async fn wake_at_once() {
    let mut is_woken = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut is_woken, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// The most polls of a busy task of tokio's between two steps of a task of picot's.
fn most_polls_between_steps(wakes_itself: impl AsyncFn() + 'static) -> usize {
    run(async {
        let (count, is_over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let theirs = tokio::task::spawn_local(busy(&count, &is_over, wakes_itself));
        let ours = spawn(async move {
            let mut most = 0;
            for _ in 0..1_000 {
                let before = count.get();
                yield_now().await;
                most = most.max(count.get() - before);
            }
            is_over.set(true);
            most
        });
        let most = ours.await.unwrap();
        theirs.await.unwrap();
        most
    })
}

#[test]
fn an_always_ready_task_of_tokio_delays_picot_by_at_most_61_polls() {
    assert!((1..=61).contains(&most_polls_between_steps(wake_at_once)));
    assert!((1..=61).contains(&most_polls_between_steps(tokio::task::yield_now)));
}

#[test]
fn an_always_ready_task_of_picot_delays_tokio_by_at_most_61_steps() {
    let most = run(async {
        let (count, is_over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let ours = spawn(busy(&count, &is_over, yield_now));
        let theirs = tokio::task::spawn_local(async move {
            let mut most = 0;
            for _ in 0..1_000 {
                let before = count.get();
                wake_at_once().await;
                most = most.max(count.get() - before);
            }
            is_over.set(true);
            most
        });
        let most = theirs.await.unwrap();
        ours.await.unwrap();
        most
    });
    // The last turn may bring one step more.
    assert!((1..=62).contains(&most), "{most}");
}

/// tokio's own budget holds in picot's tasks: its operations end in a yield now and then.
#[test]
fn an_always_ready_operation_of_tokio_in_a_task_of_picot_starves_neither() {
    run(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let is_over = Rc::new(Cell::new(false));
        let ended = is_over.clone();
        let ours = spawn(async move {
            while !ended.get() {
                sender.send(()).unwrap();
                receiver.recv().await.unwrap();
            }
        });
        for _ in 0..100 {
            tokio::task::spawn_local(wake_at_once()).await.unwrap();
            yield_now().await;
        }
        is_over.set(true);
        ours.await.unwrap();
    });
}

/// Of a thousand tasks, 128 at a time are within tokio's budget. None is left behind.
#[test]
fn many_tasks_of_picot_share_the_budget_of_tokio() {
    run(async {
        let tasks: Vec<_> = (0..1_000)
            .map(|n| {
                spawn(async move {
                    let (sender, receiver) = tokio::sync::oneshot::channel();
                    sender.send(n).unwrap();
                    receiver.await.unwrap()
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), n);
        }
    });
}
