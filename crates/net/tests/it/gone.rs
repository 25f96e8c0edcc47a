//! Protocols that keep writing notice without a write that their peer has closed after its end of
//! stream.

use std::io;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use picot_net::{Connections, Eof, TcpStream, Transport};

use crate::run;
use crate::trace::{Trace, connected, seen, soon};

fn keeps_writing() -> Trace {
    let trace = Trace::default();
    trace.eof.set(Eof::KeepWriting);
    trace
}

/// A connection whose peer has ended its stream.
async fn at_its_end(trace: &Trace) -> io::Result<(Transport, TcpStream)> {
    let (transport, peer) = connected(trace).await?;
    peer.shutdown(std::net::Shutdown::Write)?;
    soon(trace.until(2)).await;
    seen().await?;
    assert_eq!(trace.events(), ["made", "eof"], "it stays open");
    Ok((transport, peer))
}

#[test]
fn a_reset_after_the_end_is_an_error_without_a_write() {
    run(async {
        for end in ["open", "written", "paused"] {
            let trace = keeps_writing();
            let (transport, peer) = at_its_end(&trace).await?;
            match end {
                "written" => transport.write(b"answer")?,
                "paused" => transport.pause_reading(),
                _ => {}
            }
            seen().await?;
            assert_eq!(trace.events(), ["made", "eof"], "{end}");
            peer.socket().set_linger(Some(Duration::ZERO))?;
            drop(peer);
            soon(transport.closed()).await;
            let events = trace.events();
            assert!(events.len() == 3 && events[2].starts_with("lost ") && events[2] != "lost", "{end}: {events:?}");
        }
        Ok(())
    });
}

#[test]
fn an_end_of_both_directions_is_no_error_and_waits_for_its_owner() {
    run(async {
        let trace = keeps_writing();
        let (transport, mut peer) = at_its_end(&trace).await?;
        transport.write(b"answer")?;
        transport.write_eof();
        let mut text = String::new();
        peer.read_to_string(&mut text).await?;
        drop(peer);
        for _ in 0..3 {
            seen().await?;
        }
        assert_eq!((&*text, trace.events()), ("answer", vec!["made".to_string(), "eof".to_string()]));
        transport.close();
        soon(transport.closed()).await;
        assert_eq!(trace.events(), ["made", "eof", "lost"]);
        Ok(())
    });
}

#[cfg(unix)]
#[test]
fn over_a_unix_socket_a_reader_that_goes_after_its_end_is_an_error_without_a_write() {
    run(async {
        let (one, two) = picot_net::UnixStream::pair()?;
        let trace = keeps_writing();
        let transport = Connections::new()?.adopt_unix(one, trace.clone());
        two.shutdown(std::net::Shutdown::Write)?;
        soon(trace.until(2)).await;
        seen().await?;
        assert_eq!(trace.events(), ["made", "eof"]);
        drop(two);
        soon(transport.closed()).await;
        assert!(trace.events()[2].starts_with("lost "), "{:?}", trace.events());
        Ok(())
    });
}
