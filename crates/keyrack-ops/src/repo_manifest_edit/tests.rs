//! Every shape of a section, the result of each edit, and the shapes that are rejected.

use super::*;

#[test]
fn insert_adds_the_key_to_every_shape() {
    for (what, before, after) in [
        ("into a block list", "org: a\nenv.test:\n  - A\n", "org: a\nenv.test:\n  - A\n  - NEW\n"),
        (
            "before the next section, comments kept",
            "org: a # mine\nenv.test:\n  # first\n  - A # one\n  # - OLD\n\nenv.prod:\n  - P\n",
            "org: a # mine\nenv.test:\n  # first\n  - A # one\n  - NEW\n  # - OLD\n\nenv.prod:\n  - P\n",
        ),
        ("no newline at the end", "org: a\nenv.test:\n  - A", "org: a\nenv.test:\n  - A\n  - NEW\n"),
        ("CRLF", "org: a\r\nenv.test:\r\n  - A\r\n", "org: a\r\nenv.test:\r\n  - A\r\n  - NEW\r\n"),
        (
            "CRLF, no newline at the end",
            "org: a\r\nenv.test:\r\n  - A",
            "org: a\r\nenv.test:\r\n  - A\r\n  - NEW\r\n",
        ),
        ("an empty flow list", "org: a\nenv.test: []\n", "org: a\nenv.test:\n  - NEW\n"),
        (
            "an empty flow list, commented",
            "org: a\nenv.test: [ ] # none\n",
            "org: a\nenv.test: # none\n  - NEW\n",
        ),
        ("a flow list", "org: a\nenv.test: [A, B]\n", "org: a\nenv.test: [A, B, NEW]\n"),
        ("a flow list with a last comma", "org: a\nenv.test: [A, ]\n", "org: a\nenv.test: [A, NEW]\n"),
        (
            "a flow list of maps and quotes",
            "org: a\nenv.test: [{key: A, grade: x}, \"B,]\", 'C'] # [\n",
            "org: a\nenv.test: [{key: A, grade: x}, \"B,]\", 'C', NEW] # [\n",
        ),
        ("null", "org: a\nenv.test: null\n", "org: a\nenv.test:\n  - NEW\n"),
        ("tilde and comment", "org: a\nenv.test: ~ # none\n", "org: a\nenv.test: # none\n  - NEW\n"),
        (
            "bare header",
            "org: a\nenv.test:\nenv.prod:\n    - P\n",
            "org: a\nenv.test:\n    - NEW\nenv.prod:\n    - P\n",
        ),
        ("bare header, last line", "org: a\nenv.test:", "org: a\nenv.test:\n  - NEW\n"),
        ("absent", "org: a\nenv.prod:\n- P\n", "org: a\nenv.prod:\n- P\nenv.test:\n- NEW\n"),
        ("absent, no newline", "org: a", "org: a\nenv.test:\n  - NEW\n"),
        (
            "entries at the key's own depth",
            "org: a\nenv.test:\n- A\n- B\norg2: x\n",
            "org: a\nenv.test:\n- A\n- B\n- NEW\norg2: x\n",
        ),
        (
            "record form",
            "org: a\nenv.test:\n  - key: A\n    grade: encrypted\n\n    is-optional-if-has: X\nenv.prod: []\n",
            "org: a\nenv.test:\n  - key: A\n    grade: encrypted\n\n    is-optional-if-has: X\n  - NEW\nenv.prod: []\n",
        ),
        (
            "quoted header",
            "\"org\": a\n\"env.test\":\n  - A\n",
            "\"org\": a\n\"env.test\":\n  - A\n  - NEW\n",
        ),
        ("single-quoted header", "org: a\n'env.test': [A]\n", "org: a\n'env.test': [A, NEW]\n"),
        (
            "a document marker",
            "%YAML 1.2\n---\norg: a\nenv.test:\n  - A\n",
            "%YAML 1.2\n---\norg: a\nenv.test:\n  - A\n  - NEW\n",
        ),
        ("a hash in a value", "org: a#b\nenv.test: [a#b]\n", "org: a#b\nenv.test: [a#b, NEW]\n"),
        (
            "blank lines at the end stay there",
            "org: a\nenv.test:\n  - A\n\n\n",
            "org: a\nenv.test:\n  - A\n  - NEW\n\n\n",
        ),
    ] {
        assert_eq!(insert(before, "test", "NEW").as_deref(), Ok(after), "{what}");
    }
    assert_eq!(
        insert("org: a\n", "test", "NO").unwrap(),
        "org: a\nenv.test:\n  - \"NO\"\n",
        "NO is a boolean to some"
    );
    assert_eq!(insert("org: a\nenv.all: [A]\n", "all", "true").unwrap(), "org: a\nenv.all: [A, \"true\"]\n");
}

