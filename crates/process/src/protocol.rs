//! A child by callbacks: asyncio's subprocess protocols.
//!
//! One task drives the child. Invariants:
//! - Only the task calls callbacks, with nothing borrowed. A method of the transport only records
//!   what it asks for, and wakes the task.
//! - Each pipe's data comes before its `pipe_lost`, which comes once. `exited` comes once, before
//!   or after any of these. `lost` is the last callback.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::process::ExitStatus;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use picot_context::{Kind, Origin, Report, WaitInfo, WaitKind, budget, catch, contain, report};
use picot_loop::LoopHandle;
use picot_net::seam::{Condition, Outgoing, Receive, Transmit};

use crate::child::{Child, KILL};
use crate::command::Command;
use crate::pipe::{PipeReader, PipeWriter};
use crate::signal::Signal;

/// Bytes of one read, which all pipes of a child share.
const BUFFER: usize = 64 * 1024;

/// More unsent bytes than the first pause a protocol; at the second or fewer it resumes.
const MARKS: (usize, usize) = (64 * 1024, 16 * 1024);

/// The callbacks of a child process (asyncio's `SubprocessProtocol`).
///
/// [`made`](SubprocessProtocol::made) comes first and [`lost`](SubprocessProtocol::lost) last. In
/// between, each pipe has its [`pipe_data`](SubprocessProtocol::pipe_data) any number of times and
/// then its [`pipe_lost`](SubprocessProtocol::pipe_lost) once, and
/// [`exited`](SubprocessProtocol::exited) comes once, before, between or after these: a child may
/// end with bytes of it still unread, and a pipe may outlive it. Pipes have the child's numbers: 0
/// is stdin, 1 stdout, 2 stderr.
///
/// Callbacks run on the loop's thread, one at a time, and never inside of a call to the transport.
/// A callback that panics ends the protocol: the error hook receives the panic, the child is
/// killed, and `lost` is called with an error.
///
/// ```
/// use std::cell::RefCell;
/// use std::process::{ExitStatus, Stdio};
/// use std::rc::Rc;
/// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
///
/// struct Collect(Rc<RefCell<Vec<u8>>>);
///
/// impl SubprocessProtocol for Collect {
///     fn pipe_data(&mut self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
///         assert_eq!(fd, 1);
///         self.0.borrow_mut().extend_from_slice(data);
///     }
///
///     fn exited(&mut self, _: &SubprocessTransport, status: ExitStatus) {
///         assert!(status.success());
///     }
/// }
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let text = Rc::default();
///     let mut command = Command::new("tr");
///     command.args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped());
///     let transport = command.spawn_protocol(Collect(Rc::clone(&text)))?;
///     transport.write(b"hello")?;
///     transport.write_eof();
///     transport.closed().await;
///     assert_eq!(*text.borrow(), b"HELLO");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
pub trait SubprocessProtocol: 'static {
    /// The child was started.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// /// Feeds the child from the start.
    /// struct Feeds;
    ///
    /// impl SubprocessProtocol for Feeds {
    ///     fn made(&mut self, transport: &SubprocessTransport) {
    ///         transport.write(b"2\n1\n").unwrap();
    ///         transport.write_eof();
    ///     }
    ///
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, data: &[u8]) {
    ///         assert_eq!(data, b"1\n2\n");
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut sort = Command::new("sort");
    ///     let sort = sort.stdin(Stdio::piped()).stdout(Stdio::piped());
    ///     sort.spawn_protocol(Feeds)?.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "connection_made")]
    fn made(&mut self, transport: &SubprocessTransport) {
        let _ = transport;
    }

    /// The child wrote `data` to its stdout (`fd` is 1) or stderr (2); at least one byte.
    ///
    /// A pipe has no messages: a piece ends anywhere.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::process::Stdio;
    /// use std::rc::Rc;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// /// What the child writes to stdout and stderr.
    /// #[derive(Clone, Default)]
    /// struct Collects(Rc<RefCell<[Vec<u8>; 2]>>);
    ///
    /// impl SubprocessProtocol for Collects {
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
    ///         self.0.borrow_mut()[usize::from(fd == 2)].extend_from_slice(data);
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let texts = Collects::default();
    ///     let mut command = Command::shell("echo out; echo trouble >&2");
    ///     let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    ///     command.spawn_protocol(texts.clone())?.closed().await;
    ///     assert_eq!(*texts.0.borrow(), [b"out\n".to_vec(), b"trouble\n".to_vec()]);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "pipe_data_received")]
    fn pipe_data(&mut self, transport: &SubprocessTransport, fd: i32, data: &[u8]);

    /// A pipe has ended: the last process that had stdout or stderr open for writing has closed it,
    /// or the last one that had stdin (`fd` is 0) open for reading; or the transport closed it.
    /// With bytes of stdin still unsent, the error is a broken pipe.
    ///
    /// ```
    /// use std::io;
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// struct Ends;
    ///
    /// impl SubprocessProtocol for Ends {
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    ///
    ///     fn pipe_lost(&mut self, _: &SubprocessTransport, fd: i32, error: Option<io::Error>) {
    ///         assert!(fd == 1 && error.is_none());
    ///         println!("the child has closed its stdout");
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut echo = Command::new("echo");
    ///     echo.stdout(Stdio::piped()).spawn_protocol(Ends)?.closed().await;
    ///     io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "pipe_connection_lost")]
    fn pipe_lost(&mut self, transport: &SubprocessTransport, fd: i32, error: Option<io::Error>) {
        let _ = (transport, fd, error);
    }

    /// The child has ended. Data of its pipes may still come.
    ///
    /// ```
    /// use std::process::ExitStatus;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// struct Ends;
    ///
    /// impl SubprocessProtocol for Ends {
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    ///
    ///     fn exited(&mut self, transport: &SubprocessTransport, status: ExitStatus) {
    ///         assert_eq!(status.code(), Some(7));
    ///         assert_eq!(transport.status(), Some(status));
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     Command::shell("exit 7").spawn_protocol(Ends)?.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "process_exited")]
    fn exited(&mut self, transport: &SubprocessTransport, status: ExitStatus) {
        let _ = (transport, status);
    }

    /// The child and all pipes have ended. With an error, a callback has panicked, or the status of
    /// the child was collected by other code.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// struct Ends(Rc<Cell<bool>>);
    ///
    /// impl SubprocessProtocol for Ends {
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    ///
    ///     fn lost(&mut self, error: Option<std::io::Error>) {
    ///         assert!(error.is_none());
    ///         self.0.set(true);
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let is_over = Rc::new(Cell::new(false));
    ///     Command::new("true").spawn_protocol(Ends(is_over.clone()))?.closed().await;
    ///     assert!(is_over.get());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "connection_lost")]
    fn lost(&mut self, error: Option<io::Error>) {
        drop(error);
    }

    /// More than 64 KiB written to stdin are unsent. Write no more for now.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// /// Gives a child up that does not read.
    /// struct Impatient;
    ///
    /// impl SubprocessProtocol for Impatient {
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    ///
    ///     fn pause_writing(&mut self, transport: &SubprocessTransport) {
    ///         assert!(transport.unsent() > 64 * 1024);
    ///         transport.kill().unwrap();
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut sleep = Command::new("sleep");
    ///     let transport = sleep.arg("3600").stdin(Stdio::piped()).spawn_protocol(Impatient)?;
    ///     transport.write(&[b'x'; 1 << 20])?; // more than the kernel's buffer takes
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    fn pause_writing(&mut self, transport: &SubprocessTransport) {
        let _ = transport;
    }

    /// The unsent bytes are down to 16 KiB. Writing may continue.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// /// Writes `n` more pieces, as fast as the child reads.
    /// struct Feeds(usize);
    ///
    /// impl SubprocessProtocol for Feeds {
    ///     fn made(&mut self, transport: &SubprocessTransport) {
    ///         self.resume_writing(transport);
    ///     }
    ///
    ///     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, data: &[u8]) {
    ///         assert_eq!(data, b"3200000\n");
    ///     }
    ///
    ///     fn resume_writing(&mut self, transport: &SubprocessTransport) {
    ///         // Beyond this, the protocol is paused, and this is called again later.
    ///         while self.0 > 0 && transport.unsent() <= 64 * 1024 {
    ///             self.0 -= 1;
    ///             transport.write(&[b'x'; 32_000]).unwrap();
    ///         }
    ///         if self.0 == 0 {
    ///             transport.write_eof();
    ///         }
    ///     }
    /// }
    ///
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let mut count = Command::new("wc");
    ///     let count = count.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
    ///     count.spawn_protocol(Feeds(100))?.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    fn resume_writing(&mut self, transport: &SubprocessTransport) {
        let _ = transport;
    }
}

