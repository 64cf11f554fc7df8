//! No module cycles: the files of a crate form a graph without a loop.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Crate;

/// Files that may form a cycle, with the reason.
const ALLOWED: &[(&str, &[&str])] = &[
    // One allocator: a buffer is memory of the pool, and the pool hands out secrets and buffers.
    ("keyrack-sys", &["memory/buffer.rs", "memory/mod.rs", "memory/pool.rs", "memory/secret.rs"]),
    // An error names the key it is about, and a key that cannot be read is an error.
    ("keyrack-core", &["error.rs", "slug.rs"]),
];

/// Crates of the workspace, whose files the rules of this crate read.
pub(crate) const CRATES: [&str; 13] = [
    "keyrack-core",
    "keyrack-json",
    "keyrack-sys",
    "keyrack-wire",
    "keyrack-mask",
    "keyrackd",
    "keyrack-client",
    "keyrack-vaults",
    "keyrack-ops",
    "keyrack-cli",
    "keyrack-node",
    "keyrack-testkit",
    "keyrack-fuzz",
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the groups of files that reach each other (Tarjan's strongly connected components), each
/// with more than one file.
fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|from| {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&String> = graph[from].iter().collect();
            while let Some(next) = open.pop() {
                if seen.insert(next) {
                    open.extend(graph.get(next).into_iter().flatten());
                }
            }
            (from, seen)
        })
        .collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, seen) in &reach {
        let group: Vec<String> = seen
            .iter()
            .filter(|to| reach.get(**to).is_some_and(|back| back.contains(from)))
            .map(|to| (*to).clone())
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

fn is_allowed(package: &str, cycle: &[String]) -> bool {
    let is_part = |files: &[&str]| cycle.iter().all(|file| files.contains(&file.as_str()));
    ALLOWED.iter().any(|(name, files)| *name == package && is_part(files))
}

#[test]
fn modules_form_no_cycle() {
    let mut failures = String::new();
    for package in CRATES {
        let graph = Crate::read(package).graph();
        assert!(graph.values().any(|edges| !edges.is_empty()), "{package}: edges are found");
        for cycle in cycles(&graph).iter().filter(|cycle| !is_allowed(package, cycle)) {
            failures += &format!("{package}: {}\n", cycle.join(", "));
            for file in cycle {
                let inside: Vec<_> = graph[file].iter().filter(|to| cycle.contains(to)).cloned().collect();
                failures += &format!("    {file} -> {}\n", inside.join(", "));
            }
        }
    }
    assert!(failures.is_empty(), "module cycles:\n{failures}");
}

#[test]
fn cycles_are_found_in_a_graph_that_has_them() {
    let edge = |to: &[&str]| to.iter().map(|to| (*to).to_owned()).collect::<BTreeSet<_>>();
    let graph = Graph::from([
        ("a".to_owned(), edge(&["b"])),
        ("b".to_owned(), edge(&["c"])),
        ("c".to_owned(), edge(&["a", "d"])),
        ("d".to_owned(), edge(&[])),
    ]);
    assert_eq!(cycles(&graph), [["a", "b", "c"]]);
}
