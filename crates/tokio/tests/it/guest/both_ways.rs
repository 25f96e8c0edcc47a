//! Tasks of both await each other, and each wakes the other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use picot_loop::{LoopHandle, sleep, spawn, yield_now};
use picot_sync::Queue;
use picot_tasks::timeout;
use picot_testkit::Trace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

const HOUR: Duration = Duration::from_secs(3600);

/// Passes a number to and fro between a task of tokio's and one of picot's, `rounds` times. Each
/// waits for the other in its own way: by a queue of picot's, and by a channel of tokio's.
pub(crate) async fn ping_pong(rounds: usize) -> usize {
    let pings = Rc::new(Queue::unbounded());
    let (pong, mut pongs) = mpsc::unbounded_channel();
    let received = pings.clone();
    let theirs = tokio::task::spawn_local(async move {
        while let Some(n) = received.get().await {
            pong.send(n + 1).unwrap();
        }
    });
    let ours = spawn(async move {
        let mut n = 0;
        for _ in 0..rounds {
            pings.try_put(n).unwrap();
            n = pongs.recv().await.unwrap();
        }
        pings.close();
        n
    });
    let count = ours.await.unwrap();
    theirs.await.unwrap();
    count
}

#[test]
fn ten_thousand_numbers_pass_between_both() {
    assert_eq!(picot_tokio::run(ping_pong(10_000)), 10_000);
}

#[test]
fn a_task_of_picot_awaits_tasks_of_tokio() {
    picot_tokio::run(async {
        let remote = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            1
        });
        let local = Rc::new(2);
        let local = tokio::task::spawn_local(async move { *local });
        let blocking = tokio::task::spawn_blocking(|| 3);
        assert_eq!(spawn(async move { remote.await.unwrap() }).await.unwrap(), 1);
        assert_eq!(spawn(async move { local.await.unwrap() }).await.unwrap(), 2);
        assert_eq!(spawn(async move { blocking.await.unwrap() }).await.unwrap(), 3);
    });
}

#[test]
fn a_task_of_tokio_awaits_tasks_timers_and_jobs_of_picot() {
    picot_tokio::run(async {
        let task = tokio::task::spawn_local(async {
            let started = spawn(async { 1 });
            assert_eq!(started.await.unwrap(), 1, "spawned while tokio runs");
            sleep(Duration::from_millis(1)).await;
            assert_eq!(picot_loop::spawn_blocking(|| 2).await.unwrap(), 2);
            assert!(timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
            // The timer is set by a task of tokio's, while the loop waits without a limit.
            assert_eq!(timeout(HOUR, async { 3 }).await, Ok(3));
        });
        task.await.unwrap();
    });
}

#[test]
fn cancelling_reaches_the_other_side() {
    picot_tokio::run(async {
        let trace = Trace::default();
        let held = trace.on_drop("the task of tokio's");
        let theirs = tokio::task::spawn_local(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let held = trace.on_drop("the task of picot's");
        let ours = spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        theirs.abort();
        assert!(theirs.await.unwrap_err().is_cancelled());
        let canceller = tokio::task::spawn_local(async move {
            assert!(ours.cancel("by a task of tokio's"));
            assert!(ours.await.unwrap_err().to_string().contains("by a task of tokio's"));
        });
        canceller.await.unwrap();
        assert_eq!(trace.take(), ["the task of tokio's", "the task of picot's"]);
    });
}

/// Stores the waker of a task of picot's that waits for `count` to reach three.
async fn woken_three_times(waker: Rc<RefCell<Option<Waker>>>, count: Rc<Cell<u32>>) {
    poll_fn(|cx| {
        *waker.borrow_mut() = Some(cx.waker().clone());
        if count.get() == 3 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_waker_of_picot_that_tokio_wakes_on_the_same_thread_is_not_lost() {
    picot_tokio::run(async {
        let (waker, count) = (Rc::new(RefCell::new(None::<Waker>)), Rc::new(Cell::new(0)));
        let waiter = spawn(woken_three_times(waker.clone(), count.clone()));
        for _ in 0..3 {
            let (waker, count) = (waker.clone(), count.clone());
            // By then, the loop waits.
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                count.set(count.get() + 1);
                let waker = waker.borrow().clone();
                waker.unwrap().wake();
            })
            .await
            .unwrap();
        }
        waiter.await.unwrap();
    });
}

#[test]
fn other_threads_wake_both() {
    picot_tokio::run(async {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let remote = LoopHandle::current().remote();
        let thread = thread::spawn(move || {
            for n in 0..100 {
                sender.send(n).unwrap();
                let echo = sender.clone();
                remote.call_soon(move || echo.send(n).unwrap()).unwrap();
            }
        });
        let sum = tokio::task::spawn_local(async move {
            let mut sum = 0;
            while let Some(n) = receiver.recv().await {
                sum += n;
            }
            sum
        });
        assert_eq!(sum.await.unwrap(), 2 * (0..100).sum::<i32>());
        thread.join().unwrap();
    });
}

#[test]
fn sockets_of_both_talk_to_each_other() {
    picot_tokio::run(async {
        let theirs = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = theirs.local_addr()?;
        let server = tokio::spawn(async move {
            let (mut stream, _) = theirs.accept().await?;
            let mut line = [0; 4];
            while stream.read_exact(&mut line).await.is_ok() {
                stream.write_all(&line).await?;
            }
            io::Result::Ok(())
        });
        let (mut reader, mut writer) = picot_net::open_connection(address).await?;
        for n in 0..100_u32 {
            writer.write_all(&n.to_ne_bytes()).await?;
            assert_eq!(reader.read_exact(4).await?, n.to_ne_bytes());
        }
        drop((reader, writer));
        server.await.unwrap()
    })
    .unwrap();
}
