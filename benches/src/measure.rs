//! Measuring one block: the fastest of several runs, with instructions where they can be counted.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

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
        let nanos = start.elapsed().as_nanos() as f64 / operations as f64;
        let instructions = counter::stop(&mut counter).map(|count| count as f64 / operations as f64);
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
    rows: Vec<(&'static str, Vec<Figures>)>,
}

impl Table {
    /// Adds a figure; columns and rows come in the order in which they are first named.
    pub fn add(&mut self, row: &'static str, column: &'static str, figures: Figures) {
        if !self.columns.contains(&column) {
            self.columns.push(column);
        }
        match self.rows.iter_mut().find(|(name, _)| *name == row) {
            Some((_, figures_of_row)) => figures_of_row.push(figures),
            None => self.rows.push((row, vec![figures])),
        }
    }

    /// Prints the table: nanoseconds / user instructions per operation.
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
            for figure in figures {
                print!("| {figure:cell$} ");
            }
            println!("|");
        }
    }
}
