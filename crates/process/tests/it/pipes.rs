//! Pipes: their bytes, their ends, their mode, and what is refused.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use futures_lite::future::{poll_once, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{EventLoop, spawn, yield_now};
use picot_net::{Reader, Writer, raw_os_error};
use picot_process::{PipeReader, PipeWriter, pipe};
use picot_testkit::WakeCount;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

use crate::run::run;

/// A pipe whose ends are in blocking mode, as other programs make it.
fn blocking_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn is_blocking(fd: impl AsFd) -> bool {
    !fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn bytes_go_through_whole_and_in_order_however_full_the_pipe_is() {
    run(async {
        let (reader, writer) = pipe()?;
        let sent: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
        let write = async {
            for piece in sent.chunks(70_001) {
                writer.write_all(piece).await?;
            }
            drop(writer);
            io::Result::Ok(())
        };
        let read = async {
            let mut received = Vec::new();
            let mut buffer = vec![0; 4_099];
            loop {
                match reader.read(&mut buffer).await? {
                    0 => return io::Result::Ok(received),
                    length => received.extend_from_slice(&buffer[..length]),
                }
            }
        };
        let (written, received) = zip(write, read).await;
        written?;
        assert!(received? == sent);
        Ok(())
    });
}

#[test]
fn the_traits_the_vectored_calls_and_the_buffered_types_move_the_same_bytes() {
    run(async {
        let (mut reader, mut writer) = pipe()?;
        AsyncWriteExt::write_all(&mut writer, b"one ").await?;
        // More empty slices than any system takes in one call.
        let mut slices = vec![IoSlice::new(b""); 2_000];
        slices.extend([IoSlice::new(b"two "), IoSlice::new(b"three\n")]);
        assert_eq!(writer.write_vectored(&slices).await?, 10);
        let (mut first, mut second) = ([0; 5], [0; 32]);
        let buffers = &mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(reader.read_vectored(buffers).await?, 14);
        assert_eq!((&first, &second[..9]), (b"one t", &b"wo three\n"[..]));

        let (mut lines, mut pieces) = (Reader::new(&reader), Writer::new(writer));
        pieces.put(b"a li");
        pieces.put(b"ne\nand");
        pieces.close().await?;
        assert_eq!(lines.read_line().await?.as_deref(), Some("a line"));
        assert_eq!(lines.read_line().await?.as_deref(), Some("and"));
        assert_eq!(lines.read_line().await?, None, "closing the writer ends the stream");
        let error = pieces.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("this end of the pipe was closed"), "{error}");
        assert!(pieces.into_parts().0.closed().await.is_err(), "a closed writer has no reader to wait for");
        Ok(())
    });
}

#[test]
fn an_empty_transfer_completes_at_once_also_where_the_pipe_is_empty_or_full() {
    run(async {
        let (mut reader, mut writer) = pipe()?;
        assert!(poll_once(reader.read(&mut [0; 8])).await.is_none(), "it is empty");
        assert_eq!(poll_once(reader.read(&mut [])).await.unwrap()?, 0);
        assert_eq!(poll_once(AsyncReadExt::read(&mut reader, &mut [])).await.unwrap()?, 0);
        assert_eq!(poll_once(reader.read_vectored(&mut [IoSliceMut::new(&mut [])])).await.unwrap()?, 0);
        assert!(poll_once(writer.write_all(&vec![0; 1 << 20])).await.is_none(), "it is full");
        poll_once(writer.write_all(&[])).await.unwrap()?;
        assert_eq!(poll_once(AsyncWriteExt::write(&mut writer, &[])).await.unwrap()?, 0);
        assert_eq!(poll_once(writer.write_vectored(&[IoSlice::new(&[])])).await.unwrap()?, 0);
        Ok(())
    });
}

