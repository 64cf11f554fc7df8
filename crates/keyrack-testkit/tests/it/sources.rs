//! Rules that every source file must follow.

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

const PACKAGES: [&str; 10] = [
    "keyrack-core",
    "keyrack-json",
    "keyrack-wire",
    "keyrack-mask",
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
fn programs_that_commands_start_get_their_limits_back() {
    let mut seen = 0;
    for package in ["keyrack-client", "keyrack-vaults", "keyrack-ops", "keyrack-cli"] {
        for (path, text) in sources_of(package) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains("tests")) {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_program = |line: &&str| {
                line.split("Command::new(").next().is_some_and(|before| {
                    !before.ends_with("clap::") && !before.ends_with(|c: char| c.is_alphanumeric())
                })
            };
            let started = lines_with(code, "Command::new(").filter(is_program).count();
            seen += started;
            assert!(
                started <= lines_with(code, "unprotect(&mut ").count(),
                "{}: start programs with keyrack_sys::hardening::protection::unprotect",
                path.display()
            );
        }
    }
    assert!(seen > 0, "the programs that commands start are found");
}

#[test]
fn every_module_says_what_it_is() {
    for package in PACKAGES.into_iter().chain(["keyrack-sys", "keyrack-testkit"]) {
        for (path, text) in sources_of(package) {
            assert!(text.starts_with("//!"), "{} begins without a word on what it is", path.display());
        }
    }
}

/// The body of each item that derives `Debug`, with its first line.
fn that_derive_debug(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(derived) = line.trim_start().strip_prefix("#[derive(") else { continue };
        if !derived.split([',', ' ', ')', ']']).any(|name| name == "Debug") {
            continue;
        }
        let mut item = String::new();
        let mut depth = 0_usize;
        for line in lines.by_ref() {
            let code = line.split("//").next().unwrap_or_default();
            item.push_str(code);
            item.push('\n');
            depth += code.matches(['{', '(']).count();
            depth = depth.saturating_sub(code.matches(['}', ')']).count());
            if depth == 0 && !code.trim_start().starts_with('#') && !code.trim().is_empty() {
                break;
            }
        }
        items.push(item);
    }
    items
}

/// Returns `true` if an item holds what must not be shown: wiped memory by its type, or plain bytes
/// or text by the field's name.
fn bears_a_secret(item: &str) -> bool {
    let kinds = ["Vec<u8>", "String", "[u8]", "str", "Box<[u8]>", "Cow<"];
    let named = |name: &str| {
        let start = format!("{name}: ");
        item.match_indices(&start).any(|(at, _)| {
            let inside = item[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let of = item[at + start.len()..].trim_start_matches("Option<");
            let of = of.trim_start_matches(['&', '\'']).trim_start_matches("a ");
            !inside && kinds.iter().any(|kind| of.starts_with(kind))
        })
    };
    let wiped = item.lines().any(|line| line.contains("Zeroizing<") && !line.contains("fn "));
    wiped
        || ["secret", "passphrase", "password", "token", "plain", "plaintext"].iter().any(|name| named(name))
}

#[test]
fn nothing_that_bears_a_secret_derives_debug() {
    let mut seen = 0;
    for package in PACKAGES.into_iter().chain(["keyrack-sys"]) {
        for (path, text) in sources_of(package) {
            for item in that_derive_debug(&text) {
                seen += 1;
                assert!(
                    !bears_a_secret(&item),
                    "{}: write a Debug that shows nothing for\n{item}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 100, "the items that derive it are found: {seen}");
    // The look sees what it is for.
    for (item, bears) in [
        ("#[derive(Clone, Debug)]\npub struct A {\n    secret: Vec<u8>,\n}\n", true),
        ("#[derive(Debug)]\nstruct A(Zeroizing<Vec<u8>>);\n", true),
        ("#[derive(Debug)]\n#[serde(x)]\nenum A {\n    B { secret: Option<String> },\n}\n", true),
        ("#[derive(Debug)]\nstruct A {\n    secret: SecretRange,\n}\nstruct B(Zeroizing<u8>);\n", false),
    ] {
        assert_eq!(that_derive_debug(item).iter().any(|item| bears_a_secret(item)), bears, "{item}");
    }
}
