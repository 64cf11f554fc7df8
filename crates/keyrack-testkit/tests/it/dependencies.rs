//! Crates that a crate must not depend on, by `cargo tree`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The names of everything a crate is built on, itself left out. Normal dependencies only: no build
/// or dev ones.
fn beneath(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(output.status.success(), "cargo tree -p {package}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo tree writes UTF-8");
    let names: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(package), "the tree of {package} names itself");
    names.into_iter().filter(|name| name != package).collect()
}

#[track_caller]
fn assert_absent(package: &str, forbidden: &[&str]) {
    let tree = beneath(package);
    let found: Vec<_> = forbidden.iter().filter(|name| tree.contains(**name)).collect();
    assert!(found.is_empty(), "{package} must not be built on {found:?}");
}

const OURS: [&str; 10] = [
    "keyrack-json",
    "keyrack-core",
    "keyrack-sys",
    "keyrack-wire",
    "keyrack-mask",
    "keyrackd",
    "keyrack-client",
    "keyrack-vaults",
    "keyrack-ops",
    "keyrack-testkit",
];

fn ours_but(allowed: &[&str]) -> Vec<&'static str> {
    OURS.into_iter().filter(|name| !allowed.contains(name)).collect()
}

const CRYPTO: [&str; 3] = ["age", "ssh-key", "rsa"];
const NETWORK: [&str; 6] = ["rustls", "ureq", "reqwest", "hyper", "openssl", "native-tls"];
const RUNTIME: [&str; 3] = ["tokio", "async-std", "smol"];
const YAML: [&str; 2] = ["serde-saphyr", "serde_yaml_ng"];
const FACES: [&str; 4] = ["clap", "rpassword", "napi", "napi-derive"];

#[test]
fn only_the_drawn_arrows_exist() {
    for (package, allowed) in [
        ("keyrack-json", &["keyrack-json"][..]),
        ("keyrack-core", &["keyrack-core", "keyrack-json"]),
        ("keyrack-sys", &["keyrack-sys", "keyrack-json", "keyrack-core"]),
        ("keyrack-wire", &["keyrack-wire", "keyrack-json"]),
        ("keyrack-mask", &["keyrack-mask", "keyrack-json"]),
        ("keyrackd", &["keyrackd", "keyrack-json", "keyrack-core", "keyrack-sys", "keyrack-wire"]),
        (
            "keyrack-client",
            &["keyrack-client", "keyrack-json", "keyrack-core", "keyrack-sys", "keyrack-wire"],
        ),
        ("keyrack-vaults", &["keyrack-vaults", "keyrack-json", "keyrack-core", "keyrack-sys"]),
        (
            "keyrack-ops",
            &[
                "keyrack-ops",
                "keyrack-json",
                "keyrack-core",
                "keyrack-sys",
                "keyrack-wire",
                "keyrack-mask",
                "keyrack-client",
                "keyrack-vaults",
            ],
        ),
        (
            "keyrack-cli",
            &[
                "keyrack-json",
                "keyrack-core",
                "keyrack-sys",
                "keyrack-wire",
                "keyrack-mask",
                "keyrack-client",
                "keyrack-vaults",
                "keyrack-ops",
            ],
        ),
        ("keyrack-node", &["keyrack-json", "keyrack-core", "keyrack-sys", "keyrack-wire", "keyrack-client"]),
    ] {
        assert_absent(package, &ours_but(allowed));
    }
}

#[test]
fn the_domain_is_pure() {
    assert_absent(
        "keyrack-core",
        &[&["nix", "rustix", "libc", "tokio", "moka"][..], &CRYPTO, &NETWORK, &YAML, &FACES].concat(),
    );
}

#[test]
fn the_wire_does_no_io() {
    assert_absent(
        "keyrack-wire",
        &[&["nix", "rustix", "libc"][..], &RUNTIME, &CRYPTO, &NETWORK, &YAML, &FACES].concat(),
    );
}

#[test]
fn the_masker_is_a_leaf() {
    assert_eq!(beneath("keyrack-mask"), ["keyrack-json", "zeroize"].map(str::to_owned).into());
}

#[test]
fn json_is_a_leaf() {
    assert_eq!(beneath("keyrack-json"), BTreeSet::from(["zeroize".to_owned()]));
}

#[test]
fn the_daemon_opens_no_vault_and_no_network() {
    assert_absent("keyrackd", &[&CRYPTO[..], &NETWORK, &YAML, &FACES].concat());
}

#[test]
fn the_client_links_no_vault_and_no_runtime() {
    assert_absent("keyrack-client", &[&RUNTIME[..], &CRYPTO, &NETWORK, &FACES].concat());
    assert_absent("keyrack-node", &[&RUNTIME[..], &CRYPTO, &NETWORK, &["clap", "rpassword"]].concat());
}

#[test]
fn the_operations_have_no_terminal() {
    assert_absent("keyrack-ops", &[&FACES[..], &RUNTIME].concat());
    assert_absent("keyrack-cli", &RUNTIME);
}

#[test]
fn dead_crates_stay_out() {
    for package in ["keyrackd", "keyrack-cli", "keyrack-node"] {
        assert_absent(package, &["serde_yaml", "serde_yml", "bincode", "daemonize", "openssl-sys"]);
    }
}

#[test]
fn only_keyrack_sys_asks_for_the_kernels_crates() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in std::fs::read_dir(crates).expect("the crates directory") {
        let manifest = entry.expect("an entry of it").path().join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("each crate has a manifest");
        if manifest.ends_with("keyrack-sys/Cargo.toml") {
            continue;
        }
        for line in text.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(!["nix", "libc", "rustix"].contains(&name), "{} asks for {name}", manifest.display());
        }
        let store = text.contains("features = [\"store\"]");
        assert_eq!(
            store,
            manifest.ends_with("keyrackd/Cargo.toml"),
            "only keyrackd turns the store on: {}",
            manifest.display()
        );
    }
}
