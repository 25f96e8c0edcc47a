//! How a child is started: std's `Command`, on the loop.

use std::ffi::OsStr;
use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitStatus, Output, Stdio};
use std::time::Duration;

#[cfg(unix)]
use picot_loop::LoopHandle;
use picot_net::seam::About;
#[cfg(unix)]
use picot_net::seam::open_loop;
#[cfg(unix)]
use rustix::process::Pid;

use crate::child::Child;
#[cfg(unix)]
use crate::explain::explain;
#[cfg(unix)]
use crate::pipe::{End, PipeReader, PipeWriter};
#[cfg(unix)]
use crate::process::{Process, Watch, collect_orphans};

/// Starts child processes that the loop waits for. It has the methods of [`std::process::Command`].
///
/// [`status`](Command::status) runs a child, [`output`](Command::output) collects what it writes,
/// and [`spawn`](Command::spawn) returns a [`Child`] to talk to. It converts from a command of std,
/// and [`as_std_mut`](Command::as_std_mut) has the options that this type has no method for.
///
/// Starting a child takes the thread for as long as the operating system needs to load the program,
/// which is about a millisecond. Nothing else blocks.
///
/// ```
/// use picot_process::Command;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let output = Command::new("echo").arg("hello").output().await?;
///     assert!(output.status.success());
///     assert_eq!(output.stdout, b"hello\n");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "create_subprocess_exec")]
#[doc(alias = "subprocess_exec")]
pub struct Command {
    std: process::Command,
    /// Whether this type has set the child's stdin, stdout and stderr.
    is_set: [bool; 3],
    options: Options,
}

/// What a child keeps of its command.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) kill_on_drop: bool,
    pub(crate) drain_limit: Option<Duration>,
    #[cfg(unix)]
    sigchld: bool,
}

