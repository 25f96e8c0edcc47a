//! The handlers of the process: which signals have listeners, and what happens without one.
//!
//! A handler sets a flag and writes a byte to the socket of a loop; nothing else runs in it. The
//! signal registry keeps its handler for a signal once it is installed, so the disposition that was
//! there before cannot return in the kernel without unsafe code. Instead, a further action of the
//! same handler does what the default would do, whenever no listener is left. What was ignored
//! before stays ignored by a handler without actions, and a handler that was there before is called
//! by the registry at all times.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::FORBIDDEN;
use signal_hook::low_level::unregister;
use signal_hook::{SigId, flag};

use super::number::Signal;

/// What happened on a signal before this crate listened to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Default,
    Ignored,
    /// Another handler ran. The registry still calls it.
    Handled,
}

/// A signal that has, or had, listeners in this process.
struct State {
    /// How many registrations exist, one per loop.
    registrations: usize,
    /// How many [`DefaultAfterFirst`] guards name this signal.
    guards: usize,
    /// Whether the handler does what the default would do. `None` if the default was not the
    /// disposition before.
    does_default: Option<Arc<AtomicBool>>,
    is_ignored: bool,
}

/// The dispositions belong to the process, and so does this.
static STATES: Mutex<BTreeMap<Signal, State>> = Mutex::new(BTreeMap::new());

fn states() -> MutexGuard<'static, BTreeMap<Signal, State>> {
    // No code of others runs while it is locked, so after a panic it is as good as before.
    STATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The actions of one loop for one signal. Dropping it removes them, and with the last one of the
/// process the disposition from before is in force again.
pub(super) struct Registration {
    signal: Signal,
    actions: [SigId; 2],
}

impl Registration {
    /// Has each arrival of `signal` set `flag` and then write a byte to `socket`.
    ///
    /// In this order: a reader of the byte sees the flag.
    pub(super) fn new(signal: Signal, flag: Arc<AtomicBool>, socket: UnixStream) -> io::Result<Registration> {
        check(signal)?;
        let refused = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen to {signal}: {error}"));
        let mut states = states();
        let state = State::of(&mut states, signal).map_err(refused)?;
        let first = flag::register(signal.as_raw(), flag).map_err(refused)?;
        let second = signal_hook::low_level::pipe::register(signal.as_raw(), socket).map_err(|error| {
            unregister(first);
            refused(error)
        })?;
        state.registrations += 1;
        // Only the first one turns the default off. A later one must not undo what a first signal
        // to an interrupted run has turned on: see `default_after_first`.
        if state.registrations == 1 {
            state.set_default(false);
        }
        Ok(Registration { signal, actions: [first, second] })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut states = states();
        let state = states.get_mut(&self.signal).expect("a state is never removed");
        state.registrations -= 1;
        // Before the actions go: a signal in between must not pass without any effect. With
        // registrations left, the flag stays as it is, which may be on by `default_after_first`.
        if state.registrations == 0 {
            state.set_default(true);
        }
        self.actions.into_iter().for_each(|action| _ = unregister(action));
    }
}

impl State {
    /// Returns the state of a signal, made before its first action.
    fn of(states: &mut BTreeMap<Signal, State>, signal: Signal) -> io::Result<&mut State> {
        Ok(match states.entry(signal) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(State::new(signal)?),
        })
    }

    /// Notes the disposition, and installs the action that acts as the default, if that is it.
    fn new(signal: Signal) -> io::Result<State> {
        let previous = previous(signal);
        // True until there is a listener: an error on the way leaves the default in force.
        let does_default = (previous == Previous::Default).then(|| Arc::new(AtomicBool::new(true)));
        if let Some(flag) = &does_default {
            let raw = signal.as_raw();
            if signal_hook::low_level::signal_name(raw).is_some() {
                flag::register_conditional_default(raw, Arc::clone(flag))?;
            } else {
                // The default of the signals without a name, such as the real-time ones, is to end
                // the process.
                flag::register_conditional_shutdown(raw, raw.saturating_add(128), Arc::clone(flag))?;
            }
        }
        Ok(State { registrations: 0, guards: 0, does_default, is_ignored: previous == Previous::Ignored })
    }

    fn set_default(&self, value: bool) {
        if let Some(flag) = &self.does_default {
            flag.store(value, Ordering::SeqCst);
        }
    }
}

