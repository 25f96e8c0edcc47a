//! A reactor in a forked child: it refuses, and leaves the parent's alone.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use picot_reactor::{Direction, Reactor, Source};

use crate::support::{reactor, registered, wait_until};

/// Runs `check` in a forked child, which then becomes `true`.
fn in_child(mut check: impl FnMut() -> bool + Send + Sync + 'static) -> bool {
    let mut command = Command::new("true");
    // SAFETY: The closure uses memory of its own, system calls, and the allocator, which this process's other threads do not
    // leave locked across a fork.
    unsafe { command.pre_exec(move || if check() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }) };
    command.status().is_ok_and(|status| status.success())
}

thread_local! {
    static SHARED: RefCell<Option<(Reactor, Source<TcpStream>)>> = const { RefCell::new(None) };
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_child_is_refused_and_takes_nothing_out_of_its_parents_set() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    assert!(!reactor.is_forked());
    SHARED.set(Some((reactor, source)));

    assert!(in_child(|| {
        let Some((reactor, source)) = SHARED.take() else { return false };
        let refused = reactor.wait(Some(Duration::ZERO)).is_err();
        let cannot_register = reactor.register(File::open("/dev/null").unwrap()).is_err();
        drop(source);
        refused
            && cannot_register
            && reactor.is_forked()
            && Reactor::new().is_ok_and(|new| new.wait(Some(Duration::ZERO)).is_ok())
    }));

    let (reactor, source) = SHARED.take().unwrap();
    peer.write_all(b"!").unwrap();
    // Fails if the child has taken the parent's source out of the set.
    wait_until(&reactor, || source.check(Direction::Read).is_ok());
}
