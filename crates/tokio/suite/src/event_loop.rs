//! A loop whose runs are those of a guest.

use std::ops::Deref;

use picot_tokio::{GuestError, run_guest};
use real_loop::{LoopError, RunError};
use tokio::runtime::{self, Handle, LocalOptions, LocalRuntime};

use crate::builder::Builder;
use crate::exceptions::is_exception;

/// The loop, and its host.
#[derive(Debug)]
pub struct EventLoop {
    inner: real_loop::EventLoop,
    /// `None` if the test runs without a host.
    host: Option<LocalRuntime>,
}

impl EventLoop {
    /// As of the loop.
    #[track_caller]
    pub fn new() -> Result<EventLoop, LoopError> {
        real_loop::EventLoop::new().map(EventLoop::of)
    }

    /// As of the loop.
    pub fn builder() -> Builder {
        Builder(real_loop::EventLoop::builder())
    }

    pub(crate) fn of(inner: real_loop::EventLoop) -> EventLoop {
        // Without a descriptor no host can wait; and inside of a run there is one.
        let is_hosted = inner.backend_fd().is_some() && Handle::try_current().is_err() && !is_exception();
        let host = || runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        EventLoop { inner, host: is_hosted.then(|| host().unwrap()) }
    }

    /// As of the loop, inside of the host.
    #[track_caller]
    pub fn run_until_complete<F: IntoFuture>(&self, future: F) -> Result<F::Output, RunError> {
        let host = self.host.as_ref().filter(|_| Handle::try_current().is_err());
        let Some(host) = host else { return self.inner.run_until_complete(future) };
        host.block_on(run_guest(&self.inner, future)).map_err(|error| match error {
            GuestError::Run(error) => error,
            other => panic!("{other}"),
        })
    }

    /// As of the loop, inside of the host.
    pub fn run_forever(&self) -> Result<(), RunError> {
        if self.host.is_none() {
            return self.inner.run_forever();
        }
        match self.run_until_complete(std::future::pending::<()>()) {
            Ok(()) | Err(RunError::Stopped) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Deref for EventLoop {
    type Target = real_loop::EventLoop;

    fn deref(&self) -> &real_loop::EventLoop {
        &self.inner
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Before the host, and inside of it.
        let _context = self.host.as_ref().map(|host| host.enter());
        let _ = self.inner.close();
    }
}

/// As of the loop, inside of a host.
#[track_caller]
pub fn run<F: IntoFuture>(future: F) -> F::Output {
    EventLoop::builder().run(future)
}
