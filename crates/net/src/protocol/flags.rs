//! The state of a connection, as bits of one word, so that one test finds that there is nothing
//! unusual to do.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const NONE: Flags = Flags(0);

    /// `made` was not called yet.
    pub(super) const NEW: Flags = Flags(1);
    pub(super) const PAUSED: Flags = Flags(1 << 1);
    /// The end of the stream was received.
    pub(super) const AT_END: Flags = Flags(1 << 2);
    /// Will be closed when all bytes are sent.
    pub(super) const CLOSING: Flags = Flags(1 << 3);
    /// Will be closed at once.
    pub(super) const ABORTED: Flags = Flags(1 << 4);
    /// Closed.
    pub(super) const LOST: Flags = Flags(1 << 5);
    /// An error ends it.
    pub(super) const FAILED: Flags = Flags(1 << 6);

    /// A write was tried in this turn. Later ones are collected, and go out together.
    pub(super) const WRITTEN: Flags = Flags(1 << 7);
    /// There are unsent bytes.
    pub(super) const UNSENT: Flags = Flags(1 << 8);
    /// `pause_writing` was called, and `resume_writing` was not called since.
    pub(super) const WRITING_PAUSED: Flags = Flags(1 << 9);
    /// The end of the writing direction will be sent after the unsent bytes.
    pub(super) const END_ASKED: Flags = Flags(1 << 10);
    pub(super) const END_SENT: Flags = Flags(1 << 11);

    /// There is something to do other than reading: to send, to call a callback, or to end the
    /// connection.
    pub(super) const ATTENDED: Flags = Flags(1 << 12);
    /// `drive` is running.
    pub(super) const DRIVEN: Flags = Flags(1 << 13);

    /// Nothing is read while any of these is set.
    pub(super) const NO_READING: Flags =
        Flags(Self::PAUSED.0 | Self::AT_END.0 | Self::CLOSING.0 | Self::ABORTED.0 | Self::LOST.0 | Self::FAILED.0);
    /// The transport is closed.
    pub(super) const CLOSED: Flags = Flags(Self::CLOSING.0 | Self::ABORTED.0 | Self::LOST.0);
    /// The transport accepts no more bytes.
    pub(super) const NO_WRITING: Flags = Self::CLOSED.with(Self::ENDED);
    pub(super) const ENDED: Flags = Flags(Self::END_ASKED.0 | Self::END_SENT.0);
    /// The connection ends now, and unsent bytes are dropped.
    pub(super) const OVER: Flags = Flags(Self::ABORTED.0 | Self::FAILED.0);

    pub(super) const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    pub(super) const fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}
