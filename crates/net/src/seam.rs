//! What `picot-process` shares with the streams of this crate. Not for other crates: it may change in
//! any release.
//!
//! A pipe is one direction of a stream. It implements [`Receive`] or [`Transmit`]; the macros
//! [`__readable`](crate::__readable) and [`__writable`](crate::__writable) and the futures
//! [`Read`](crate::Read) and [`WriteAll`](crate::WriteAll) do the rest, as for sockets. The protocol
//! of a child process keeps its unsent bytes as those of connections do.

pub use crate::duplex::{Receive, SLICES, Transmit};
pub use crate::open::open_loop;
pub use crate::operation::{poll_call, poll_nothing};
pub use crate::operation_error::About;
pub use crate::protocol::Outgoing;
pub use crate::signal::Signal as Condition;
