//! What a loop has of signals: one socket that handlers write to, and the listeners.
//!
//! The pump is a task that reads the socket. It passes on what the flags say, so a byte is only a
//! hint: bytes that coalesce lose nothing, and a byte that a forked child has written changes
//! nothing, because the flags of the child are not those of this process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picot_context::{Cause, Kind, Origin, Report};
use picot_loop::{Direction, LoopHandle, Source, Task};

use super::disposition::Registration;
use super::number::Signal;

thread_local! {
    /// The hub of this thread's loop, while it has listeners.
    static HUB: RefCell<Weak<Hub>> = const { RefCell::new(Weak::new()) };
}

/// The signals of one loop. The pump owns it, and ends with the last listener or with the loop.
pub(super) struct Hub {
    handle: LoopHandle,
    /// The end that handlers write to; each registration has a duplicate.
    socket: UnixStream,
    signals: RefCell<BTreeMap<Signal, Heard>>,
    /// The callbacks of `add_signal_handler`. They hold the hub, until they are removed or the pump
    /// is dropped.
    handlers: RefCell<BTreeMap<Signal, Listening>>,
    pump: RefCell<Option<Task<()>>>,
}

/// A signal that has listeners on this loop.
struct Heard {
    /// Set by the handler.
    flag: Arc<AtomicBool>,
    _registration: Registration,
    listeners: Vec<Rc<dyn Listen>>,
}

/// A listener, called with nothing borrowed.
pub(super) trait Listen {
    /// `signal` has arrived, at least once since the last call.
    fn arrived(self: Rc<Self>, signal: Signal);
    /// The loop is closed, so no signal will arrive.
    fn closed(&self);
}

impl Hub {
    /// Returns the hub of `handle`'s loop, or `None` if it has no listeners.
    pub(super) fn find(handle: &LoopHandle) -> Option<Rc<Hub>> {
        let hub = HUB.try_with(|hub| hub.borrow().upgrade()).ok()??;
        // There is one loop a thread, but a closed one may have been followed by another.
        let is_live = !hub.handle.is_closed() && !handle.is_closed() && !hub.signals.borrow().is_empty();
        is_live.then_some(hub)
    }

    /// Adds a listener for `signals` to `handle`'s loop. It hears what arrives from now on.
    pub(super) fn listen(
        handle: &LoopHandle,
        signals: &[Signal],
        listener: &Rc<impl Listen + 'static>,
    ) -> io::Result<Listening> {
        let hub = match Hub::find(handle) {
            Some(hub) => {
                // What has arrived before is for those who listened then.
                hub.dispatch();
                hub
            }
            None => Hub::start(handle)?,
        };
        // From here on, an error undoes what was added before it.
        let mut listening = Listening { hub: hub.clone(), signals: Vec::new(), listener: listener.clone() };
        for signal in signals {
            hub.add(*signal, listener.clone())?;
            listening.signals.push(*signal);
        }
        Ok(listening)
    }

    fn start(handle: &LoopHandle) -> io::Result<Rc<Hub>> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let source = handle.register(near)?;
        let hub = Rc::new(Hub {
            handle: handle.clone(),
            socket: far,
            signals: RefCell::default(),
            handlers: RefCell::default(),
            pump: RefCell::default(),
        });
        let pump = handle.spawn_named("signals", pump(Pumped { hub: hub.clone() }, source));
        hub.pump.replace(Some(pump));
        HUB.set(Rc::downgrade(&hub));
        Ok(hub)
    }

    fn add(&self, signal: Signal, listener: Rc<dyn Listen>) -> io::Result<()> {
        let mut signals = self.signals.borrow_mut();
        if let Some(heard) = signals.get_mut(&signal) {
            heard.listeners.push(listener);
            return Ok(());
        }
        let flag = Arc::new(AtomicBool::new(false));
        let registration = Registration::new(signal, flag.clone(), self.socket.try_clone()?)?;
        signals.insert(signal, Heard { flag, _registration: registration, listeners: vec![listener] });
        Ok(())
    }

    /// Removes a listener from `signals`. What no listener is left for is given up.
    fn remove(&self, gone: &[Signal], listener: &Rc<dyn Listen>) {
        let mut signals = self.signals.borrow_mut();
        for signal in gone {
            let Some(heard) = signals.get_mut(signal) else { continue };
            heard.listeners.retain(|other| !Rc::ptr_eq(other, listener));
            if heard.listeners.is_empty() {
                signals.remove(signal);
            }
        }
        if signals.is_empty() {
            drop(signals);
            if let Some(pump) = self.pump.take() {
                pump.cancel("the last listener is gone");
            }
        }
    }

    /// Removes the callback of `signal`. Returns whether there was one.
    pub(super) fn remove_handler(&self, signal: Signal) -> bool {
        let removed = self.handlers.borrow_mut().remove(&signal);
        removed.is_some()
    }

    /// Hands what has arrived to the listeners.
    fn dispatch(&self) {
        let signals = self.signals.borrow();
        let arrived: Vec<_> = signals
            .iter()
            .filter(|(_, heard)| heard.flag.swap(false, Ordering::SeqCst))
            .flat_map(|(signal, heard)| heard.listeners.iter().map(|listener| (*signal, listener.clone())))
            .collect();
        drop(signals);
        for (signal, listener) in arrived {
            listener.arrived(signal);
        }
    }
}

/// A listener's place in the hub. Dropping it removes the listener.
pub(super) struct Listening {
    hub: Rc<Hub>,
    signals: Vec<Signal>,
    listener: Rc<dyn Listen>,
}

impl Listening {
    pub(super) fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Has the hub keep it as the handler of `signal`, in place of an earlier one.
    pub(super) fn keep_as_handler(self, signal: Signal) {
        let hub = self.hub.clone();
        let old = hub.handlers.borrow_mut().insert(signal, self);
        // Dropped last and with nothing borrowed: its callback is foreign code.
        drop(old);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.remove(&self.signals, &self.listener);
    }
}

/// The hub as its pump owns it. If that is dropped with listeners left, their loop is closed.
struct Pumped {
    hub: Rc<Hub>,
}

impl Drop for Pumped {
    fn drop(&mut self) {
        let handlers = self.hub.handlers.take();
        drop(handlers);
        let signals = self.hub.signals.take();
        for listener in signals.into_values().flat_map(|heard| heard.listeners) {
            listener.closed();
        }
    }
}

async fn pump(pumped: Pumped, source: Source<UnixStream>) {
    loop {
        match poll_fn(|cx| source.poll_io(cx, Direction::Read, drain)).await {
            Ok(()) => pumped.hub.dispatch(),
            Err(error) => {
                let report = Report::new(Origin::new(Kind::Loop), Cause::Io(error));
                return pumped.hub.handle.report(report);
            }
        }
    }
}

/// Reads all bytes that there are.
fn drain(mut socket: &UnixStream) -> io::Result<()> {
    let mut bytes = [0; 256];
    // Reading before the flags are read loses nothing: a handler sets the flag, then writes.
    if socket.read(&mut bytes)? == bytes.len() {
        while matches!(socket.read(&mut bytes), Ok(256)) {}
    }
    Ok(())
}
