//! Readers and writers: callbacks that run while an I/O object is ready (asyncio's `add_reader` and
//! `add_writer`).
//!
//! Each is a task that holds its source, so the object stays open while it is watched. As in
//! asyncio, readers are level-triggered, although sources are edge-triggered: after each call, the
//! task asks the operating system whether the object is still ready.

use std::panic::Location;
use std::rc::Rc;

use picot_context::{Cause, Kind, Origin, Place, Report, catch};
use picot_reactor::{Direction, Pollable, Source};

use crate::handle::{LoopHandle, expect_open};
use crate::time::sleep::yield_now;
use crate::watches::Watches;

impl LoopHandle {
    /// Calls `call` once per turn while `source` can be read, until the reader is removed.
    ///
    /// Replaces an earlier reader of the source; a writer is independent. The reader keeps the
    /// source alive. The callback may use the source or the object itself. If it reads nothing, it
    /// is called again in the next turn. If it panics, the panic is reported, and the reader stays.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream, rc::Rc};
    /// use picot_loop::EventLoop;
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// let handle = event_loop.handle();
    /// let (near, mut far) = UnixStream::pair()?;
    /// near.set_nonblocking(true)?;
    /// let source = Rc::new(handle.register(near)?);
    /// handle.add_reader(&source, {
    ///     let handle = handle.clone();
    ///     move |source| {
    ///         let mut byte = [0];
    ///         source.get_ref().read(&mut byte).unwrap();
    ///         assert_eq!(byte, *b"!");
    ///         handle.stop();
    ///     }
    /// });
    /// far.write_all(b"!")?;
    /// event_loop.run_forever().unwrap();
    /// assert!(handle.remove_reader(&source));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn add_reader<T: Pollable + 'static>(&self, source: &Rc<Source<T>>, call: impl FnMut(&Source<T>) + 'static) {
        self.watch("reader", source, Direction::Read, Location::caller(), call);
    }

    /// Calls `call` once per turn while `source` can be written to, until the writer is removed.
    ///
    /// Otherwise it is as [`add_reader`](LoopHandle::add_reader). A source can nearly always be
    /// written to, so remove the writer when there is nothing to write.
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// use std::{io::Write, os::unix::net::UnixStream, rc::Rc};
    /// use picot_loop::EventLoop;
    ///
    /// let event_loop = EventLoop::new().unwrap();
    /// let (near, _far) = UnixStream::pair()?;
    /// near.set_nonblocking(true)?;
    /// let source = Rc::new(event_loop.handle().register(near)?);
    /// let handle = event_loop.handle();
    /// event_loop.handle().add_writer(&source, move |source| {
    ///     source.get_ref().write_all(b"!").unwrap();
    ///     handle.stop();
    /// });
    /// event_loop.run_forever().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn add_writer<T: Pollable + 'static>(&self, source: &Rc<Source<T>>, call: impl FnMut(&Source<T>) + 'static) {
        self.watch("writer", source, Direction::Write, Location::caller(), call);
    }

    /// Removes the reader of `source`. Returns false if there is none, or if the loop is closed.
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, rc::Rc};
    ///
    /// # let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let (near, _far) = UnixStream::pair()?;
    /// near.set_nonblocking(true)?;
    /// let source = Rc::new(event_loop.handle().register(near)?);
    /// event_loop.handle().add_reader(&source, |_| ());
    /// assert!(event_loop.handle().remove_reader(&source));
    /// assert!(!event_loop.handle().remove_reader(&source));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove_reader<T>(&self, source: &Rc<Source<T>>) -> bool {
        self.inner.watches.remove(Watches::key(source, Direction::Read))
    }

    /// Removes the writer of `source`. Returns false if there is none, or if the loop is closed.
    ///
    /// ```
    /// use std::{os::unix::net::UnixStream, rc::Rc};
    ///
    /// # let event_loop = picot_loop::EventLoop::new().unwrap();
    /// let (near, _far) = UnixStream::pair()?;
    /// near.set_nonblocking(true)?;
    /// let source = Rc::new(event_loop.handle().register(near)?);
    /// event_loop.handle().add_writer(&source, |_| ());
    /// assert!(event_loop.handle().remove_writer(&source));
    /// assert!(!event_loop.handle().remove_writer(&source));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove_writer<T>(&self, source: &Rc<Source<T>>) -> bool {
        self.inner.watches.remove(Watches::key(source, Direction::Write))
    }

    #[track_caller]
    fn watch<T: Pollable + 'static>(
        &self,
        name: &str,
        source: &Rc<Source<T>>,
        direction: Direction,
        place: Place,
        call: impl FnMut(&Source<T>) + 'static,
    ) {
        let watching = watch(source.clone(), direction, place, call);
        expect_open(self.check_open());
        let task = self.spawn_at(place, Some(name), watching);
        self.inner.watches.set(Watches::key(source, direction), task);
    }
}

/// Calls `call` while the source is ready, until this future is dropped or a check fails.
async fn watch<T: Pollable>(
    source: Rc<Source<T>>,
    direction: Direction,
    place: Place,
    mut call: impl FnMut(&Source<T>),
) {
    let report = |cause| {
        if let Some(host) = picot_context::host() {
            host.report(Report::new(Origin::new(Kind::Reader).at(place), cause));
        }
    };
    loop {
        match source.check(direction) {
            Ok(()) => {
                // User code runs here. A panic is reported, and the watch goes on, as in asyncio.
                if let Err(payload) = catch(|| call(&source)) {
                    report(Cause::Panic(payload));
                }
                // Once per turn, so that a source that stays ready does not starve the others.
                yield_now().await;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if let Err(error) = source.ready(direction).await {
                    return report(Cause::Io(error));
                }
            }
            Err(error) => return report(Cause::Io(error)),
        }
    }
}
