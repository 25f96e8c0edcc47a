//! A child process as the operating system knows it: how its end is noticed, and its status
//! collected.
//!
//! Invariants:
//! - The status is collected once, from this process alone and never for any child (`waitpid(-1)`),
//!   and is kept. So a wait that is dropped loses nothing, and any number of waits get it.
//! - No signal is sent once the status was collected, because another process may have the number
//!   by then. A pidfd, where there is one, names this process for ever.
//! - A process that was forked from this one has copies of the values here. It neither signals nor
//!   waits: these are its parent's children.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ExitStatus};

use picot_context::{Closed, budget};
use picot_loop::LoopHandle;
use picot_net::seam::About;
#[cfg(target_os = "linux")]
use picot_reactor::{Direction, Source};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, kill_process, waitpid};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use crate::signal::{Signal, signal};

/// A child process, not its pipes.
pub(crate) struct Process {
    pid: Pid,
    /// The program, for errors and for the name of a task.
    program: Box<str>,
    watch: Watch,
    state: Cell<State>,
}

#[derive(Clone, Copy)]
enum State {
    /// Running, or ended without its status collected.
    Running,
    Ended(ExitStatus),
    /// The status was collected by other code.
    Lost,
}

/// How the end of a process is noticed.
pub(crate) enum Watch {
    /// A descriptor of the process, which is readable from its end on.
    #[cfg(target_os = "linux")]
    Pidfd(Source<OwnedFd>),
    /// Each `SIGCHLD` may be its end.
    Sigchld {
        /// The id of the process that started it.
        owner: u32,
    },
}

impl Watch {
    /// Watches a child whose status was not collected yet, by a pidfd where the system has them.
    #[cfg(target_os = "linux")]
    pub(crate) fn new(handle: &LoopHandle, pid: Pid) -> io::Result<Watch> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Watch::Pidfd(handle.register(fd)?)),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NODEV)) => Err(error.into()),
            // Linux before 5.3 has none, and a sandbox may forbid the call. A process that does not
            // exist any more was collected by other code, which the first look finds out.
            Err(_) => Ok(Watch::by_sigchld()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(_: &LoopHandle, _: Pid) -> io::Result<Watch> {
        Ok(Watch::by_sigchld())
    }

    pub(crate) fn by_sigchld() -> Watch {
        Watch::Sigchld { owner: process::id() }
    }
}