#[test]
fn edit_rejects_unknown_shapes() {
    for (what, text, line) in [
        ("a flow map", "{org: a, env.test: [A]}\n", 1),
        ("a list over several lines", "org: a\nenv.test: [\n  A,\n]\n", 2),
        ("an anchor", "org: a\nenv.test: &list\n  - A\n", 2),
        ("an alias", "org: a\nenv.test: *list\n", 2),
        ("a tag", "org: a\nenv.test: !!seq\n  - A\n", 2),
        ("a scalar", "org: a\nenv.test: A\n", 2),
        ("a map", "org: a\nenv.test:\n  A: x\n", 3),
        ("the section twice", "org: a\nenv.test: []\nenv.test: []\n", 3),
        ("two documents", "org: a\n---\norg: b\n", 2),
        ("a document's end", "org: a\n...\n", 2),
        ("tabs", "org: a\nenv.test:\n\t- A\n", 3),
        ("a lone carriage return", "org: a\renv.test:\n", 1),
        ("an odd step back", "org: a\nenv.test:\n    - A\n  - B\n", 4),
    ] {
        let refused = insert(text, "test", "NEW").expect_err(what);
        assert_eq!(refused.line, line, "{what}: {}", refused.reason);
        assert!(remove(text, "test", &[0], 1).is_err(), "{what}");
    }
}

#[test]
fn remove_deletes_entries_of_every_shape() {
    for (what, before, which, count, after) in [
        (
            "one of a block list",
            "org: a\nenv.test:\n  - A # x\n  # note\n  - B\n",
            &[0][..],
            2,
            "org: a\nenv.test:\n  # note\n  - B\n",
        ),
        (
            "the last one: the section stays",
            "org: a\nenv.test:\n  - A\nenv.all: [X]\n",
            &[0],
            1,
            "org: a\nenv.test:\nenv.all: [X]\n",
        ),
        (
            "a record",
            "org: a\nenv.test:\n  - A\n  - key: B\n    grade: encrypted\n  - C\n",
            &[1],
            3,
            "org: a\nenv.test:\n  - A\n  - C\n",
        ),
        (
            "twice declared",
            "org: a\nenv.test:\n- A\n- B\n- A: ephemeral\n",
            &[0, 2],
            3,
            "org: a\nenv.test:\n- B\n",
        ),
        (
            "of a flow list",
            "org: a\nenv.test: [A, {key: B}, C] # x\n",
            &[1],
            3,
            "org: a\nenv.test: [A, C] # x\n",
        ),
        ("the only one of a flow list", "org: a\nenv.test: [A]\n", &[0], 1, "org: a\nenv.test: []\n"),
        ("CRLF", "org: a\r\nenv.test:\r\n  - A\r\n  - B", &[1], 2, "org: a\r\nenv.test:\r\n  - A\r\n"),
    ] {
        assert_eq!(remove(before, "test", which, count).as_deref(), Ok(after), "{what}");
    }
    assert!(remove("org: a\n", "test", &[0], 1).is_err(), "no section");
    assert!(remove("org: a\nenv.test: [A, B]\n", "test", &[0], 3).is_err(), "a count that does not fit");
    assert!(remove("org: a\nenv.test:\n  - A\n", "test", &[0], 2).is_err(), "a count that does not fit");
}
