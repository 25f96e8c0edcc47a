//! A socket's descriptor, for libraries that work on descriptors: the traits of std, once for all
//! kinds of sockets.
//!
//! The descriptor is borrowed. Reading and writing through it bypasses what the loop knows of the
//! socket; `source` does not. The borrower may switch the socket to another protocol, such as
//! kernel TLS, which ends a receive at the end of a record. So from the first borrow on, a short
//! transfer does not prove that the kernel has no more data.

/// Lends the descriptor of a type with a field `source`, and the source itself.
macro_rules! descriptor {
    ($type:ty, $std:ty) => {
        impl $type {
            /// The source of the socket in the reactor, for operations that this crate has no
            /// method for: waiting for readiness without a buffer
            /// ([`readable`](picot_reactor::Source::readable),
            /// [`writable`](picot_reactor::Source::writable)), and system calls of the caller's own
            /// ([`try_io`](picot_reactor::Source::try_io),
            /// [`poll_io`](picot_reactor::Source::poll_io)).
            ///
            /// It also holds the setting whether a short transfer proves that the kernel has no
            /// more data:
            /// [`trust_short_transfers`](picot_reactor::Source::trust_short_transfers).
            ///
            /// ```
            /// use picot_net::UdpSocket;
            ///
            /// # picot_loop::run(async {
            /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
            /// socket.source().writable().await?; // waits, without a buffer
            /// # std::io::Result::Ok(())
            /// # })
            /// # .unwrap();
            /// ```
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
