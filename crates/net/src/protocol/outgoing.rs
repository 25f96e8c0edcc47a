//! The unsent bytes of a connection.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Up to how many bytes small writes are copied together into one piece. A larger write is a piece
/// of its own.
pub(super) const PIECE: usize = 64 * 1024;

/// How many pieces one system call sends. Every system takes that many.
const SLICES: usize = 16;

/// Pieces to be sent, in order. Small writes are copied together, so that they go out in few
/// pieces.
#[derive(Debug, Default)]
pub struct Outgoing {
    pieces: VecDeque<Vec<u8>>,
    /// How many bytes of the first piece were sent.
    sent: usize,
    length: usize,
}

impl Outgoing {
    /// How many bytes it holds.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(bytes.to_vec()),
        }
    }

    /// Passes the first pieces to `send`, which returns how many bytes of them it sent.
    pub fn send<E>(&mut self, send: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>) -> Result<(), E> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = self.pieces.len().min(SLICES);
        for (index, (slice, piece)) in slices.iter_mut().zip(&self.pieces).enumerate() {
            *slice = IoSlice::new(if index == 0 { &piece[self.sent..] } else { piece });
        }
        let sent = send(&slices[..count])?;
        self.forget(sent);
        Ok(())
    }

    fn forget(&mut self, mut sent: usize) {
        self.length -= sent;
        while let Some(first) = self.pieces.front() {
            let left = first.len() - self.sent;
            if sent < left {
                self.sent += sent;
                return;
            }
            sent -= left;
            self.sent = 0;
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_sent_in_order_in_parts_of_any_size() {
        for part in [1, 7, PIECE - 1, PIECE, PIECE + 1, 10 * PIECE] {
            let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|n| (n % 251) as u8).collect();
            let mut outgoing = Outgoing::default();
            for piece in bytes.chunks(PIECE / 3) {
                outgoing.push(piece);
            }
            outgoing.push(&bytes);
            assert_eq!(outgoing.length(), 2 * bytes.len());
            let mut gone: Vec<u8> = Vec::new();
            while outgoing.length() > 0 && gone.len() <= 2 * bytes.len() {
                let before = outgoing.length();
                let result: Result<(), ()> = outgoing.send(|slices| {
                    let all = slices.iter().flat_map(|slice| slice.iter().copied());
                    let count = gone.len();
                    gone.extend(all.take(part));
                    Ok(gone.len() - count)
                });
                result.unwrap();
                assert!(outgoing.length() < before);
                if part < PIECE - 1 && gone.len() > 1_000 {
                    break;
                }
            }
            assert!(gone.iter().eq(bytes.iter().chain(&bytes).take(gone.len())), "{part}");
        }
    }
}
