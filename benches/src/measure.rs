//! Measuring one block: the fastest of several runs, with instructions where they can be counted.

use std::cell::Cell;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

/// How often a block is run; the fastest counts.
const RUNS: usize = 3;

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

thread_local! {
    /// The part of the running block that counts, where the block says so itself.
    static PART: Cell<Part> = const { Cell::new(Part { start: None, nanos: None }) };
}

#[derive(Clone, Copy)]
struct Part {
    start: Option<Instant>,
    nanos: Option<u128>,
}

/// Called by a block of which only a part counts: that begins here. Instructions are then not counted.
pub fn begin_part() {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    PART.set(Part { start: Some(Instant::now()), nanos: None });
}

/// The part that counts ends here.
pub fn end_part() {
    let Part { start, .. } = PART.get();
    PART.set(Part { start: None, nanos: start.map(|start| start.elapsed().as_nanos()) });
}

/// Runs `block`, which does `operations` of something, and says what one of them costs.
///
/// With the environment variable `PICOT_BENCH_ONCE` set it runs once: for a run under a tool that counts instructions
/// itself, such as callgrind.
pub fn measure(operations: usize, mut block: impl FnMut()) -> Figures {
    let runs = if std::env::var_os("PICOT_BENCH_ONCE").is_some() { 1 } else { RUNS };
    let mut best = Figures { nanos: f64::INFINITY, instructions: None };
    for _ in 0..runs {
        let mut counter = counter::start();
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
        let start = Instant::now();
        run_measured(&mut block);
        let whole = start.elapsed().as_nanos();
        let part = PART.replace(Part { start: None, nanos: None }).nanos;
        let nanos = part.unwrap_or(whole) as f64 / operations as f64;
        let counted = counter::stop(&mut counter).filter(|_| part.is_none());
        let instructions = counted.map(|count| count as f64 / operations as f64);
        best.nanos = best.nanos.min(nanos);
        best.instructions = match (best.instructions, instructions) {
            (Some(best), Some(new)) => Some(best.min(new)),
            (best, new) => best.or(new),
        };
    }
    best
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

    pub(super) fn start() -> Option<Counter> {
        let mut counter = Builder::new(Hardware::INSTRUCTIONS).exclude_kernel(true).build().ok()?;
        counter.enable().ok()?;
        Some(counter)
    }

    pub(super) fn stop(counter: &mut Option<Counter>) -> Option<u64> {
        let counter = counter.as_mut()?;
        counter.disable().ok()?;
        counter.read().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod counter {
    pub(super) fn start() {}

    pub(super) fn stop((): &mut ()) -> Option<u64> {
        None
    }
}

/// A table with a row a workload and a column a contestant, printed as Markdown.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Vec<(&'static str, Figures)>)>,
}

impl Table {
    /// Adds a figure; columns and rows come in the order in which they are first named.
    pub fn add(&mut self, row: &'static str, column: &'static str, figures: Figures) {
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
        match self.rows.iter_mut().find(|(name, _)| *name == row) {
            Some((_, cells)) => cells.push((column, figures)),
            None => self.rows.push((row, vec![(column, figures)])),
        }
    }

    /// Prints the table: nanoseconds / user instructions per operation. An empty cell: the contestant cannot do
    /// that.
    pub fn print(&self) {
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let cell = self.columns.iter().map(|name| name.len()).max().unwrap_or(0).max(13);
        print!("| {:width$} ", "ns / instructions");
        for column in &self.columns {
            print!("| {column:cell$} ");
        }
        println!("|");
        println!("|{:-<1$}|", "", width + 2 + self.columns.len() * (cell + 3));
        for (name, figures) in &self.rows {
            print!("| {name:width$} ");
            for column in &self.columns {
                match figures.iter().find(|(name, _)| name == column) {
                    Some((_, figure)) => print!("| {figure:cell$} "),
                    None => print!("| {:cell$} ", ""),
                }
            }
            println!("|");
        }
    }

    /// The table as a picture: a group of bars a row, each as long as its share of the row's worst. Shorter is better.
    pub fn svg(&self, title: &str) -> String {
        const NAMES: usize = 170;
        const BARS: usize = 520;
        const BAR: usize = 13;
        let mut body = String::new();
        let mut y = 44;
        for (name, cells) in &self.rows {
            let worst = cells.iter().map(|(_, figures)| figures.nanos).fold(0.0, f64::max);
            let _ = writeln!(body, "<text x='10' y='{}' font-weight='bold'>{name}</text>", y + 12);
            y += BAR + 6;
            for (n, (column, figures)) in cells.iter().enumerate() {
                let width = (figures.nanos / worst * BARS as f64).round();
                let colour = if n == 0 { "#2a6f97" } else { "#b8c4cc" };
                let (middle, end) = (y + 10, NAMES as f64 + width + 6.0);
                let _ = write!(
                    body,
                    "<text x='{}' y='{middle}' text-anchor='end'>{column}</text>\n\
                     <rect x='{NAMES}' y='{y}' width='{width}' height='{}' fill='{colour}'/>\n\
                     <text x='{end}' y='{middle}'>{:.0} ns</text>\n",
                    NAMES - 8,
                    BAR - 2,
                    figures.nanos,
                );
                y += BAR;
            }
            y += 10;
        }
        let width = NAMES + BARS + 90;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{y}' font-family='sans-serif' font-size='11'>\n\
             <rect width='100%' height='100%' fill='white'/>\n\
             <text x='10' y='24' font-size='15' font-weight='bold'>{title}</text>\n{body}</svg>\n"
        )
    }
}
