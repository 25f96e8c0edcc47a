//! The two kinds of protocols as one: what a connection calls.

use std::io;

use super::connection::Connection;
use super::transport::Transport;
use super::{BufferedProtocol, Eof, Protocol};

/// What one try to receive has brought. Errors end the connection, which tells of them later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Data,
    /// Nothing; there is none, or the connection has failed.
    Nothing,
    End,
}

/// What a step of a set reads with.
#[derive(Default)]
pub(super) struct Reading {
    /// The memory that all connections share; empty until it is needed.
    pub(super) buffer: Vec<u8>,
    /// So many bytes may be read until others have their turn; a little more is no harm.
    pub(super) left: isize,
}

impl Reading {
    #[inline]
    fn has_read(&mut self, length: usize) {
        self.left -= length as isize;
    }
}

pub(super) trait Callbacks {
    fn made(&mut self, transport: &Transport);
    /// Reads once, into memory that is shared or of its own, and hands the data over.
    fn receive(&mut self, connection: &Connection, reading: &mut Reading) -> Received;
    fn eof(&mut self, transport: &Transport) -> Eof;
    fn lost(&mut self, error: Option<io::Error>);
    fn pause_writing(&mut self, transport: &Transport);
    fn resume_writing(&mut self, transport: &Transport);
}

/// Reads into memory that all connections of a set share.
pub(super) struct Shared<P>(pub(super) P);

/// Reads into memory of the protocol.
pub(super) struct Own<P>(pub(super) P);

/// The callbacks that both kinds have.
macro_rules! forward {
    () => {
        fn made(&mut self, transport: &Transport) {
            self.0.made(transport);
        }

        fn eof(&mut self, transport: &Transport) -> Eof {
            self.0.eof(transport)
        }

        fn lost(&mut self, error: Option<io::Error>) {
            self.0.lost(error);
        }

        fn pause_writing(&mut self, transport: &Transport) {
            self.0.pause_writing(transport);
        }

        fn resume_writing(&mut self, transport: &Transport) {
            self.0.resume_writing(transport);
        }
    };
}

impl<P: Protocol> Callbacks for Shared<P> {
    forward!();

    fn receive(&mut self, connection: &Connection, reading: &mut Reading) -> Received {
        match connection.read(&mut reading.buffer) {
            Ok(length) => {
                reading.has_read(length);
                self.0.data(connection.transport(), &reading.buffer[..length]);
                Received::Data
            }
            Err(other) => other,
        }
    }
}

impl<P: BufferedProtocol> Callbacks for Own<P> {
    forward!();

    fn receive(&mut self, connection: &Connection, reading: &mut Reading) -> Received {
        let buffer = self.0.buffer();
        if buffer.is_empty() {
            let text = "the protocol gave an empty buffer to read into; it must have room for at least one byte";
            connection.fail(io::Error::new(io::ErrorKind::InvalidInput, text));
            return Received::Nothing;
        }
        // That was a callback, which may have paused or closed.
        if !connection.is_reading() {
            return Received::Nothing;
        }
        match connection.read(buffer) {
            Ok(length) => {
                reading.has_read(length);
                self.0.filled(connection.transport(), length);
                Received::Data
            }
            Err(other) => other,
        }
    }
}
