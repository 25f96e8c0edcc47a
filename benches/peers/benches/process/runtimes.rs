//! The workloads, once for each runtime.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, try_zip};

/// Children of one round, one after the other, and side by side.
const CHILDREN: usize = 300;

/// Bytes of one round.
const BYTES: usize = 256 << 20;

/// Bytes of a write and of a read.
const PIECE: usize = 64 << 10;

/// A multiple of three and of four, so that each runtime comes first equally often.
const ROUNDS: usize = 24;

/// A workload on one of the runtimes.
type Workload = fn();

pub(crate) fn compare() {
    let rate = |time: Duration| format!("{:.0}", CHILDREN as f64 / time.as_secs_f64());
    let throughput = |time: Duration| format!("{:.0}", (BYTES >> 20) as f64 / time.as_secs_f64());
    println!("| | picot-process | by SIGCHLD | tokio | async-process |\n|---|---|---|---|---|");
    row(
        "spawn `true`, wait, again: per second",
        rate,
        [
            Some(|| picot(one_by_one(false))),
            Some(|| picot(one_by_one(true))),
            Some(|| tokio(tokio_one_by_one())),
            Some(|| block_on(smol_one_by_one())),
        ],
    );
    row(
        "spawn 50 × `true`, wait for all: per second",
        rate,
        [
            Some(|| picot(side_by_side(false))),
            Some(|| picot(side_by_side(true))),
            Some(|| tokio(tokio_side_by_side())),
            Some(|| block_on(smol_side_by_side())),
        ],
    );
    row(
        "256 MiB through `cat`: MiB per second",
        throughput,
        [
            Some(|| picot(through_cat())),
            None,
            Some(|| tokio(tokio_through_cat())),
            Some(|| block_on(smol_through_cat())),
        ],
    );
}

fn row(title: &str, figure: impl Fn(Duration) -> String, workloads: [Option<Workload>; 4]) {
    let mut times = [const { Vec::new() }; 4];
    let mut order: Vec<_> = (0..4).filter_map(|column| Some((column, workloads[column]?))).collect();
    for _ in 0..ROUNDS {
        for (column, workload) in &order {
            #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
            let start = Instant::now();
            workload();
            times[*column].push(start.elapsed());
        }
        // What runs before a runtime changes its time: async-process leaves threads behind.
        order.rotate_left(1);
    }
    print!("| {title} ");
    for times in &mut times {
        times.sort();
        let quarter = |n: usize| figure(times[n * (ROUNDS - 1) / 4]);
        let figures = (!times.is_empty()).then(|| format!("{} ({} to {})", quarter(2), quarter(3), quarter(1)));
        print!("| {} ", figures.as_deref().unwrap_or("–"));
    }
    println!("|");
}

fn picot(workload: impl Future<Output = ()>) {
    picot_loop::run(workload);
}

fn tokio(workload: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(workload);
}

fn picot_true(by_sigchld: bool) -> picot_process::Child {
    let mut command = picot_process::Command::new("true");
    if by_sigchld {
        command.watch_by_sigchld();
    }
    command.spawn().unwrap()
}

async fn one_by_one(by_sigchld: bool) {
    for _ in 0..CHILDREN {
        assert!(picot_true(by_sigchld).wait().await.unwrap().success());
    }
}

async fn side_by_side(by_sigchld: bool) {
    for _ in 0..CHILDREN / 50 {
        let children: Vec<_> = (0..50).map(|_| picot_true(by_sigchld)).collect();
        for child in children {
            assert!(child.wait().await.unwrap().success());
        }
    }
}

async fn tokio_one_by_one() {
    for _ in 0..CHILDREN {
        assert!(tokio::process::Command::new("true").spawn().unwrap().wait().await.unwrap().success());
    }
}

async fn tokio_side_by_side() {
    for _ in 0..CHILDREN / 50 {
        let children: Vec<_> = (0..50).map(|_| tokio::process::Command::new("true").spawn().unwrap()).collect();
        for mut child in children {
            assert!(child.wait().await.unwrap().success());
        }
    }
}

async fn smol_one_by_one() {
    for _ in 0..CHILDREN {
        assert!(async_process::Command::new("true").spawn().unwrap().status().await.unwrap().success());
    }
}

async fn smol_side_by_side() {
    for _ in 0..CHILDREN / 50 {
        let children: Vec<_> = (0..50).map(|_| async_process::Command::new("true").spawn().unwrap()).collect();
        for mut child in children {
            assert!(child.status().await.unwrap().success());
        }
    }
}

async fn through_cat() {
    let mut command = picot_process::Command::new("cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let write = async {
        let piece = vec![b'x'; PIECE];
        for _ in 0..BYTES / PIECE {
            stdin.write_all(&piece).await?;
        }
        drop(stdin);
        std::io::Result::Ok(())
    };
    let read = async {
        let (mut length, mut buffer) = (0, vec![0; PIECE]);
        loop {
            match stdout.read(&mut buffer).await? {
                0 => return std::io::Result::Ok(length),
                read => length += read,
            }
        }
    };
    assert_eq!(try_zip(write, read).await.unwrap().1, BYTES);
    assert!(child.wait().await.unwrap().success());
}

async fn tokio_through_cat() {
    let mut command = tokio::process::Command::new("cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let write = async {
        let piece = vec![b'x'; PIECE];
        for _ in 0..BYTES / PIECE {
            tokio::io::AsyncWriteExt::write_all(&mut stdin, &piece).await?;
        }
        drop(stdin);
        std::io::Result::Ok(())
    };
    let read = async {
        let (mut length, mut buffer) = (0, vec![0; PIECE]);
        loop {
            match tokio::io::AsyncReadExt::read(&mut stdout, &mut buffer).await? {
                0 => return std::io::Result::Ok(length),
                read => length += read,
            }
        }
    };
    assert_eq!(try_zip(write, read).await.unwrap().1, BYTES);
    assert!(child.wait().await.unwrap().success());
}

async fn smol_through_cat() {
    let mut command = async_process::Command::new("cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let write = async {
        let piece = vec![b'x'; PIECE];
        for _ in 0..BYTES / PIECE {
            futures_lite::AsyncWriteExt::write_all(&mut stdin, &piece).await?;
        }
        drop(stdin);
        std::io::Result::Ok(())
    };
    let read = async {
        let (mut length, mut buffer) = (0, vec![0; PIECE]);
        loop {
            match futures_lite::AsyncReadExt::read(&mut stdout, &mut buffer).await? {
                0 => return std::io::Result::Ok(length),
                read => length += read,
            }
        }
    };
    assert_eq!(try_zip(write, read).await.unwrap().1, BYTES);
    assert!(child.status().await.unwrap().success());
}
