//! What there is instead of `waits` where a loop has no descriptor: an error.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::task::Context;
use std::time::Duration;

use picot_loop::EventLoop;

use crate::error::GuestError;

pub(crate) struct Waits<'a>(Infallible, PhantomData<&'a EventLoop>);

impl<'a> Waits<'a> {
    pub(crate) fn new(_: &'a EventLoop) -> Result<Waits<'a>, GuestError> {
        Err(GuestError::NoDescriptor)
    }

    pub(crate) fn clear(&mut self, _: &mut Context<'_>) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn wait(&mut self, _: Option<Duration>, _: &mut Context<'_>) -> io::Result<()> {
        match self.0 {}
    }
}
