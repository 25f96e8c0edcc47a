//! One interface over both kinds of protocols, for the connection to call.

use std::io;

use super::connection::Connection;
use super::transport::Transport;
use super::{BufferedProtocol, Eof, Protocol};

/// The result of one receive. An error ends the connection, which reports it in `lost`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Data,
    /// No data: there is none, or the connection has failed.
    Nothing,
    End,
}

/// What one step of a set needs to read.
#[derive(Default)]
pub(super) struct Reading {
    /// The memory that all connections of the set share. Empty until the first read.
    pub(super) buffer: Vec<u8>,
    /// How many bytes may be read until other tasks have their turn. The last read may exceed it.
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
    /// Reads once, into shared memory or the protocol's own, and passes the data to the protocol.
    fn receive(&mut self, connection: &Connection, reading: &mut Reading) -> Received;
    fn eof(&mut self, transport: &Transport) -> Eof;
    fn lost(&mut self, error: Option<io::Error>);
    fn pause_writing(&mut self, transport: &Transport);
    fn resume_writing(&mut self, transport: &Transport);
}

/// A protocol that reads into the memory that all connections of a set share.
pub(super) struct Shared<P>(pub(super) P);

/// A protocol that reads into its own memory.
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
            let text = "the protocol returned an empty buffer to read into; it must have room for at least one byte";
            connection.fail(io::Error::new(io::ErrorKind::InvalidInput, text));
            return Received::Nothing;
        }
        // `buffer` is user code, and may have paused reading or closed the connection.
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