impl Process {
    pub(crate) fn new(pid: Pid, program: Box<str>, watch: Watch) -> Process {
        Process { pid, program, watch, state: Cell::new(State::Running) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// The status if it is known without a system call.
    fn known(&self) -> io::Result<Option<ExitStatus>> {
        match self.state.get() {
            State::Running => Ok(None),
            State::Ended(status) => Ok(Some(status)),
            State::Lost => Err(self.lost()),
        }
    }

    /// Collects the status if the process has ended.
    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.known()? {
            return Ok(Some(status));
        }
        let ended = match self.collect() {
            Ok(ended) => ended,
            Err(Errno::CHILD) => {
                self.state.set(State::Lost);
                return Err(self.lost());
            }
            Err(error) => return Err(self.failed("wait for", error.into())),
        };
        if let Some(status) = ended {
            self.state.set(State::Ended(status));
        }
        Ok(ended)
    }

    fn collect(&self) -> rustix::io::Result<Option<ExitStatus>> {
        rustix::io::retry_on_intr(|| match &self.watch {
            #[cfg(target_os = "linux")]
            Watch::Pidfd(source) => {
                let id = WaitId::PidFd(source.get_ref().as_fd());
                let ended = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
                Ok(ended.map(|ended| {
                    // The layout of a status is the same on all architectures.
                    let raw = match (ended.exit_status(), ended.terminating_signal()) {
                        (Some(code), _) => (code & 0xff) << 8,
                        (None, Some(signal)) => signal | if ended.dumped() { 0x80 } else { 0 },
                        (None, None) => 0,
                    };
                    ExitStatus::from_raw(raw)
                }))
            }
            Watch::Sigchld { .. } => {
                let ended = waitpid(Some(self.pid), WaitOptions::NOHANG)?;
                Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
            }
        })
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&self) -> io::Result<ExitStatus> {
        poll_fn(budget::poll_left).await;
        if let Some(status) = self.known()? {
            budget::spend();
            return Ok(status);
        }
        match &self.watch {
            #[cfg(target_os = "linux")]
            Watch::Pidfd(source) => {
                // An event may be spurious: then there is no status yet, and the wait goes on.
                let look = || self.try_wait().transpose().ok_or_else(|| io::ErrorKind::WouldBlock.into());
                let looked = poll_fn(|cx| source.poll_io(cx, Direction::Read, |_| look())).await;
                looked.map_err(|error| self.failed("wait for", error))?
            }
            Watch::Sigchld { .. } => {
                // Listens first and looks second, so that no end is missed in between.
                let mut arrivals = signal(Signal::CHLD).map_err(|error| self.failed("wait for", error))?;
                loop {
                    if let Some(status) = self.try_wait()? {
                        budget::spend_call();
                        return Ok(status);
                    }
                    if arrivals.recv().await.is_none() {
                        return Err(self.failed("wait for", io::Error::other(Closed::new())));
                    }
                }
            }
        }
    }

    /// Sends a signal. A process that has ended takes it without effect.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.is_forked() {
            let error = io::Error::other("it is a child of the process that this one was forked from");
            return Err(self.failed(&format!("send {signal} to"), error));
        }
        if !self.is_running() {
            return Ok(());
        }
        let sent = match rustix::process::Signal::from_named_raw(signal.as_raw()) {
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "only signals with a name can be sent")),
            Some(number) => match &self.watch {
                #[cfg(target_os = "linux")]
                Watch::Pidfd(source) => pidfd_send_signal(source.get_ref(), number),
                Watch::Sigchld { .. } => kill_process(self.pid, number),
            }
            .or_else(|error| if error == Errno::SRCH { Ok(()) } else { Err(error.into()) }),
        };
        sent.map_err(|error| self.failed(&format!("send {signal} to"), error))
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state.get(), State::Running)
    }

    /// Whether this process was forked from the one that started the child.
    ///
    /// For a child with a pidfd this needs no system call, where the kernel can wipe pages at a
    /// fork.
    pub(crate) fn is_forked(&self) -> bool {
        match &self.watch {
            #[cfg(target_os = "linux")]
            Watch::Pidfd(source) => source.is_forked(),
            Watch::Sigchld { owner } => process::id() != *owner,
        }
    }

    /// Whether the process runs or its status is still to be collected, by this process.
    fn is_left(&self) -> bool {
        // In this order: a child whose status is known, the usual case, needs no further look.
        self.is_running() && !self.is_forked() && matches!(self.try_wait(), Ok(None))
    }

    /// Leaves a child to itself: its status is collected when it ends, by a task of the loop.
    pub(crate) fn leave(self) {
        if !self.is_left() {
            return;
        }
        match LoopHandle::try_current() {
            Ok(handle) if !handle.is_closed() => {
                let name = format!("collects the status of {} ({})", self.program, self.id());
                // Dropping the task's handle lets it run on. An error means that the status was
                // lost, or that the loop has closed; then dropping the process does the rest.
                drop(handle.spawn_named(&name, async move { drop(self.ended().await) }));
            }
            _ => {}
        }
    }

    #[cold]
    fn lost(&self) -> io::Error {
        let text = "its status was collected by other code in this process, or SIGCHLD is ignored";
        self.failed("wait for", io::Error::new(io::ErrorKind::NotFound, text))
    }

    fn failed(&self, operation: &str, error: io::Error) -> io::Error {
        error.about(format_args!("{operation} `{}` (process {})", self.program, self.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closes the pidfd with the source: what remains is the number, which stays the child's
        // until its status is collected.
        if self.is_left() {
            let _ = ORPHANS.try_with(|orphans| orphans.borrow_mut().0.push((self.pid, process::id())));
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.state.get() {
            State::Ended(status) => Some(status),
            State::Running | State::Lost => None,
        };
        f.debug_struct("Process")
            .field("program", &self.program)
            .field("id", &self.id())
            .field("status", &status)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static ORPHANS: RefCell<Orphans> = const { RefCell::new(Orphans(Vec::new())) };
}

/// Children that outlived the loop that they were started on, with the process that started them.
/// No loop waits for them any more.
struct Orphans(Vec<(Pid, u32)>);

impl Orphans {
    /// Collects the status of those that have ended by now.
    fn collect(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let this = process::id();
        self.0.retain(|(pid, owner)| {
            let look = || waitpid(Some(*pid), WaitOptions::NOHANG);
            *owner == this && matches!(rustix::io::retry_on_intr(look), Ok(None))
        });
    }
}

impl Drop for Orphans {
    /// The end of the thread, which is the last time that this list is looked through.
    fn drop(&mut self) {
        self.collect();
    }
}

/// Collects the status of the orphans that have ended by now. Each start of a child calls this, so
/// that their number is bounded by those that run.
pub(crate) fn collect_orphans() {
    ORPHANS.with_borrow_mut(Orphans::collect);
}
