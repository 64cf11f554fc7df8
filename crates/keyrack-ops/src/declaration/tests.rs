//! Entries of every form, and edits of generated manifests, each verified by parsing the result.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn without(text: &str, name: &str) -> Result<String, Error> {
    let key = slug(&format!("acme.test.{name}"));
    let before = parse("k.yml", text).unwrap();
    let (which, count) = entries_of(&before, &key);
    edit::remove(text, "test", &which, count)
        .map_err(|error| edit_by_hand_error("k.yml", &key, &error, "remove"))
}

#[test]
fn entries_of_finds_every_form() {
    let text = "org: acme\nenv.test:\n- A\n- B: ephemeral\n- grade: encrypted\n  key: C\n- {key: D, is-optional-if-has: A}\n- 'A'\n- key: ephemeral\n";
    let raw = parse("k.yml", text).unwrap();
    for (name, which) in
        [("A", &[0, 4][..]), ("B", &[1]), ("C", &[2]), ("D", &[3]), ("ephemeral", &[5]), ("key", &[])]
    {
        assert_eq!(entries_of(&raw, &slug(&format!("acme.test.{name}"))), (which.to_vec(), 6), "{name}");
    }
    assert_eq!(without(text, "C").unwrap(), text.replace("- grade: encrypted\n  key: C\n", ""));
    assert_eq!(entries_of(&raw, &slug("acme.prod.A")), (Vec::new(), 0));
}

#[test]
fn insert_error_names_the_line_to_write() {
    let error = inserted("k.yml", "org: acme\nenv.test: &x\n  - A\n", &slug("acme.test.NEW")).unwrap_err();
    assert_eq!(error.code, ErrorCode::ManifestInvalid);
    assert_eq!(error.message, "k.yml:2: cannot edit it line by line: the section is not a plain list");
    assert!(error.hint.unwrap().contains("below env.test: `- NEW`"));
    // Understood by line, and still not by YAML: the block scalar swallows the line.
    let error = inserted("k.yml", "org: acme\nnote: |\n  x\nenv.test:\n- >\n  A\n", &slug("acme.test.NEW"));
    assert!(error.is_ok_and(|text| text.ends_with("- NEW\n")));
}

/// Generates manifests as people write them: sections of every form, comments, blank lines, quotes,
/// and both kinds of line break.
fn manifests() -> impl Strategy<Value = String> {
    let name = "[A-Z][A-Z_]{0,5}";
    let entry = (name, 0..6_u8).prop_map(|(name, form)| match form {
        0 | 1 => name,
        2 => format!("\"{name}\" # why"),
        3 => format!("{name}: encrypted"),
        4 => format!("key: {name}\n#INDENT#  grade: ephemeral"),
        _ => format!("{{key: '{name}', grade: encrypted}}"),
    });
    let plain = proptest::collection::vec(name, 0..4);
    let section = (proptest::collection::vec(entry, 0..4), plain, 0..6_u8, 0..3_usize, any::<bool>());
    let sections = proptest::sample::subsequence(vec!["test", "prod", "all", "prep"], 0..=4);
    (sections, proptest::collection::vec(section, 4), any::<bool>(), any::<bool>()).prop_map(
        |(envs, sections, crlf, last_break)| {
            let mut text = "# who needs what\norg: acme # us\n".to_owned();
            for (env, (entries, plain, form, indent, comment)) in envs.iter().zip(sections) {
                if comment {
                    text.push_str("\n# a section\n");
                }
                let indent = "  ".repeat(indent);
                match form {
                    0 => writeln!(text, "env.{env}: [{}] # flow", plain.join(", ")).unwrap(),
                    1 => writeln!(text, "env.{env}: ~").unwrap(),
                    2 => writeln!(text, "'env.{env}':").unwrap(),
                    _ => {
                        writeln!(text, "env.{env}:   # list").unwrap();
                        for entry in entries {
                            writeln!(text, "{indent}- {}", entry.replace("#INDENT#", &indent)).unwrap();
                            if comment {
                                writeln!(text, "{indent}# between\n").unwrap();
                            }
                        }
                    }
                }
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            if !last_break {
                text.truncate(text.trim_end().len());
            }
            text
        },
    )
}

/// The lines of one text that the other does not have, as multisets.
fn lost<'a>(from: &'a str, to: &'a str) -> Vec<&'a str> {
    let mut there: Vec<&str> = to.lines().collect();
    from.lines()
        .filter(|line| match there.iter().position(|other| other == line) {
            Some(at) => {
                there.swap_remove(at);
                false
            }
            None => true,
        })
        .collect()
}

proptest! {
    #[test]
    fn insert_and_remove_change_one_entry_only(text in manifests(), env in "test|prod|all|prep") {
        let key = slug(&format!("acme.{env}.NEW_KEY"));
        // `inserted` itself proves that the tree is the old one and the key.
        let after = inserted("k.yml", &text, &key).unwrap();
        prop_assert_eq!(entries_of(&parse("k.yml", &after).unwrap(), &key).0.len(), 1);
        prop_assert!(lost(&text, &after).len() <= 1, "only the section's own line may change:\n{}\n{}", text, after);
        prop_assert_eq!(after.contains("\r\n"), text.contains("\r\n"));
        for comment in ["# who needs what", "# us", "# flow", "# list", "# between", "# a section", "# why"] {
            prop_assert_eq!(after.matches(comment).count(), text.matches(comment).count());
        }
        // And out again: the tree is the old one, and no line is lost.
        let (which, count) = entries_of(&parse("k.yml", &after).unwrap(), &key);
        let back = edit::remove(&after, &env, &which, count).unwrap();
        let (read, old) = (parse("k.yml", &back).unwrap(), parse("k.yml", &text).unwrap());
        prop_assert!(is_equivalent(&read.root, &with_section(&old.root, &key, |_| {})), "{}\n{}", text, back);
    }

    #[test]
    fn tsconfig_advice_never_panics(text in "\\PC*|([a-z.: \\[\\]{}#'\"\\-\\n\\r\\t~|>&*!]{0,80})") {
        let _ = edit::insert(&text, "test", "NEW");
        let _ = edit::remove(&text, "test", &[0], 1);
    }
}
