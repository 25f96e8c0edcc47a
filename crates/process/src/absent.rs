//! What takes the place of children and of ends of pipes where the crate has none: types without a
//! value. So the public types exist everywhere, and code that names them compiles.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::process::ExitStatus;
use std::task::{Context, Poll};

use crate::signal::Signal;

/// An end of a pipe, which no function here returns.
#[derive(Debug)]
pub(crate) enum End {}

impl End {
    pub(crate) fn poll_read(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_read_uninit(&self, _: &mut Context<'_>, _: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_read_vectored(&self, _: &mut Context<'_>, _: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_write(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) fn poll_write_vectored(&self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(crate) async fn gone(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn close(&mut self) {
        match *self {}
    }
}

/// A child, which no function here starts.
#[derive(Debug)]
pub(crate) enum Process {}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn program(&self) -> &str {
        match *self {}
    }

    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        match *self {}
    }

    pub(crate) async fn ended(&self) -> io::Result<ExitStatus> {
        match *self {}
    }

    pub(crate) fn signal(&self, _: Signal) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_running(&self) -> bool {
        match *self {}
    }

    pub(crate) fn leave(self) {
        match self {}
    }
}

/// The error of what starts a child or makes a pipe.
pub(crate) fn unsupported<T>() -> io::Result<T> {
    let text = "picot-process has children and pipes on Unix only; use `std::process` in `spawn_blocking`";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
