//! Children: how they start, end, are waited for, and are left. Each test that waits runs on both
//! paths: by a pidfd, where the system has them, and by `SIGCHLD`.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, process, thread};

use futures_lite::FutureExt;
use futures_lite::future::poll_once;
use picot_loop::{EventLoop, Instant, LoopHandle, sleep, spawn, yield_now};
use picot_net::{Reader, raw_os_error};
use picot_process::{Child, Command, Signal};
use picot_testkit::{Folder, Trace};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, kill_process, test_kill_process, waitid, waitpid};

use crate::run::run;

/// Runs a test with commands of both paths.
fn on_both_paths(test: impl AsyncFn(&dyn Fn(&str) -> Command) -> io::Result<()>) {
    run(async {
        test(&|program| Command::new(program)).await?;
        test(&|program| {
            let mut command = Command::new(program);
            command.watch_by_sigchld();
            command
        })
        .await
    });
}

/// A shell that runs `script`.
fn shell(command: &dyn Fn(&str) -> Command, script: &str) -> Command {
    let mut shell = command("sh");
    shell.args(["-c", script]);
    shell
}

/// Gives other tasks turns until `condition` holds; fails the test after a long time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not in time: {what}");
        sleep(Duration::from_micros(200)).await;
    }
}

/// Whether the process with this number is this one's child and a zombie or running.
fn exists(id: u32) -> bool {
    test_kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap()).is_ok()
}

fn is_zombie(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// Waits for the end of a child without running a loop, and leaves its status.
fn block_until_zombie(id: u32) {
    let id = WaitId::Pid(Pid::from_raw(id.try_into().unwrap()).unwrap());
    waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
}

/// A script, and whether a status is the one that it ends with.
type Case = (&'static str, fn(ExitStatus) -> bool);

#[test]
fn a_status_is_the_code_or_the_signal_and_ten_waits_at_a_time_all_get_it() {
    on_both_paths(async |command| {
        let killed: fn(ExitStatus) -> bool = |status| status.signal() == Some(9) && status.code().is_none();
        let cases: [Case; 4] = [
            ("read line; exit 0", |status| status.success()),
            ("read line; exit 7", |status| status.code() == Some(7)),
            ("read line; exit 255", |status| status.code() == Some(255)),
            ("read line; kill -9 $$", killed),
        ];
        for (script, is_right) in cases {
            let mut child = shell(command, script).stdin(Stdio::piped()).spawn()?;
            let stdin = child.stdin.take().unwrap();
            let child = Rc::new(child);
            let waits: Vec<_> = (0..10)
                .map(|_| {
                    let child = child.clone();
                    spawn(async move { child.wait().await })
                })
                .collect();
            yield_now().await;
            assert_eq!(child.try_wait()?, None);
            stdin.write_all(b"\n").await?;
            for wait in waits {
                let status = wait.await.unwrap()?;
                assert!(is_right(status), "{script}: {status}");
            }
            assert!(is_right(child.wait().await?) && is_right(child.try_wait()?.unwrap()), "{script}");
            assert!(!exists(child.id()), "{script}: its status was collected");
        }
        Ok(())
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_the_status_to_the_next_one() {
    on_both_paths(async |command| {
        let mut child = shell(command, "read line; exit 7").stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().unwrap();
        for _ in 0..3 {
            assert!(poll_once(child.wait()).await.is_none());
        }
        let mut dropped = Box::pin(child.wait());
        assert!(poll_once(&mut dropped).await.is_none());
        drop(stdin);
        let other = child.wait().await?;
        assert_eq!(other.code(), Some(7));
        // It was woken and did not look.
        drop(dropped);
        assert_eq!(poll_once(child.wait()).await.unwrap()?, other);
        Ok(())
    });
}

#[test]
fn a_wait_does_not_depend_on_the_pipes_that_a_grandchild_keeps_open() {
    on_both_paths(async |command| {
        let script = "sleep 1000 & echo $!";
        let mut child = shell(command, script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        assert!(child.wait().await?.success());
        let mut lines = Reader::new(child.stdout.take().unwrap());
        let grandchild: i32 = lines.read_line().await?.unwrap().parse().unwrap();
        assert!(poll_once(lines.read_line()).await.is_none(), "the pipe is open still");
        kill_process(Pid::from_raw(grandchild).unwrap(), rustix::process::Signal::KILL)?;
        assert_eq!(lines.read_line().await?, None);

        // With a limit, what was read until then is the output.
        let mut limited = shell(command, script);
        let output = limited.drain_limit(Duration::from_millis(1)).output().await?;
        assert!(output.status.success());
        let grandchild: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(grandchild).unwrap(), rustix::process::Signal::KILL)?;
        // Without one, it is the end of the pipes that counts.
        let mut whole = shell(command, "sleep 0.05 && echo late & echo early");
        assert_eq!(whole.output().await?.stdout, b"early\nlate\n");
        Ok(())
    });
}

#[test]
fn input_and_both_outputs_flow_at_the_same_time_and_unread_input_is_no_error() {
    on_both_paths(async |command| {
        let piped =
            |mut command: Command| command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let input: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let output = piped(shell(command, "tee /dev/stderr"))?.communicate(&input).await?;
        assert!(output.status.success() && output.stdout == input && output.stderr == input);
        let output = piped(shell(command, "head -c 10; echo enough >&2; exit 3"))?.communicate(&input).await?;
        assert_eq!(
            (output.status.code(), &output.stdout[..], &output.stderr[..]),
            (Some(3), &input[..10], &b"enough\n"[..])
        );
        let output = piped(command("true"))?.communicate(&input).await?;
        assert!(output.status.success() && output.stdout.is_empty());
        // Closes stdin, so that cat ends.
        let output = piped(command("cat"))?.wait_with_output().await?;
        assert!(output.status.success() && output.stdout.is_empty());
        Ok(())
    });
}

#[test]
fn output_collects_what_is_not_set_and_leaves_the_command_as_it_was() {
    run(async {
        let mut command = Command::shell("cat; echo out; echo error >&2");
        let output = command.output().await?;
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"error\n"[..]));
        let output = command.stderr(Stdio::null()).output().await?;
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b""[..]));
        let child = command.stdin(Stdio::null()).spawn()?;
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none(), "inherited, not piped");
        assert!(child.wait().await?.success());
        // Pipes that are not served are closed, so the child cannot wait for them.
        let mut cat = Command::new("cat");
        assert!(cat.stdin(Stdio::piped()).stdout(Stdio::piped()).status().await?.success());
        Ok(())
    });
}

