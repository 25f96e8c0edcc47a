//! What the guide says that a program in trouble prints is what it prints.

use picot_examples::program::{all_lines, example, lines};

const GUIDE: &str = include_str!("../../../docs/guide/when-something-goes-wrong.md");
const STALLS: &str = include_str!("../../../docs/guide/finding-stalls.md");

/// How long something took is different each time.
fn without_times(line: &str) -> String {
    let is_time = |word: &str| {
        let word = word.trim_end_matches([',', ';']);
        let digits = ["ms", "µs", "ns"].iter().find_map(|unit| word.strip_suffix(unit));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let words = line.split(' ').map(|word| if is_time(word) { "(time)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_guide_shows_what_is_printed() {
    let pages = [GUIDE, STALLS].into_iter();
    let mut shown = pages.flat_map(|page| page.split("$ cargo run --example trouble ").skip(1)).map(|rest| {
        let (kind, text) = rest.split_once('\n').unwrap();
        let text = text.lines().take_while(|line| !line.is_empty() && *line != "```");
        (kind.to_string(), text.map(without_times).collect::<Vec<_>>())
    });
    let mut count = 0;
    for (kind, text) in &mut shown {
        let output = example("trouble").arg(&kind).output().unwrap();
        let (_, stdout, stderr) = if kind == "stall" { all_lines(&output) } else { lines(&output) };
        assert!(stdout.is_empty());
        assert_eq!(stderr.iter().map(|line| without_times(line)).collect::<Vec<_>>(), text, "{kind}");
        count += 1;
    }
    assert_eq!(count, 11);
}

#[test]
fn a_panic_of_main_is_its_callers() {
    let (status, ..) = lines(&example("trouble").arg("main").output().unwrap());
    assert_eq!(status, Some(101));
}
