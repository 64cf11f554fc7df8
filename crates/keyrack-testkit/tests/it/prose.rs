//! Comments, documents and messages: how they begin, how wide they are, which words they avoid.

use std::fs;
use std::path::{Path, PathBuf};

/// Widest comment line, in columns.
const WIDTH: usize = 100;

/// Words that a doc comment must not begin with: it would be a question inside of a sentence.
const QUESTIONS: [&str; 9] =
    ["What", "Whether", "Which", "How", "Who", "Whose", "Where", "Why", "Returns whether"];

/// Share of doc comment lines that may begin with one all the same: a sentence can be wrapped
/// there.
const PER_MILLE: usize = 5;

/// Phrases that plain technical English does not use.
const PHRASES: [&str; 16] = [
    "mend",
    "mends",
    "mended",
    "anew",
    "is to be",
    "are to be",
    "be had",
    "of yours",
    "stands in",
    "behind it",
    "is no",
    "what came of",
    "whoever",
    "nobody",
    "somebody",
    "by itself",
];

/// Lines that use one rightly: a part of each line, one per line; `#` begins a comment.
const ALLOWED: &str = include_str!("prose.allow");

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn files(folder: &Path, endings: &[&str], found: &mut Vec<(PathBuf, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of the directory").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "corpus", ".git"].contains(&name.as_str()) {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let short = path.strip_prefix(root()).unwrap_or(&path).to_owned();
            found.push((short, text));
        }
    }
}

pub(crate) fn all(folders: &[&str], endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    folders.iter().for_each(|folder| files(&root().join(folder), endings, &mut found));
    assert!(found.len() > 3, "{folders:?}: files are found");
    found.sort();
    found
}

fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim_start)
}

fn begins_with_a_question(text: &str) -> bool {
    QUESTIONS.iter().any(|word| {
        text.strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '\''))
    })
}

#[test]
fn doc_comments_begin_with_a_noun_or_a_verb() {
    let (mut lines, mut found) = (0, Vec::new());
    for (path, text) in all(&["crates", "bench", "fuzz"], &[".rs"]) {
        for (number, line) in text.lines().enumerate() {
            let Some(doc) = doc_comment(line) else { continue };
            lines += 1;
            if begins_with_a_question(doc) {
                found.push(format!("{}:{}: {doc}", path.display(), number + 1));
            }
        }
    }
    let allowed = lines * PER_MILLE / 1000;
    assert!(
        found.len() <= allowed,
        "{} of {lines} doc lines, {allowed} are allowed:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Returns `true` for a line that cannot be wrapped: a row of a table or an address.
fn cannot_be_wrapped(text: &str) -> bool {
    text.starts_with('|') || text.contains("://")
}

#[test]
fn comments_fit_into_the_columns() {
    let mut found = Vec::new();
    let rust = all(&["crates", "bench", "fuzz"], &[".rs"]);
    let others = all(&["lib", "bench", "scripts", "__tests__"], &[".js", ".mjs", ".cjs", ".sh"]);
    for (path, text) in rust.into_iter().chain(others) {
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            let bare = line.trim_start();
            let marks: &[&str] =
                if path.extension().is_some_and(|end| end == "sh") { &["#"] } else { &["//", "/*", "* "] };
            let Some(mark) = marks.iter().find(|mark| bare.starts_with(**mark)) else {
                is_code = false;
                continue;
            };
            let comment = bare.trim_start_matches(['/', '!', '*', '#']).trim_start();
            is_code ^= comment.starts_with("```");
            let is_wide = line.chars().count() > WIDTH && !is_code && !cannot_be_wrapped(comment);
            if is_wide && !mark.is_empty() {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} comment lines are wider than {WIDTH} columns:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Texts that people read in a line of source: its comment and its string literals.
fn texts_of_source(line: &str) -> String {
    let mut texts = String::new();
    let bare = line.trim_start();
    if bare.starts_with("//") || bare.starts_with("* ") || bare.starts_with('#') {
        return bare.to_owned();
    }
    let mut rest = line;
    while let Some(start) = rest.find('"') {
        let inside = &rest[start + 1..];
        let Some(end) = inside.find('"') else { break };
        texts.push_str(&inside[..end]);
        texts.push('\n');
        rest = &inside[end + 1..];
    }
    if let Some((_, comment)) = line.split_once(" // ") {
        texts.push_str(comment);
    }
    texts
}

fn phrase_in(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    PHRASES.into_iter().find(|phrase| {
        lower.match_indices(phrase).any(|(at, _)| {
            let (before, after) = (&lower[..at], &lower[at + phrase.len()..]);
            let is_letter = |c: char| c.is_alphanumeric() || c == '_';
            // "There is no" and "is no longer" are plain English.
            let is_plain = *phrase == "is no" && (before.ends_with("there ") || after.starts_with(" longer"));
            !before.ends_with(is_letter) && !after.starts_with(is_letter) && !is_plain
        })
    })
}

#[test]
fn prose_avoids_the_listed_phrases() {
    let allowed: Vec<&str> =
        ALLOWED.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut used = vec![false; allowed.len()];
    let mut found = Vec::new();
    let mut look = |path: &Path, number: usize, line: &str, text: &str| {
        let Some(phrase) = phrase_in(text) else { return };
        match allowed.iter().position(|part| line.contains(part)) {
            Some(at) => used[at] = true,
            None => found.push(format!("{}:{}: \"{phrase}\": {}", path.display(), number + 1, line.trim())),
        }
    };
    for (path, text) in all(
        &["crates", "bench", "fuzz", "lib", "scripts", "__tests__", "bin"],
        &[".rs", ".js", ".mjs", ".cjs", ".sh"],
    ) {
        if path.ends_with("tests/it/prose.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            look(&path, number, line, &texts_of_source(line));
        }
    }
    let mut documents = all(&["docs", "crates/keyrack-cli/tests/cmd"], &[".md", ".case"]);
    for name in [
        "README.md",
        "SECURITY.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "index.d.ts",
        "index.js",
    ] {
        documents.push((name.into(), fs::read_to_string(root().join(name)).expect(name)));
    }
    for (path, text) in &documents {
        for (number, line) in text.lines().enumerate() {
            look(path, number, line, line);
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
    let unused: Vec<_> =
        allowed.iter().zip(&used).filter(|(_, used)| !**used).map(|(part, _)| *part).collect();
    assert!(unused.is_empty(), "prose.allow names lines that are not there any more: {unused:?}");
}

#[test]
fn phrases_and_questions_are_found() {
    for (text, phrase) in [
        ("run it to mend the file", Some("mend")),
        ("we recommend it", None),
        ("it IS NO way", Some("is no")),
        ("there is no way", None),
        ("it is no longer there", None),
        ("this is not", None),
        ("is nothing", None),
    ] {
        assert_eq!(phrase_in(text), phrase, "{text}");
    }
    for (text, is_question) in [
        ("Whether it is", true),
        ("Returns whether it is", true),
        ("What's left", false),
        ("Returns `true` if", false),
        ("Whatever", false),
        ("How", true),
    ] {
        assert_eq!(begins_with_a_question(text), is_question, "{text}");
    }
    assert_eq!(texts_of_source(r#"    let a = ("mend", b); // anew"#), "mend\nanew");
}
