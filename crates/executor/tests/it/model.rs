//! Random programs against a model: one FIFO, a batch at a time. A section sets items aside and
//! puts them back in front; a cancelled task is dropped in its turn, and cancels the task that it
//! waits for; a dropped root leaves its item in the queue.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use picot_executor::{Executor, Root, Spawner, Task};

use crate::trace::{OnDrop, Trace, quiet_panic};

/// The actions of a task, in order.
#[derive(Clone, Copy, Debug)]
enum Do {
    /// Is pending and wakes itself.
    Yield,
    /// Is pending until another action wakes it.
    Sleep,
    Wake(usize),
    Cancel(usize),
    /// Takes the handle of another task, if there is one, and waits for its end.
    Await(usize),
    Panic,
    Call,
    Enter,
    Exit,
}

/// An event outside of the tasks.
#[derive(Clone, Debug)]
enum Event {
    Spawn { script: Vec<Do>, eager: bool },
    Do(Do),
    Begin(Vec<Do>),
    DropRoot,
    Batch(usize),
}

/// Vigna's SplitMix64: a seed produces the same program each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn step(&mut self) -> Do {
        let other = self.below(8);
        match self.below(15) {
            0..3 => Do::Yield,
            3 | 4 => Do::Sleep,
            5 | 6 => Do::Wake(other),
            7 => Do::Cancel(other),
            8 | 9 => Do::Await(other),
            10 if self.below(2) == 0 => Do::Panic,
            10 | 11 => Do::Call,
            12 | 13 => Do::Enter,
            _ => Do::Exit,
        }
    }

    fn script(&mut self) -> Vec<Do> {
        (0..self.below(7)).map(|_| self.step()).collect()
    }

    fn event(&mut self) -> Event {
        match self.below(10) {
            0 | 1 => Event::Spawn { eager: self.below(3) == 0, script: self.script() },
            2 => Event::Begin(self.script()),
            3 if self.below(3) == 0 => Event::DropRoot,
            3 => Event::Do(Do::Call),
            4 => Event::Do(Do::Wake(self.below(8))),
            5 if self.below(2) == 0 => Event::Do(Do::Cancel(self.below(8))),
            _ => Event::Batch(self.below(6)),
        }
    }
}

/// An item of the queue. Tasks and roots share one sequence of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Task(usize),
    Root(usize),
    Call,
}

#[derive(Default)]
struct ModelTask {
    script: Vec<Do>,
    at: usize,
    is_root: bool,
    has_handle: bool,
    queued: bool,
    cancelled: bool,
    ended: bool,
    guards: usize,
    waits_for: Option<usize>,
}

#[derive(Default)]
struct Model {
    tasks: Vec<ModelTask>,
    queue: VecDeque<Item>,
    held: VecDeque<Item>,
    holder: Option<usize>,
    running: Option<usize>,
    root: Option<usize>,
    trace: Vec<String>,
}

impl Model {
    fn add(&mut self, script: Vec<Do>, is_root: bool) -> usize {
        self.tasks.push(ModelTask { script, is_root, has_handle: !is_root, ..ModelTask::default() });
        self.tasks.len() - 1
    }

    fn wake(&mut self, number: usize) {
        let Some(task) = self.tasks.get_mut(number) else { return };
        // A root stays until it is dropped, and may be woken until then.
        if task.queued || task.ended && self.root != Some(number) {
            return;
        }
        task.queued = true;
        if task.is_root {
            self.queue.push_back(Item::Root(number));
        } else if self.running != Some(number) {
            // A task that is woken in its own step is queued at the end of the step.
            self.queue.push_back(Item::Task(number));
        }
    }

    fn cancel(&mut self, number: usize) {
        if !self.tasks[number].ended {
            self.tasks[number].cancelled = true;
            self.wake(number);
        }
    }

    fn has_handle(&self, number: usize) -> bool {
        self.tasks.get(number).is_some_and(|task| task.has_handle)
    }

    fn must_hold(&self, item: Item) -> bool {
        let Some(holder) = self.holder else { return false };
        match item {
            Item::Task(number) => number != holder,
            // The item of any root, present or past.
            Item::Root(_) => self.root != Some(holder),
            Item::Call => true,
        }
    }

    /// The number of items that may run now.
    fn ready(&mut self) -> usize {
        for item in std::mem::take(&mut self.queue) {
            let row = if self.must_hold(item) { &mut self.held } else { &mut self.queue };
            row.push_back(item);
        }
        self.queue.len()
    }

