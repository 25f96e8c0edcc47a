//! Runs a program, and prints each line that it writes with the time since its start.
//!
//! Usage: `run [--limit SECONDS] PROGRAM [ARGUMENT…]`. What the program writes to its standard
//! error goes to standard error. After the limit the program is killed.
//!
//! The status is the program's; 128 and the number of the signal that ended it; 124 after the
//! limit; 127 if the program cannot start. These are the shell's and `timeout`'s.

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    unix::main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("run: child processes are for Unix");
    ExitCode::FAILURE
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsString;
    use std::io;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitCode, ExitStatus, Stdio};
    use std::time::Duration;

    use lexopt::prelude::*;
    use picot::net::{ReadError, Reader};
    use picot::process::{Command, PipeReader};
    use picot::time::Instant;
    use picot::{gather, timeout};

    struct Options {
        limit: Duration,
        program: OsString,
        arguments: Vec<OsString>,
    }

    #[picot::main]
    pub(super) async fn main() -> ExitCode {
        let options = match options() {
            Ok(options) => options,
            Err(error) => return failed(&error, 2),
        };
        match run(options).await {
            Ok(status) => ExitCode::from(status),
            Err(error) => failed(&error, 127),
        }
    }

    fn failed(error: &dyn std::fmt::Display, status: u8) -> ExitCode {
        eprintln!("run: {error}");
        ExitCode::from(status)
    }

    fn options() -> Result<Options, lexopt::Error> {
        let mut limit = Duration::MAX;
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("limit") => {
                    let seconds = parser.value()?.parse()?;
                    limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                }
                // What follows the program is the program's.
                Value(program) => return Ok(Options { limit, program, arguments: parser.raw_args()?.collect() }),
                other => return Err(other.unexpected()),
            }
        }
        Err("a program is needed".into())
    }

    async fn run(options: Options) -> io::Result<u8> {
        let mut command = Command::new(options.program);
        command.args(options.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let start = Instant::now();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let both = async {
            gather((
                show(stdout, start, |time, line| println!("{time} {line}")),
                show(stderr, start, |time, line| eprintln!("{time} {line}")),
            ))
            .await?;
            child.wait().await
        };
        match timeout(options.limit, both).await {
            Ok(status) => Ok(code(status?)),
            Err(_) => {
                child.kill()?;
                let status = child.wait().await?;
                eprintln!("run: killed after {:?}: {status}", options.limit);
                Ok(124)
            }
        }
    }

    /// Prints the lines of a pipe to its end.
    async fn show(pipe: Option<PipeReader>, start: Instant, print: impl Fn(String, String)) -> io::Result<()> {
        let mut reader = Reader::new(pipe.expect("the command pipes it"));
        loop {
            let (line, is_last) = match reader.read_until(b"\n").await {
                Ok(line) => (line, false),
                Err(ReadError::Incomplete { partial, .. }) if partial.is_empty() => return Ok(()),
                // The last line may lack its end.
                Err(ReadError::Incomplete { partial, .. }) => (partial, true),
                Err(error) => return Err(io::Error::other(error)),
            };
            let time = format!("{:8.3}", start.elapsed().as_secs_f64());
            print(time, String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            if is_last {
                return Ok(());
            }
        }
    }

    fn code(status: ExitStatus) -> u8 {
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }
}