impl Command {
    /// Starts the program, and calls `protocol` for what happens to it. The pipes are those that
    /// the command makes by [`Stdio::piped`](std::process::Stdio::piped).
    ///
    /// A task of the loop owns the child. When the loop is closed, it is dropped, as a
    /// [`Child`](crate::Child) is. An example is at [`SubprocessProtocol`].
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn).
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("true").spawn_protocol(Ignore)?;
    ///     transport.closed().await;
    ///     assert!(transport.status().unwrap().success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "subprocess_exec")]
    #[doc(alias = "subprocess_shell")]
    #[track_caller]
    pub fn spawn_protocol(&mut self, protocol: impl SubprocessProtocol) -> io::Result<SubprocessTransport> {
        let mut child = self.spawn()?;
        let stdin = child.stdin.take().map(Rc::new);
        let pipes = [child.stdout.take(), child.stderr.take()];
        let child = Rc::new(child);
        let shared = Rc::new(Shared {
            child: Rc::downgrade(&child),
            id: child.id(),
            status: Cell::new(None),
            outgoing: RefCell::default(),
            unsent: Cell::new(0),
            has_stdin: Cell::new(stdin.is_some()),
            ends_stdin: Cell::new(false),
            paused: [const { Cell::new(false) }; 2],
            is_closing: Cell::new(false),
            asks_to_close: Cell::new(false),
            is_lost: Cell::new(false),
            task: Cell::new(None),
            ending: Condition::default(),
        });
        let transport = SubprocessTransport { shared };
        let name = format!("the protocol of {} ({})", child.program(), child.id());
        let driver = Driver::new(protocol, transport.clone(), child, stdin, pipes);
        drop(LoopHandle::current().spawn_named(&name, driver.run()));
        Ok(transport)
    }
}

