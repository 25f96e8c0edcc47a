//! A running child with its pipes.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Output};
use std::task::{Context, Poll};

use picot_loop::sleep;
use picot_net::Reader;

#[cfg(not(unix))]
use crate::absent::Process;
use crate::command::Options;
use crate::pipe::{PipeReader, PipeWriter};
#[cfg(unix)]
use crate::process::Process;
use crate::signal::Signal;

/// What kills a process, under a number that is the same everywhere.
pub(crate) const KILL: Signal = Signal::from_raw(9);

/// A child process, made by [`Command::spawn`](crate::Command::spawn).
///
/// Dropping it leaves the process running, or kills it with
/// [`kill_on_drop`](crate::Command::kill_on_drop). Either way a task of the loop collects the
/// status when the process ends, so that it leaves no zombie. If the loop is closed before that,
/// the next start of a child on the same thread collects it, or the end of the thread. A child
/// that ends after its thread stays a zombie until this process ends.
///
/// ```
/// use std::process::Stdio;
/// use picot_net::{Reader, Writer};
/// use picot_process::Command;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let mut cat = Command::new("cat");
///     let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
///     let mut lines = Reader::new(child.stdout.take().unwrap());
///     let mut stdin = Writer::new(child.stdin.take().unwrap());
///
///     stdin.write_line("back and forth").await?;
///     assert_eq!(lines.read_line().await?.as_deref(), Some("back and forth"));
///     drop(stdin); // cat reads the end of its input, and ends
///     assert!(child.wait().await?.success());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "Process")]
pub struct Child {
    /// The child's standard input, if it is piped. Take it out and drop it to end the child's
    /// input.
    pub stdin: Option<PipeWriter>,
    /// The child's standard output, if it is piped.
    pub stdout: Option<PipeReader>,
    /// The child's standard error, if it is piped.
    pub stderr: Option<PipeReader>,
    /// `None` only within `drop`.
    process: Option<Process>,
    options: Options,
}

impl Child {
    pub(crate) fn new(
        process: Process,
        stdin: Option<PipeWriter>,
        [stdout, stderr]: [Option<PipeReader>; 2],
        options: Options,
    ) -> Child {
        Child { stdin, stdout, stderr, process: Some(process), options }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("only `drop` takes it")
    }

    pub(crate) fn program(&self) -> &str {
        self.process().program()
    }