    fn end_section_of(&mut self, number: usize) {
        if self.holder == Some(number) {
            self.holder = None;
            self.held.append(&mut self.queue);
            std::mem::swap(&mut self.held, &mut self.queue);
        }
    }

    fn end(&mut self, number: usize) {
        // The task that it waits for is cancelled with it.
        if let Some(other) = self.tasks[number].waits_for.take() {
            self.cancel(other);
        }
        self.end_section_of(number);
        self.tasks[number].ended = true;
        self.trace.push(format!("{number} dropped"));
        if let Some(waits) = self.tasks.iter().position(|task| task.waits_for == Some(number)) {
            self.wake(waits);
        }
    }

    fn poll(&mut self, number: usize) {
        self.tasks[number].queued = false;
        if self.tasks[number].cancelled {
            return self.end(number);
        }
        self.running = Some(number);
        loop {
            if let Some(other) = self.tasks[number].waits_for {
                if !self.tasks[other].ended {
                    break;
                }
                self.tasks[number].waits_for = None;
            }
            let task = &mut self.tasks[number];
            let Some(todo) = task.script.get(task.at).copied() else {
                self.running = None;
                return self.end(number);
            };
            self.trace.push(format!("{number}.{}", task.at));
            task.at += 1;
            if matches!(todo, Do::Cancel(other) | Do::Await(other) if other == number || !self.has_handle(other)) {
                continue;
            }
            let task = &mut self.tasks[number];
            match todo {
                Do::Yield => {
                    self.wake(number);
                    break;
                }
                Do::Sleep => break,
                Do::Wake(other) => self.wake(other),
                Do::Cancel(other) => self.cancel(other),
                Do::Await(other) => {
                    self.tasks[other].has_handle = false;
                    self.tasks[number].waits_for = Some(other);
                }
                Do::Panic if task.is_root => {}
                Do::Panic => task.at = task.script.len(),
                Do::Call => self.queue.push_back(Item::Call),
                Do::Enter => {
                    task.guards += 1;
                    self.holder = Some(number);
                }
                Do::Exit => {
                    let is_last = task.guards == 1;
                    task.guards = task.guards.saturating_sub(1);
                    if is_last {
                        self.end_section_of(number);
                    }
                }
            }
        }
        self.running = None;
        let task = &self.tasks[number];
        if task.queued && !task.is_root {
            self.queue.push_back(Item::Task(number));
        }
    }

    fn batch(&mut self, max: usize) -> usize {
        let count = self.ready().min(max);
        let mut held = 0;
        for done in 0..count {
            let Some(item) = self.queue.pop_front() else { return done - held };
            if self.must_hold(item) {
                self.held.push_back(item);
                held += 1;
                continue;
            }
            match item {
                Item::Root(number) if self.root != Some(number) => {}
                Item::Task(number) | Item::Root(number) => self.poll(number),
                Item::Call => self.trace.push("call".into()),
            }
        }
        count - held
    }

    fn drop_root(&mut self) {
        if let Some(root) = self.root {
            if !self.tasks[root].ended {
                self.end(root);
            }
            self.root = None;
        }
    }

    fn unfinished(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|number| !self.tasks[*number].ended).collect()
    }

    /// Returns how many tasks and calls were left.
    fn close(&mut self) -> (usize, usize) {
        let left = self.unfinished();
        if let Some(holder) = self.holder {
            self.end_section_of(holder);
        }
        left.iter().for_each(|number| self.wake(*number));
        let mut calls = 0;
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Task(number) => self.end(number),
                Item::Call => calls += 1,
                Item::Root(_) => {}
            }
        }
        (left.len(), calls)
    }
}

/// The state that the tasks of the executor share.
struct World {
    spawner: Spawner,
    trace: Trace,
    wakers: RefCell<Vec<Option<Waker>>>,
    tasks: RefCell<Vec<Option<Task<()>>>>,
}

impl World {
    fn new_number(&self) -> usize {
        self.wakers.borrow_mut().push(None);
        self.tasks.borrow_mut().push(None);
        self.wakers.borrow().len() - 1
    }

    fn wake(&self, number: usize) {
        let waker = self.wakers.borrow().get(number).cloned().flatten();
        waker.iter().for_each(Waker::wake_by_ref);
    }

    fn cancel(&self, number: usize) {
        if let Some(Some(task)) = self.tasks.borrow().get(number) {
            task.cancel("by the program");
        }
    }

    fn call(&self) {
        let trace = self.trace.clone();
        self.spawner.call_soon(move || trace.add("call")).unwrap();
    }
}