/// What the transports and the task share.
struct Shared {
    /// The task owns the child.
    child: Weak<Child>,
    id: u32,
    status: Cell<Option<ExitStatus>>,
    /// Bytes for stdin that the task has not taken yet.
    outgoing: RefCell<Outgoing>,
    /// The number of unsent bytes, here and with the task.
    unsent: Cell<usize>,
    /// stdin is open, and takes bytes.
    has_stdin: Cell<bool>,
    /// stdin will be closed after the unsent bytes.
    ends_stdin: Cell<bool>,
    /// stdout and stderr are not read.
    paused: [Cell<bool>; 2],
    is_closing: Cell<bool>,
    /// The task has not closed the pipes yet.
    asks_to_close: Cell<bool>,
    is_lost: Cell<bool>,
    /// The task, while it waits.
    task: Cell<Option<Waker>>,
    /// Notified once `is_lost` is set.
    ending: Condition,
}

/// The child of a protocol (asyncio's `SubprocessTransport`). Clones are handles of the same child.
///
/// No method runs a callback: what a method causes comes after it. Dropping transports does not
/// close the child.
///
/// ```
/// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
///
/// # struct Ignore;
/// # impl SubprocessProtocol for Ignore {
/// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
/// # }
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let transport = Command::new("sleep").arg("3600").spawn_protocol(Ignore)?;
///     transport.clone().kill()?;
///     transport.closed().await;
///     assert!(!transport.status().unwrap().success());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone)]
pub struct SubprocessTransport {
    shared: Rc<Shared>,
}

