//! For the tests: running examples as programs, and reading what they print.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

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

/// Its status and its lines on standard output and standard error; but for the loop's reports of slow steps, which a busy
/// machine can bring about in any program.
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
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it, with its output piped.
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is removed at the end of the test.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one in the system's temporary folder.
    pub fn new(name: &str) -> Folder {
        let folder = env::temp_dir().join(format!("picot-examples-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Makes a FIFO in it.
    #[cfg(unix)]
    pub fn fifo(&self, name: &str) -> PathBuf {
        let fifo = self.0.join(name);
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        fifo
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
