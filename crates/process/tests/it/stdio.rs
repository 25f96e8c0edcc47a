//! The standard streams: what they may be, and that other processes that share them see no change.
#![expect(clippy::redundant_closure, reason = "a program is named by the closure that it runs, and so by its test")]

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use std::{env, thread};

use futures_lite::AsyncWriteExt;
use futures_lite::future::poll_once;
use picot_loop::{LoopHandle, sleep, spawn, yield_now};
use picot_process::{stderr, stdin, stdout};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, tcgetattr};

use crate::program::{say, start, start_after, start_by};

/// The master and the slave of a new pseudo-terminal.
fn terminal() -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (File::from(master), slave)
}

fn pipe() -> (OwnedFd, File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (reader, File::from(writer))
}

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Temporary {
        let path = env::temp_dir().join(format!("picot-process-{}-{name}", process::id()));
        fs::write(&path, text).unwrap();
        Temporary(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes `fd` the standard input of a command.
fn input(fd: impl Into<OwnedFd>) -> impl FnOnce(Command) -> Command {
    move |mut command| {
        command.stdin(Stdio::from(fd.into()));
        command
    }
}

/// Makes `fd` the standard error of a command.
fn error(fd: impl Into<OwnedFd>) -> impl FnOnce(Command) -> Command {
    move |mut command| {
        command.stderr(Stdio::from(fd.into()));
        command
    }
}

/// The program of most tests: says each line of its input, and then that it has ended.
fn say_lines() {
    picot_loop::run(async {
        let mut lines = stdin().unwrap().lines();
        say("ready");
        while let Some(line) = lines.next().await {
            say(&format!("line {}", line.unwrap()));
        }
        say("end");
    });
}

/// What a process sees that shares a terminal: the flags of the description, and the settings.
fn seen(fd: &impl AsFd) -> (OFlags, String) {
    let settings: Termios = tcgetattr(fd).unwrap();
    (fcntl_getfl(fd).unwrap(), format!("{settings:?}"))
}

#[test]
fn a_pipe_is_read_by_lines_as_they_come() {
    let (reader, mut writer) = pipe();
    let flags = fcntl_getfl(&reader).unwrap();
    let mut program = start_by(|| say_lines(), input(reader.try_clone().unwrap()));
    program.expect("ready");
    writer.write_all(b"one\ntw").unwrap();
    program.expect("line one");
    assert_eq!(fcntl_getfl(&reader).unwrap(), flags, "the flags that all readers of the pipe share");
    writer.write_all(b"o\r\n\nlast").unwrap();
    program.expect("line two");
    program.expect("line ");
    drop(writer);
    program.expect("line last");
    program.expect("end");
    assert!(program.end().0.success());
    assert_eq!(fcntl_getfl(&reader).unwrap(), flags);
}

#[test]
fn a_terminal_is_read_by_lines_and_keeps_its_flags_and_settings_for_others() {
    let (mut master, slave) = terminal();
    let before = seen(&slave);
    let mut program = start_by(|| say_lines(), input(slave.try_clone().unwrap()));
    program.expect("ready");
    // Two lines at a time are two reads.
    master.write_all(b"one\ntwo\n").unwrap();
    program.expect("line one");
    program.expect("line two");
    assert_eq!(seen(&slave), before, "while a read waits");

    // A second program that shares the terminal reads from it as if it were alone.
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo ready; read line; echo \"got $line\""]).stdin(slave.try_clone().unwrap());
    let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
    // Stopped, so that the shell gets the line. It has stopped only when the kernel says so.
    program.signal(Signal::STOP);
    let stopped = waitpid(Some(Pid::from_child(&program.child)), WaitOptions::UNTRACED).unwrap();
    assert!(stopped.unwrap().1.stopped());
    master.write_all(b"shared\n").unwrap();
    let mut said = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "ready\ngot shared\n");
    assert!(shell.wait().unwrap().success());
    program.signal(Signal::CONT);

    master.write_all(b"three\n").unwrap();
    program.expect("line three");
    master.write_all(b"\x04").unwrap(); // Ctrl-D
    program.expect("end");
    assert!(program.end().0.success());
    assert_eq!(seen(&slave), before);
}

#[test]
fn a_terminal_keeps_its_flags_if_its_reader_is_killed() {
    let (_master, slave) = terminal();
    let before = seen(&slave);
    let mut program = start_by(|| say_lines(), input(slave.try_clone().unwrap()));
    program.expect("ready");
    program.signal(Signal::KILL);
    assert_eq!(program.killed_by(), Some(Signal::KILL.as_raw()));
    assert_eq!(seen(&slave), before);
}

