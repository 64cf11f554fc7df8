//! Linking of the addon.
#![allow(clippy::disallowed_methods, reason = "a build script is told everything by its environment")]

use std::env::var;
use std::path::Path;
use std::process::Command;

fn main() {
    napi_build::setup();
    if var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // Never unloaded: a worker thread that ends would unmap code whose thread-local destructors
    // glibc has yet to run (rust-lang/rust#91979).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    if var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        lower_the_glibc_floor();
    }
}

/// Links what `glibc.c` binds to the versions that an older glibc has. The compiler is the one that
/// links, so that it is of the target.
fn lower_the_glibc_floor() {
    println!("cargo:rerun-if-changed=glibc.c");
    let compiler = var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
    let object = Path::new(&var("OUT_DIR").expect("cargo names the directory")).join("glibc.o");
    let status = Command::new(&compiler)
        .args(["-O2", "-fPIC", "-c", "glibc.c", "-o"])
        .arg(&object)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}, which compiles glibc.c: {error}"));
    assert!(status.success(), "{compiler} could not compile glibc.c: {status}");
    println!("cargo:rustc-cdylib-link-arg={}", object.display());
    // Where these two still hold something it is found there; later glibcs have them empty.
    println!(
        "cargo:rustc-cdylib-link-arg=-Wl,--push-state,--no-as-needed,-l:libdl.so.2,-l:libpthread.so.0,--pop-state"
    );
}
