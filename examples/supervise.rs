//! Keeps copies of a program running.
//!
//! Usage: `supervise [--count N] [--grace SECONDS] PROGRAM [ARGUMENT…]`. A copy that ends is
//! started again, after a pause that doubles each time, from 100 ms up to 10 s, and that is short
//! again after a copy that ran for 10 s. On SIGHUP, all copies are ended by SIGTERM and started
//! again. On SIGTERM or SIGINT, they are ended for good: which did not stop within the grace (5 s)
//! is named and killed, and the status is 1.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("supervise: child processes are for Unix");
    ExitCode::FAILURE
}

#[cfg(unix)]
mod unix {
    use std::cell::{Cell, RefCell};
    use std::ffi::OsString;
    use std::io;
    use std::process::ExitCode;
    use std::rc::Rc;
    use std::time::Duration;

    use lexopt::prelude::*;
    use picot::process::{Child, Command, Signal, signals};
    use picot::time::Instant;
    use picot::{gather, sleep, spawn, timeout};

    const PAUSE: Duration = Duration::from_millis(100);
    const PAUSE_MAX: Duration = Duration::from_secs(10);

    struct Options {
        count: usize,
        grace: Duration,
        program: OsString,
        arguments: Vec<OsString>,
    }

    /// One of the copies.
    #[derive(Default)]
    struct Slot {
        number: usize,
        /// `None` between two copies.
        child: RefCell<Option<Rc<Child>>>,
        /// It was ended to be started again.
        reloads: Cell<bool>,
    }

    #[picot::main]
    pub(super) async fn main() -> ExitCode {
        match options() {
            Ok(options) => match supervise(Rc::new(options)).await {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        }
    }

    fn failed(error: &dyn std::fmt::Display) -> ExitCode {
        eprintln!("supervise: {error}");
        ExitCode::from(2)
    }

    fn options() -> Result<Options, lexopt::Error> {
        let (mut count, mut grace) = (1, Duration::from_secs(5));
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("count") => count = parser.value()?.parse()?,
                Long("grace") => {
                    let seconds = parser.value()?.parse()?;
                    grace = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                }
                // What follows the program is the program's.
                Value(program) => {
                    return Ok(Options { count, grace, program, arguments: parser.raw_args()?.collect() });
                }
                other => return Err(other.unexpected()),
            }
        }
        Err("a program is needed".into())
    }

    /// Returns whether all copies have stopped in time.
    async fn supervise(options: Rc<Options>) -> io::Result<bool> {
        // Before the first child, so that no signal ends this process without its children.
        let mut asked = signals([Signal::HUP, Signal::INT, Signal::TERM])?;
        let slots: Vec<_> = (0..options.count).map(|number| Rc::new(Slot { number, ..Slot::default() })).collect();
        let tasks: Vec<_> = slots.iter().map(|slot| spawn(keep(slot.clone(), options.clone()))).collect();
        while asked.recv().await == Some(Signal::HUP) {
            println!("reloads");
            for slot in &slots {
                if let Some(child) = &*slot.child.borrow() {
                    slot.reloads.set(true);
                    child.signal(Signal::TERM)?;
                }
            }
        }
        println!("stops");
        for task in &tasks {
            task.cancel("the supervisor stops");
        }
        let children: Vec<_> = slots.iter().filter_map(|slot| Some((slot.number, slot.child.take()?))).collect();
        for (_, child) in &children {
            child.signal(Signal::TERM)?;
        }
        let all = gather(children.iter().map(|(_, child)| child.wait()));
        if let Ok(ended) = timeout(options.grace, all).await {
            ended?;
            return Ok(true);
        }
        for (number, child) in &children {
            if child.try_wait()?.is_none() {
                println!("{number}: process {} did not stop, and is killed", child.id());
                child.kill()?;
                child.wait().await?;
            }
        }
        Ok(false)
    }

    /// Keeps a copy running.
    async fn keep(slot: Rc<Slot>, options: Rc<Options>) {
        let mut pause = PAUSE;
        loop {
            let start = Instant::now();
            match Command::new(&options.program).args(&options.arguments).spawn() {
                Ok(child) => {
                    let child = Rc::new(child);
                    slot.child.replace(Some(child.clone()));
                    println!("{}: started process {}", slot.number, child.id());
                    let ended = child.wait().await;
                    slot.child.take();
                    match ended {
                        Ok(status) => println!("{}: ended: {status}", slot.number),
                        Err(error) => println!("{}: {error}", slot.number),
                    }
                }
                Err(error) => println!("{}: {error}", slot.number),
            }
            if slot.reloads.take() {
                pause = PAUSE;
                continue;
            }
            if start.elapsed() >= PAUSE_MAX {
                pause = PAUSE;
            }
            println!("{}: starts again in {pause:?}", slot.number);
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}
