//! A socket's descriptor, for libraries that work on descriptors: the traits of std, once for all kinds of sockets.
//!
//! It is borrowed. Reading and writing by it goes past what the loop knows of the socket; a source is the way that does not.
//! The borrower may give the socket another protocol, such as kernel TLS, which ends a receive at its records; so from the first
//! loan on, a short transfer is no proof that the kernel is drained.

/// Lends the descriptor of a type with a field `source`, and the source itself.
macro_rules! descriptor {
    ($type:ty, $std:ty) => {
        impl $type {
            /// The socket as the reactor knows it, for whatever this crate has no method for: waiting for readiness without
            /// a buffer, trying without waiting, or a system call of one's own, by
            /// [`readable`](picot_reactor::Source::readable), [`writable`](picot_reactor::Source::writable),
            /// [`try_io`](picot_reactor::Source::try_io) and [`poll_io`](picot_reactor::Source::poll_io). Whether a short
            /// transfer proves that the kernel is drained is a setting of it, too:
            /// [`trust_short_transfers`](picot_reactor::Source::trust_short_transfers).
            #[doc(alias = "readable")]
            #[doc(alias = "writable")]
            #[doc(alias = "try_io")]
            #[doc(alias = "poll_ready")]
            pub fn source(&self) -> &picot_reactor::Source<$std> {
                &self.source
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.source.trust_short_transfers(false);
                self.source.get_ref().as_fd()
            }
        }

        #[cfg(unix)]
        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.source.trust_short_transfers(false);
                self.source.get_ref().as_raw_fd()
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                self.source.trust_short_transfers(false);
                self.source.get_ref().as_socket()
            }
        }

        #[cfg(windows)]
        impl std::os::windows::io::AsRawSocket for $type {
            fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
                self.source.trust_short_transfers(false);
                self.source.get_ref().as_raw_socket()
            }
        }
    };
}

pub(crate) use descriptor;
