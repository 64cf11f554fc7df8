//! Documents name only tests that exist, and link only to files that exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_below(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the project") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The words in backticks of the last column of every table row.
fn tests_named(document: &str) -> Vec<&str> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| Test |"));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let mut sources = Vec::new();
    files_below(&root().join("crates"), "rs", &mut sources);
    let code: String = sources.iter().map(|path| read(path)).collect();
    let promises = read(&root().join("SECURITY.md"));
    let named = tests_named(&promises);
    assert!(named.len() > 20, "the promises name tests: {named:?}");
    for test in named {
        let there = match test.strip_prefix("__tests__/") {
            Some(_) => root().join(test).is_file(),
            None => is_test(&code, test),
        };
        assert!(there, "{test} is not a test");
    }
}

/// Returns `true` if a function of this name is a test: marked as one among the attributes in the
/// lines before it.
fn is_test(code: &str, name: &str) -> bool {
    code.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let (before, indent) = code[..at].rsplit_once('\n').unwrap_or_default();
        let mut attributes = before.lines().rev().map(str::trim).take_while(|line| line.starts_with("#["));
        indent.trim().is_empty() && attributes.any(|line| line == "#[test]")
    })
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut documents = vec!["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"]
        .into_iter()
        .map(|name| root().join(name))
        .collect::<Vec<_>>();
    files_below(&root().join("docs"), "md", &mut documents);
    let mut links = 0;
    for document in documents {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            links += 1;
            let path = document
                .parent()
                .expect("a document is in a directory")
                .join(target.split('#').next().unwrap_or(target));
            assert!(path.exists(), "{} links to {target}, which is not there", document.display());
        }
    }
    assert!(links > 5, "documents link to each other");
}
