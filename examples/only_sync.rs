//! picot-sync alone, on the executor of `futures`: a pipeline over a bounded queue, and what it
//! says of two tasks that wait for each other's lock.

use std::rc::Rc;

use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt;
use picot_sync::{Barrier, Mutex, Queue, Semaphore, oneshot, waiting};

fn spawn(spawner: &LocalSpawner, task: impl Future<Output = ()> + 'static) {
    spawner.spawn_local(task).expect("the pool is there");
}

/// Three workers, of which two at a time may work, take jobs from a bounded queue.
fn pipeline(pool: &mut LocalPool) -> u32 {
    let spawner = pool.spawner();
    let jobs = Rc::new(Queue::new(4));
    let total = Rc::new(Mutex::new(0));
    let permits = Rc::new(Semaphore::new(2));
    for _ in 0..3 {
        let (jobs, total, permits) = (jobs.clone(), total.clone(), permits.clone());
        spawn(&spawner, async move {
            while let Some(job) = jobs.lease().await {
                let _permit = permits.acquire().await;
                *total.lock().await += *job;
            }
        });
    }
    pool.run_until(async move {
        for job in 1..=100 {
            jobs.put(job).await.expect("it is open");
        }
        jobs.join().await;
        jobs.close();
        let total = total.lock().await;
        *total
    })
}

/// Two tasks, each of which holds what the other wants. It is reported on standard error, and
/// nothing else stops.
fn deadlock(pool: &mut LocalPool) {
    let spawner = pool.spawner();
    let (knife, fork) = (Rc::new(Mutex::new("knife")), Rc::new(Mutex::new("fork")));
    let both_hold_one = Rc::new(Barrier::new(2));
    for (first, second) in [(knife.clone(), fork.clone()), (fork, knife)] {
        let both_hold_one = both_hold_one.clone();
        spawn(&spawner, async move {
            let _first = first.lock().await;
            both_hold_one.wait().await.expect("nothing breaks the barrier");
            let _second = second.lock().await;
        });
    }
    let (sender, receiver) = oneshot::channel();
    spawn(&spawner, async move { sender.send("the third task goes on").expect("it is received") });
    println!("{}", pool.run_until(receiver).expect("it is sent"));
    pool.run_until_stalled();
    for waiting in waiting() {
        println!("{waiting}");
    }
}

fn main() {
    let mut pool = LocalPool::new();
    println!("the jobs add up to {}", pipeline(&mut pool));
    deadlock(&mut pool);
}
