//! A file as a body, read by the loop's blocking lane piece by piece.
//!
//! hyper sends bytes that the program has in memory, so `sendfile` is out of its reach. The next
//! piece is read while hyper sends the one before: two pieces are in memory at most.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use picot_loop::{Join, LoopHandle};

use crate::body::BoxError;

/// The bytes that one job reads.
const PIECE: u64 = 64 * 1024;

type Reading = Join<io::Result<(File, Vec<u8>)>>;

pub(crate) struct FileBody {
    state: State,
    /// The bytes that were not returned yet.
    left: u64,
}

enum State {
    /// No job was started yet: a response to `HEAD` is never read.
    New(File),
    Reading(Reading),
    /// All bytes were returned, or a read failed.
    Done,
}

impl FileBody {
    pub(crate) fn new(file: File, length: u64) -> FileBody {
        FileBody { state: State::New(file), left: length }
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            self.state = State::Done;
        }
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::New(_) => {
                    let State::New(file) = std::mem::replace(&mut self.state, State::Done) else {
                        unreachable!("matched above")
                    };
                    match read(file, self.left) {
                        Ok(reading) => self.state = State::Reading(reading),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
                State::Reading(reading) => {
                    let joined = ready!(Pin::new(reading).poll(cx));
                    self.state = State::Done;
                    let (file, bytes) = joined??;
                    if bytes.is_empty() {
                        let text = format!("the file ended {} bytes before its length", self.left);
                        return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into())));
                    }
                    self.left -= bytes.len() as u64;
                    // Started now, so that it goes on while this piece is sent.
                    if self.left > 0 {
                        self.state = State::Reading(read(file, self.left)?);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
                }
            }
        }
    }
}

/// Starts to read the next piece of a file that has `left` bytes.
fn read(mut file: File, left: u64) -> Result<Reading, BoxError> {
    let job = move || {
        let length = left.min(PIECE);
        let mut bytes = Vec::with_capacity(length as usize);
        (&mut file).take(length).read_to_end(&mut bytes)?;
        io::Result::Ok((file, bytes))
    };
    Ok(LoopHandle::current().try_spawn_blocking(job)?.into_future())
}
