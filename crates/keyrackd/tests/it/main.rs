//! The real binary, in hermetic directories: who is served, both protocols, limits, starts and
//! ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

/// Name of the test function that uses the macro. Derived, so that a renamed test reports its new
/// name.
macro_rules! test_name {
    () => {{
        fn here() {}
        crate::enclosing_name(std::any::type_name_of_val(&here))
    }};
}

mod daemon;
mod end;
mod foreign_client;
mod legacy;
mod lifecycle;
mod limits;
mod load;
mod log;
mod logout;
mod memory;
mod memory_scan;
mod namespaces;
mod native;
mod peer_auth;
mod peer_process;
mod process;
mod sandbox;
mod start;

/// Returns the name of the function that encloses an item of this path, which a closure in between
/// does not change.
fn enclosing_name(item: &'static str) -> &'static str {
    item.rsplit("::").skip(1).find(|name| !name.contains("closure")).expect("an item has a parent")
}

/// Returns the name by which the test binary runs `test`: its path without the crate.
fn test_path<F: Copy>(test: F) -> &'static str {
    std::any::type_name_of_val(&test).split_once("::").expect("a path begins with its crate").1
}

#[test]
fn derived_test_names_are_those_of_the_harness() {
    assert_eq!(test_name!(), "derived_test_names_are_those_of_the_harness");
    let in_closure = || test_name!();
    assert_eq!(in_closure(), test_name!());
    // The harness names the thread of a test after it, unless it runs tests on its main thread.
    let path = test_path(derived_test_names_are_those_of_the_harness);
    let thread = std::thread::current();
    let name = thread.name().unwrap();
    assert!(name == path || name == "main", "{name}");
}
