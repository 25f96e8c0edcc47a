//! The essay's program on files of all kinds.

use std::process::Command;

use picot_examples::program::{example, lines};
use picot_testkit::Folder;

#[test]
fn without_files_it_makes_eight_chunks_and_removes_them() {
    let folder = Folder::new("temporary");
    let marker = folder.file("marker", "");
    let mut command = example("sort_chunks");
    command.env("TMPDIR", marker.parent().unwrap()).env("TEMP", marker.parent().unwrap());
    let (status, stdout, stderr) = lines(&command.output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stdout:?} {stderr:?}");
    let chunks: Vec<_> = stdout.iter().filter(|line| line.contains("100000 integers, the smallest -")).collect();
    assert_eq!((chunks.len(), stdout.len()), (8, 11), "{stdout:?}");
    assert!(stdout[8].starts_with("when: 8 chunks in ") && stdout[9].starts_with("run_until_complete: 8 chunks in "));
    assert_eq!(stdout[10], "both agree");
    assert_eq!(std::fs::read_dir(marker.parent().unwrap()).unwrap().count(), 1, "only the marker is left");
}

#[test]
fn each_file_is_a_chunk_whose_count_and_ends_are_told() {
    let folder = Folder::new("files");
    let one = folder.file("one", "3\n-5\r\n 9 \n0");
    let empty = folder.file("empty", "");
    let ends = folder.file("ends", format!("{}\n{}\n", i64::MAX, i64::MIN));
    let output = example("sort_chunks").args([&one, &empty, &ends]).output().unwrap();
    let (status, mut stdout, stderr) = lines(&output);
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stdout:?} {stderr:?}");
    stdout[..3].sort();
    assert_eq!(stdout[0], format!("{}: no integers", empty.display()));
    let smallest_and_largest = format!("the smallest {}, the largest {}", i64::MIN, i64::MAX);
    assert_eq!(stdout[1], format!("{}: 2 integers, {smallest_and_largest}", ends.display()));
    assert_eq!(stdout[2], format!("{}: 4 integers, the smallest -5, the largest 9", one.display()));
    assert_eq!(stdout[5], "both agree");
}

#[test]
fn a_line_that_is_no_integer_is_named_and_the_other_chunks_are_told_all_the_same() {
    let folder = Folder::new("errors");
    let good = folder.file("good", "2\n1\n");
    let bad = folder.file("bad", "1\n2\nthree\n4\n");
    let blank = folder.file("blank", "1\n\n2\n");
    let binary = folder.file("binary", b"\xff\xfe\n");
    let missing = folder.file("missing", "");
    std::fs::remove_file(&missing).unwrap();
    let output = example("sort_chunks").args([&bad, &good, &blank, &binary, &missing]).output().unwrap();
    let (status, stdout, stderr) = lines(&output);
    assert_eq!(status, Some(1));
    assert!(stdout.contains(&format!("{}: 2 integers, the smallest 1, the largest 2", good.display())), "{stdout:?}");
    assert!(stdout.contains(&"both agree".to_string()), "{stdout:?}");
    assert_eq!(stderr.len(), 4, "{stderr:?}");
    for start in [
        format!("sort_chunks: {}:3: \"three\" is no integer", bad.display()),
        format!("sort_chunks: {}:2: \"\" is no integer", blank.display()),
        format!("sort_chunks: {}:1: ", binary.display()),
        format!("sort_chunks: {}: ", missing.display()),
    ] {
        assert!(stderr.iter().any(|line| line.starts_with(&start)), "{start} in {stderr:?}");
    }
}

/// More slow files than a pool of threads usually has: all are open at once, and the quick one does
/// not wait for them.
#[cfg(unix)]
#[test]
fn files_that_are_slow_to_deliver_hold_back_only_their_own_chunks() {
    use picot_examples::program::Running;

    let folder = Folder::new("slow");
    let fifos: Vec<_> = (0..40)
        .map(|n| {
            let fifo = folder.join(&format!("fifo-{n}"));
            assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
            fifo
        })
        .collect();
    let quick = folder.file("quick", "1\n");
    let mut command = example("sort_chunks");
    command.args(&fifos).arg(&quick);
    let mut program = Running::start(command);
    assert!(program.line().starts_with(&format!("{}: 1 integers", quick.display())));
    // From the last to the first: each is told as soon as it is there.
    for fifo in fifos.iter().rev() {
        std::fs::write(fifo, "2\n3\n").unwrap();
        assert!(program.line().starts_with(&format!("{}: 2 integers", fifo.display())));
    }
    assert!(program.line().starts_with("when: 41 chunks"));
    assert!(program.line().starts_with("run_until_complete: 41 chunks"));
    assert_eq!(program.line(), "both agree");
    assert!(program.child.wait().unwrap().success());
}
