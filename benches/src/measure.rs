//! Measuring one block: the fastest of several runs, with instructions where they can be counted.

use std::cell::Cell;
use std::fmt::{Display, Write};
use std::hint::black_box;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, io};

use crate::picture;

/// How often a block is run; the fastest counts.
const RUNS: usize = 7;

/// What one operation of a block costs.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds of wall time, the least of all runs.
    pub nanos: f64,
    /// User-mode instructions, the least of all runs; `None` where they cannot be counted.
    pub instructions: Option<f64>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("{:.0}", self.nanos);
        match self.instructions {
            Some(instructions) => write!(text, " / {instructions:.0}")?,
            None => text.push_str(" / –"),
        }
        f.pad(&text)
    }
}

impl Figures {
    fn best(self, other: Figures) -> Figures {
        let instructions = match (self.instructions, other.instructions) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Figures { nanos: self.nanos.min(other.nanos), instructions }
    }
}

/// Which time counts.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    /// That of the clock on the wall.
    Wall,
    /// What the processor has spent on this process, in user mode and in the kernel: for what waits
    /// in between.
    Cpu,
}

thread_local! {
    /// The part of the running block that counts, where the block says so itself.
    static PART: Cell<Part> = const { Cell::new(Part { start: None, nanos: None }) };
}

#[derive(Clone, Copy)]
struct Part {
    start: Option<Duration>,
    nanos: Option<u128>,
}

/// Called by a block of which only parts count: one begins here. Instructions are then not counted.
pub fn begin_part() {
    PART.set(Part { start: Some(wall_time()), ..PART.get() });
}

/// The part ends here. The parts of a run are added up.
pub fn end_part() {
    let Part { start, nanos } = PART.get();
    let took = start.map_or(0, |start| (wall_time() - start).as_nanos());
    PART.set(Part { start: None, nanos: Some(nanos.unwrap_or(0) + took) });
}

/// Runs `block`, which does `operations` of something, and says what one of them costs.
///
/// With the environment variable `PICOT_BENCH_ONCE` set it runs once: for a run under a tool that
/// counts instructions itself, such as callgrind.
pub fn measure(operations: usize, block: impl FnMut()) -> Figures {
    measure_by(Time::Wall, operations, block)
}

/// The same by a time of choice.
pub fn measure_by(time: Time, operations: usize, mut block: impl FnMut()) -> Figures {
    let mut all = runs().map(|_| {
        let run = Run::begin(time);
        run_measured(&mut block);
        run.end(operations)
    });
    let first = all.next().expect("at least one run");
    all.fold(first, Figures::best)
}

/// The same for a block that has to wait in between, inside of a runtime.
pub async fn measure_async(operations: usize, mut block: impl AsyncFnMut()) -> Figures {
    let mut best: Option<Figures> = None;
    for _ in runs() {
        let run = Run::begin(Time::Wall);
        block().await;
        let figures = run.end(operations);
        best = Some(best.map_or(figures, |best| best.best(figures)));
    }
    best.expect("at least one run")
}

/// How many user-mode instructions this program needs with these arguments, from its begin to its
/// end, as callgrind counts them: for machines without counters.
///
/// # Errors
/// If `valgrind` is not there, or the program does not end well under it.
pub fn callgrind(arguments: &[&str]) -> io::Result<f64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?).args(arguments);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.split("Collected :").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    collected.filter(|_| output.status.success()).ok_or_else(|| io::Error::other("valgrind has counted nothing"))
}

fn runs() -> std::ops::Range<usize> {
    0..if env::var_os("PICOT_BENCH_ONCE").is_some() { 1 } else { RUNS }
}

/// One run of a block, from its begin to its end.
struct Run {
    time: Time,
    counter: counter::Counting,
    start: Duration,
}

impl Run {
    fn begin(time: Time) -> Run {
        PART.set(Part { start: None, nanos: None });
        Run { time, counter: counter::start(), start: time.now() }
    }

    fn end(mut self, operations: usize) -> Figures {
        let whole = (self.time.now() - self.start).as_nanos();
        let part = PART.replace(Part { start: None, nanos: None }).nanos;
        let nanos = part.unwrap_or(whole) as f64 / operations as f64;
        let counted = counter::stop(&mut self.counter).filter(|_| part.is_none());
        let instructions = counted.map(|count| count as f64 / operations as f64);
        Figures { nanos, instructions }
    }
}

impl Time {
    fn now(self) -> Duration {
        match self {
            Time::Wall => wall_time(),
            Time::Cpu => cpu_time(),
        }
    }
}

/// The time since this was first asked for.
fn wall_time() -> Duration {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let now = Instant::now();
    now - *ORIGIN.get_or_init(|| now)
}

#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn cpu_time() -> Duration {
    wall_time()
}

/// A function of its own, so that a tool can be told to look at this and nothing else.
#[inline(never)]
fn run_measured(block: &mut impl FnMut()) {
    black_box(block)();
}

#[cfg(target_os = "linux")]
mod counter {
    use perf_event::events::Hardware;
    use perf_event::{Builder, Counter};

    pub(super) type Counting = Option<Counter>;

    pub(super) fn start() -> Counting {
        let mut counter = Builder::new(Hardware::INSTRUCTIONS).exclude_kernel(true).build().ok()?;
        counter.enable().ok()?;
        Some(counter)
    }

    pub(super) fn stop(counter: &mut Counting) -> Option<u64> {
        let counter = counter.as_mut()?;
        counter.disable().ok()?;
        counter.read().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod counter {
    pub(super) type Counting = ();

    pub(super) fn start() -> Counting {}

    pub(super) fn stop((): &mut Counting) -> Option<u64> {
        None
    }
}

/// A table with a row a workload and a column a contestant, printed as Markdown.
#[derive(Debug)]
pub struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<String>)>,
}

impl Default for Table {
    fn default() -> Table {
        Table::new("ns / instructions")
    }
}

impl Table {
    /// A table of something else than [`Figures`].
    pub fn new(title: &'static str) -> Table {
        Table { title, columns: Vec::new(), rows: Vec::new() }
    }

    /// Adds a figure; columns and rows come in the order in which they are first named.
    pub fn add(&mut self, row: &'static str, column: &'static str, figure: impl Display) {
        let column = self.columns.iter().position(|name| *name == column).unwrap_or_else(|| {
            self.columns.push(column);
            self.columns.len() - 1
        });
        let row = self.rows.iter().position(|(name, _)| *name == row).unwrap_or_else(|| {
            self.rows.push((row, Vec::new()));
            self.rows.len() - 1
        });
        let cells = &mut self.rows[row].1;
        cells.resize(cells.len().max(column + 1), String::from("–"));
        cells[column] = figure.to_string();
    }

    /// Prints the table, if there is anything in it.
    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0).max(self.title.chars().count());
        let cell = self.columns.iter().map(|name| name.len()).max().unwrap_or(0).max(13);
        print!("| {:width$} ", self.title);
        for column in &self.columns {
            print!("| {column:cell$} ");
        }
        println!("|");
        let line = format!("|{:-<1$}", "", cell + 2);
        println!("|{:-<1$}{2}|", "", width + 2, line.repeat(self.columns.len()));
        for (name, cells) in &self.rows {
            print!("| {name:width$} ");
            for n in 0..self.columns.len() {
                print!("| {:cell$} ", cells.get(n).map_or("–", |figure| figure));
            }
            println!("|");
        }
    }

    /// The table as a picture: a group of bars a row, each as long as its share of the row's worst.
    /// Shorter is better.
    pub fn svg(&self, title: &str) -> String {
        picture::draw(title, " ns", &self.columns, &self.rows)
    }
}