#[test]
fn a_file_a_socket_and_dev_null_are_read_by_lines() {
    let file = Temporary::new("lines", "one\ntwo");
    let (near, far) = UnixStream::pair().unwrap();
    (&far).write_all(b"one\ntwo").unwrap();
    drop(far);
    let null = File::open("/dev/null").unwrap();
    let inputs = [(OwnedFd::from(File::open(&file.0).unwrap()), 2), (OwnedFd::from(near), 2), (OwnedFd::from(null), 0)];
    for (fd, lines) in inputs {
        let flags = fcntl_getfl(&fd).unwrap();
        let mut program = start_by(|| say_lines(), input(fd.try_clone().unwrap()));
        program.expect("ready");
        ["line one", "line two"][..lines].iter().for_each(|line| program.expect(line));
        program.expect("end");
        assert!(program.end().0.success());
        assert_eq!(fcntl_getfl(&fd).unwrap(), flags);
    }
}

#[test]
fn a_closed_input_has_ended() {
    let mut program = start_after("exec 0<&-", || say_lines());
    program.expect("ready");
    program.expect("end");
    assert!(program.end().0.success());
}

#[test]
fn a_folder_as_input_is_an_error_that_names_the_stream() {
    let folder = File::open("/").unwrap();
    let body = || {
        picot_loop::run(async { say(&stdin().unwrap().read(&mut [0; 4]).await.unwrap_err().to_string()) });
    };
    let program = start_by(body, input(folder));
    program.expect("cannot read standard input: Is a directory (os error 21)");
}

#[test]
fn without_a_loop_opening_is_an_error() {
    let error = stdin().unwrap_err().to_string();
    assert!(error.starts_with("cannot open standard input: this thread has no event loop"), "{error}");
    let error = stdout().unwrap_err().to_string();
    assert!(error.starts_with("cannot open standard output: this thread has no event loop"), "{error}");
}

/// What cannot be opened anew, such as the master of a terminal, waits without a thread, too.
#[test]
fn what_cannot_be_opened_anew_is_read_once_it_is_ready() {
    let (master, slave) = terminal();
    // Another process may have set this.
    fcntl_setfl(&master, fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK).unwrap();
    let body = || {
        picot_loop::run(async {
            let (mut lines, handle) = (stdin().unwrap().lines(), LoopHandle::current());
            for _ in 0..2 {
                let before = handle.tasks().len();
                let reading = spawn(async move { (lines.next().await, lines) });
                for _ in 0..5 {
                    yield_now().await;
                }
                assert_eq!(handle.tasks().len(), before + 1, "the read waits, and no job of the lane");
                say("ready");
                let line;
                (line, lines) = reading.await.unwrap();
                say(&line.unwrap().unwrap());
            }
            process::exit(7);
        });
    };
    let mut program = start_by(body, input(master.try_clone().unwrap()));
    for line in ["one", "two"] {
        program.expect("ready");
        File::from(slave.try_clone().unwrap()).write_all(format!("{line}\n").as_bytes()).unwrap();
        program.expect(line);
    }
    assert_eq!(program.end().0.code(), Some(7));
}

#[test]
fn a_pending_read_keeps_neither_the_loop_from_going_on_nor_the_process_alive() {
    let (reader, mut writer) = pipe();
    let (mut master, slave) = terminal();
    let (other_master, other_slave) = terminal();
    let (near, mut far) = UnixStream::pair().unwrap();
    writer.write_all(b"x\n").unwrap();
    master.write_all(b"x\n").unwrap();
    File::from(other_slave.try_clone().unwrap()).write_all(b"x\n").unwrap();
    far.write_all(b"x\n").unwrap();
    for fd in [reader, slave, other_master.into(), near.into()] {
        let body = || {
            picot_loop::run(async {
                let _ = spawn(async {
                    let mut stdin = stdin().unwrap();
                    assert!(stdin.read(&mut [0; 16]).await.unwrap() > 0);
                    say("read");
                    // The first read has left the descriptor marked as ready.
                    stdin.read(&mut [0; 16]).await
                });
                sleep(Duration::from_millis(20)).await;
                say("ready");
            });
        };
        let mut program = start_by(body, input(fd));
        program.expect("read");
        program.expect("ready");
        assert!(program.end().0.success());
    }
}

