//! `Source::check`: is a source ready now?

use std::io::{ErrorKind, Read, Write};

use picot_reactor::Direction;

use crate::support::{reactor, registered, wait_until};

#[test]
#[cfg_attr(miri, ignore = "Miri has no ppoll")]
fn a_check_detects_direct_use_of_the_object() {
    let reactor = reactor();
    let (source, mut peer) = registered(&reactor);
    let not_ready = || source.check(Direction::Read).unwrap_err().kind();
    assert_eq!(not_ready(), ErrorKind::WouldBlock);

    peer.write_all(b"hello").unwrap();
    wait_until(&reactor, || source.check(Direction::Read).is_ok());
    source.check(Direction::Read).unwrap();
    source.get_ref().read_exact(&mut [0; 5]).unwrap();
    assert_eq!(not_ready(), ErrorKind::WouldBlock, "the data was read directly from the object");

    drop(peer);
    wait_until(&reactor, || source.check(Direction::Read).is_ok());
    wait_until(&reactor, || source.check(Direction::Write).is_ok());
}