impl SubprocessTransport {
    /// The number of the process; see [`Child::id`].
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("true").spawn_protocol(Ignore)?;
    ///     println!("started process {}", transport.id());
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "get_pid")]
    pub fn id(&self) -> u32 {
        self.shared.id
    }

    /// The status, from [`exited`](SubprocessProtocol::exited) on.
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::shell("exit 7").spawn_protocol(Ignore)?;
    ///     assert_eq!(transport.status(), None);
    ///     transport.closed().await;
    ///     assert_eq!(transport.status().unwrap().code(), Some(7));
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "get_returncode")]
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.status.get()
    }

    /// Sends a signal; see [`Child::signal`].
    ///
    /// # Errors
    /// As for [`Child::signal`]. After the child has ended, it has no effect.
    ///
    /// ```
    /// use picot_process::{Command, Signal, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("sleep").arg("3600").spawn_protocol(Ignore)?;
    ///     transport.signal(Signal::TERM)?;
    ///     transport.closed().await;
    ///     assert!(!transport.status().unwrap().success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "send_signal")]
    #[doc(alias = "terminate")]
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.shared.child.upgrade().map_or(Ok(()), |child| child.signal(signal))
    }

    /// Kills the child; see [`Child::kill`].
    ///
    /// # Errors
    /// As for [`signal`](SubprocessTransport::signal).
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("sleep").arg("3600").spawn_protocol(Ignore)?;
    ///     transport.kill()?;
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.signal(KILL)
    }

    /// Writes to stdin without waiting: the bytes are buffered, and sent in order. The buffer has
    /// no limit; see [`pause_writing`](SubprocessProtocol::pause_writing).
    ///
    /// # Errors
    /// If stdin is not piped, has ended, or was closed. The bytes are not sent.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("cat").stdin(Stdio::piped()).spawn_protocol(Ignore)?;
    ///     transport.write(b"hello\n")?;
    ///     transport.write_eof();
    ///     transport.closed().await;
    ///     assert!(transport.write(b"too late").is_err());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let shared = &self.shared;
        if !shared.has_stdin.get() || shared.ends_stdin.get() || shared.is_closing.get() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the child's stdin is closed, or was never piped"));
        }
        shared.outgoing.borrow_mut().push(bytes);
        shared.unsent.set(shared.unsent.get() + bytes.len());
        shared.attend();
        Ok(())
    }

    /// Closes stdin after all unsent bytes. A second call has no effect.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("cat").stdin(Stdio::piped()).spawn_protocol(Ignore)?;
    ///     transport.write_eof(); // `cat` ends at the end of its input
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn write_eof(&self) {
        self.shared.ends_stdin.set(true);
        self.shared.attend();
    }

    /// The number of bytes for stdin that are not sent yet.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("cat").stdin(Stdio::piped()).spawn_protocol(Ignore)?;
    ///     transport.write(b"hello\n")?;
    ///     assert_eq!(transport.unsent(), 6, "the task of the protocol has not run");
    ///     transport.write_eof();
    ///     transport.closed().await;
    ///     assert_eq!(transport.unsent(), 0);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn unsent(&self) -> usize {
        self.shared.unsent.get()
    }

    /// Reads nothing from stdout (`fd` is 1) or stderr (2) until
    /// [`resume_reading`](SubprocessTransport::resume_reading). The pipe fills, and then the child
    /// waits.
    ///
    /// # Panics
    /// If `fd` is neither 1 nor 2.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("yes").stdout(Stdio::piped()).spawn_protocol(Ignore)?;
    ///     transport.pause_reading(1); // the pipe fills, and `yes` waits
    ///     transport.close();
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn pause_reading(&self, fd: i32) {
        self.set_paused(fd, true);
    }

    /// Reads again after [`pause_reading`](SubprocessTransport::pause_reading).
    ///
    /// # Panics
    /// If `fd` is neither 1 nor 2.
    ///
    /// ```
    /// use std::process::Stdio;
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("echo").stdout(Stdio::piped()).spawn_protocol(Ignore)?;
    ///     transport.pause_reading(1);
    ///     transport.resume_reading(1);
    ///     transport.closed().await; // after the end of stdout
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn resume_reading(&self, fd: i32) {
        self.set_paused(fd, false);
    }

    #[track_caller]
    fn set_paused(&self, fd: i32, is_paused: bool) {
        assert!(fd == 1 || fd == 2, "only 1 (stdout) and 2 (stderr) are read, not {fd}");
        self.shared.paused[fd as usize - 1].set(is_paused);
        self.shared.attend();
    }

    /// Closes all pipes, without sending what is unsent, and kills the child if it still runs. Its
    /// status comes to [`exited`](SubprocessProtocol::exited) as usual. A second call has no
    /// effect.
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("sleep").arg("3600").spawn_protocol(Ignore)?;
    ///     transport.close();
    ///     transport.closed().await;
    ///     assert!(!transport.status().unwrap().success());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn close(&self) {
        if !self.shared.is_closing.replace(true) {
            // At once and not by the task, which may have no further turn: the loop may close. An
            // error means that the child runs as another user by now, and it is left to itself.
            let _ = self.kill();
            self.shared.asks_to_close.set(true);
            self.shared.attend();
        }
    }

    /// Whether the transport was closed, or the child and its pipes have ended.
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("sleep").arg("3600").spawn_protocol(Ignore)?;
    ///     assert!(!transport.is_closing());
    ///     transport.close();
    ///     assert!(transport.is_closing());
    ///     transport.closed().await;
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.shared.is_closing.get() || self.shared.is_lost.get()
    }

    /// Waits until [`lost`](SubprocessProtocol::lost) was called, or the loop has dropped the
    /// protocol. It does not end the child; [`close`](SubprocessTransport::close) does.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
    ///
    /// # struct Ignore;
    /// # impl SubprocessProtocol for Ignore {
    /// #     fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
    /// # }
    /// # #[cfg(unix)]
    /// picot_loop::run(async {
    ///     let transport = Command::new("true").spawn_protocol(Ignore)?;
    ///     transport.closed().await;
    ///     assert!(transport.is_closing());
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn closed(&self) {
        let about = || WaitInfo::new(WaitKind::Process, "the end of the child process");
        self.shared.ending.until_about(about, || self.shared.is_lost.get()).await;
    }
}

