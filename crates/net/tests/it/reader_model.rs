//! A reader against a simple model, the bytes and a position in them: any pieces and any reads,
//! each of them dropped after any number of polls and started again. No byte may be lost, repeated
//! or out of order.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_lite::future::{block_on, poll_once};
use futures_lite::{AsyncRead, AsyncReadExt};
use picot_net::{ReadError, Reader};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Returns its pieces one by one, each after its number of polls, and then the end.
struct Pieces {
    pieces: VecDeque<(usize, Vec<u8>)>,
    given: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some((polls, piece)) = self.pieces.front_mut() else { return Poll::Ready(Ok(0)) };
        if *polls > 0 {
            *polls -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        piece.drain(..length);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.given += length;
        Poll::Ready(Ok(length))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Line,
    NextOfLines,
    Until(&'static [&'static [u8]]),
    Exact(usize),
    Read(usize),
    Rest,
    /// The method of the extension trait, once, without a drop: it bypasses an empty buffer.
    ReadByTrait(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let separators: [&[&[u8]]; 6] =
        [&[b"ab;", b"b"], &[b";"], &[b"\r\n"], &[b"aab"], &[b"\n", b"\r\n", b";"], &[b"ab", b"bab", b"b;"]];
    prop_oneof![
        4 => Just(Op::Line),
        2 => Just(Op::NextOfLines),
        6 => select(separators.to_vec()).prop_map(Op::Until),
        3 => (0..12_usize).prop_map(Op::Exact),
        2 => (1..12_usize).prop_map(Op::Read),
        1 => Just(Op::Read(2_000)),
        1 => (1..2_000_usize).prop_map(Op::ReadByTrait),
        1 => Just(Op::Rest),
    ]
}

/// The state of the model: the bytes, the position of the next read, and the limit of a line.
struct Model {
    bytes: Vec<u8>,
    at: usize,
    limit: usize,
}

/// The expected result of a read.
#[derive(Debug, PartialEq)]
enum Outcome {
    Bytes(Vec<u8>),
    Incomplete(Vec<u8>, Option<usize>),
    Overrun,
    End,
}

impl Model {
    fn take(&mut self, length: usize) -> Vec<u8> {
        self.at += length;
        self.bytes[self.at - length..self.at].to_vec()
    }

    fn exact(&mut self, length: usize) -> Outcome {
        match self.bytes.len() - self.at {
            left if left < length => Outcome::Incomplete(self.take(left), Some(length)),
            _ => Outcome::Bytes(self.take(length)),
        }
    }

    fn until(&mut self, separators: &[&[u8]]) -> Outcome {
        let rest = &self.bytes[self.at..];
        let longest = separators.iter().map(|one| one.len()).max().unwrap();
        let ends = (1..=rest.len()).filter_map(|end| {
            let here = separators.iter().filter(|one| rest[..end].ends_with(one)).map(|one| one.len());
            here.max().map(|length| (end - length, end))
        });
        match ends.min_by_key(|(_, end)| *end) {
            Some((begin, _)) if begin > self.limit => Outcome::Overrun,
            Some((_, end)) => Outcome::Bytes(self.take(end)),
            None if rest.len() >= self.limit + longest => Outcome::Overrun,
            None => Outcome::Incomplete(self.take(rest.len()), None),
        }
    }

    /// A line that is too long is not taken: how much of it was consumed depends on the pieces.
    fn line(&mut self) -> Outcome {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let line = rest[..end].strip_suffix(b"\r\n").or(rest[..end].strip_suffix(b"\n")).unwrap_or(&rest[..end]);
        if rest.is_empty() {
            Outcome::End
        } else if line.len() > self.limit {
            Outcome::Overrun
        } else {
            let line = line.to_vec();
            self.take(end);
            Outcome::Bytes(line)
        }
    }

    /// Where the line that begins here ends.
    fn line_end(&self) -> usize {
        let rest = &self.bytes[self.at..];
        self.at + rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1)
    }
}

fn outcome(result: Result<Option<Vec<u8>>, ReadError>) -> Outcome {
    match result {
        Ok(Some(bytes)) => Outcome::Bytes(bytes),
        Ok(None) => Outcome::End,
        Err(ReadError::Incomplete { partial, expected }) => Outcome::Incomplete(partial, expected),
        Err(ReadError::LimitOverrun { .. }) => Outcome::Overrun,
        Err(other) => panic!("{other}"),
    }
}

/// Runs a read: for each number n, polls it n times, drops it and starts it again; then to its end.
macro_rules! dropping {
    ($drops:expr, $read:expr) => {{
        let mut done = None;
        for polls in $drops {
            let mut read = pin!($read);
            for _ in 0..*polls {
                done = done.or(block_on(poll_once(&mut read)));
                if done.is_some() {
                    break;
                }
            }
            if done.is_some() {
                break;
            }
        }
        match done {
            Some(done) => done,
            None => block_on($read),
        }
    }};
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn dropped_reads_lose_no_byte(
        pieces in vec((0..4_usize, vec(select(b"ab;\r\nx".to_vec()), 1..8)), 0..20),
        ops in vec((op(), vec(0..4_usize, 0..4)), 1..30),
        limit in 1..16_usize,
    ) {
        let bytes = pieces.iter().flat_map(|(_, piece)| piece.clone()).collect();
        let mut model = Model { bytes, at: 0, limit };
        let mut reader = Reader::new(Pieces { pieces: pieces.into(), given: 0 }).with_limit(limit);
        for (op, drops) in &ops {
            let before = model.at;
            let (expected, got) = match op {
                Op::Line => (model.line(), {
                    let line = dropping!(drops, reader.read_line());
                    outcome(line.map(|line| line.map(String::into_bytes)))
                }),
                Op::NextOfLines => (model.line(), {
                    let mut lines = reader.lines();
                    let line = dropping!(drops, lines.next());
                    reader = lines.into_inner();
                    outcome(line.transpose().map(|line| line.map(String::into_bytes)))
                }),
                Op::Until(separators) => {
                    (model.until(separators), outcome(dropping!(drops, reader.read_until_any(separators)).map(Some)))
                }
                Op::Exact(length) => {
                    (model.exact(*length), outcome(dropping!(drops, reader.read_exact(*length)).map(Some)))
                }
                Op::Rest => {
                    let left = model.bytes.len() - model.at;
                    (model.exact(left), Outcome::Bytes(dropping!(drops, reader.read_to_end()).unwrap()))
                }
                Op::Read(room) | Op::ReadByTrait(room) => {
                    let mut buffer = vec![0; *room];
                    let read = match op {
                        Op::Read(_) => dropping!(drops, reader.read(&mut buffer)).unwrap(),
                        _ => block_on(AsyncReadExt::read(&mut reader, &mut buffer)).unwrap(),
                    };
                    buffer.truncate(read);
                    prop_assert!(read > 0 || model.at == model.bytes.len(), "an end before the end");
                    (Outcome::Bytes(model.take(read)), Outcome::Bytes(buffer))
                }
            };
            prop_assert_eq!(&got, &expected, "by {:?}, at {}", op, before);
            let at = reader.get_ref().given - reader.buffer().len();
            if expected == Outcome::Overrun && matches!(op, Op::Line | Op::NextOfLines) {
                // A part of the line was consumed, more than the limit, and nothing after it.
                prop_assert!(before + limit < at && at <= model.line_end(), "{} to {}", before, at);
                model.at = at;
            }
            prop_assert_eq!(at, model.at, "after {:?}, at {}", op, before);
        }
    }
}