/// Refuses signals that cannot be caught, and those that must not be.
fn check(signal: Signal) -> io::Result<()> {
    let why = match signal {
        Signal::KILL | Signal::STOP => "the kernel lets no process catch it",
        _ if FORBIDDEN.contains(&signal.as_raw()) => {
            "it reports a fault of the code that runs, which would run into the same fault again"
        }
        _ if signal.as_raw() <= 0 => "signals have numbers from 1 on",
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("cannot listen to {signal}: {why}")))
}

/// Returns whether the process ignored `signal` before this crate listened to it.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    match states().get(&signal) {
        Some(state) => state.is_ignored,
        None => previous(signal) == Previous::Ignored,
    }
}

/// Reads the disposition of a signal.
///
/// The system call for it needs unsafe code. Linux shows the same in a file. Elsewhere, and without
/// that file, it is taken for the default, but for the signal that Rust's runtime ignores.
fn previous(signal: Signal) -> Previous {
    let shown = if cfg!(target_os = "linux") { std::fs::read_to_string("/proc/self/status").ok() } else { None };
    let has = |field: &str| {
        let mask = shown.as_deref()?.lines().find_map(|line| line.strip_prefix(field))?;
        let mask = u128::from_str_radix(mask.trim(), 16).ok()?;
        Some(mask.checked_shr(signal.as_raw() as u32 - 1)? & 1 == 1)
    };
    match (has("SigIgn:"), has("SigCgt:")) {
        (Some(true), _) => Previous::Ignored,
        (_, Some(true)) => Previous::Handled,
        (None, None) if signal == Signal::PIPE => Previous::Ignored,
        _ => Previous::Default,
    }
}

/// Has the first arrival of any of `signals` put the default of all of them in force, inside of the
/// handler: the second ends the process even if the loop is stuck.
///
/// Call it before the registration of the signals: actions run in the order in which they were
/// registered. So the default is in force before the loop wakes and anything reacts to the first
/// signal, and a second one that another thread handles at the same time finds it. Dropping the
/// guard ends it.
pub(crate) fn default_after_first(signals: &[Signal]) -> io::Result<DefaultAfterFirst> {
    // Declared before the lock, so that after an error its destructor finds the lock free.
    let mut guard = DefaultAfterFirst { signals: Vec::new(), actions: Vec::new() };
    let mut states = states();
    for signal in signals {
        State::of(&mut states, *signal)?;
    }
    for signal in signals {
        for other in signals.iter().filter_map(|other| states.get(other)?.does_default.as_ref()) {
            // Behind the action that reads the flag: that one was registered with the state.
            guard.actions.push(flag::register(signal.as_raw(), Arc::clone(other))?);
        }
    }
    for signal in signals {
        states.get_mut(signal).expect("each state was made above").guards += 1;
    }
    guard.signals.extend_from_slice(signals);
    Ok(guard)
}

/// Made by [`default_after_first`].
pub(crate) struct DefaultAfterFirst {
    signals: Vec<Signal>,
    actions: Vec<SigId>,
}

impl Drop for DefaultAfterFirst {
    fn drop(&mut self) {
        self.actions.drain(..).for_each(|action| _ = unregister(action));
        let mut states = states();
        for signal in &self.signals {
            let state = states.get_mut(signal).expect("a state is never removed");
            state.guards -= 1;
            // Another interrupted run still cleans up, and its second signal must end the process.
            if state.guards == 0 {
                state.set_default(state.registrations == 0);
            }
        }
    }
}
