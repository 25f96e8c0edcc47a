//! The essay's job at size: chunks of integers in files, by `sort_chunks`, by a plain program with
//! rayon, and by GNU sort, in one run. Run it by `cargo bench -p picot-benches-peers --bench sort`,
//! with a part of a table's title after `--` for only that one. It needs GNU time for the figures,
//! and 4.5 GB in the temporary folder: half for the files, half for what contestants spill.
//!
//! Each contestant is a process of its own. They take turns in each round, and the medians count.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::{env, thread};

use picot_benches::Table;
use picot_benches_peers::sort::by_rayon;
use picot_examples::program::example;

/// In a process of its own, this program sorts the files that follow.
const RAYON: &str = "--rayon";
const RAYON_QUICK: &str = "--rayon-quick";

/// A file after the other, which is the same job. The figures are of the largest process.
const GNU: &str = r#"for file; do sort -n --parallel="$THREADS" -T "$TEMP" "$file" >/dev/null; done"#;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let filter = match &arguments[..] {
        [way, files @ ..] if way == RAYON || way == RAYON_QUICK => {
            let checksum = by_rayon(files, way == RAYON_QUICK).expect("the files hold integers");
            return println!("checksum {checksum:016x}");
        }
        [filter, ..] => filter,
        [] => "",
    };
    build();
    for (millions, files, rounds) in [(16, 8, 5), (16, 64, 5), (200, 8, 3), (200, 64, 3)] {
        let title = format!("{millions} million integers in {files} files");
        if title.contains(filter) {
            let folder = env::temp_dir().join(format!("picot-sort-{}", std::process::id()));
            let table = compare(&folder, millions * 1_000_000 / files, files, rounds);
            fs::remove_dir_all(&folder).expect("the folder is this program's");
            match table {
                Ok(table) => {
                    println!("{title}, {rounds} rounds:\n");
                    table.print();
                    println!();
                }
                Err(error) => println!("{title}: {error}"),
            }
        }
    }
}

/// Builds `sort_chunks` as its users do.
fn build() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "-p", "picot-examples", "--example", "sort_chunks"]);
    assert!(cargo.status().is_ok_and(|status| status.success()), "sort_chunks can be built");
}

/// What a process took.
#[derive(Clone, Copy)]
struct Figures {
    wall: f64,
    processor: f64,
    peak: f64,
}

fn compare(folder: &Path, integers: usize, files: usize, rounds: usize) -> io::Result<Table> {
    fs::create_dir(folder)?;
    let files: Vec<_> = (1..=files as u64)
        .map(|number| {
            let file = folder.join(format!("{number:02}"));
            make(&file, number, integers).map(|()| file)
        })
        .collect::<io::Result<_>>()?;
    let threads = thread::available_parallelism()?.to_string();
    let contestant = |name, mut command: Command, rounds| {
        command.args(&files).env("THREADS", &threads).env("TEMP", folder).env("LC_ALL", "C");
        (name, command, rounds)
    };
    let sort_chunks = |arguments: &[&str]| {
        let mut command = example("sort_chunks");
        command.args(arguments).arg("--temp").arg(folder);
        command
    };
    let rayon = |way| {
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.arg(way);
        command
    };
    let mut gnu = Command::new("sh");
    gnu.args(["-c", GNU, "sh"]);
    // GNU sort takes minutes for the large table.
    let few = if integers * files.len() > 100_000_000 { 1 } else { rounds };
    let contestants = [
        contestant("by when", sort_chunks(&["--way", "when"]), rounds),
        contestant("by tasks", sort_chunks(&["--way", "tasks"]), rounds),
        contestant("by tasks, 16 MiB", sort_chunks(&["--way", "tasks", "--memory", "16M"]), rounds),
        contestant("rayon, std's parser", rayon(RAYON), rounds),
        contestant("rayon, our parser", rayon(RAYON_QUICK), rounds),
        contestant("GNU sort", gnu, few),
    ];
    let mut figures = vec![Vec::new(); contestants.len()];
    let mut checksum = None;
    for round in 0..rounds {
        for ((_, command, rounds), figures) in contestants.iter().zip(&mut figures) {
            if round < *rounds {
                let (taken, found) = run(command, &folder.join("figures"))?;
                assert!(found.is_none() || *checksum.get_or_insert(found.clone()) == found, "all sort alike");
                figures.push(taken);
            }
        }
    }
    let mut table = Table::new("");
    for ((name, ..), figures) in contestants.iter().zip(&figures) {
        let sorted = |of: fn(&Figures) -> f64| {
            let mut values: Vec<_> = figures.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let median = |of| sorted(of)[figures.len() / 2];
        table.add("seconds, median", name, format!("{:.2}", median(|figures| figures.wall)));
        table.add("seconds, least", name, format!("{:.2}", sorted(|figures| figures.wall)[0]));
        table.add("processor's seconds", name, format!("{:.2}", median(|figures| figures.processor)));
        table.add("peak MiB", name, format!("{:.0}", median(|figures| figures.peak)));
    }
    Ok(table)
}

/// Integers that look random, of 32 bits with a sign: up to eleven bytes each.
fn make(file: &Path, seed: u64, integers: usize) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..integers {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        writeln!(file, "{}", (state >> 16) as i32)?;
    }
    file.flush()
}

/// Runs a process under GNU time. Returns what it took, and the checksum that it printed.
fn run(command: &Command, figures: &Path) -> io::Result<(Figures, Option<String>)> {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["--format", "%e %U %S %M", "--output"]).arg(figures).arg(command.get_program());
    timed.args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = timed.output().map_err(|error| io::Error::new(error.kind(), format!("/usr/bin/time: {error}")))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{}: {error}", command.get_program().display())));
    }
    let text = fs::read_to_string(figures)?;
    let taken: Vec<f64> = text.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let [wall, user, system, peak] = taken[..] else { return Err(io::Error::other(text)) };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let checksum = stdout.split("checksum ").nth(1).map(|rest| rest.trim().to_string());
    Ok((Figures { wall, processor: user + system, peak: peak / 1024.0 }, checksum))
}
