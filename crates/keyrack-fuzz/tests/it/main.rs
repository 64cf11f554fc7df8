//! Every target over its corpus, and over mutations of it that are the same in every run.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::print_stderr, reason = "a test says on stderr which input it was")]

#[path = "mask.rs"]
mod mask_table;
mod mutation;

use std::path::{Path, PathBuf};

use keyrack_fuzz::TARGETS;

use mutation::Mutations;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = fuzz().join("corpus").join(target);
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Runs a body, and prints the input if a property does not hold.
fn run(name: &str, body: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| body(input)) {
        eprintln!("{name}: the input was b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

#[track_caller]
fn check(name: &str, mutations: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    assert!(corpus.len() >= 8, "{name} has a corpus");
    for (file, bytes) in &corpus {
        run(&format!("{name}/{file}"), target.body, bytes);
    }
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, bytes)| &bytes[..]).collect();
    let mut mutated = Mutations::new(&inputs);
    for round in 0..mutations {
        run(&format!("{name}, mutation {round}"), target.body, &mutated.next());
    }
}

macro_rules! targets {
    ($($name:ident: $mutations:expr,)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), $mutations);
            }
        )*

        #[test]
        fn every_target_has_a_test_a_binary_and_a_corpus() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in names {
                let source = std::fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
                // The masker's target is a function of the module with its name.
                let called = ["keyrack_fuzz::", "keyrack_fuzz::mask::"].map(|path| format!("| {path}{name}(data)"));
                assert!(called.iter().any(|call| source.contains(call)), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
            }
        }
    };
}

targets! {
    native: 4000,
    json: 8000,
    legacy: 4000,
    dispatcher: 500,
    server: 2000,
    repo_manifest: 2000,
    host_manifest: 2000,
    words: 8000,
    age_file: 500,
    key_file: 200,
    direct_file: 4000,
    mask: 600,
    secrets_json: 4000,
}