#[test]
fn a_read_that_is_dropped_loses_no_byte_and_a_dropped_write_knows_what_is_unsent() {
    run(async {
        let (reader, writer) = pipe()?;
        assert!(poll_once(reader.read(&mut [0; 8])).await.is_none());
        writer.write_all(b"kept").await?;
        yield_now().await;
        assert_eq!(reader.read(&mut [0; 8]).await?, 4);

        let bytes = vec![b'x'; 1 << 20];
        let unsent = {
            let mut write = writer.write_all(&bytes);
            assert!(poll_once(&mut write).await.is_none());
            write.unsent().len()
        };
        let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
        while total < bytes.len() - unsent {
            total += reader.read(&mut buffer).await?;
        }
        assert_eq!(total, bytes.len() - unsent);
        assert!(poll_once(reader.read(&mut buffer)).await.is_none(), "no byte more");
        Ok(())
    });
}

#[test]
fn the_writer_notices_while_it_waits_that_the_last_reader_has_gone() {
    run(async {
        let (reader, writer) = pipe()?;
        let bytes = vec![0; 1 << 20];
        {
            let (mut write, mut closed) = (Box::pin(writer.write_all(&bytes)), Box::pin(writer.closed()));
            assert!(poll_once(&mut write).await.is_none() && poll_once(&mut closed).await.is_none());
            // A duplicate is a reader, too.
            let duplicate = reader.as_fd().try_clone_to_owned()?;
            drop(reader);
            yield_now().await;
            assert!(poll_once(&mut closed).await.is_none());
            drop(duplicate);
            closed.await?;
            let error = write.await.unwrap_err();
            assert_eq!((error.kind(), raw_os_error(&error)), (ErrorKind::BrokenPipe, Some(Errno::PIPE.raw_os_error())));
            assert_eq!(error.to_string(), "cannot write to the pipe: Broken pipe (os error 32)");
        }
        poll_once(writer.closed()).await.expect("it is known by now")
    });
}

#[test]
fn waiting_for_the_last_reader_to_go_wakes_no_task_while_there_is_room_to_write() {
    run(async {
        let (reader, writer) = pipe()?;
        let count = WakeCount::default();
        let mut closed = Box::pin(writer.closed());
        let mut wakes = 0;
        for _ in 0..20 {
            assert!(count.poll(|cx| closed.as_mut().poll(cx)).is_pending());
            // The read ends by an event, so the loop has waited for I/O.
            let mut buffer = [0; 8];
            let mut read = reader.read(&mut buffer);
            assert!(poll_once(&mut read).await.is_none());
            writer.write_all(b"x").await?;
            read.await?;
            wakes = count.get();
        }
        assert!(wakes <= 1, "{wakes}: the first event of a source may come with any direction");
        drop(reader);
        while count.get() == wakes {
            yield_now().await;
        }
        assert!(matches!(count.poll(|cx| closed.as_mut().poll(cx)), Poll::Ready(Ok(()))));
        Ok(())
    });
}

