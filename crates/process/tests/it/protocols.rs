//! Children by callbacks: which are called, in which order, and how they end.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, LoopHandle, sleep, spawn, yield_now};
use picot_process::{Command, SubprocessProtocol, SubprocessTransport};
use picot_testkit::quiet_panic;

use crate::run::run;

/// What a protocol notes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Made,
    Data(i32, String),
    PipeLost(i32, Option<io::ErrorKind>),
    Exited(Option<i32>),
    Lost(bool),
    Paused,
    Resumed,
}

use Event::*;

type Events = Rc<RefCell<Vec<Event>>>;

/// Notes each callback, and then does something.
struct Noting<F>(Events, F);

impl<F: FnMut(&SubprocessTransport, &Event) + 'static> Noting<F> {
    fn note(&mut self, transport: &SubprocessTransport, event: Event) {
        self.0.borrow_mut().push(event.clone());
        (self.1)(transport, &event);
    }
}

impl<F: FnMut(&SubprocessTransport, &Event) + 'static> SubprocessProtocol for Noting<F> {
    fn made(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Made);
    }

    fn pipe_data(&mut self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {
        self.note(transport, Data(fd, String::from_utf8_lossy(data).into_owned()));
    }

    fn pipe_lost(&mut self, transport: &SubprocessTransport, fd: i32, error: Option<io::Error>) {
        self.note(transport, PipeLost(fd, error.map(|error| error.kind())));
    }

    fn exited(&mut self, transport: &SubprocessTransport, status: ExitStatus) {
        assert_eq!(transport.status(), Some(status));
        self.note(transport, Exited(status.code()));
    }

    fn lost(&mut self, error: Option<io::Error>) {
        self.0.borrow_mut().push(Lost(error.is_some()));
    }

    fn pause_writing(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Paused);
    }

    fn resume_writing(&mut self, transport: &SubprocessTransport) {
        self.note(transport, Resumed);
    }
}