impl Command {
    /// Makes a command that runs `program`, which is searched for in `PATH` unless it contains a
    /// slash.
    ///
    /// It has no arguments, and inherits the environment, the working directory, and stdin, stdout
    /// and stderr, where a method of this type does not say otherwise.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     assert!(Command::new("true").status().await?.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        process::Command::new(program).into()
    }

    /// Makes a command that passes `script` to the shell, `sh -c`.
    ///
    /// Never build the script from text that comes from outside: use [`new`](Command::new) and
    /// [`arg`](Command::arg), which need no quoting, or pass the text as an argument of the shell.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut command = Command::shell("echo \"$1\" | tr a-z A-Z");
    ///     let output = command.arg("hello; rm *").output().await?;
    ///     assert_eq!(output.stdout, b"HELLO; RM *\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "create_subprocess_shell")]
    #[doc(alias = "subprocess_shell")]
    pub fn shell(script: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        // The shell takes the argument after the script as its own name.
        command.arg("-c").arg(script).arg("sh");
        command
    }

    /// Adds an argument.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("echo").arg("two words").output().await?;
    ///     assert_eq!(output.stdout, b"two words\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.with(|std| std.arg(arg))
    }

    /// Adds arguments.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("echo").args(["one", "two"]).output().await?;
    ///     assert_eq!(output.stdout, b"one two\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.with(|std| std.args(args))
    }

    /// Sets a variable of the child's environment.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::shell("echo $NAME").env("NAME", "value").output().await?;
    ///     assert_eq!(output.stdout, b"value\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.with(|std| std.env(key, value))
    }

    /// Sets variables of the child's environment.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut command = Command::shell("echo $A $B");
    ///     let output = command.envs([("A", "1"), ("B", "2")]).output().await?;
    ///     assert_eq!(output.stdout, b"1 2\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Command {
        self.with(|std| std.envs(variables))
    }

    /// Removes a variable from the child's environment.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut command = Command::shell("echo ${HOME-unset}");
    ///     let output = command.env_remove("HOME").output().await?;
    ///     assert_eq!(output.stdout, b"unset\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.with(|std| std.env_remove(key))
    }

    /// Removes all variables from the child's environment. Those that are set later stay.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("env").env_clear().env("A", "1").output().await?;
    ///     assert_eq!(output.stdout, b"A=1\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.with(process::Command::env_clear)
    }

    /// Sets the child's working directory.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("pwd").current_dir("/").output().await?;
    ///     assert_eq!(output.stdout, b"/\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.with(|std| std.current_dir(directory))
    }

    /// Sets the child's stdin: a [`Stdio`], such as [`Stdio::piped`], or a descriptor or file. The
    /// default is to inherit it, and for [`output`](Command::output) none.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    ///     assert_eq!(child.communicate("hello").await?.stdout, b"hello");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.is_set[0] = true;
        self.with(|std| std.stdin(stdin))
    }

    /// Sets the child's stdout. The default is to inherit it, and for [`output`](Command::output)
    /// to collect it.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("echo").stdout(Stdio::null()).output().await?;
    ///     assert!(output.stdout.is_empty(), "set, so not collected");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.is_set[1] = true;
        self.with(|std| std.stdout(stdout))
    }

    /// Sets the child's stderr. The default is to inherit it, and for [`output`](Command::output)
    /// to collect it.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::shell("echo trouble >&2").stderr(Stdio::null()).output().await?;
    ///     assert!(output.stderr.is_empty(), "set, so not collected");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.is_set[2] = true;
        self.with(|std| std.stderr(stderr))
    }

    /// Sets the name that the program sees as its own.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::new("sh").arg0("name").args(["-c", "echo $0"]).output().await?;
    ///     assert_eq!(output.stdout, b"name\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn arg0(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.with(|std| std.arg0(arg))
    }

    /// Sets the child's user.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let me = rustix::process::getuid().as_raw(); // another user needs privileges
    ///     assert!(Command::new("true").uid(me).status().await?.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.with(|std| std.uid(id))
    }

    /// Sets the child's group.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mine = rustix::process::getgid().as_raw(); // another group needs privileges
    ///     assert!(Command::new("true").gid(mine).status().await?.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.with(|std| std.gid(id))
    }

    /// Puts the child into a process group: 0 is a new one, with the number of the child. A
    /// terminal sends Ctrl-C to its foreground group only, so a child in a group of its own does
    /// not get it.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let child = Command::new("sleep").arg("3600").process_group(0).spawn()?;
    ///     // Ends all processes of the group: `sleep`, and what a shell in its place has started.
    ///     let group = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    ///     rustix::process::kill_process_group(group, rustix::process::Signal::TERM)?;
    ///     assert!(!child.wait().await?.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.with(|std| std.process_group(group))
    }

    /// Sets whether dropping the [`Child`] kills the process, if it still runs. The default is
    /// `false`: it runs on.
    ///
    /// It holds for [`output`](Command::output) and [`status`](Command::status), too, whose futures
    /// own the child: a timeout kills it then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures_lite::FutureExt;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut sleep = Command::new("sleep");
    ///     let sleep = sleep.arg("3600").kill_on_drop(true);
    ///     let limit = async {
    ///         picot_loop::sleep(Duration::from_millis(10)).await;
    ///         Err(std::io::ErrorKind::TimedOut.into())
    ///     };
    ///     // The loser of the race is dropped, and its child is killed.
    ///     assert!(sleep.status().or(limit).await.is_err());
    /// });
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.options.kill_on_drop = kill;
        self
    }

    /// Limits how long [`output`](Command::output), [`Child::wait_with_output`] and
    /// [`Child::communicate`] go on to read after the child has ended. They return what was read.
    ///
    /// Without a limit they read to the end of the pipes, as those of std. That end comes when the
    /// last process has closed them, and a child may have started others that keep them open.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     // The shell ends at once. What runs in the background keeps its stdout for a second.
    ///     let mut command = Command::shell("echo started; sleep 1 &");
    ///     let output = command.drain_limit(Duration::from_millis(10)).output().await?;
    ///     assert_eq!(output.stdout, b"started\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn drain_limit(&mut self, limit: Duration) -> &mut Command {
        self.options.drain_limit = Some(limit);
        self
    }

    /// Detects the child's end by `SIGCHLD` instead of a pidfd, a descriptor of the process.
    ///
    /// Without this, a pidfd is used where the system has them: on Linux since 5.3. `SIGCHLD` costs
    /// more: each end of a child makes every wait check its own child.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     assert!(Command::new("true").watch_by_sigchld().status().await?.success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn watch_by_sigchld(&mut self) -> &mut Command {
        self.options.sigchld = true;
        self
    }

    /// The command of std: its getters, and what is set so far.
    ///
    /// ```
    /// let command = picot_process::Command::new("echo");
    /// assert_eq!(command.as_std().get_program(), "echo");
    /// ```
    pub fn as_std(&self) -> &process::Command {
        &self.std
    }

    /// The command of std, for options that this type has no method for, such as `pre_exec`. Set
    /// stdin, stdout and stderr by this type's methods: [`output`](Command::output) replaces
    /// others.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::os::unix::process::CommandExt;
    ///
    /// let mut command = picot_process::Command::new("sh");
    /// command.as_std_mut().arg0("name");
    /// # }
    /// ```
    pub fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.std
    }

    /// Starts the program, on this thread's loop.
    ///
    /// # Errors
    /// The operating system's error, with the program: that it does not exist, is a directory, or
    /// must not be run; that the arguments are too long; that a limit is reached. If it is the
    /// working directory that is missing, or the interpreter that a script names in its first line,
    /// the error says so and names it. Also if this thread has no loop, or it is closed.
    /// [`Unsupported`](io::ErrorKind::Unsupported) on Windows. After an error no process and no
    /// descriptor is left.
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let error = Command::new("no-such-program").spawn().unwrap_err();
    ///     let text = error.to_string();
    ///     assert!(text.starts_with("cannot start `no-such-program`: No such file or directory"));
    /// });
    /// ```
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.start().about(format_args!("start `{}`", self.program()))
    }

    /// Runs the program to its end, and returns its status. What it writes goes where its command
    /// says, which is where this process writes unless it was set. Pipes are closed.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # If dropped
    /// Before the first poll, nothing was started. After it, the child runs on, or is killed with
    /// [`kill_on_drop`](Command::kill_on_drop).
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     assert_eq!(Command::shell("exit 7").status().await?.code(), Some(7));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        // A child that reads or writes a pipe that is not served would never end.
        drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
        child.wait().await
    }

    /// Runs the program to its end, and returns its status and what it wrote to stdout and stderr.
    ///
    /// stdout and stderr are collected, and stdin is empty, unless a method of this type has set
    /// them. An example is at [`Command`].
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn) and [`Child::wait_with_output`].
    ///
    /// # If dropped
    /// As for [`status`](Command::status).
    ///
    /// ```
    /// use picot_process::Command;
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let output = Command::shell("echo out; echo trouble >&2").output().await?;
    ///     assert_eq!(output.stdout, b"out\n");
    ///     assert_eq!(output.stderr, b"trouble\n");
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn output(&mut self) -> io::Result<Output> {
        self.set_others(Stdio::null(), Stdio::piped(), Stdio::piped());
        let child = self.spawn();
        // The next call of another method finds the defaults.
        self.set_others(Stdio::inherit(), Stdio::inherit(), Stdio::inherit());
        child?.wait_with_output().await
    }

    /// Sets those of the three streams that the caller has not set.
    fn set_others(&mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) {
        let is_set = self.is_set;
        if !is_set[0] {
            self.std.stdin(stdin);
        }
        if !is_set[1] {
            self.std.stdout(stdout);
        }
        if !is_set[2] {
            self.std.stderr(stderr);
        }
    }

    fn with(&mut self, set: impl FnOnce(&mut process::Command) -> &mut process::Command) -> &mut Command {
        set(&mut self.std);
        self
    }

    fn program(&self) -> Box<str> {
        self.std.get_program().to_string_lossy().into()
    }

    #[cfg(not(unix))]
    fn start(&mut self) -> io::Result<Child> {
        crate::absent::unsupported()
    }

    #[cfg(unix)]
    fn start(&mut self) -> io::Result<Child> {
        let handle = open_loop()?;
        collect_orphans();
        let mut std = self.std.spawn().map_err(|error| explain(&self.std, error))?;
        self.watch(&handle, &mut std).inspect_err(|_| {
            // It ends at once, so the wait is short. An error here has no better place than the
            // first one.
            let _ = std.kill();
            let _ = std.wait();
        })
    }

    /// Puts a child that has just been started onto the loop.
    #[cfg(unix)]
    fn watch(&self, handle: &LoopHandle, std: &mut process::Child) -> io::Result<Child> {
        let pid = Pid::from_child(std);
        let watch = if self.options.sigchld { Watch::by_sigchld() } else { Watch::new(handle, pid)? };
        let stdin = std.stdin.take().map(OwnedFd::from);
        let stdout = std.stdout.take().map(OwnedFd::from);
        let stderr = std.stderr.take().map(OwnedFd::from);
        let end = |fd, name| End::of_child(handle, fd, name);
        let stdin = stdin.map(|fd| end(fd, "the child's stdin")).transpose()?;
        let stdout = stdout.map(|fd| end(fd, "the child's stdout")).transpose()?;
        let stderr = stderr.map(|fd| end(fd, "the child's stderr")).transpose()?;
        Ok(Child::new(
            Process::new(pid, self.program(), watch),
            stdin.map(PipeWriter::new),
            [stdout, stderr].map(|end| end.map(PipeReader::new)),
            self.options,
        ))
    }
}

impl From<process::Command> for Command {
    fn from(std: process::Command) -> Command {
        Command { std, is_set: [false; 3], options: Options::default() }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("std", &self.std)
            .field("kill_on_drop", &self.options.kill_on_drop)
            .field("drain_limit", &self.options.drain_limit)
            .finish_non_exhaustive()
    }
}
