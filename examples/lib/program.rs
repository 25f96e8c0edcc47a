//! For the tests: running examples as programs, and reading what they print.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// However busy the machine is, no program of the tests takes so long for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// The example `name`, built as this test was.
pub fn example(name: &str) -> Command {
    let mut folder = env::current_exe().unwrap();
    folder.pop();
    folder.pop();
    let program = folder.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "{} is not built; `cargo test` does that, or `cargo build --examples`",
        program.display()
    );
    Command::new(program)
}

/// Its status and its lines on standard output and standard error; but for the loop's reports of
/// slow steps, which a busy machine can bring about in any program.
pub fn lines(output: &Output) -> (Option<i32>, Vec<String>, Vec<String>) {
    let (status, stdout, mut stderr) = all_lines(output);
    stderr.retain(|line| !line.contains(" kept the loop from everything else for "));
    (status, stdout, stderr)
}

/// [`lines`] with reports of slow steps.
pub fn all_lines(output: &Output) -> (Option<i32>, Vec<String>, Vec<String>) {
    let split = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_string).collect();
    (output.status.code(), split(&output.stdout), split(&output.stderr))
}

/// A program that runs beside the test; it ends with it.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it, with its output piped.
    pub fn start(mut command: Command) -> Running {
        Running::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// The same of a program of others, which takes input; `None` if it is not there, which is
    /// said.
    pub fn start_if_there(program: &str, arguments: &[&str]) -> Option<Running> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if_there(program, command.spawn()).map(Running::of)
    }

    fn of(mut child: Child) -> Running {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Apart, so that waiting for a line has an end.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// The next line that it prints; empty if it prints no more.
    ///
    /// # Panics
    /// If it does not come.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line.trim_end().to_string(),
            Err(RecvTimeoutError::Disconnected) => String::new(),
            Err(RecvTimeoutError::Timeout) => panic!("no line came within {DEADLINE:?}"),
        }
    }

    /// Gives it something to read.
    pub fn send(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

/// Starts an example that serves, and gives the address that its first line tells.
pub fn server(name: &str, arguments: &[&str]) -> (Running, String) {
    let mut command = example(name);
    command.args(arguments);
    let mut server = Running::start(command);
    let line = server.line();
    let address = line.strip_prefix("listening at ").unwrap_or_else(|| panic!("{line}")).to_string();
    (server, address)
}

/// Runs a program of others to its end, with this as its input; `None` if it is not there, which is
/// said.
///
/// # Panics
/// If it does not end; it is killed then.
pub fn run_if_there(program: &str, arguments: &[&str], input: Vec<u8>) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = if_there(program, command.spawn())?;
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read it all is no error.
    thread::spawn(move || drop(stdin.write_all(&input)));
    let (sender, outputs) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let pipes: [(bool, Box<dyn Read + Send>); 2] = [(true, Box::new(stdout)), (false, Box::new(stderr))];
    for (is_stdout, mut pipe) in pipes {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            let _ = sender.send((is_stdout, text));
        });
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let Ok((is_stdout, text)) = outputs.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{program} {arguments:?} has not ended within {DEADLINE:?}");
        };
        *(if is_stdout { &mut stdout } else { &mut stderr }) = text;
    }
    Some(Output { status: child.wait().unwrap(), stdout, stderr })
}

/// Tells apart a program that is not there from one that cannot be run.
fn if_there(program: &str, spawned: io::Result<Child>) -> Option<Child> {
    match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("skipped: no {program} here");
            None
        }
        spawned => Some(spawned.unwrap()),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