#[test]
fn a_command_of_std_converts_and_the_options_reach_the_child() {
    run(async {
        let mut std = process::Command::new("sh");
        std.args(["-c", "pwd; echo $X $Y $0; ps -o pgid= -p $$ | tr -d ' '; echo $$", "name"]);
        let mut command = Command::from(std);
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("X", "x").envs([("Y", "y"), ("Z", "z")]);
        command.env_remove("Z").current_dir("/").process_group(0).arg("ignored");
        let output = String::from_utf8(command.output().await?.stdout).unwrap();
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(lines[..2], ["/", "x y name"]);
        assert_eq!(lines[2], lines[3], "a group of its own");
        assert_eq!(command.as_std().get_program(), "sh");
        Ok(())
    });
}

#[test]
fn a_signal_reaches_a_running_child_and_none_that_has_ended() {
    on_both_paths(async |command| {
        let mut sleep = command("sleep");
        sleep.arg("1000");
        for (signal, number) in [(Signal::TERM, 15), (Signal::KILL, 9), (Signal::USR1, 10)] {
            let child = sleep.spawn()?;
            child.signal(signal)?;
            assert_eq!(child.wait().await?.signal(), Some(number));
            child.signal(signal)?;
            child.kill()?;
            assert_eq!(child.wait().await?.signal(), Some(number));
        }
        // It has ended, and its status was not collected: the signal changes nothing.
        let mut child = shell(command, "exit 5").stdout(Stdio::piped()).spawn()?;
        assert_eq!(child.stdout.take().unwrap().read(&mut [0; 8]).await?, 0);
        until("the shell is a zombie", || is_zombie(child.id())).await;
        child.kill()?;
        assert_eq!(child.wait().await?.code(), Some(5));

        let child = sleep.spawn()?;
        // 35 is a real-time signal of Linux.
        for number in [-1, 0, 35, 99] {
            let error = child.signal(Signal::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let id = child.id();
            let why = "only signals with a name can be sent";
            assert_eq!(error.to_string(), format!("cannot send signal {number} to `sleep` (process {id}): {why}"));
        }
        child.kill()?;
        child.wait().await.map(drop)
    });
}

#[test]
fn a_child_that_is_dropped_runs_on_and_leaves_no_zombie() {
    on_both_paths(async |command| {
        let mut child = shell(command, "read line; exit 1").stdin(Stdio::piped()).spawn()?;
        let (id, stdin) = (child.id(), child.stdin.take().unwrap());
        drop(child);
        yield_now().await;
        assert!(exists(id) && !is_zombie(id));
        drop(stdin);
        until("the status is collected", || !exists(id)).await;

        // The same with one that has ended before it is dropped.
        let child = command("true").spawn()?;
        let id = child.id();
        until("it is a zombie", || is_zombie(id)).await;
        drop(child);
        assert!(!exists(id));
        Ok(())
    });
}

#[test]
fn kill_on_drop_kills_the_child_of_a_dropped_value_or_future() {
    on_both_paths(async |command| {
        // Each child that is dropped has a task that collects its status, and ends then.
        let tasks = LoopHandle::current().tasks().len();
        let mut sleep = command("sleep");
        sleep.arg("1000").kill_on_drop(true);
        let child = sleep.spawn()?;
        let id = child.id();
        drop(child);
        until("it is killed and collected", || !exists(id)).await;

        // What writes its number, and then runs for long.
        let mut talks = shell(command, "echo $$; exec sleep 1000");
        let child = talks.kill_on_drop(true).stdout(Stdio::piped()).spawn()?;
        let id = child.id();
        assert!(poll_once(child.wait_with_output()).await.is_none());
        until("it is killed and collected", || !exists(id)).await;
        assert!(poll_once(sleep.status()).await.is_none());
        assert!(poll_once(sleep.output()).await.is_none());
        until("they are killed and collected", || LoopHandle::current().tasks().len() == tasks).await;
        Ok(())
    });
}

#[test]
fn a_child_outlives_its_loop_and_the_next_start_collects_it() {
    for by_sigchld in [false, true] {
        let event_loop = EventLoop::new().unwrap();
        let mut command = Command::shell("read line; exit 1");
        command.stdin(Stdio::piped());
        if by_sigchld {
            command.watch_by_sigchld();
        }
        let (dropped, stdin, kept, kept_stdin) = event_loop
            .run_until_complete(async {
                let (mut dropped, mut kept) = (command.spawn()?, command.spawn()?);
                let ids = (dropped.id(), dropped.stdin.take().unwrap().into_fd()?);
                drop(dropped);
                // The task that waits for it has begun.
                yield_now().await;
                yield_now().await;
                let kept_stdin = kept.stdin.take().unwrap().into_fd()?;
                io::Result::Ok((ids.0, ids.1, kept, kept_stdin))
            })
            .unwrap()
            .unwrap();
        event_loop.close().unwrap();
        assert!(exists(dropped) && !is_zombie(dropped), "it runs on");
        // A wait on a closed loop is an error at once; asking without waiting works.
        let error = poll_once_blocking(kept.wait()).unwrap().unwrap_err();
        assert!(error.to_string().starts_with("cannot wait for `sh` (process "), "{error}");
        assert_eq!(kept.try_wait().unwrap(), None);
        drop((stdin, kept_stdin));
        run(async {
            until("both are zombies", || is_zombie(dropped) && is_zombie(kept.id())).await;
            let id = kept.id();
            drop(kept);
            assert!(!exists(id) && exists(dropped));
            assert!(Command::new("true").status().await?.success());
            assert!(!exists(dropped), "the start of another child has collected it");
            Ok(())
        });
    }
}

#[test]
fn closing_the_loop_collects_a_dropped_child_that_has_ended() {
    for (by_sigchld, is_waited_for) in [(false, false), (false, true), (true, false), (true, true)] {
        let event_loop = EventLoop::new().unwrap();
        let mut command = Command::shell("read line");
        command.stdin(Stdio::piped());
        if by_sigchld {
            command.watch_by_sigchld();
        }
        let start = async {
            let mut child = command.spawn()?;
            let (id, stdin) = (child.id(), child.stdin.take().unwrap().into_fd()?);
            drop(child);
            if is_waited_for {
                // The task that collects the status begins to wait.
                yield_now().await;
                yield_now().await;
            }
            io::Result::Ok((id, stdin))
        };
        let (id, stdin) = event_loop.run_until_complete(start).unwrap().unwrap();
        drop(stdin);
        // The loop does not run, so its task cannot collect the status.
        block_until_zombie(id);
        event_loop.close().unwrap();
        assert!(!exists(id), "by SIGCHLD: {by_sigchld}, waited for: {is_waited_for}");
    }
}

#[test]
fn the_end_of_a_thread_collects_the_children_that_outlived_its_loop() {
    let (sender, children) = mpsc::channel();
    let (ended, end) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let child = picot_loop::run(async {
            let mut child = Command::shell("read line").stdin(Stdio::piped()).spawn()?;
            io::Result::Ok((child.id(), child.stdin.take().unwrap().into_fd()?))
        });
        // The loop has closed, and the child runs on.
        sender.send(child.unwrap()).unwrap();
        end.recv().unwrap_err();
    });
    let (id, stdin) = children.recv().unwrap();
    drop(stdin);
    block_until_zombie(id);
    drop(ended);
    thread.join().unwrap();
    assert!(!exists(id));
}

