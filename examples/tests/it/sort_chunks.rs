//! The essay's program on files of all kinds.

use std::path::Path;
use std::process::Command;

use picot_examples::chunks::Digest;
use picot_examples::program::{example, lines};
use picot_testkit::Folder;

/// Integers that look random, a line each.
fn text(seed: u64, count: usize) -> String {
    picot_examples::pseudo_random(seed, count).iter().map(|number| format!("{number}\n")).collect()
}

/// The checksum of a summary line, of files with these texts.
fn checksum(texts: &[&str]) -> String {
    let digests = texts.iter().map(|text| {
        let mut numbers: Vec<i64> = text.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort();
        let mut digest = Digest::default();
        digest.extend(&numbers);
        digest
    });
    let checksum = Digest::combined(digests);
    format!(", checksum {checksum:016x}")
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

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
    assert_eq!(entries(marker.parent().unwrap()), 1, "only the marker is left");
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
    let large = folder.file("large", format!("{}\n9223372036854775808\n", i64::MAX));
    let small = folder.file("small", "-9223372036854775809");
    let (missing, directory) = (folder.join("missing"), folder.path());
    let files = [&*bad, &*good, &*blank, &*binary, &*large, &*small, &*missing, directory];
    let output = example("sort_chunks").args(files).output().unwrap();
    let (status, stdout, stderr) = lines(&output);
    assert_eq!(status, Some(1));
    assert!(stdout.contains(&format!("{}: 2 integers, the smallest 1, the largest 2", good.display())), "{stdout:?}");
    assert!(stdout.contains(&"both agree".to_string()), "{stdout:?}");
    assert_eq!(stderr.len(), 7, "{stderr:?}");
    for start in [
        format!("sort_chunks: {}:3: \"three\" is no integer", bad.display()),
        format!("sort_chunks: {}:2: \"\" is no integer", blank.display()),
        format!("sort_chunks: {}:1: ", binary.display()),
        format!("sort_chunks: {}:2: \"9223372036854775808\" is no integer: number too large", large.display()),
        format!("sort_chunks: {}:1: \"-9223372036854775809\" is no integer: number too small", small.display()),
        format!("sort_chunks: {}: ", missing.display()),
        format!("sort_chunks: {}: ", directory.display()),
    ] {
        assert!(stderr.iter().any(|line| line.starts_with(&start)), "{start} in {stderr:?}");
    }
}

#[test]
fn one_way_alone_reports_each_chunk_too() {
    let folder = Folder::new("ways");
    let (one, bad) = (folder.file("one", "2\n1\n"), folder.file("bad", "x"));
    for (way, name) in [("when", "when"), ("tasks", "run_until_complete")] {
        let output = example("sort_chunks").args(["--way", way]).args([&one, &bad]).output().unwrap();
        let (status, stdout, stderr) = lines(&output);
        assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 2, 1), "{stdout:?} {stderr:?}");
        assert_eq!(stdout[0], format!("{}: 2 integers, the smallest 1, the largest 2", one.display()));
        assert!(stdout[1].starts_with(&format!("{name}: 1 chunks in ")), "{stdout:?}");
    }
}

#[test]
fn a_bound_of_memory_and_the_number_of_threads_change_nothing_of_the_result() {
    let folder = Folder::new("bound");
    // Several runs of the least size, none, and a part of one.
    let texts = [text(1, 150_000), String::new(), text(2, 70_000), text(3, 10)];
    let files: Vec<_> = (0..).zip(&texts).map(|(n, text)| folder.file(&format!("chunk-{n}"), text)).collect();
    let temporary = Folder::new("bound-temporary");
    let expected = checksum(&texts.each_ref().map(|text| &**text));
    for (memory, threads) in [("1G", "2"), ("512K", "1"), ("600K", "1"), ("2M", "3"), ("4M", "7")] {
        let mut command = example("sort_chunks");
        command.args(["--memory", memory, "--threads", threads]).arg("--temp").arg(temporary.path()).args(&files);
        let (status, stdout, stderr) = lines(&command.output().unwrap());
        assert_eq!((status, stderr.len()), (Some(0), 0), "{memory} {threads}: {stdout:?} {stderr:?}");
        assert!(stdout[4].ends_with(&expected) && stdout[5].ends_with(&expected), "{expected} in {stdout:?}");
        assert_eq!(entries(temporary.path()), 0);
    }
}

