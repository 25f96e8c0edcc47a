//! All benchmarks of docs/benchmarks.md but callgrind's, one after the other, in its order. Run it
//! by `cargo bench -p picot-benches-peers --bench all`, with parts of names after `--` for only
//! those.
//!
//! Writes what they print into target/benchmarks/tables.md, under the command of each, and draws
//! each table beside it. Nothing in docs/ is changed: the text there speaks of its figures, and is
//! to be read again when they are replaced. All of them take more than an hour, most of it GNU
//! sort's; a machine without other work is worth more than repetition.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use picot_benches::Picture;

const OURS: &str = "picot-benches";
const PEERS: &str = "picot-benches-peers";

/// What each is about, its package, the features that it needs, and its name.
const BENCHES: [(&str, &str, &str, &str); 16] = [
    ("The scheduler", PEERS, "", "scheduler"),
    ("Whole runtimes", PEERS, "", "runtimes"),
    ("The memory of a parked task", PEERS, "", "memory"),
    ("The loop", OURS, "loop", "loop"),
    ("Timers", PEERS, "", "timers"),
    ("The reactor", OURS, "reactor", "reactor"),
    ("Echo servers", PEERS, "", "echo"),
    ("Connections", PEERS, "", "net"),
    ("An idle connection", OURS, "net", "net"),
    ("The essay's job", PEERS, "", "sort"),
    ("Deferred", PEERS, "", "deferred"),
    ("Deferred alone", OURS, "deferred", "deferred"),
    ("Locks and queues", PEERS, "", "sync"),
    ("Locks and queues alone", OURS, "sync", "sync"),
    ("Children and pipes", PEERS, "", "process"),
    ("Waiting for many", PEERS, "", "tasks"),
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let folder = root.join("target/benchmarks");
    let mut failed = false;
    let mut page = format!("# Benchmarks of {}\n", machine());
    for (title, package, features, bench) in BENCHES {
        let name = if package == OURS { format!("{bench}-alone") } else { bench.to_string() };
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut arguments = vec!["bench", "-p", package, "--bench", bench];
        if !features.is_empty() {
            arguments.extend(["--features", features]);
        }
        println!("cargo {}", arguments.join(" "));
        match run(root, &arguments) {
            Ok(text) => {
                page += &format!("\n## {title}\n\n`cargo {}`\n\n{text}", arguments.join(" "));
                for (number, picture) in (1..).zip(Picture::all_in(&text)) {
                    let file = format!("{name}-{number}.svg");
                    write(&folder, &file, &picture.svg(&format!("{title} ({number})"), ""));
                    page += &format!("\n![the table as bars]({file})\n");
                }
            }
            Err(error) => {
                failed = true;
                eprintln!("{name}: {error}");
                page += &format!("\n## {title}\n\nfailed: {error}\n");
            }
        }
        // After each, so that a run which is interrupted leaves what it has.
        write(&folder, "tables.md", &page);
    }
    println!("written to {}", folder.join("tables.md").display());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs cargo. Returns what the benchmark prints; what cargo says goes to standard error.
fn run(root: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(io::Error::other)
    } else {
        Err(io::Error::other(format!("it ends with {}", output.status)))
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), text));
    written.unwrap_or_else(|error| panic!("{}: {error}", folder.join(name).display()));
}

/// The processor, the system and the compiler, as far as they are known.
fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let printed = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_string()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = processor.map_or("an unknown processor", |(_, name)| name);
    format!("{processor} ({cores} cores), {}, {}", printed("uname", "-sr"), printed("rustc", "--version"))
}