fn poll_once_blocking<F: Future>(future: F) -> Option<F::Output> {
    futures_lite::future::block_on(poll_once(future))
}

#[test]
fn a_status_that_other_code_has_collected_is_an_error_that_names_the_program() {
    on_both_paths(async |command| {
        let child = command("true").spawn()?;
        let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        waitpid(Some(id), WaitOptions::empty())?;
        for _ in 0..2 {
            let error = child.wait().await.unwrap_err();
            let begin =
                format!("cannot wait for `true` (process {}): its status was collected by other code", child.id());
            assert!(error.to_string().starts_with(&begin), "{error}");
        }
        assert!(child.try_wait().is_err());
        child.kill()?;
        Ok(())
    });
}

#[test]
fn what_cannot_start_is_an_error_that_names_the_program_and_what_is_missing() {
    run(async {
        let long = "x".repeat(200 * 1024);
        let missing = "cannot start `no-such-program`: No such file or directory (os error 2)";
        let folder = "cannot start `/tmp`: cannot run a directory: Permission denied (os error 13)";
        let directory = "cannot start `true`: cannot enter the working directory `/no/such/folder`: \
                         No such file or directory (os error 2)";
        let arguments = "cannot start `true`: Argument list too long (os error 7)";
        let control = "cannot start `no\\nsuch`: No such file or directory (os error 2)";
        let mut cases = [
            (Command::new("no-such-program"), missing, Errno::NOENT),
            (Command::new("/tmp"), folder, Errno::ACCESS),
            (Command::new("true"), directory, Errno::NOENT),
            (Command::new("true"), arguments, Errno::TOOBIG),
            (Command::new("no\nsuch"), control, Errno::NOENT),
        ];
        cases[2].0.current_dir("/no/such/folder");
        cases[3].0.arg(&long);
        for (command, text, number) in &mut cases {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            for error in
                [command.spawn().unwrap_err(), command.status().await.unwrap_err(), command.output().await.unwrap_err()]
            {
                assert_eq!(error.to_string(), *text);
                assert_eq!(raw_os_error(&error), Some(number.raw_os_error()));
            }
        }
        Ok(())
    });
}