#[test]
fn a_temporary_folder_that_cannot_be_used_is_named_if_it_is_needed() {
    let folder = Folder::new("unusable");
    let file = folder.file("chunk", text(1, 100_000));
    let missing = folder.join("missing");
    let sort = |memory: &str| {
        let mut command = example("sort_chunks");
        command.args(["--threads", "1", "--memory", memory]).arg("--temp").arg(&missing).arg(&file);
        lines(&command.output().unwrap())
    };
    let (status, stdout, stderr) = sort("512K");
    assert_eq!((status, stderr.len()), (Some(1), 1), "{stdout:?} {stderr:?}");
    let start = format!(
        "sort_chunks: {}: cannot keep sorted integers in the temporary folder {}: ",
        file.display(),
        missing.display()
    );
    assert!(stderr[0].starts_with(&start), "{start} in {stderr:?}");
    assert!(stderr[0].ends_with("; choose another folder with --temp, or more --memory"), "{stderr:?}");

    let (status, stdout, stderr) = sort("16M");
    assert_eq!((status, stderr.len()), (Some(0), 0), "the memory is enough: {stdout:?} {stderr:?}");

    let (status, stdout, stderr) = lines(&example("sort_chunks").arg("--temp").arg(&missing).output().unwrap());
    assert_eq!((status, stdout.len(), stderr.len()), (Some(1), 0, 1), "{stdout:?} {stderr:?}");
    assert!(stderr[0].starts_with(&format!("sort_chunks: cannot make a chunk in the folder {}: ", missing.display())));
}

/// A disk that is full, to the program: the shell's limit of a file's size, in blocks of 512 or
/// 1024 bytes.
#[cfg(unix)]
#[test]
fn a_temporary_file_that_cannot_be_written_is_an_error_that_names_the_folder() {
    let folder = Folder::new("full");
    let file = folder.file("chunk", text(1, 100_000));
    let program = example("sort_chunks");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]).arg(program.get_program());
    shell.args(["--threads", "1", "--memory", "512K"]).arg("--temp").arg(folder.path()).arg(&file);
    let (status, stdout, stderr) = lines(&shell.output().unwrap());
    assert_eq!((status, stderr.len()), (Some(1), 1), "{stdout:?} {stderr:?}");
    assert!(stderr[0].contains(&format!("in the temporary folder {}: ", folder.path().display())), "{stderr:?}");
    assert_eq!(entries(folder.path()), 1, "only the chunk is left");
}

#[test]
fn options_that_cannot_be_met_are_errors_that_say_what_could() {
    let folder = Folder::new("options");
    let file = folder.file("chunk", "1\n");
    for (arguments, expected) in [
        (&["--way", "none"][..], "--way is when, tasks or both, not \"none\"; see --help"),
        (
            &["--memory", "100K", "--threads", "1"],
            "--memory is too little to sort 1 chunks at a time; it takes at least 512K",
        ),
    ] {
        let (status, stdout, stderr) = lines(&example("sort_chunks").args(arguments).arg(&file).output().unwrap());
        assert_eq!((status, stdout.len()), (Some(1), 0), "{stdout:?} {stderr:?}");
        assert_eq!(stderr, [format!("sort_chunks: {expected}")]);
    }
    let (status, stdout, stderr) = lines(&example("sort_chunks").arg("--help").output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0));
    assert!(stdout[0].starts_with("usage: sort_chunks"), "{stdout:?}");
}