impl Shared {
    /// Lets the task look at what was asked for.
    fn attend(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport")
            .field("id", &self.id())
            .field("status", &self.status())
            .field("closing", &self.is_closing())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}

/// Waits that are the task's own.
type Wait<T> = Pin<Box<dyn Future<Output = io::Result<T>>>>;

/// The task's state: the child, its pipes, and the protocol.
struct Driver<P: SubprocessProtocol> {
    /// `None` after the last callback.
    protocol: Option<P>,
    transport: SubprocessTransport,
    /// stdin, and the wait for its last reader to go.
    stdin: Option<(Rc<PipeWriter>, Wait<()>)>,
    /// stdout and stderr.
    pipes: [Option<PipeReader>; 2],
    /// The wait for the end of the child. `None` after it.
    exit: Option<Wait<ExitStatus>>,
    child: Rc<Child>,
    /// Bytes on their way to stdin.
    outgoing: Outgoing,
    /// `pause_writing` was called, and `resume_writing` was not called since.
    is_paused: bool,
    buffer: Vec<u8>,
}

/// What ends the protocol before its time.
struct Broken(io::Error);

impl<P: SubprocessProtocol> Driver<P> {
    fn new(
        protocol: P,
        transport: SubprocessTransport,
        child: Rc<Child>,
        stdin: Option<Rc<PipeWriter>>,
        pipes: [Option<PipeReader>; 2],
    ) -> Driver<P> {
        let stdin = stdin.map(|stdin| {
            let gone = stdin.clone();
            let wait: Wait<()> = Box::pin(async move { gone.closed().await });
            (stdin, wait)
        });
        let ended = child.clone();
        let exit: Wait<ExitStatus> = Box::pin(async move { ended.wait().await });
        Driver {
            protocol: Some(protocol),
            transport,
            stdin,
            pipes,
            exit: Some(exit),
            child,
            outgoing: Outgoing::default(),
            is_paused: false,
            buffer: Vec::new(),
        }
    }

