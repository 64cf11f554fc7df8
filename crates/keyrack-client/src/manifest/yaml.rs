//! Parser from YAML text to a tree in which every value has its line. Its limits keep documents of
//! aliases or brackets from taking much more time and memory than their size.

use keyrack_core::repo_manifest::{RawManifest, YamlChild, YamlNode, YamlValue};
use keyrack_core::shorten::{PATH, shortened};
use keyrack_core::{Error, ErrorCode};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned, UserMessageFormatter};

use keyrack_core::display::clean;

/// Maximum length of a parser message, in characters. It may quote names of the file.
const MESSAGE: usize = 256;

/// Parses one manifest file. Messages name it by `path`.
///
/// # Errors
/// [`ErrorCode::ManifestInvalid`] naming file and line.
pub fn parse(path: &str, text: &str) -> Result<RawManifest, Error> {
    // A file of comments only has no document. It counts as null.
    let read: Result<Option<Located>, _> = serde_saphyr::from_str_with_options(text, options());
    match read {
        Ok(root) => {
            let nothing = YamlNode { line: 1, value: YamlValue::Null };
            // The parser may place a missing value after the last line.
            let last = last_line(text);
            Ok(RawManifest { path: path.to_owned(), root: root.map_or(nothing, |root| root.into_node(last)) })
        }
        Err(error) => {
            let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
            let line = line.map_or(String::new(), |line| format!(":{line}"));
            let what = clean(&error.without_snippet().render_with_formatter(&UserMessageFormatter));
            let (path, what) = (shortened(path, PATH), shortened(&what, MESSAGE));
            Err(Error::new(ErrorCode::ManifestInvalid, format!("{path}{line}: not valid YAML: {what}")))
        }
    }
}

