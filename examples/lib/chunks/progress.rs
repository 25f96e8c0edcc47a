//! The progress bar, on a terminal only.

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use picot::interval;

use super::input::Input;

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// How far the chunks are. Any thread adds; the loop's thread draws.
#[derive(Debug, Default)]
pub struct Progress {
    /// All bytes of the files, if that is known.
    total: Option<u64>,
    chunks: usize,
    // Relaxed, all: these are only shown.
    bytes: AtomicU64,
    sorted: AtomicUsize,
    is_shown: bool,
    is_over: AtomicBool,
}

impl Progress {
    /// For these chunks. Nothing is shown if standard error is not a terminal, or cannot move its
    /// cursor.
    pub fn new(inputs: &[Input]) -> Arc<Progress> {
        Arc::new(Progress {
            total: inputs.iter().map(|input| input.size).sum(),
            chunks: inputs.len(),
            is_shown: stderr().is_terminal() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb"),
            ..Progress::default()
        })
    }

    /// Counts bytes of a file as read.
    pub fn has_read(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a chunk as sorted.
    pub fn has_sorted(&self) {
        self.sorted.fetch_add(1, Ordering::Relaxed);
    }

    /// Draws the bar now and then, until [`finish`](Progress::finish).
    pub async fn draw(self: Arc<Progress>) {
        if !self.is_shown {
            return;
        }
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            // A terminal that is gone is no reason to end the work.
            let _ = write!(stderr(), "\r{}\x1b[K", self.bar());
        }
    }

    /// Removes the bar for good.
    pub fn finish(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.clear();
    }

    /// Removes the bar until it is drawn again, for a line that is printed.
    pub fn clear(&self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn bar(&self) -> String {
        let (bytes, sorted) = (self.bytes.load(Ordering::Relaxed), self.sorted.load(Ordering::Relaxed));
        let read = match self.total {
            Some(total) if total > 0 => {
                // A file may grow while it is read.
                let bytes = bytes.min(total);
                let done = (bytes * WIDTH / total) as usize;
                let bar = "#".repeat(done) + &" ".repeat(WIDTH as usize - done);
                format!("[{bar}] {:3} %", bytes * 100 / total)
            }
            _ => format!("{:.1} MB", bytes as f64 / 1e6),
        };
        format!("{read} read, {sorted} of {} chunks sorted", self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_the_part_that_is_read_or_the_bytes_if_the_whole_is_not_known() {
        let known = Progress { total: Some(1000), chunks: 3, ..Progress::default() };
        assert_eq!(known.bar(), format!("[{:30}]   0 % read, 0 of 3 chunks sorted", ""));
        known.has_read(500);
        known.has_sorted();
        assert_eq!(known.bar(), format!("[{:30}]  50 % read, 1 of 3 chunks sorted", "#".repeat(15)));
        known.has_read(600);
        assert_eq!(known.bar(), format!("[{}] 100 % read, 1 of 3 chunks sorted", "#".repeat(30)));
        for total in [None, Some(0)] {
            let unknown = Progress { total, chunks: 1, ..Progress::default() };
            unknown.has_read(1_500_000);
            assert_eq!(unknown.bar(), "1.5 MB read, 0 of 1 chunks sorted");
        }
    }
}
