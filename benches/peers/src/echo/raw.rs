//! The floor: a loop around epoll with no runtime, which is what a server costs that does nothing
//! else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::BUFFER;

/// Levels, one read and one write for each event. A message is small, so that a write is never cut
/// short.
pub(super) fn serve(ready: &dyn Fn(u16)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN).unwrap();
    ready(listener.local_addr().unwrap().port());
    let mut events = Vec::with_capacity(256);
    let mut buffer = [0; BUFFER];
    // The number of the descriptor finds the stream without a search.
    let mut by_number: Vec<Option<TcpStream>> = Vec::new();
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let data = event.data;
            if data.u64() == u64::MAX {
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = stream.as_raw_fd() as usize;
                epoll::add(&epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN).unwrap();
                if by_number.len() <= number {
                    by_number.resize_with(number + 1, || None);
                }
                by_number[number] = Some(stream);
                continue;
            }
            let slot = &mut by_number[data.u64() as usize];
            let Some(stream) = slot else { continue };
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => *slot = None,
                Ok(read) => stream.write_all(&buffer[..read]).unwrap(),
            }
        }
    }
}