    async fn run(mut self) {
        let result = match self.call(|protocol, transport| protocol.made(transport)) {
            Ok(()) => poll_fn(|cx| self.poll(cx)).await,
            broken => broken,
        };
        let error = result.err().map(|Broken(error)| error);
        if error.is_some() {
            // An error has no better place than the first one.
            let _ = self.child.kill();
        }
        if let Some(mut protocol) = self.protocol.take() {
            // Both are user code, so each panic is contained by itself.
            contain::call(origin, || protocol.lost(error));
            contain::call(origin, || drop(protocol));
        }
    }

    /// Does everything there is to do. Ready once the child and all pipes have ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if budget::poll_left(cx).is_pending() {
                return Poll::Pending;
            }
            // Cloned before the looks: what a callback asks for is seen by the next round, and what
            // other code asks for later wakes the task.
            let task = cx.waker().clone();
            self.shared().task.set(Some(task));
            let mut is_idle = true;
            for step in [Self::poll_close, Self::poll_stdin, Self::poll_stdout, Self::poll_stderr, Self::poll_exit] {
                match step(self, cx) {
                    Ok(true) => is_idle = false,
                    Ok(false) => {}
                    Err(broken) => return Poll::Ready(Err(broken)),
                }
            }
            if self.exit.is_none() && self.stdin.is_none() && self.pipes.iter().all(Option::is_none) {
                return Poll::Ready(Ok(()));
            }
            // A round in which nothing happened and no callback asked for anything has left a waker
            // everywhere.
            let task = self.shared().task.take();
            let is_unasked = task.is_some();
            self.shared().task.set(task);
            if is_idle && is_unasked {
                return Poll::Pending;
            }
        }
    }

    /// Closes what the transport asked to close. Returns whether anything happened, as all steps
    /// do.
    fn poll_close(&mut self, _: &mut Context<'_>) -> Result<bool, Broken> {
        if !self.shared().asks_to_close.replace(false) {
            return Ok(false);
        }
        let mut has_happened = false;
        if self.stdin.is_some() {
            self.lose_stdin(None)?;
            has_happened = true;
        }
        for index in 0..2 {
            if self.pipes[index].take().is_some() {
                self.call(|protocol, transport| protocol.pipe_lost(transport, index as i32 + 1, None))?;
                has_happened = true;
            }
        }
        Ok(has_happened)
    }

    fn poll_stdin(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let Some((stdin, gone)) = &mut self.stdin else { return Ok(false) };
        let shared = &self.transport.shared;
        let mut has_happened = false;
        // Before the bytes are sent, even if all of them go out then: a protocol that saw `unsent`
        // above the mark stops writing, and expects `resume_writing`.
        if !self.is_paused && shared.unsent.get() > MARKS.0 {
            self.is_paused = true;
            self.call(|protocol, transport| protocol.pause_writing(transport))?;
            return Ok(true);
        }
        if self.outgoing.length() == 0 {
            self.outgoing = shared.outgoing.take();
        }
        let before = self.outgoing.length();
        if before > 0 {
            let sent = self.outgoing.send(|slices| match stdin.poll_send_vectored(cx, slices) {
                Poll::Ready(Ok(sent)) => Ok(sent),
                Poll::Ready(Err(error)) => Err(Some(error)),
                Poll::Pending => Err(None),
            });
            match sent {
                Ok(()) => {
                    shared.unsent.set(shared.unsent.get() - (before - self.outgoing.length()));
                    has_happened = true;
                }
                Err(None) => {}
                Err(error) => {
                    self.lose_stdin(error)?;
                    return Ok(true);
                }
            }
        }
        let unsent = shared.unsent.get();
        if self.is_paused && unsent <= MARKS.1 {
            self.is_paused = false;
            self.call(|protocol, transport| protocol.resume_writing(transport))?;
            return Ok(true);
        }
        if unsent == 0 && shared.ends_stdin.get() {
            self.lose_stdin(None)?;
            return Ok(true);
        }
        if let Poll::Ready(result) = gone.as_mut().poll(cx) {
            let error = match result {
                Ok(()) if unsent > 0 => Some(io::ErrorKind::BrokenPipe.into()),
                result => result.err(),
            };
            self.lose_stdin(error)?;
            return Ok(true);
        }
        Ok(has_happened)
    }

    fn lose_stdin(&mut self, error: Option<io::Error>) -> Result<(), Broken> {
        self.stdin = None;
        self.shared().has_stdin.set(false);
        self.outgoing = Outgoing::default();
        self.shared().outgoing.take();
        self.shared().unsent.set(0);
        self.call(|protocol, transport| protocol.pipe_lost(transport, 0, error))
    }

    fn poll_stdout(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        self.poll_pipe(cx, 0)
    }

    fn poll_stderr(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        self.poll_pipe(cx, 1)
    }

    /// Reads once from stdout or stderr.
    fn poll_pipe(&mut self, cx: &mut Context<'_>, index: usize) -> Result<bool, Broken> {
        if self.shared().paused[index].get() {
            return Ok(false);
        }
        let Some(pipe) = &self.pipes[index] else { return Ok(false) };
        let fd = index as i32 + 1;
        self.buffer.resize(BUFFER, 0);
        let error = match pipe.poll_receive(cx, &mut self.buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => None,
            Poll::Ready(Ok(length)) => {
                let buffer = mem::take(&mut self.buffer);
                let result = self.call(|protocol, transport| protocol.pipe_data(transport, fd, &buffer[..length]));
                self.buffer = buffer;
                return result.map(|()| true);
            }
            Poll::Ready(Err(error)) => Some(error),
        };
        self.pipes[index] = None;
        self.call(|protocol, transport| protocol.pipe_lost(transport, fd, error))?;
        Ok(true)
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let Some(exit) = &mut self.exit else { return Ok(false) };
        let Poll::Ready(result) = exit.as_mut().poll(cx) else { return Ok(false) };
        self.exit = None;
        let status = result.map_err(Broken)?;
        self.shared().status.set(Some(status));
        self.call(|protocol, transport| protocol.exited(transport, status))?;
        Ok(true)
    }

    fn shared(&self) -> &Shared {
        &self.transport.shared
    }

    /// Calls the protocol. A panic is reported, and ends it.
    fn call(&mut self, call: impl FnOnce(&mut P, &SubprocessTransport)) -> Result<(), Broken> {
        let protocol = self.protocol.as_mut().expect("`lost` is the last callback, and takes the protocol");
        catch(|| call(protocol, &self.transport)).map_err(|payload| {
            report(Report::panic(origin(), payload));
            Broken(io::Error::other("a callback of the protocol panicked"))
        })
    }
}

fn origin() -> Origin {
    Origin::running().unwrap_or(Origin::new(Kind::Task))
}

impl<P: SubprocessProtocol> Drop for Driver<P> {
    fn drop(&mut self) {
        // The pipes and the child go with their fields. The waiters of `closed` are foreign code.
        let shared = self.shared();
        shared.has_stdin.set(false);
        shared.is_lost.set(true);
        shared.ending.notify();
    }
}
