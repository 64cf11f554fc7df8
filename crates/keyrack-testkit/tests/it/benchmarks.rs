//! Comments that name a row of the benchmark: an optimization is justified by a row that exists.

use std::fs;

use crate::prose::{all, root};

/// Words before the name of a row.
const MENTION: &str = "enchmark row";

/// Returns the text of the comments of a file, each run of comment lines as one line.
fn comments(text: &str) -> Vec<String> {
    let mut runs = vec![String::new()];
    for line in text.lines() {
        let line = line.trim_start();
        match line.strip_prefix("//") {
            Some(comment) => {
                let run = runs.last_mut().expect("there is always a run");
                run.push(' ');
                run.push_str(comment.trim_start_matches(['/', '!']).trim());
            }
            None => runs.push(String::new()),
        }
    }
    runs
}

/// Returns the names in quotes after each mention of a row, up to the end of the sentence.
fn rows(comment: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in comment.split(MENTION).skip(1) {
        let mut pieces = part.split('"');
        while let (Some(between), Some(name)) = (pieces.next(), pieces.next()) {
            if between.contains('.') {
                break;
            }
            names.push(name.to_owned());
        }
    }
    names
}

/// Returns the source of the benchmark with `…` for each part that it fills in.
fn benchmark() -> String {
    let source = fs::read_to_string(root().join("bench/run.mjs")).expect("the benchmark can be read");
    let mut parts = source.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "…" + part.split_once('}').map_or("", |(_, rest)| rest))
}

#[test]
fn rows_are_found_in_comments() {
    let text = "/// Fast. Benchmark row: \"GET,\n/// native\".\nfn x() {}\n// Benchmark rows \"a\" and \"b\". Not \"c\".";
    let found: Vec<String> = comments(text).iter().flat_map(|comment| rows(comment)).collect();
    assert_eq!(found, ["GET, native", "a", "b"]);
}

#[test]
fn each_row_that_a_comment_names_exists() {
    let benchmark = benchmark();
    let mut count = 0;
    for (path, text) in all(&["crates", "lib"], &[".rs", ".js"]) {
        if path.ends_with("benchmarks.rs") {
            continue;
        }
        for comment in comments(&text) {
            let names = rows(&comment);
            assert!(
                !names.is_empty() || !comment.contains(MENTION),
                "{}: no row is named: {comment}",
                path.display()
            );
            for name in names {
                count += 1;
                assert!(benchmark.contains(&name), "{}: bench/run.mjs has no row {name:?}", path.display());
            }
        }
    }
    assert!(count > 15, "{count} rows are named");
}
