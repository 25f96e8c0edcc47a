//! Loops on several threads, their outputs and their panics.

use std::future::pending;
use std::sync::mpsc;
use std::thread;

use picot_net::LoopGroup;

#[test]
fn each_loop_runs_on_its_own_thread_and_the_outputs_come_in_order() {
    let group = LoopGroup::start(3, |index| async move { (index, thread::current().id()) }).unwrap();
    assert_eq!(group.len(), 3);
    let outputs: Vec<_> = group.join().into_iter().map(|output| output.unwrap().unwrap()).collect();
    assert!(outputs.iter().map(|(index, _)| *index).eq(0..3));
    let mut threads: Vec<_> = outputs.iter().map(|(_, thread)| format!("{thread:?}")).collect();
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), 3);
}

#[test]
fn start_all_starts_a_loop_for_each_core_that_the_process_may_use() {
    let group = LoopGroup::start_all(|index| async move { index }).unwrap();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(group.len(), cores);
    let outputs = group.join().into_iter().map(|output| output.unwrap().unwrap());
    assert!(outputs.eq(0..cores));
}

#[test]
fn a_stopped_loop_has_no_output_and_remote_calls_reach_each_loop() {
    let group = LoopGroup::start(2, |_| pending::<()>()).unwrap();
    let (sender, receiver) = mpsc::channel();
    for index in 0..2 {
        let sender = sender.clone();
        group
            .remote(index)
            .call_soon(move || sender.send(thread::current().name().map(str::to_string)).unwrap())
            .unwrap();
    }
    let mut names: Vec<_> = receiver.iter().take(2).flatten().collect();
    names.sort();
    assert_eq!(names, ["picot-loop-0", "picot-loop-1"]);
    group.stop();
    group.stop();
    assert!(group.join().into_iter().all(|output| output.unwrap().is_none()));
}

#[test]
fn a_panic_ends_its_own_loop_and_join_returns_it() {
    let group = LoopGroup::start(2, |index| async move {
        assert!(index != 1, "the second one");
        index
    })
    .unwrap();
    let outputs = group.join();
    assert_eq!(*outputs[0].as_ref().unwrap(), Some(0));
    assert_eq!(*outputs[1].as_ref().unwrap_err().downcast_ref::<&str>().unwrap(), "the second one");
}

#[test]
fn dropping_a_group_ends_its_loops() {
    let (sender, receiver) = mpsc::channel::<()>();
    let group = LoopGroup::start(2, move |_| {
        let sender = sender.clone();
        async move {
            let _kept = sender;
            pending::<()>().await;
        }
    })
    .unwrap();
    drop(group);
    assert!(receiver.recv().is_err(), "both futures are dropped, and so are their senders");
}
