//! Calling wakers, and telling somebody what went wrong.
//!
//! A waker is anybody's code. One that panics keeps neither the others from being woken nor whoever notified from going
//! on; the panic is reported to the thread's host. Where there is no host, a report is a line on standard error.

use std::io::Write;
use std::task::Waker;

use picot_context::{Kind, Origin, Report, catch};

/// Wakes, with no borrow of ours live: the caller sees to that.
#[inline]
pub(crate) fn wake(waker: Waker) {
    if let Err(payload) = catch(|| waker.wake()) {
        report(Report::panic(Origin::new(Kind::Waker), payload));
    }
}

pub(crate) fn wake_all(wakers: Vec<Waker>) {
    let mut wakers = wakers.into_iter();
    // One `catch` for all of them, unless one panics.
    while let Err(payload) = catch(|| wakers.by_ref().for_each(Waker::wake)) {
        report(Report::panic(Origin::new(Kind::Waker), payload));
    }
}

#[cold]
pub(crate) fn report(report: Report) {
    match picot_context::host() {
        Some(host) => host.report(report),
        // If standard error is closed there is nobody to tell.
        None => drop(writeln!(std::io::stderr(), "picot-sync: {report}")),
    }
}
