//! What no source file may say.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the project") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources_of(package: &str) -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src"), &mut paths);
    assert!(!paths.is_empty(), "{package} has sources");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a source file"))).collect()
}

/// Lines of code outside comments that hold `needle`.
fn lines_with<'t>(text: &'t str, needle: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter(move |line| {
        let code = line.trim_start();
        !code.starts_with("//") && code.contains(needle)
    })
}

const PACKAGES: [&str; 8] = [
    "keyrack-core",
    "keyrack-wire",
    "keyrackd",
    "keyrack-client",
    "keyrack-vaults",
    "keyrack-ops",
    "keyrack-cli",
    "keyrack-node",
];

#[test]
fn unsafe_code_is_in_keyrack_sys_alone() {
    for package in PACKAGES {
        for (path, text) in sources_of(package) {
            for needle in ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"] {
                let found: Vec<_> = lines_with(&text, needle).collect();
                assert!(found.is_empty(), "{}: {found:?}", path.display());
            }
        }
    }
}

#[test]
fn the_domain_and_the_wire_touch_nothing_outside() {
    for package in ["keyrack-core", "keyrack-wire"] {
        for (path, text) in sources_of(package) {
            for needle in [
                "std::fs",
                "std::net",
                "std::env",
                "std::process",
                "SystemTime",
                "Instant::now",
                "std::thread",
            ] {
                let found: Vec<_> = lines_with(&text, needle).collect();
                assert!(found.is_empty(), "{}: {found:?}", path.display());
            }
        }
    }
}

#[test]
fn the_libraries_read_no_environment_and_never_exit() {
    for package in ["keyrack-client", "keyrack-vaults", "keyrack-ops", "keyrack-node"] {
        for (path, text) in sources_of(package) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for needle in ["env::var", "env::set_var", "env::current_dir", "process::exit"] {
                let found: Vec<_> = lines_with(code, needle).collect();
                assert!(found.is_empty(), "{}: {found:?}", path.display());
            }
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    for package in PACKAGES.into_iter().chain(["keyrack-sys", "keyrack-testkit"]) {
        for (path, text) in sources_of(package) {
            assert!(text.starts_with("//!"), "{} begins without a word on what it is", path.display());
        }
    }
}
