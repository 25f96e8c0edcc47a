//! What a connection is up to, as bits of one word: where nothing is out of the usual, one test says so.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const NONE: Flags = Flags(0);

    /// The protocol has not been told of its connection.
    pub(super) const NEW: Flags = Flags(1);
    pub(super) const PAUSED: Flags = Flags(1 << 1);
    /// The peer has sent everything.
    pub(super) const AT_END: Flags = Flags(1 << 2);
    /// To be closed when everything has gone out.
    pub(super) const CLOSING: Flags = Flags(1 << 3);
    /// To be closed at once.
    pub(super) const ABORTED: Flags = Flags(1 << 4);
    /// Closed.
    pub(super) const LOST: Flags = Flags(1 << 5);
    /// An error ends it.
    pub(super) const FAILED: Flags = Flags(1 << 6);

    /// A write has been tried in this turn; what follows goes out together.
    pub(super) const WRITTEN: Flags = Flags(1 << 7);
    /// Something waits to go out.
    pub(super) const UNSENT: Flags = Flags(1 << 8);
    /// The protocol was told to pause writing.
    pub(super) const TOLD_TO_PAUSE: Flags = Flags(1 << 9);
    /// The end of the writing direction is to be sent when everything has gone out.
    pub(super) const END_ASKED: Flags = Flags(1 << 10);
    pub(super) const END_SENT: Flags = Flags(1 << 11);

    /// Something other than reading is to be done: something to send, to tell or to end.
    pub(super) const ATTENDED: Flags = Flags(1 << 12);
    /// Callbacks are being called.
    pub(super) const DRIVEN: Flags = Flags(1 << 13);

    /// Nothing is read, once it is not new.
    pub(super) const NO_READING: Flags =
        Flags(Self::PAUSED.0 | Self::AT_END.0 | Self::CLOSING.0 | Self::ABORTED.0 | Self::LOST.0 | Self::FAILED.0);
    /// Nothing is written any more.
    pub(super) const CLOSED: Flags = Flags(Self::CLOSING.0 | Self::ABORTED.0 | Self::LOST.0);
    /// Nothing is written any more, or the writing direction has ended.
    pub(super) const NO_WRITING: Flags = Self::CLOSED.with(Self::ENDED);
    pub(super) const ENDED: Flags = Flags(Self::END_ASKED.0 | Self::END_SENT.0);
    /// Over, whatever waits to go out.
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
