//! A trace as JSON in the Trace Event Format, which Perfetto and Chrome's `about:tracing` open.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use picot_context::TaskId;
use picot_executor::Exit;

use crate::diagnose::trace::{Slice, Trace, What};

impl Trace {
    /// Writes the trace as JSON, to open in <https://ui.perfetto.dev> or in `about:tracing`.
    ///
    /// The loop is one track. Turns, the waits in them and the steps are slices, and the steps of a
    /// scope's children are inside those of their parent. An arrow leads from each wake to the step
    /// that it caused. The blocking jobs are a second track.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// ```
    /// # let event_loop = picot_loop::EventLoop::new()?;
    /// # event_loop.handle().begin_trace(1_000);
    /// # event_loop.run_until_complete(async {})?;
    /// # let trace = event_loop.handle().end_trace().unwrap();
    /// let mut json = Vec::new();
    /// trace.write_json(&mut json)?;
    /// assert!(json.starts_with(b"{\"traceEvents\":["));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut json = Json { out, line: String::new() };
        json.out.write_all(b"{\"traceEvents\":[\n")?;
        json.line.push_str(r#"{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"loop"}}"#);
        json.write_line(false)?;
        let mut depth = 0_usize;
        let mut last = 0;
        // The arrows that have begun, and lead to the next step of their task.
        let mut arrows: HashMap<TaskId, u64> = HashMap::new();
        let mut last_arrow = 0;
        for event in &self.events {
            last = event.at;
            match &event.what {
                What::Begin(slice) => {
                    depth += 1;
                    json.begin(event.at, slice);
                    if let Slice::Task(task) = slice {
                        if let Some(arrow) = arrows.remove(&task.id()) {
                            json.write_line(true)?;
                            json.event(event.at, "f", "wake");
                            _ = write!(json.line, r#","cat":"wake","id":{arrow},"bp":"e"}}"#);
                        }
                    }
                }
                // Its begin was overwritten.
                What::End if depth == 0 => continue,
                What::End => {
                    depth -= 1;
                    json.event(event.at, "E", "");
                    json.line.push('}');
                }
                // An arrow has to begin inside of a slice.
                What::Woken(_) if depth == 0 => continue,
                What::Woken(task) => {
                    last_arrow += 1;
                    arrows.insert(*task, last_arrow);
                    json.event(event.at, "s", "wake");
                    _ = write!(json.line, r#","cat":"wake","id":{last_arrow},"args":{{"task":{task}}}}}"#);
                }
                What::Spawned(task) => json.instant(event.at, &format!("spawned {task}")),
                What::Exited(task, exit) => {
                    let how = match exit {
                        Exit::Panicked => "panicked",
                        Exit::Cancelled => "was cancelled",
                        _ => "returned",
                    };
                    json.instant(event.at, &format!("{task} {how}"));
                }
                What::Timers(count) => json.instant(event.at, &format!("timers due: {count}")),
                What::SlowStep => json.instant(event.at, "slow step"),
                What::JobBegins(task, place) => json.job(event.at, "b", *task, &place.to_string()),
                What::JobEnds(task, place) => json.job(event.at, "e", *task, &place.to_string()),
            }
            json.write_line(true)?;
        }
        // Slices that have not ended when the recording did.
        for _ in 0..depth {
            json.event(last, "E", "");
            json.line.push('}');
            json.write_line(true)?;
        }
        writeln!(json.out, "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{{\"lost_events\":\"{}\"}}}}", self.lost)
    }
}

/// Writes events, each as one line.
struct Json<'a> {
    out: &'a mut dyn Write,
    line: String,
}

impl Json<'_> {
    fn write_line(&mut self, is_next: bool) -> io::Result<()> {
        if is_next {
            self.out.write_all(b",\n")?;
        }
        self.out.write_all(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }

    /// The common fields of an event, without its closing brace. Times are in microseconds.
    fn event(&mut self, at: u64, phase: &str, name: &str) {
        let (micros, nanos) = (at / 1_000, at % 1_000);
        _ = write!(self.line, r#"{{"pid":1,"tid":1,"ph":"{phase}","ts":{micros}.{nanos:03}"#);
        if !name.is_empty() {
            self.line.push_str(r#","name":"#);
            self.string(name);
        }
    }

    fn begin(&mut self, at: u64, slice: &Slice) {
        match slice {
            Slice::Turn => self.event(at, "B", "turn"),
            Slice::Wait => self.event(at, "B", "wait"),
            Slice::Task(task) => {
                let id = task.id();
                let name = task.given_name().map_or_else(|| format!("task {id}"), str::to_string);
                self.event(at, "B", &name);
                _ = write!(self.line, r#","args":{{"task":{id},"spawned at":"#);
                self.string(&task.place().to_string());
                self.line.push('}');
            }
            Slice::Callback(place) => self.event(at, "B", &format!("callback from {place}")),
        }
        self.line.push('}');
    }

    fn instant(&mut self, at: u64, name: &str) {
        self.event(at, "i", name);
        self.line.push_str(r#","s":"t"}"#);
    }

    fn job(&mut self, at: u64, phase: &str, task: TaskId, place: &str) {
        self.event(at, phase, &format!("blocking job from {place}"));
        _ = write!(self.line, r#","cat":"job","id":{task}}}"#);
    }

    /// A string with its quotes.
    fn string(&mut self, text: &str) {
        self.line.push('"');
        for char in text.chars() {
            match char {
                '"' => self.line.push_str("\\\""),
                '\\' => self.line.push_str("\\\\"),
                char if char < ' ' => _ = write!(self.line, "\\u{:04x}", u32::from(char)),
                char => self.line.push(char),
            }
        }
        self.line.push('"');
    }
}
