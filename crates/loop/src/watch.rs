//! Readers and writers: callbacks that run for as long as an I/O object is ready, asyncio's `add_reader` and `add_writer`.
//!
//! Each is a task of its own that holds its source, so the object stays open while it is watched. What is told is a level, as
//! in asyncio, although sources know edges: after each call the operating system is asked whether the object is ready still.

use std::panic::Location;
use std::rc::Rc;

use picot_context::{Cause, Kind, Origin, Place, Report, catch};
use picot_reactor::{Direction, Pollable, Source};

use crate::handle::{LoopHandle, open};
use crate::time::sleep::yield_now;
use crate::watches::Watches;

impl LoopHandle {
    /// Calls `call` once in each turn in which `source` can be read, until the reader is removed. It takes the place of the
    /// source's reader before it, if there is one; a writer is another matter. The source is kept alive by this.
    ///
    /// The callback may use the source, or the object itself. If it reads nothing, it is called again in the next turn. If it
    /// panics, that is reported, and it is called again all the same.
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

    /// As [`add_reader`](LoopHandle::add_reader), for turns in which `source` can be written to. That is nearly always so; remove
    /// the writer when there is nothing to write.
    ///
    /// # Panics
    /// If the loop is closed.
    #[track_caller]
    pub fn add_writer<T: Pollable + 'static>(&self, source: &Rc<Source<T>>, call: impl FnMut(&Source<T>) + 'static) {
        self.watch("writer", source, Direction::Write, Location::caller(), call);
    }

    /// Removes the reader of `source`; it is not called any more. Returns whether there was one: not if the loop is closed.
    pub fn remove_reader<T>(&self, source: &Rc<Source<T>>) -> bool {
        self.inner.watches.remove(Watches::key(source, Direction::Read))
    }

    /// Removes the writer of `source`; it is not called any more. Returns whether there was one: not if the loop is closed.
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
        open(self.check_open());
        let task = self.spawn_at(place, Some(name), watching);
        self.inner.watches.set(Watches::key(source, direction), task);
    }
}

/// Calls `call` whenever the source is ready, until it is dropped or the operating system refuses to tell.
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
                if let Err(payload) = catch(|| call(&source)) {
                    report(Cause::Panic(payload));
                }
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
