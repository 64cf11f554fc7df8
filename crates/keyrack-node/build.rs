//! Linking of the addon.

fn main() {
    napi_build::setup();
    // Never unloaded: a worker thread that ends would unmap code whose thread-local destructors glibc has yet to run
    // (rust-lang/rust#91979).
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
