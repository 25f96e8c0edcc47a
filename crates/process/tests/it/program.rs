//! Tests that need a process of their own: the test's program starts itself again with the test's
//! name, and the part that is to run there runs.

use std::any::type_name;
use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// However busy the machine is, no program takes so long for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// Tells a program which test it is started for.
const VARIABLE: &str = "PICOT_TEST_PROGRAM";

/// Begins the lines that are for the test; the test harness writes others.
const MARK: &str = "> ";

/// Writes a line for the test.
pub(crate) fn say(line: &str) {
    println!("{MARK}{line}");
}

/// Runs `body` in a process of its own, and asserts that it ends well.
pub(crate) fn alone<F: FnOnce()>(body: F) {
    let mut program = start(body);
    program.close_stdin();
    let (status, lines) = program.end();
    assert!(status.success(), "{status}, {lines:?}\n{}", program.stderr());
}

/// Starts `body` as a program. Call it once in a test, before anything else.
pub(crate) fn start<F: FnOnce()>(body: F) -> Program {
    start_by(body, |command| command)
}

/// As [`start`], through a shell script that ends with `exec "$@"`.
pub(crate) fn start_after<F: FnOnce()>(script: &str, body: F) -> Program {
    start_by(body, |command| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{script}; exec \"$@\""), "sh"]).arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    })
}

/// As [`start`], with changes to the command, whose streams are pipes.
pub(crate) fn start_by<F: FnOnce()>(body: F, change: impl FnOnce(Command) -> Command) -> Program {
    let name = type_name::<F>();
    let name = name.split_once("::").expect("a path").1;
    let name = name.split("::{{closure}}").next().expect("a first part");
    if env::var_os(VARIABLE).as_deref() == Some(OsStr::new(name)) {
        body();
        process::exit(0);
    }
    let_programs_be_interrupted();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = change(command).env(VARIABLE, name).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    // On a thread, so that waiting for a line has an end.
    let stdout = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || {
        for line in stdout.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The harness does not end its line before the output of a test.
            if let Some((_, line)) = line.split_once(MARK) {
                let _ = sender.send(line.to_string());
            }
        }
    });
    Program { child, lines }
}

/// Gives the programs the default for `SIGINT`, which a shell ignores for its jobs in the
/// background: a signal that has a handler here has the default again in programs that are
/// executed.
fn let_programs_be_interrupted() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(Signal::INT.as_raw(), always).unwrap();
    });
}

/// A program that runs beside its test, and is killed with it.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Returns the next line of the program.
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => panic!("the program has ended"),
            Err(RecvTimeoutError::Timeout) => panic!("no line came within {DEADLINE:?}"),
        }
    }

    /// Asserts what the next line is.
    pub(crate) fn expect(&self, line: &str) {
        assert_eq!(self.line(), line);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for its end. Returns its status and the lines that are left.
    pub(crate) fn end(&mut self) -> (ExitStatus, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("no end came within {DEADLINE:?}"),
            }
        }
        (self.child.wait().unwrap(), lines)
    }

    /// As [`end`](Program::end), for a program that a signal ends.
    pub(crate) fn killed_by(&mut self) -> Option<i32> {
        self.end().0.signal()
    }

    /// Returns what it has written to its standard error, up to its end.
    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
