//! Signals by number and by name.

use std::fmt;

/// A signal by its number.
///
/// The constants have the names of POSIX without `SIG`. [`from_raw`](Signal::from_raw) makes the
/// others, such as the real-time signals.
///
/// ```
/// use picot_process::Signal;
///
/// assert_eq!(Signal::INT.to_string(), "SIGINT");
/// assert_eq!(Signal::from_raw(99).to_string(), "signal 99");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

macro_rules! signals {
    ($($(#[$doc:meta])+ $name:ident = $number:path;)+) => {
        impl Signal {
            $($(#[$doc])+ pub const $name: Signal = Signal($number);)+

            /// Returns the name, such as `SIGINT`; `None` for a number without a constant.
            ///
            /// ```
            /// assert_eq!(picot_process::Signal::TERM.name(), Some("SIGTERM"));
            /// ```
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Signal::$name => Some(concat!("SIG", stringify!($name))),)+
                    _ => None,
                }
            }
        }
    };
}

#[cfg(unix)]
signals! {
    /// Aborts the process: sent by `abort`.
    ABRT = signal_hook::consts::SIGABRT;
    /// A timer of `alarm` has run out.
    ALRM = signal_hook::consts::SIGALRM;
    /// An access to memory that does not exist. It cannot be listened to.
    BUS = signal_hook::consts::SIGBUS;
    /// A child has ended, stopped or continued. Ignored by default.
    CHLD = signal_hook::consts::SIGCHLD;
    /// Continues a stopped process. Ignored by default, apart from that.
    CONT = signal_hook::consts::SIGCONT;
    /// A wrong operation on numbers. It cannot be listened to.
    FPE = signal_hook::consts::SIGFPE;
    /// The terminal is gone. Daemons take it as the request to reload their configuration.
    HUP = signal_hook::consts::SIGHUP;
    /// A wrong instruction. It cannot be listened to.
    ILL = signal_hook::consts::SIGILL;
    /// Ctrl-C on the terminal.
    INT = signal_hook::consts::SIGINT;
    /// Ends the process. It cannot be listened to.
    KILL = signal_hook::consts::SIGKILL;
    /// A write to a pipe or socket that has no reader. Rust's runtime ignores it.
    PIPE = signal_hook::consts::SIGPIPE;
    /// A timer that counts processor time has run out.
    PROF = signal_hook::consts::SIGPROF;
    /// Ctrl-\ on the terminal: ends the process with a core dump.
    QUIT = signal_hook::consts::SIGQUIT;
    /// An access to memory that is not allowed. It cannot be listened to.
    SEGV = signal_hook::consts::SIGSEGV;
    /// Stops the process. It cannot be listened to.
    STOP = signal_hook::consts::SIGSTOP;
    /// A wrong system call.
    SYS = signal_hook::consts::SIGSYS;
    /// The polite request to end: what `kill` and service managers send.
    TERM = signal_hook::consts::SIGTERM;
    /// A breakpoint of a debugger.
    TRAP = signal_hook::consts::SIGTRAP;
    /// Ctrl-Z on the terminal: stops the process.
    TSTP = signal_hook::consts::SIGTSTP;
    /// A process in the background reads from the terminal.
    TTIN = signal_hook::consts::SIGTTIN;
    /// A process in the background writes to the terminal.
    TTOU = signal_hook::consts::SIGTTOU;
    /// A socket has urgent data. Ignored by default.
    URG = signal_hook::consts::SIGURG;
    /// Has no meaning of its own.
    USR1 = signal_hook::consts::SIGUSR1;
    /// Has no meaning of its own.
    USR2 = signal_hook::consts::SIGUSR2;
    /// A timer that counts processor time has run out.
    VTALRM = signal_hook::consts::SIGVTALRM;
    /// The terminal's size has changed. Ignored by default.
    WINCH = signal_hook::consts::SIGWINCH;
    /// The limit of processor time is exceeded.
    XCPU = signal_hook::consts::SIGXCPU;
    /// The limit of a file's size is exceeded.
    XFSZ = signal_hook::consts::SIGXFSZ;
}

/// The numbers of the C library of Windows.
#[cfg(not(unix))]
mod numbers {
    pub(super) const SIGINT: i32 = 2;
    pub(super) const SIGTERM: i32 = 15;
}

#[cfg(not(unix))]
signals! {
    /// Ctrl-C on the console.
    INT = numbers::SIGINT;
    /// The polite request to end.
    TERM = numbers::SIGTERM;
}

impl Signal {
    /// Makes a signal of its number. Whether the system has it shows when it is used.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// assert_eq!(picot_process::Signal::from_raw(9), picot_process::Signal::KILL);
    /// ```
    pub const fn from_raw(number: i32) -> Signal {
        Signal(number)
    }

    /// Returns the number.
    ///
    /// ```
    /// assert_eq!(picot_process::Signal::INT.as_raw(), 2);
    /// ```
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// Writes the name, or `signal 99` where there is none.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}