#[test]
fn a_script_without_its_interpreter_is_an_error_that_names_both() {
    let folder = Folder::new("scripts");
    let script = |name: &str, text: &str| {
        // Another process writes it: a file that is open for writing here, and so for a moment in
        // the children of other tests, cannot be executed.
        let mut write = process::Command::new("sh");
        write.args(["-c", "printf '%s' \"$2\" > \"$1\" && chmod +x \"$1\"", "sh"]);
        assert!(write.arg(folder.join(name)).arg(text).status().unwrap().success());
        folder.join(name)
    };
    let plain = script("plain", "#!/no/such/interpreter\necho hello\n");
    let options = script("options", "#! \t/no/such/interpreter --option and more");
    let windows = script("windows", "#!/bin/sh\r\necho hello\r\n");
    let relative = script("relative", "#!no-such-interpreter\n");
    let works = script("works", "#!/bin/sh\necho hello\n");
    let (env, text) = (script("env", "#!/usr/bin/env no-such-program\n"), script("text", "no script\n"));
    run(async {
        let by_path = |name: &str| {
            let mut command = Command::new(name);
            // The first folder does not have it.
            command.env("PATH", format!("/no/such/folder:{}", folder.path().display()));
            command
        };
        let mut in_folder = Command::new("./plain");
        in_folder.current_dir(folder.path());
        let cases = [
            (Command::new(&plain), plain.display().to_string(), "/no/such/interpreter", &plain),
            (Command::new(&options), options.display().to_string(), "/no/such/interpreter", &options),
            (Command::new(&windows), windows.display().to_string(), "/bin/sh\\r", &windows),
            (Command::new(&relative), relative.display().to_string(), "no-such-interpreter", &relative),
            (by_path("plain"), "plain".into(), "/no/such/interpreter", &plain),
            (in_folder, "./plain".into(), "/no/such/interpreter", &folder.join("./plain")),
        ];
        for (mut command, program, interpreter, script) in cases {
            let error = command.spawn().unwrap_err();
            let text = format!(
                "cannot start `{program}`: cannot find `{interpreter}`, the interpreter of the script `{}`: \
                 No such file or directory (os error 2)",
                script.display()
            );
            assert_eq!(error.to_string(), text);
            assert_eq!((error.kind(), raw_os_error(&error)), (ErrorKind::NotFound, Some(Errno::NOENT.raw_os_error())));
        }
        // What else is missing is named as before, and what exists runs.
        let error = by_path("absent").spawn().unwrap_err();
        assert_eq!(error.to_string(), "cannot start `absent`: No such file or directory (os error 2)");
        assert_eq!(by_path("works").output().await?.stdout, b"hello\n");
        assert_eq!(Command::new(&works).output().await?.stdout, b"hello\n");
        // Here it is `env` that does not find its program, and says so itself.
        assert_eq!(Command::new(&env).stderr(Stdio::null()).status().await?.code(), Some(127));
        let error = Command::new(&text).spawn().unwrap_err();
        assert_eq!(raw_os_error(&error), Some(Errno::NOEXEC.raw_os_error()), "{error}");
        Ok(())
    });
}