fn start(
    script: &str,
    call: impl FnMut(&SubprocessTransport, &Event) + 'static,
) -> io::Result<(SubprocessTransport, Events)> {
    let events = Events::default();
    let mut command = Command::shell(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let transport = command.spawn_protocol(Noting(events.clone(), call))?;
    Ok((transport, events))
}

/// The text that came from a pipe.
fn text(events: &Events, of: i32) -> String {
    let text = |event: &Event| match event {
        Data(fd, text) if *fd == of => Some(text.clone()),
        _ => None,
    };
    events.borrow().iter().filter_map(text).collect()
}

fn position(events: &Events, of: impl Fn(&Event) -> bool) -> usize {
    let events = events.borrow();
    assert_eq!(events.iter().filter(|event| of(event)).count(), 1, "{events:?}");
    events.iter().position(of).unwrap()
}

/// Checks the order that holds whatever the child does.
fn check_order(events: &Events) {
    assert_eq!(position(events, |event| *event == Made), 0);
    let end = position(events, |event| matches!(event, Lost(_)));
    assert_eq!(end + 1, events.borrow().len(), "`lost` is the last: {events:?}");
    for fd in 0..3 {
        let lost = position(events, |event| matches!(event, PipeLost(of, _) if *of == fd));
        let after = events.borrow()[lost..].iter().any(|event| matches!(event, Data(of, _) if *of == fd));
        assert!(!after, "data of {fd} after its pipe was lost: {events:?}");
    }
    position(events, |event| matches!(event, Exited(_)));
}

#[test]
fn data_comes_by_its_pipe_then_the_pipe_is_lost_and_lost_is_the_last() {
    run(async {
        let (transport, events) = start("read line; echo \"got $line\"; echo trouble >&2; exit 7", |_, _| ())?;
        assert_eq!(transport.status(), None);
        transport.write(b"a li")?;
        transport.write(b"ne\n")?;
        transport.closed().await;
        check_order(&events);
        assert_eq!((text(&events, 1), text(&events, 2)), ("got a line\n".to_string(), "trouble\n".to_string()));
        assert!(events.borrow().contains(&Exited(Some(7))) && events.borrow().ends_with(&[Lost(false)]));
        assert_eq!(transport.status().unwrap().code(), Some(7));
        assert!(transport.is_closing() && transport.write(b"more").is_err());
        transport.kill()?;
        Ok(())
    });
}

#[test]
fn the_end_of_a_child_may_come_before_the_ends_of_its_pipes() {
    run(async {
        // What runs in the background has the pipes, and reads a line after the shell has ended.
        let script = "exec 3<&0; { read line <&3; echo \"late $line\"; } & exit 1";
        let (transport, events) = start(script, |transport, event| {
            if matches!(event, Exited(_)) {
                transport.write(b"but whole\n").unwrap();
            }
        })?;
        transport.closed().await;
        check_order(&events);
        assert_eq!(text(&events, 1), "late but whole\n");
        let exited = position(&events, |event| *event == Exited(Some(1)));
        assert!(exited < position(&events, |event| matches!(event, Data(1, _))), "{events:?}");
        Ok(())
    });
}

#[test]
fn write_eof_comes_after_the_bytes_and_marks_pause_and_resume() {
    run(async {
        let (transport, events) = start("wc -c", |transport, event| {
            if *event == Made {
                transport.write(&vec![b'x'; 1_000_000]).unwrap();
                transport.write_eof();
                assert!(transport.write(b"y").is_err(), "the end was asked for");
            }
        })?;
        transport.closed().await;
        check_order(&events);
        assert_eq!(text(&events, 1).trim(), "1000000");
        let (paused, resumed) =
            (position(&events, |event| *event == Paused), position(&events, |event| *event == Resumed));
        let lost = position(&events, |event| *event == PipeLost(0, None));
        assert!(paused < resumed && resumed < lost, "{events:?}");
        assert_eq!(transport.unsent(), 0);
        Ok(())
    });
}

#[test]
fn the_reader_of_stdin_that_goes_is_noticed_with_an_error_only_if_bytes_are_unsent() {
    run(async {
        // Nothing is written, and the pipe's end is noticed while the child still runs.
        let (transport, events) = start("exec <&-; read line <&1; exit 1", |transport, event| {
            if matches!(event, PipeLost(0, _)) {
                transport.close();
            }
        })?;
        transport.closed().await;
        check_order(&events);
        position(&events, |event| *event == PipeLost(0, None));

        let (transport, events) = start("head -c 1 >/dev/null", |_, _| ())?;
        transport.write(&vec![0; 1_000_000])?;
        transport.closed().await;
        check_order(&events);
        position(&events, |event| *event == PipeLost(0, Some(io::ErrorKind::BrokenPipe)));
        Ok(())
    });
}

#[test]
fn closing_kills_a_running_child_and_none_that_has_ended() {
    run(async {
        let (transport, events) = start("exec sleep 1000", |_, _| ())?;
        transport.close();
        transport.close();
        assert!(transport.is_closing());
        transport.closed().await;
        check_order(&events);
        let expected = [Made, PipeLost(0, None), PipeLost(1, None), PipeLost(2, None), Exited(None), Lost(false)];
        assert_eq!(*events.borrow(), expected);

        // This one has ended, and its pipes are open in the background.
        let (transport, events) = start("sleep 1000 & echo $!; exit 3", |transport, event| {
            if matches!(event, Exited(_)) {
                transport.close();
            }
        })?;
        transport.closed().await;
        check_order(&events);
        assert_eq!(transport.status().unwrap().code(), Some(3));
        let background = text(&events, 1).trim().parse().unwrap();
        let background = rustix::process::Pid::from_raw(background).unwrap();
        rustix::process::kill_process(background, rustix::process::Signal::KILL)?;
        Ok(())
    });
}

#[test]
fn closing_kills_the_child_although_the_loop_closes_before_the_next_turn() {
    let (mut near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    picot_loop::run(async {
        let mut command = Command::new("sleep");
        command.arg("1000").stdout(OwnedFd::from(far));
        command.spawn_protocol(Noting(Events::default(), |_: &SubprocessTransport, _: &Event| ())).unwrap().close();
    });
    // The child alone has the other end, which its own end closes.
    assert_eq!(near.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_paused_pipe_is_not_read_and_its_child_waits() {
    run(async {
        let script = "echo first; echo ready >&2; head -c 1000000 /dev/zero; echo done >&2";
        let (transport, events) = start(script, |transport, event| {
            if *event == Made {
                transport.pause_reading(1);
            }
        })?;
        while text(&events, 2) != "ready\n" {
            sleep(Duration::from_micros(200)).await;
        }
        // The first line was written before, and stdout is read before stderr.
        assert_eq!(text(&events, 1), "");
        transport.resume_reading(1);
        transport.closed().await;
        check_order(&events);
        assert_eq!((text(&events, 1).len(), text(&events, 2)), (1_000_006, "ready\ndone\n".to_string()));
        Ok(())
    });
}

#[test]
fn a_callback_that_panics_is_reported_once_and_ends_the_child() {
    let event_loop = EventLoop::new().unwrap();
    let reports = Rc::new(Cell::new(0));
    let count = reports.clone();
    event_loop
        .run_until_complete(async {
            LoopHandle::current().set_error_hook(move |report| {
                assert!(report.to_string().contains("from a callback"), "{report}");
                count.set(count.get() + 1);
            });
            for in_made in [true, false] {
                let (transport, events) = start("echo text; exec sleep 1000", move |_, event| {
                    if (*event == Made) == in_made {
                        quiet_panic("from a callback");
                    }
                })
                .unwrap();
                transport.closed().await;
                assert!(events.borrow().ends_with(&[Lost(true)]), "{events:?}");
                assert!(events.borrow().len() <= 3);
                let id = rustix::process::Pid::from_raw(transport.id().try_into().unwrap()).unwrap();
                while rustix::process::test_kill_process(id).is_ok() {
                    sleep(Duration::from_micros(200)).await;
                }
            }
            yield_now().await;
        })
        .unwrap();
    assert_eq!(reports.get(), 2);
    event_loop.close().unwrap();
}

#[test]
fn a_loop_that_closes_drops_the_protocol_without_a_callback_and_wakes_its_waiters() {
    let event_loop = EventLoop::new().unwrap();
    let (transport, events) = event_loop
        .run_until_complete(async {
            let (transport, events) = start("exec sleep 1000", |_, _| ())?;
            let waiter = transport.clone();
            drop(spawn(async move { waiter.closed().await }));
            yield_now().await;
            io::Result::Ok((transport, events))
        })
        .unwrap()
        .unwrap();
    let id = transport.id();
    event_loop.close().unwrap();
    assert_eq!(*events.borrow(), [Made]);
    assert_eq!(Rc::strong_count(&events), 1, "the protocol is gone");
    assert!(transport.is_closing() && transport.write(b"x").is_err());
    transport.kill().unwrap();
    // The child runs on, as one that is dropped does.
    let id = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
}
