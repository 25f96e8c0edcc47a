//! The runtimes that can be the host. Each test of the guest runs in all of them.

use picot_loop::EventLoop;
use picot_tokio::run_guest;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::both_ways::ping_pong;

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_local_runtime_is_the_host() {
    assert_eq!(picot_tokio::run(ping_pong(100)), 100);
}

#[test]
fn a_local_set_is_the_host() {
    let event_loop = EventLoop::new().unwrap();
    let guest = run_guest(&event_loop, ping_pong(100));
    assert_eq!(LocalSet::new().block_on(&current_thread(), guest).unwrap(), 100);
}

/// There, the guest is one task among tokio's.
#[test]
fn a_task_of_tokio_is_the_host() {
    LocalSet::new().block_on(&current_thread(), async {
        let guest = tokio::task::spawn_local(async {
            let event_loop = EventLoop::new().unwrap();
            run_guest(&event_loop, ping_pong(100)).await.unwrap()
        });
        assert_eq!(guest.await.unwrap(), 100);
    });
}

#[test]
fn a_current_thread_runtime_without_a_local_set_is_the_host() {
    let event_loop = EventLoop::new().unwrap();
    let guest = run_guest(&event_loop, async {
        let task = tokio::spawn(async {
            tokio::task::yield_now().await;
            1
        });
        picot_loop::spawn(async { task.await.unwrap() }).await.unwrap()
    });
    assert_eq!(current_thread().block_on(guest).unwrap(), 1);
}

#[tokio::test]
async fn the_test_macro_of_tokio_is_the_host() {
    let event_loop = EventLoop::new().unwrap();
    let guest = run_guest(&event_loop, async { picot_loop::spawn(async { 1 }).await.unwrap() });
    assert_eq!(guest.await.unwrap(), 1);
}

/// Two guests on one runtime cannot be: a thread has one loop. One after the other can.
#[test]
fn one_runtime_is_host_again_and_again() {
    let runtime = current_thread();
    let event_loop = EventLoop::new().unwrap();
    for n in 0..3 {
        assert_eq!(runtime.block_on(run_guest(&event_loop, async { n })).unwrap(), n);
    }
    event_loop.close().unwrap();
    let event_loop = EventLoop::new().unwrap();
    assert_eq!(runtime.block_on(run_guest(&event_loop, async { 3 })).unwrap(), 3);
}