#[test]
fn waits_by_sigchld_that_one_arrival_ends_return_in_the_order_in_which_they_began() {
    run(async {
        let mut command = Command::shell("read line");
        command.stdin(Stdio::piped()).watch_by_sigchld();
        let mut children = Vec::new();
        for _ in 0..5 {
            children.push(command.spawn()?);
        }
        let pipes: Vec<_> = children.iter_mut().map(|child| child.stdin.take().unwrap()).collect();
        let trace = Trace::default();
        let children: Rc<[Child]> = children.into();
        // Neither the order of the starts nor that of the ends.
        let waits: Vec<_> = [3, 1, 4, 0, 2]
            .map(|index| {
                let (trace, children) = (trace.clone(), children.clone());
                spawn(async move {
                    let status = children[index].wait().await;
                    trace.add(index);
                    status
                })
            })
            .into();
        yield_now().await;
        for pipe in pipes.into_iter().rev() {
            drop(pipe);
        }
        // All of them have ended before the loop looks at a signal.
        children.iter().for_each(|child| block_until_zombie(child.id()));
        for wait in waits {
            assert_eq!(wait.await.unwrap()?.code(), Some(1));
        }
        assert_eq!(trace.take(), ["3", "1", "4", "0", "2"]);
        Ok(())
    });
}

#[test]
fn without_an_open_loop_nothing_starts() {
    let path = std::env::temp_dir().join(format!("picot-not-started-{}", process::id()));
    let mut command = Command::new("touch");
    command.arg(&path);
    let error = command.spawn().unwrap_err();
    assert!(error.to_string().starts_with("cannot start `touch`: "), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_child_whose_end_is_known_leaves_other_tasks_their_turns() {
    run(async {
        let child = Command::new("true").spawn()?;
        child.wait().await?;
        let endless = async {
            loop {
                child.wait().await?;
            }
        };
        let others = async {
            for _ in 0..10 {
                yield_now().await;
            }
            io::Result::Ok(())
        };
        endless.or(others).await
    });
}

thread_local! {
    static CHILD: RefCell<Option<(Child, Child)>> = const { RefCell::new(None) };
}

#[test]
fn a_child_that_a_forked_process_drops_is_neither_killed_nor_signalled() {
    run(async {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").kill_on_drop(true);
        let pidfd = sleep.spawn()?;
        CHILD.set(Some((pidfd, sleep.watch_by_sigchld().spawn()?)));
        let mut command = process::Command::new("true");
        let forked = || {
            let children = CHILD.take().ok_or(ErrorKind::NotFound)?;
            if children.0.kill().is_ok() || children.1.kill().is_ok() {
                return Err(ErrorKind::Other.into());
            }
            drop(children);
            Ok(())
        };
        // SAFETY: The closure makes system calls, and uses the allocator, which this process's
        // other threads do not leave locked across a fork.
        unsafe { command.pre_exec(forked) };
        assert!(command.status()?.success());
        let (one, other) = CHILD.take().unwrap();
        // Both still run, and end by this signal.
        for child in [one, other] {
            child.signal(Signal::TERM)?;
            assert_eq!(child.wait().await?.signal(), Some(15));
        }
        Ok(())
    });
}