/// In a terminal of its own, by util-linux's `script`. That there is none without one is what the
/// other tests see on standard error.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_a_progress_bar_that_is_gone_at_the_end() {
    let program = example("sort_chunks");
    let command = format!("exec '{}'", program.get_program().display());
    let arguments = ["--quiet", "--return", "--command", &command, "/dev/null"];
    let Some(output) = picot_examples::program::run_if_there("script", &arguments, Vec::new()) else { return };
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let (first, second) = shown.split_once("\r\x1b[Kwhen: 8 chunks in ").unwrap();
    let (second, last) = second.split_once("\r\x1b[Krun_until_complete: 8 chunks in ").unwrap();
    for way in [first, second] {
        assert!(way.contains(" % read, ") && way.contains(" of 8 chunks sorted\x1b[K"), "{way:?}");
        // Also not by a bar of the way before, which would be drawn in between.
        let percents: Vec<u32> =
            way.split(" % read").filter_map(|part| part.rsplit(['[', ']', ' ']).next()?.parse().ok()).collect();
        assert!(percents.is_sorted(), "{percents:?}");
    }
    assert!(!last.contains("sorted"), "{last:?}");
    assert!(shown.ends_with("both agree\r\n"), "{shown:?}");
}

#[cfg(unix)]
fn fifo(folder: &Folder, name: &str) -> std::path::PathBuf {
    let fifo = folder.join(name);
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fifo
}

#[cfg(unix)]
#[test]
fn what_can_be_read_only_once_is_not_sorted_in_both_ways() {
    use std::io::Read;

    let folder = Folder::new("once");
    let fifo = fifo(&folder, "fifo");
    let mut command = example("sort_chunks");
    command.arg(&fifo);
    // By lines, which have a deadline: reading the FIFO would last for ever.
    let mut program = picot_examples::program::Running::start(command);
    assert_eq!(program.line(), "");
    let mut stderr = String::new();
    program.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
    let expected = "no regular file, so it can be read only once; add --way when or --way tasks";
    assert_eq!(stderr, format!("sort_chunks: {}: {expected}\n", fifo.display()));
    assert_eq!(program.child.wait().unwrap().code(), Some(1));
}

/// Ended in the midst of a chunk that has temporary files: by Ctrl-C, by a request, by force.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_interrupted_leaves_no_temporary_file() {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;

    use picot_examples::program::Running;
    use rustix::process::{Pid, Signal, kill_process};

    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let (inputs, temporary) = (Folder::new("interrupted"), Folder::new("interrupted-temporary"));
        let fifo = fifo(&inputs, "fifo");
        let mut command = example("sort_chunks");
        command.args(["--way", "when", "--threads", "1", "--memory", "1M"]);
        command.arg("--temp").arg(temporary.path()).arg(&fifo);
        let mut program = Running::start(command);
        // A run is read only after those before it have got their place. So when the program has
        // taken much more than it may keep in memory, a file is there.
        let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        writer.write_all(text(1, 400_000).as_bytes()).unwrap();

        let open = std::fs::read_dir(format!("/proc/{}/fd", program.child.id())).unwrap();
        let files = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let files = files.filter(|file| file.starts_with(temporary.path())).count();
        assert!(files > 0, "the program has no temporary file");
        kill_process(Pid::from_child(&program.child), signal).unwrap();
        assert_eq!(program.child.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(entries(temporary.path()), 0);
    }
}

/// More slow files than a pool of threads usually has: all are open at once, and the quick one does
/// not wait for them.
#[cfg(unix)]
#[test]
fn files_that_are_slow_to_deliver_hold_back_only_their_own_chunks() {
    use picot_examples::program::Running;

    let folder = Folder::new("slow");
    let fifos: Vec<_> = (0..40).map(|n| fifo(&folder, &format!("fifo-{n}"))).collect();
    let quick = folder.file("quick", "1\n");
    let mut command = example("sort_chunks");
    command.args(["--way", "when"]).args(&fifos).arg(&quick);
    let mut program = Running::start(command);
    assert!(program.line().starts_with(&format!("{}: 1 integers", quick.display())));
    // From the last to the first: each is told as soon as it is there.
    for fifo in fifos.iter().rev() {
        std::fs::write(fifo, "2\n3\n").unwrap();
        assert!(program.line().starts_with(&format!("{}: 2 integers", fifo.display())));
    }
    assert!(program.line().starts_with("when: 41 chunks"));
    assert!(program.child.wait().unwrap().success());
}