async fn pause(world: &World, number: usize, polls: u32, wakes: bool) {
    let mut left = polls;
    poll_fn(|cx| {
        world.wakers.borrow_mut()[number] = Some(cx.waker().clone());
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        if wakes {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

async fn run(world: Rc<World>, number: usize, is_root: bool, script: Vec<Do>, _dropped: OnDrop) {
    pause(&world, number, 0, false).await;
    let mut guards = Vec::new();
    for (at, todo) in script.into_iter().enumerate() {
        world.trace.add(format!("{number}.{at}"));
        match todo {
            Do::Yield => pause(&world, number, 1, true).await,
            Do::Sleep => pause(&world, number, 1, false).await,
            Do::Wake(other) => world.wake(other),
            Do::Cancel(other) | Do::Await(other) if other == number => {}
            Do::Cancel(other) => world.cancel(other),
            Do::Await(other) => {
                let task = world.tasks.borrow_mut().get_mut(other).and_then(Option::take);
                if let Some(task) = task {
                    let _ = task.await;
                }
            }
            Do::Panic if is_root => {}
            Do::Panic => quiet_panic("as the program says"),
            Do::Call => world.call(),
            Do::Enter => guards.push(world.spawner.exclusive().await),
            Do::Exit => drop(guards.pop()),
        }
    }
}

/// Runs the program of a seed, here and in the model, and compares all visible results.
fn play(seed: u64) {
    let mut random = Random(seed);
    let events: Vec<_> = (0..40).map(|_| random.event()).collect();
    let (executor, mut model) = (Executor::new(), Model::default());
    let (wakers, tasks) = Default::default();
    let world = Rc::new(World { spawner: executor.spawner().clone(), trace: Trace::default(), wakers, tasks });
    executor.spawner().set_error_hook(|_| ());
    let future = |number, is_root, script: &[Do]| {
        run(world.clone(), number, is_root, script.to_vec(), world.trace.on_drop(format!("{number} dropped")))
    };
    let mut root: Option<Pin<Box<Root<_>>>> = None;
    for (nth, event) in events.iter().enumerate() {
        match event {
            Event::Spawn { script, eager } => {
                let number = world.new_number();
                let builder = executor.spawner().build_task();
                let builder = if *eager { builder.eager() } else { builder };
                let task = builder.spawn(future(number, false, script));
                world.tasks.borrow_mut()[number] = Some(task);
                model.add(script.clone(), false);
                if *eager && model.holder.is_none() { model.poll(number) } else { model.wake(number) }
            }
            Event::Do(Do::Call) => {
                world.call();
                model.queue.push_back(Item::Call);
            }
            Event::Do(Do::Wake(number)) => {
                world.wake(*number);
                model.wake(*number);
            }
            Event::Do(Do::Cancel(number)) => {
                world.cancel(*number);
                if model.has_handle(*number) {
                    model.cancel(*number);
                }
            }
            Event::Do(_) => unreachable!("these are actions of tasks"),
            Event::Begin(_) if root.is_some() => {}
            Event::Begin(script) => {
                let number = world.new_number();
                root = Some(Box::pin(executor.root(Location::caller(), future(number, true, script))));
                model.root = Some(model.add(script.clone(), true));
                model.wake(number);
            }
            Event::DropRoot => {
                root = None;
                model.drop_root();
            }
            Event::Batch(max) => {
                let as_any = root.as_mut().map(|root| root.as_mut() as Pin<&mut dyn picot_executor::AnyRoot>);
                assert_eq!(executor.run_batch_with(*max, as_any, |_| ()), model.batch(*max), "{nth} of {events:#?}");
                if root.as_mut().is_some_and(|root| root.as_mut().take_output().is_some()) {
                    root = None;
                    model.drop_root();
                }
            }
        }
        assert_eq!(world.trace.take(), std::mem::take(&mut model.trace), "{nth} of {events:#?}");
        assert_eq!(executor.ready(), model.ready(), "{nth} of {events:#?}");
        assert_eq!(executor.spawner().task_count(), model.unfinished().len(), "{nth} of {events:#?}");
    }
    drop(root);
    model.drop_root();
    let (report, (left, calls)) = (executor.close(), model.close());
    assert_eq!((report.tasks.len(), report.callbacks, report.leaked), (left, calls, 0), "{events:#?}");
    assert_eq!(world.trace.take(), model.trace, "{events:#?}");
}

#[test]
fn every_program_of_tasks_sections_cancels_and_roots_matches_the_model() {
    for seed in 0..if cfg!(miri) { 20 } else { 5000 } {
        play(seed);
    }
}