/// Returns the number of the last line with content. Counts all line breaks of YAML.
fn last_line(text: &str) -> u64 {
    const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let body = text.strip_suffix(BREAKS).unwrap_or(text);
    1 + body.matches(BREAKS).count() as u64
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
            max_total_scalar_bytes: 1 << 20,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // A key may be called NO or ON.
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Value with its line.
struct Located {
    line: u64,
    value: YamlValue<Located>,
}

impl Located {
    fn into_node(self, last: u64) -> YamlNode {
        YamlNode { line: self.line.min(last), value: self.value.map(|value| value.into_node(last)) }
    }
}

impl YamlChild for Located {
    fn field(name: Self, value: Self) -> (String, Self) {
        (name.value.into_name(), Located { line: name.line, ..value })
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<YamlValue<Located>>::deserialize(d)?;
        Ok(Located { line: referenced.line(), value })
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::repo_manifest::load_manifest;

    use super::*;

    fn fails(text: &str) -> String {
        let error = parse("k.yml", text).unwrap_err();
        assert_eq!(error.code, ErrorCode::ManifestInvalid);
        error.message
    }

    #[test]
    fn nodes_have_their_line() {
        let text =
            "org: acme\n\nenv.test:\n  - A\n  # why\n  - B: encrypted\n  - key: C\n    grade: ephemeral\n";
        let raw = parse("k.yml", text).unwrap();
        let YamlValue::Map(fields) = &raw.root.value else { panic!("{raw:?}") };
        let names: Vec<_> = fields.iter().map(|(name, node)| (name.as_str(), node.line)).collect();
        assert_eq!(names, [("org", 1), ("env.test", 3)]);
        let YamlValue::List(items) = &fields[1].1.value else { panic!("{raw:?}") };
        assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [4, 6, 7]);
        let YamlValue::Map(record) = &items[2].value else { panic!("{raw:?}") };
        assert_eq!(record[1].1.line, 8);
    }

    #[test]
    fn section_errors_name_its_line() {
        for (text, line, what) in [
            ("org: acme\n\nenv.sudo:\n  # why\n\n  - A\n", 3, "env.sudo: sudo keys are never declared"),
            ("org: acme\nenv.dev:\n  - A\n", 2, "env.dev: invalid env"),
            ("org: acme\nenv.test:\n\n  A: encrypted\n", 2, "env.test: it must be a list"),
            ("org: acme\nenv.test:\n  - A\n  - B:\n      - x\n", 4, "env.test: B: its grade is a list"),
            ("org: acme\nenv.test:\n  - key: B\n    grade:\n      bad\n", 4, "env.test: B: \"bad\" is not"),
            ("org: acme\nenv.test:\n  - A\n  # why\n  - 7\n", 5, "env.test: entry 2 is a number"),
        ] {
            let manifest = load_manifest(&parse("k.yml", text).unwrap(), |_| Ok(None)).unwrap();
            let [fault] = &manifest.faults[..] else { panic!("{text:?}: {:?}", manifest.faults) };
            assert!(fault.message.starts_with(&format!("k.yml:{line}: {what}")), "{text:?}: {fault}");
        }
        for (text, line, what) in [
            ("org:\n  - acme\n", 1, "org: it must be a string"),
            ("org: acme\nextends:\n  # why\n  a: b\n", 2, "extends: it must be a list"),
            ("org: acme\nextends:\n  - a.yml\n  - [b]\n", 4, "extends: every entry"),
            ("org: acme\nkeys:\n\n  - A\n", 2, "keys: a flat list"),
            ("\norg: acme\nenv.all:\n\n  - A\n", 3, "env.all: it needs another"),
        ] {
            let error = load_manifest(&parse("k.yml", text).unwrap(), |_| Ok(None)).unwrap_err();
            assert!(error.message.starts_with(&format!("k.yml:{line}: {what}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn missing_values_have_a_line_of_the_file() {
        for text in ["? # ef :\n", "a:\n", "?\n", "- \n", "a:\n  - \n"] {
            let raw = parse("k.yml", text).unwrap();
            let lines = text.lines().count() as u64;
            let mut nodes = vec![&raw.root];
            while let Some(node) = nodes.pop() {
                assert!((1..=lines).contains(&node.line), "{text:?}: line {}", node.line);
                match &node.value {
                    YamlValue::List(items) => nodes.extend(items),
                    YamlValue::Map(fields) => nodes.extend(fields.iter().map(|(_, node)| node)),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn keys_that_are_not_strings_are_described() {
        let raw = parse("k.yml", "1: a\n[env.test]: b\n~: c\nNO: d\n").unwrap();
        let YamlValue::Map(fields) = &raw.root.value else { panic!("{raw:?}") };
        let names: Vec<_> = fields.iter().map(|(name, node)| (name.as_str(), node.line)).collect();
        assert_eq!(names, [("(a number)", 1), ("(a list)", 2), ("(nothing)", 3), ("NO", 4)]);
    }

    #[test]
    fn yaml_1_1_booleans_are_strings() {
        let raw = parse("k.yml", "a: [NO, on, Y, 'true', true, ~, 1, 1.5]").unwrap();
        let YamlValue::Map(fields) = &raw.root.value else { panic!("{raw:?}") };
        let YamlValue::List(items) = &fields[0].1.value else { panic!("{raw:?}") };
        let kinds: Vec<_> = items.iter().map(|item| item.value.kind()).collect();
        assert_eq!(
            kinds,
            ["a string", "a string", "a string", "a string", "a boolean", "nothing", "a number", "a number"]
        );
    }

    #[test]
    fn empty_document_is_null() {
        for text in ["", "\n", "# only a comment\n", "~", "---\n"] {
            assert_eq!(parse("k.yml", text).unwrap().root.value, YamlValue::Null, "{text:?}");
        }
    }

    #[test]
    fn syntax_errors_name_file_and_line() {
        for (text, line) in [
            ("org: acme\nenv.test: [A\n", 2),
            ("org: acme\n  env: x\n", 2),
            ("org: acme\norg: other\n", 2),
            ("a: *nothing\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
        ] {
            let message = fails(text);
            assert!(message.starts_with(&format!("k.yml:{line}: not valid YAML: ")), "{text:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn yaml_bombs_are_refused() {
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            laughs.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        let deep = "[".repeat(5000);
        let wide = format!("a: [{}]", "x,".repeat(60_000));
        for text in [laughs, deep, wide] {
            let started = std::time::Instant::now();
            fails(&text);
            assert!(started.elapsed() < std::time::Duration::from_secs(5));
        }
    }
}