#[test]
fn several_readers_are_all_woken_and_each_byte_goes_to_one() {
    run(async {
        let (reader, writer) = pipe()?;
        let (reader, read) = (Rc::new(reader), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (reader, read) = (reader.clone(), read.clone());
                spawn(async move {
                    while reader.read(&mut [0; 1]).await? > 0 {
                        read.set(read.get() + 1);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        yield_now().await;
        writer.write_all(&[0; 500]).await?;
        drop(writer);
        for task in tasks {
            task.await.unwrap()?;
        }
        assert_eq!(read.get(), 500);
        Ok(())
    });
}

#[test]
fn the_mode_that_a_descriptor_had_comes_back_when_it_is_dropped_closed_or_converted() {
    run(async {
        let (read, write) = blocking_pipe()?;
        let (read_copy, write_copy) = (read.try_clone()?, write.try_clone()?);
        let (reader, mut writer) = (PipeReader::from_fd(read)?, PipeWriter::from_fd(write)?);
        assert!(!is_blocking(&read_copy) && !is_blocking(&write_copy));
        drop(reader);
        writer.close().await?;
        assert!(is_blocking(&read_copy) && is_blocking(&write_copy));
        let (reader, writer) = (PipeReader::from_fd(read_copy)?, PipeWriter::from_fd(write_copy)?);
        assert!(is_blocking(reader.into_fd()) && is_blocking(writer.into_fd()?));

        // What was non-blocking before stays so.
        let (one, _other) = UnixStream::pair()?;
        one.set_nonblocking(true)?;
        let copy = one.try_clone()?;
        assert!(!is_blocking(PipeReader::from_fd(one)?.into_fd()));
        assert!(!is_blocking(copy));

        // Another program expects blocking mode of a pipe that it is passed.
        let (reader, writer) = pipe()?;
        assert!(!is_blocking(&reader));
        assert!(is_blocking(reader.into_fd()) && is_blocking(writer.into_fd()?));
        Ok(())
    });
}

#[test]
fn a_descriptor_that_is_refused_is_closed_and_keeps_its_mode() {
    let (read, _write) = blocking_pipe().unwrap();
    let copy = read.try_clone().unwrap();
    let error = PipeReader::from_fd(read).unwrap_err();
    assert!(error.to_string().starts_with("cannot take over the pipe: "), "{error}: there is no loop");
    assert!(is_blocking(&copy));
}

#[test]
fn files_directories_and_the_wrong_direction_are_errors_that_say_what_to_use() {
    run(async {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("picot-pipes-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        let (read, write) = blocking_pipe()?;
        let cases = [
            (PipeReader::from_fd(file.try_clone()?).map(drop), "it is a regular file", "`std::fs::File`"),
            (PipeWriter::from_fd(file).map(drop), "it is a regular file", "`spawn_blocking`"),
            (PipeReader::from_fd(File::open(&folder)?).map(drop), "it is a directory", "`std::fs::read_dir`"),
            (PipeReader::from_fd(write).map(drop), "for writing only", "`PipeWriter`"),
            (PipeWriter::from_fd(read).map(drop), "for reading only", "`PipeReader`"),
        ];
        for (result, is, instead) in cases {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.starts_with("cannot use the descriptor as a pipe: ") && text.contains(is), "{text}");
            assert!(text.contains(instead), "{text}");
        }
        Ok(())
    });
}

#[test]
fn a_fifo_is_read_across_processes() {
    run(async {
        let path = std::env::temp_dir().join(format!("picot-fifo-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&path).status()?.success());
        let mut child = Command::new("sh").args(["-c", "echo through the fifo > \"$0\""]).arg(&path).spawn()?;
        // Opening waits for the other side, so it is a thread's work.
        let file = picot_loop::spawn_blocking({
            let path = path.clone();
            move || File::open(path)
        });
        let mut reader = Reader::new(PipeReader::from_fd(file.await.unwrap()?)?);
        assert_eq!(reader.read_line().await?.as_deref(), Some("through the fifo"));
        assert_eq!(reader.read_line().await?, None);
        fs::remove_file(&path)?;
        assert!(child.wait()?.success());
        Ok(())
    });
}

#[test]
fn character_devices_work_also_one_that_no_kernel_polls() {
    run(async {
        let zero = PipeReader::from_fd(File::open("/dev/zero")?)?;
        let mut buffer = [1; 64];
        assert_eq!(zero.read(&mut buffer).await?, 64);
        assert_eq!(buffer, [0; 64]);
        let null = PipeWriter::from_fd(OpenOptions::new().write(true).open("/dev/null")?)?;
        null.write_all(&[0; 100_000]).await?;
        let null = PipeReader::from_fd(File::open("/dev/null")?)?;
        assert_eq!(null.read(&mut buffer).await?, 0);
        Ok(())
    });
}

#[test]
fn another_thread_may_hold_the_other_end() {
    run(async {
        let (read, write) = blocking_pipe()?;
        let (back_read, back_write) = blocking_pipe()?;
        let echo = thread::spawn(move || {
            let (mut read, mut write) = (File::from(read), File::from(back_write));
            let mut buffer = [0; 1000];
            loop {
                match read.read(&mut buffer).unwrap() {
                    0 => break,
                    length => write.write_all(&buffer[..length]).unwrap(),
                }
            }
        });
        let (reader, writer) = (PipeReader::from_fd(back_read)?, PipeWriter::from_fd(write)?);
        for round in 0..200_u8 {
            writer.write_all(&[round]).await?;
            let mut byte = [0];
            assert_eq!(reader.read(&mut byte).await?, 1);
            assert_eq!(byte, [round]);
        }
        drop(writer);
        assert_eq!(reader.read(&mut [0; 8]).await?, 0);
        echo.join().unwrap();
        Ok(())
    });
}

/// Repeats an operation that always completes at once, and as expected, beside a task that must get
/// its turns.
async fn repeat(operation: impl AsyncFn() -> bool) {
    let turns = Rc::new(Cell::new(0_u32));
    let others = turns.clone();
    let task = spawn(async move {
        loop {
            others.set(others.get() + 1);
            yield_now().await;
        }
    });
    for round in 0..2_000 {
        assert!(operation().await);
        assert!(turns.get() >= round / 130, "{} turns after {round} operations", turns.get());
    }
    task.cancel("the operation was repeated often enough");
}

#[test]
fn operations_that_never_wait_leave_other_tasks_their_turns() {
    run(async {
        let zero = PipeReader::from_fd(File::open("/dev/zero")?)?;
        repeat(async || zero.read(&mut [0; 8]).await.is_ok()).await;
        repeat(async || zero.read(&mut []).await.is_ok()).await;
        let (reader, mut writer) = pipe()?;
        drop(reader);
        repeat(async || writer.closed().await.is_ok()).await;
        repeat(async || writer.write_all(b"x").await.is_err()).await;
        writer.close().await?;
        repeat(async || writer.closed().await.is_err()).await;
        repeat(async || writer.write_all(b"x").await.is_err()).await;
        Ok(())
    });
}

#[test]
fn on_a_closed_loop_each_operation_is_an_error_at_once() {
    let event_loop = EventLoop::new().unwrap();
    let (reader, writer) = event_loop.run_until_complete(async { pipe() }).unwrap().unwrap();
    event_loop.close().unwrap();
    let other = EventLoop::new().unwrap();
    other
        .run_until_complete(async {
            assert!(poll_once(reader.read(&mut [0; 8])).await.unwrap().is_err());
            let full = vec![0; 1 << 20];
            assert!(poll_once(writer.write_all(&full)).await.unwrap().is_err());
            assert!(poll_once(writer.closed()).await.unwrap().is_err());
        })
        .unwrap();
    other.close().unwrap();
    let error = pipe().unwrap_err();
    assert!(error.to_string().starts_with("cannot make a pipe: "), "{error}");
}

type Ends = (PipeReader, PipeWriter);

thread_local! {
    static ENDS: RefCell<Option<Ends>> = const { RefCell::new(None) };
}

#[test]
fn ends_that_a_forked_child_drops_keep_their_mode_in_the_parent() {
    run(async {
        let (read, write) = blocking_pipe()?;
        let copies = (read.try_clone()?, write.try_clone()?);
        ENDS.set(Some((PipeReader::from_fd(read)?, PipeWriter::from_fd(write)?)));
        let mut command = Command::new("true");
        let child = || {
            drop(ENDS.take().ok_or(ErrorKind::NotFound)?);
            Ok(())
        };
        // SAFETY: The closure makes system calls, and uses the allocator, which this process's
        // other threads do not leave locked across a fork.
        unsafe { command.pre_exec(child) };
        assert!(command.status()?.success());
        assert!(!is_blocking(&copies.0) && !is_blocking(&copies.1));
        let (reader, writer) = ENDS.take().unwrap();
        writer.write_all(b"still").await?;
        assert_eq!(reader.read(&mut [0; 8]).await?, 5);
        drop((reader, writer));
        assert!(is_blocking(&copies.0) && is_blocking(&copies.1));
        Ok(())
    });
}