    /// The number of the process. It stays the child's until its status is collected, by
    /// [`wait`](Child::wait) or another method; then another process may get it.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut echo = Command::shell("echo $$");
    ///     let child = echo.stdout(Stdio::piped()).spawn()?;
    ///     let id = child.id();
    ///     assert_eq!(child.wait_with_output().await?.stdout, format!("{id}\n").as_bytes());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "pid")]
    #[doc(alias = "get_pid")]
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Waits for the end of the process, and returns its status, whether it has ended by itself or
    /// by a signal.
    ///
    /// Any number of tasks may wait at a time, and later waits return the same status. The wait
    /// does not depend on the pipes: it returns although processes that the child has started keep
    /// them open. Unlike std's, it does not close stdin. A child that reads its stdin to the end
    /// ends only after [`stdin`](Child::stdin) was taken and dropped.
    ///
    /// ```
    /// use futures_lite::future::zip;
    /// use picot_process::{Command, Signal};
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     use std::os::unix::process::ExitStatusExt;
    ///     let child = Command::new("sleep").arg("3600").spawn()?;
    ///     child.signal(Signal::TERM)?;
    ///     let (one, other) = zip(child.wait(), child.wait()).await;
    ///     assert_eq!((one?.signal(), other?.signal()), (Some(15), Some(15)));
    ///     assert_eq!(child.try_wait()?, Some(child.wait().await?));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    ///
    /// # Errors
    /// If the status was collected by other code in this process, for example a library that waits
    /// for all children, or if `SIGCHLD` is ignored, with which the kernel keeps no status. If the
    /// child's loop is closed. The text names the program.
    ///
    /// # If dropped
    /// Nothing happens: the status is kept for the next wait.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.process().ended().await
    }

    /// Returns the status if the process has ended, without waiting.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait), but a closed loop does not matter.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("sleep").arg("3600").spawn()?;
    ///     assert_eq!(child.try_wait()?, None);
    ///     child.kill()?;
    ///     let status = child.wait().await?;
    ///     assert_eq!(child.try_wait()?, Some(status));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "returncode")]
    #[doc(alias = "get_returncode")]
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.process().try_wait()
    }

    /// Kills the process, by `SIGKILL`. Returns at once; [`wait`](Child::wait) waits for the end.
    /// One that has ended already is left as it is, which is no error.
    ///
    /// # Errors
    /// The operating system's error, for example because the child runs as another user.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("sleep").arg("3600").spawn()?;
    ///     child.kill()?;
    ///     assert!(!child.wait().await?.success());
    ///     child.kill()?; // it has ended, so this has no effect
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.signal(KILL)
    }

    /// Sends a signal, such as [`Signal::TERM`]. A process that has ended already takes it without
    /// effect, which is no error.
    ///
    /// No other process can get it instead. The one exception is a child that is watched by
    /// SIGCHLD while other code of the program collects its status by a `waitpid` of its own.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a number that has no name on this system,
    /// real-time signals included; and the operating system's error.
    ///
    /// ```
    /// use picot_process::{Command, Signal};
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("sleep").arg("3600").spawn()?;
    ///     child.signal(Signal::TERM)?;
    ///     assert_eq!(child.wait().await?.code(), None, "ended by a signal");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "send_signal")]
    #[doc(alias = "terminate")]
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process().signal(signal)
    }

    /// Closes stdin, reads stdout and stderr at the same time, as far as they are piped, and waits
    /// for the end.
    ///
    /// It returns when both pipes have ended, also where that is later than the end of the child:
    /// see [`drain_limit`](crate::Command::drain_limit).
    ///
    /// # Errors
    /// As for [`wait`](Child::wait), and the errors of reading.
    ///
    /// # If dropped
    /// What was read is lost, and the child is dropped.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::shell("echo out; exit 3").stdout(Stdio::piped()).spawn()?;
    ///     let output = child.wait_with_output().await?;
    ///     assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"out\n"[..]));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn wait_with_output(self) -> io::Result<Output> {
        self.communicate([]).await
    }

    /// As [`wait_with_output`](Child::wait_with_output), but writes `input` to stdin first, if it
    /// is piped, while it reads. A child that does not read all of it is no error.
    ///
    /// # Errors
    /// As for [`wait_with_output`](Child::wait_with_output), and the errors of writing.
    ///
    /// # If dropped
    /// What was read is lost, and the child is dropped.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    ///     let output = child.communicate("2\n10\n1\n").await?;
    ///     assert_eq!(output.stdout, b"1\n10\n2\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn communicate(mut self, input: impl AsRef<[u8]>) -> io::Result<Output> {
        let (stdin, limit) = (self.stdin.take(), self.options.drain_limit);
        let mut stdout = self.stdout.take().map(Reader::new);
        let mut stderr = self.stderr.take().map(Reader::new);
        let (mut status, mut out, mut err) = (None, None, None);
        {
            let (mut fed, mut feed) = (None, pin!(feed(stdin, input.as_ref())));
            let mut read_out = pin!(read(stdout.as_mut()));
            let mut read_err = pin!(read(stderr.as_mut()));
            let mut ended = pin!(self.wait());
            let mut alarm = None;
            poll_fn(|cx| {
                poll_into(&mut fed, feed.as_mut(), cx)?;
                poll_into(&mut out, read_out.as_mut(), cx)?;
                poll_into(&mut err, read_err.as_mut(), cx)?;
                poll_into(&mut status, ended.as_mut(), cx)?;
                match (status, limit) {
                    (None, _) => Poll::Pending,
                    (Some(_), _) if out.is_some() && err.is_some() => Poll::Ready(io::Result::Ok(())),
                    (Some(_), None) => Poll::Pending,
                    (Some(_), Some(limit)) => Pin::new(alarm.get_or_insert_with(|| sleep(limit))).poll(cx).map(Ok),
                }
            })
            .await?;
        }
        // What a read under way has got is in its reader's buffer.
        let text = |whole: Option<Vec<u8>>, reader: Option<Reader<PipeReader>>| {
            whole.or_else(|| reader.map(|reader| reader.into_parts().1)).unwrap_or_default()
        };
        let status = status.expect("the wait is over only when there is a status");
        Ok(Output { status, stdout: text(out, stdout), stderr: text(err, stderr) })
    }
}

/// Polls a future until it is ready, and keeps its value.
fn poll_into<T>(
    value: &mut Option<T>,
    future: Pin<&mut impl Future<Output = io::Result<T>>>,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    if value.is_none() {
        if let Poll::Ready(ready) = future.poll(cx) {
            *value = Some(ready?);
        }
    }
    Ok(())
}

/// Writes all of the input, and closes stdin.
async fn feed(stdin: Option<PipeWriter>, input: &[u8]) -> io::Result<()> {
    let Some(stdin) = stdin else { return Ok(()) };
    match stdin.write_all(input).await {
        // The child does not have to read its input.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        result => result,
    }
}

/// Reads to the end of the stream.
async fn read(reader: Option<&mut Reader<PipeReader>>) -> io::Result<Vec<u8>> {
    match reader {
        Some(reader) => reader.read_to_end().await,
        None => Ok(Vec::new()),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        // In a forked process neither of these does anything.
        if self.options.kill_on_drop && process.is_running() {
            // An error has no place to go; the process may be another user's by now.
            let _ = process.signal(KILL);
        }
        process.leave();
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("process", &self.process)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}
