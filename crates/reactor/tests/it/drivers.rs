//! Every driver of the platform, whichever of them `Reactor::new` uses.

use std::io::{Read, Write};

use picot_reactor::driver::Portable;
use picot_reactor::{Direction, Reactor};

use crate::support::{WakeCount, drain, registered, wait_until};

pub(crate) fn drivers() -> Vec<Reactor> {
    let mut drivers = vec![Reactor::new().unwrap()];
    if cfg!(not(miri)) {
        drivers.push(Reactor::with_driver(Portable::new().unwrap()));
    }
    #[cfg(target_os = "linux")]
    drivers.push(Reactor::with_driver(picot_reactor::driver::Direct::new().unwrap()));
    drivers
}

#[test]
fn each_driver_reports_data_ends_and_wakes() {
    for reactor in drivers() {
        let (source, mut peer) = registered(&reactor);
        let count = WakeCount::default();
        let mut buffer = [0; 64];
        for round in 1..=3 {
            assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
            peer.write_all(b"data").unwrap();
            wait_until(&reactor, || count.get() == round);
            assert_eq!(source.try_io(Direction::Read, |mut io| io.read(&mut buffer)).unwrap(), 4);
            assert!(source.try_io(Direction::Read, |mut io| io.read(&mut buffer)).is_err());
        }
        drain(&reactor);
        assert_eq!(count.get(), 3);
        assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
        drop(peer);
        wait_until(&reactor, || count.get() == 4);
        assert_eq!(source.try_io(Direction::Read, |mut io| io.read(&mut buffer)).unwrap(), 0);
        reactor.wake_handle().wake();
        reactor.wait(None).unwrap();
    }
}

/// Two reactors, one inside the other: a host polls the inner one's descriptor.
#[test]
#[cfg(unix)]
#[cfg_attr(miri, ignore = "Miri has no epoll in an epoll")]
fn a_host_may_poll_the_reactors_descriptor() {
    let (guest, host) = (crate::support::reactor(), crate::support::reactor());
    assert_eq!(guest.backend_fd().is_some(), !crate::support::is_portable(), "the portable driver has no descriptor");
    let Some(fd) = guest.backend_fd() else { return };
    let fd = host.register(fd.try_clone_to_owned().unwrap()).unwrap();
    let (source, mut peer) = registered(&guest);
    let (count, told) = (WakeCount::default(), WakeCount::default());
    assert!(count.poll(|cx| source.poll_ready(cx, Direction::Read)).is_pending());
    drain(&guest);
    drain(&host);
    let _ = fd.try_io(Direction::Read, |_| std::io::Result::<()>::Err(std::io::ErrorKind::WouldBlock.into()));
    assert!(told.poll(|cx| fd.poll_ready(cx, Direction::Read)).is_pending());
    peer.write_all(b"x").unwrap();
    wait_until(&host, || told.get() == 1);
    assert_eq!(guest.wait(Some(std::time::Duration::ZERO)).unwrap(), 1);
    assert_eq!(count.get(), 1);
}
