//! No name for two types: each type that other modules can use has a name of its own in the
//! workspace.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycles::CRATES;
use crate::modules::Crate;

/// Names that several types share, the number of these types, and the reason.
const SHARED: &[(&str, usize, &str)] = &[
    ("Get", 2, "the same request in each wire protocol"),
    ("GetItem", 2, "the same item of a reply in each wire protocol"),
    ("Grade", 2, "the grade, and its open names on the wire"),
    ("Grant", 2, "the grant, and its form in the legacy protocol"),
    ("Reply", 3, "a reply in each wire protocol, and the daemon's buffer of either"),
    ("Request", 2, "a request in each wire protocol"),
];

/// Places of the types of each name: `crate/file`.
type Places = BTreeMap<String, BTreeSet<String>>;

fn places<'a>(types: impl IntoIterator<Item = (&'a str, String)>) -> Places {
    let mut places = Places::new();
    for (name, place) in types {
        places.entry(name.to_owned()).or_default().insert(place);
    }
    places
}

/// Returns a line for each name that more types have than `shared` allows, and for each entry of
/// `shared` that is out of date.
fn failures(places: &Places, shared: &[(&str, usize, &str)]) -> Vec<String> {
    let allowed = |name: &str| shared.iter().find(|(known, ..)| *known == name).map_or(1, |(_, n, _)| *n);
    let too_many = places
        .iter()
        .filter(|(name, at)| at.len() > allowed(name))
        .map(|(name, at)| format!("{name}: {}", at.iter().cloned().collect::<Vec<_>>().join(", ")));
    let stale = shared
        .iter()
        .filter(|(name, n, _)| places.get(*name).map_or(0, BTreeSet::len) < *n)
        .map(|(name, n, _)| format!("{name}: SHARED lists {n} types, but there are fewer"));
    too_many.chain(stale).collect()
}

#[test]
fn public_types_have_names_of_their_own() {
    let crates = CRATES.map(|package| (package, Crate::read(package)));
    let types = crates.iter().flat_map(|(package, found)| {
        found.public_types().map(move |(name, file)| (name, format!("{package}/{file}")))
    });
    let places = places(types);
    assert!(places.contains_key("Slug"), "types are found");
    let failures = failures(&places, SHARED);
    assert!(failures.is_empty(), "types that share a name:\n{}", failures.join("\n"));
}

#[test]
fn shared_names_and_stale_entries_are_reported() {
    let at = |place: &str| place.to_owned();
    let places = places([("A", at("x/a.rs")), ("A", at("y/a.rs")), ("B", at("x/b.rs")), ("C", at("x/c.rs"))]);
    assert_eq!(failures(&places, &[]), ["A: x/a.rs, y/a.rs"]);
    assert_eq!(failures(&places, &[("A", 2, "")]), [""; 0]);
    let stale = failures(&places, &[("A", 2, ""), ("B", 2, "")]);
    assert_eq!(stale, ["B: SHARED lists 2 types, but there are fewer"]);
}
