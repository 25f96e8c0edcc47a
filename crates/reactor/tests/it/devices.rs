//! Sources that are not sockets: terminals and FIFOs, each with its own kind of end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::task::Poll;

use picot_reactor::{Direction, Pollable, Reactor, Source};
use picot_testkit::Folder;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::support::{WakeCount, reactor, wait_until};

/// Reads once, after a wait if necessary. Fails after a while.
fn read<T: Pollable + AsFd>(reactor: &Reactor, source: &Source<T>) -> io::Result<Vec<u8>> {
    let (count, mut buffer) = (WakeCount::default(), [0; 64]);
    loop {
        let poll = count.poll(|cx| source.poll_io(cx, Direction::Read, |io| Ok(rustix::io::read(io, &mut buffer)?)));
        match poll {
            Poll::Ready(read) => return Ok(buffer[..read?].to_vec()),
            Poll::Pending => {
                let before = count.get();
                wait_until(reactor, || count.get() > before);
            }
        }
    }
}

/// The controlling side of a terminal, in non-blocking mode, and the terminal.
fn terminal() -> (OwnedFd, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
    (master, File::from(slave))
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no terminals")]
fn a_terminal_delivers_single_lines_and_ends_with_an_error() {
    let reactor = reactor();
    let (master, mut slave) = terminal();
    let master = reactor.register(master).unwrap();
    let count = WakeCount::default();
    assert!(count.poll(|cx| master.poll_ready(cx, Direction::Write)).is_pending());
    wait_until(&reactor, || count.get() == 1);
    assert!(count.poll(|cx| master.poll_ready(cx, Direction::Read)).is_pending());
    slave.write_all(b"hello").unwrap();
    wait_until(&reactor, || count.get() == 2);
    assert_eq!(read(&reactor, &master).unwrap(), b"hello");
    // Typed bytes are echoed, and become a line for the reader at the newline.
    let typed = count.poll(|cx| master.poll_io(cx, Direction::Write, |io| Ok(rustix::io::write(io, b"ls\n")?)));
    assert!(matches!(typed, Poll::Ready(Ok(3))));
    let mut line = [0; 8];
    assert_eq!(slave.read(&mut line).unwrap(), 3);
    let mut echo = Vec::new();
    while echo.len() < 4 {
        echo.extend(read(&reactor, &master).unwrap());
    }
    assert_eq!(echo, b"ls\r\n");

    assert!(
        count.poll(|cx| master.poll_io(cx, Direction::Read, |io| Ok(rustix::io::read(io, &mut line)?))).is_pending()
    );
    assert!(!master.is_hung_up());
    let before = count.get();
    drop(slave);
    wait_until(&reactor, || count.get() > before);
    assert!(master.is_hung_up());
    assert_eq!(read(&reactor, &master).unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
}

struct Fifo(PathBuf, #[expect(dead_code, reason = "its drop removes the FIFO")] Folder);

impl Fifo {
    fn new(name: &str) -> Fifo {
        let folder = Folder::new(name);
        let path = folder.join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        Fifo(path, folder)
    }

    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        options.custom_flags(OFlags::NONBLOCK.bits() as i32).open(&self.0)
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no FIFOs")]
fn a_fifos_reader_waits_for_a_writer_and_for_the_next_one() {
    let reactor = reactor();
    let fifo = Fifo::new("reader");
    let reader = reactor.register(fifo.open(OpenOptions::new().read(true)).unwrap()).unwrap();
    let count = WakeCount::default();
    let mut woken = 0;
    for round in 0..2 {
        // A read would return the end of the FIFO even before the first writer. A wait does not.
        if round == 0 {
            assert!(count.poll(|cx| reader.poll_ready(cx, Direction::Read)).is_pending());
            assert_eq!(reactor.wait(Some(std::time::Duration::ZERO)).unwrap(), 0);
            assert!(!reader.is_hung_up());
        }
        let mut writer = fifo.open(OpenOptions::new().write(true)).unwrap();
        writer.write_all(b"hello").unwrap();
        if round == 0 {
            woken += 1;
            wait_until(&reactor, || count.get() == woken);
        }
        assert_eq!(read(&reactor, &reader).unwrap(), b"hello");
        let poll = count.poll(|cx| reader.poll_io(cx, Direction::Read, |io| Ok(rustix::io::read(io, &mut [0; 8])?)));
        assert!(poll.is_pending(), "a writer is left");
        drop(writer);
        woken += 1;
        wait_until(&reactor, || count.get() == woken);
        assert_eq!(read(&reactor, &reader).unwrap(), b"");
        assert!(reader.is_hung_up());
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no FIFOs")]
fn a_fifos_writer_waits_for_room_and_gets_an_error_without_a_reader() {
    let reactor = reactor();
    let fifo = Fifo::new("writer");
    let refused = fifo.open(OpenOptions::new().write(true)).unwrap_err();
    assert_eq!(
        refused.raw_os_error(),
        Some(rustix::io::Errno::NXIO.raw_os_error()),
        "a writer without a reader is refused"
    );
    let mut reader = fifo.open(OpenOptions::new().read(true)).unwrap();
    let writer = reactor.register(fifo.open(OpenOptions::new().write(true)).unwrap()).unwrap();
    let count = WakeCount::default();
    let write = || count.poll(|cx| writer.poll_io(cx, Direction::Write, |io| Ok(rustix::io::write(io, &[7; 4096])?)));
    let mut written = 0;
    let fill = |written: &mut usize| {
        while let Poll::Ready(wrote) = write() {
            *written += wrote.unwrap();
        }
    };
    fill(&mut written);
    let before = count.get();
    wait_until(&reactor, || count.get() > before);
    fill(&mut written);
    assert!(written > 0);
    let before = count.get();
    let mut read = vec![0; written];
    reader.read_exact(&mut read).unwrap();
    wait_until(&reactor, || count.get() > before);
    fill(&mut written);
    let before = count.get();
    drop(reader);
    wait_until(&reactor, || count.get() > before);
    assert!(matches!(write(), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}
