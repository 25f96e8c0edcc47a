//! Halves of streams in a forked child: dropping them there leaves the connection of the parent
//! unchanged.

use std::cell::RefCell;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use futures_lite::future::poll_once;
use picot_loop::EventLoop;
use picot_net::{ReadHalf, TcpStream, UnixStream, WriteHalf};

use crate::pair;

type Halves<S> = (ReadHalf<S>, WriteHalf<S>);

thread_local! {
    static HALVES: RefCell<Option<(Halves<TcpStream>, Halves<UnixStream>)>> = const { RefCell::new(None) };
}

#[test]
fn a_half_that_a_forked_child_drops_still_works_in_the_parent() {
    let event_loop = EventLoop::new().unwrap();
    let (tcp, unix) = event_loop
        .run_until_complete(async {
            let ((tcp, tcp_peer), (unix, unix_peer)) = (pair().await?, UnixStream::pair()?);
            HALVES.set(Some((tcp.split(), unix.split())));
            io::Result::Ok((tcp_peer, unix_peer))
        })
        .unwrap()
        .unwrap();
    let mut command = Command::new("true");
    let child = || {
        let ((_, tcp), (_, unix)) = HALVES.take().ok_or(io::ErrorKind::NotFound)?;
        drop((tcp, unix));
        Ok(())
    };
    // SAFETY: The closure makes system calls and uses the allocator, which no other thread of this
    // process leaves locked across a fork.
    unsafe { command.pre_exec(child) };
    assert!(command.status().unwrap().success());
    event_loop
        .run_until_complete(async {
            let ended = poll_once(tcp.read(&mut [0; 8])).await;
            assert!(ended.is_none(), "{ended:?}");
            let ended = poll_once(unix.read(&mut [0; 8])).await;
            assert!(ended.is_none(), "{ended:?}");
            let ((_, mut tcp_half), (_, mut unix_half)) = HALVES.take().unwrap();
            tcp_half.write_all(b"still").await?;
            unix_half.write_all(b"still").await?;
            assert_eq!((tcp.read(&mut [0; 8]).await?, unix.read(&mut [0; 8]).await?), (5, 5));
            // In the parent, the drop ends the direction.
            drop((tcp_half, unix_half));
            assert_eq!((tcp.read(&mut [0; 8]).await?, unix.read(&mut [0; 8]).await?), (0, 0));
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
}