/// Numbers, line by line: more than fits into a pipe.
fn long_text() -> String {
    (0..40_000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    let file = Temporary::new("dropped", long_text());
    let (reader, mut writer) = pipe();
    let feeding = thread::spawn(move || writer.write_all(long_text().as_bytes()));
    for fd in [OwnedFd::from(File::open(&file.0).unwrap()), reader] {
        let body = || {
            picot_loop::run(async {
                let (mut stdin, mut text, mut dropped) = (stdin().unwrap(), Vec::new(), 0);
                loop {
                    let mut buffer = [0; 1000];
                    let read = match poll_once(stdin.read(&mut buffer)).await {
                        Some(read) => read.unwrap(),
                        None => {
                            dropped += 1;
                            stdin.read(&mut buffer).await.unwrap()
                        }
                    };
                    if read == 0 {
                        break;
                    }
                    text.extend_from_slice(&buffer[..read]);
                }
                assert!(dropped > 0);
                assert!(text == long_text().as_bytes());
                say("all");
            });
        };
        let program = start_by(body, input(fd));
        program.expect("all");
    }
    feeding.join().unwrap().unwrap();
}

#[test]
fn a_file_is_read_from_where_it_stands_and_no_further_than_asked() {
    let file = Temporary::new("offset", "0123456789");
    let mut file = File::open(&file.0).unwrap();
    file.seek(SeekFrom::Start(2)).unwrap();
    let body = || {
        picot_loop::run(async {
            let mut buffer = [0; 4];
            assert_eq!(stdin().unwrap().read(&mut buffer).await.unwrap(), 4);
            assert_eq!(&buffer, b"2345");
            assert_eq!(stdin().unwrap().read(&mut buffer[..1]).await.unwrap(), 1);
            assert_eq!(&buffer[..1], b"6");
            say("read");
        });
    };
    let program = start_by(body, input(file.try_clone().unwrap()));
    program.expect("read");
    assert_eq!(file.stream_position().unwrap(), 7, "the next program reads on from there");
}

#[test]
fn reading_a_file_lets_other_tasks_run() {
    let file = Temporary::new("budget", long_text());
    let body = || {
        picot_loop::run(async {
            let (turns, mut lines) = (Rc::new(Cell::new(0)), stdin().unwrap().lines());
            let count = turns.clone();
            let other = spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            });
            while let Some(line) = lines.next().await {
                line.unwrap();
            }
            other.cancel("read");
            say(&format!("{}", turns.get() > 40));
        });
    };
    let program = start_by(body, input(File::open(&file.0).unwrap()));
    program.expect("true");
}

#[test]
fn standard_output_is_written_in_order() {
    let program = start(|| {
        picot_loop::run(async {
            let mut out = stdout().unwrap();
            out.write_all(b"> one\n").await.unwrap();
            out.write(b"> two\n").await.unwrap();
            out.flush().await.unwrap();
            out.close().await.unwrap();
            out.write_all(b"> three\n").await.unwrap();
        });
    });
    ["one", "two", "three"].iter().for_each(|line| program.expect(line));
}

#[test]
fn much_output_goes_to_a_slow_reader_while_the_loop_goes_on() {
    let (reader, writer) = pipe();
    let flags = fcntl_getfl(&writer).unwrap();
    let body = || {
        picot_loop::run(async {
            let writing = spawn(async { stderr().unwrap().write_all(long_text().as_bytes()).await });
            sleep(Duration::from_millis(1)).await;
            say("the pipe is full");
            writing.await.unwrap().unwrap();
            say("written");
        });
    };
    let program = start_by(body, error(writer.try_clone().unwrap()));
    program.expect("the pipe is full");
    assert_eq!(fcntl_getfl(&writer).unwrap(), flags, "the flags that all writers of the pipe share");
    drop(writer);
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    assert!(text == long_text());
    program.expect("written");
}

#[test]
fn output_to_a_file_goes_behind_what_stands_there() {
    let file = Temporary::new("output", "");
    let mut before = File::create(&file.0).unwrap();
    before.write_all(b"before\n").unwrap();
    let body = || {
        picot_loop::run(async {
            stderr().unwrap().write_all(long_text().as_bytes()).await.unwrap();
            let length = rustix::fs::fstat(std::io::stderr()).unwrap().st_size as usize;
            assert_eq!(length, "before\n".len() + long_text().len(), "all is written by now");
            stderr().unwrap().write_all(b"end\n").await.unwrap();
        });
    };
    let mut program = start_by(body, error(before.try_clone().unwrap()));
    assert!(program.end().0.success());
    before.write_all(b"after\n").unwrap();
    assert!(fs::read_to_string(&file.0).unwrap() == format!("before\n{}end\nafter\n", long_text()));
}

#[test]
fn output_to_a_terminal_leaves_its_flags_and_settings() {
    let (master, slave) = terminal();
    let before = seen(&slave);
    let body = || {
        picot_loop::run(async {
            stderr().unwrap().write_all(b"hello\n").await.unwrap();
            say("written");
            sleep(Duration::from_secs(3600)).await;
        });
    };
    let program = start_by(body, error(slave.try_clone().unwrap()));
    program.expect("written");
    assert_eq!(seen(&slave), before);
    let mut buffer = [0; 16];
    let read = (&master).read(&mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"hello\r\n");
}

#[test]
fn output_without_a_reader_is_an_error_that_names_the_stream() {
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let (reader, writer) = pipe();
    drop(reader);
    for fd in [OwnedFd::from(near), OwnedFd::from(writer)] {
        let body = || {
            picot_loop::run(async {
                let error = stderr().unwrap().write_all(b"lost\n").await.unwrap_err();
                say(&error.to_string());
            });
        };
        let program = start_by(body, error(fd));
        program.expect("cannot write to standard error: Broken pipe (os error 32)");
    }
}
