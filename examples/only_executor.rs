//! The executor alone, without the loop: a program that has a wait of its own (here a channel; a
//! GUI's event queue or a game's frame are no different) and runs tasks in between, with hooks, an
//! exclusive section, and a task from another thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use picot_executor::{Executor, Exit, Hooks, TaskInfo};

/// Counts the tasks that end.
#[derive(Default)]
struct Ends(Cell<u32>);

impl Hooks for Ends {
    fn exited(&self, task: &TaskInfo, exit: Exit) {
        self.0.set(self.0.get() + 1);
        println!("{} has ended: {exit:?}", task.given_name().unwrap_or("a task without a name"));
    }
}

/// What the program waits for.
enum Event {
    Wake,
    Line(&'static str),
    End,
}

fn main() {
    let (events, queue) = mpsc::channel();
    // A wake from another thread must end the wait: it becomes an event like any other.
    let wakes = events.clone();
    let executor = Executor::with_interrupt(waker_fn(move || _ = wakes.send(Event::Wake)));
    let ends = Rc::new(Ends::default());
    executor.spawner().set_hooks(ends.clone());

    let remote = executor.remote();
    let thread = thread::spawn(move || {
        // An `Rc` is not `Send`: it is made on the executor's thread, and stays there.
        let mut sum = remote.spawn(|| async { Rc::new(vec![1, 2, 3]).iter().sum::<i32>() }).expect("it is open");
        println!("another thread got {}", sum.wait(None).expect("it returns"));
        for line in ["one", "two"] {
            events.send(Event::Line(line)).expect("the program listens");
        }
        events.send(Event::End).expect("the program listens");
    });

    loop {
        executor.run_until_stalled();
        // From here on, a thread that hands something over interrupts the wait.
        let event = match executor.fall_asleep() {
            Some(_asleep) => queue.recv().expect("the thread sends an end"),
            None => continue,
        };
        match event {
            Event::Wake => {}
            Event::Line(line) => {
                let spawner = executor.spawner().clone();
                let task = executor.spawner().spawn_named(line, async move {
                    let _alone = spawner.exclusive().await;
                    println!("nothing else runs while {line} does");
                });
                drop(task);
            }
            Event::End => break,
        }
    }
    executor.run_until_stalled();
    thread.join().expect("the thread does not panic");
    let report = executor.close();
    println!("{} tasks have ended, {} were left", ends.0.get(), report.tasks.len());
}

/// A waker that calls a function.
fn waker_fn(wake: impl Fn() + Send + Sync + 'static) -> std::task::Waker {
    struct Call<F>(F);

    impl<F: Fn() + Send + Sync + 'static> std::task::Wake for Call<F> {
        fn wake(self: std::sync::Arc<Self>) {
            (self.0)();
        }
    }

    std::sync::Arc::new(Call(wake)).into()
}
