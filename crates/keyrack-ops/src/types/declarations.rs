//! Text of the declarations, and the comparison of two such texts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use keyrack_core::Env;
use keyrack_core::repo_manifest::{MANIFEST_PATH, RepoManifest};

/// First words of every file that `keyrack types` writes.
pub(super) const MARK: &str = "// Written by `keyrack types` from ";

/// Each declared name with the envs that declare it, sorted: the order in `keyrack.yml` does not
/// matter.
pub(super) fn names(manifest: &RepoManifest) -> BTreeMap<&str, Vec<Env>> {
    let mut names: BTreeMap<&str, Vec<Env>> = BTreeMap::new();
    for key in manifest.keys() {
        names.entry(key.slug.name()).or_default().push(key.env);
    }
    for envs in names.values_mut() {
        envs.sort_unstable();
        envs.dedup();
    }
    names
}

/// The whole file.
pub(super) fn of(manifest: &RepoManifest) -> String {
    let mut text = format!("{MARK}{MANIFEST_PATH}: change that file and run it again.\n\n");
    text.push_str("import 'keyrack';\n\ndeclare module 'keyrack' {\n  interface KeyrackKeys {\n");
    for (name, envs) in names(manifest) {
        let envs: Vec<String> = envs.iter().map(|env| quoted(env.as_str())).collect();
        writeln!(text, "    {}: {};", quoted(name), envs.join(" | ")).expect("a String takes all");
    }
    text.push_str("  }\n}\n");
    text
}

/// A TypeScript string. Characters that could end it or its line, or are invisible, are escaped.
fn quoted(text: &str) -> String {
    let mut out = "'".to_owned();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a String takes all");
        }
    }
    out.push('\'');
    out
}

/// Returns `true` if two files declare the same, whatever a formatter changed: blanks, quotes and
/// separators between members do not count. No name can contain any of these
/// ([`keyrack_core::slug::check_name`]).
pub(super) fn is_equivalent(a: &str, b: &str) -> bool {
    let bare = |text: &str| {
        let bare: String =
            text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '"' | ';' | ',')).collect();
        // A union that is broken over lines begins with the sign too.
        bare.replace(":|", ":")
    };
    bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use keyrack_client::manifest::parse;
    use keyrack_core::repo_manifest::load_manifest;

    use super::*;

    fn manifest(text: &str) -> RepoManifest {
        load_manifest(&parse("k.yml", text).unwrap(), |_| Ok(None)).unwrap()
    }

    #[test]
    fn declarations_list_names_by_env() {
        let declared =
            manifest("org: acme\nenv.all: [S]\nenv.test: [B, A-1, S]\nenv.prod:\n  - B: encrypted\n");
        let expected =
            "// Written by `keyrack types` from .agent/keyrack.yml: change that file and run it again.

import 'keyrack';

declare module 'keyrack' {
  interface KeyrackKeys {
    'A-1': 'test';
    'B': 'prod' | 'test';
    'S': 'prod' | 'test' | 'all';
  }
}
";
        assert_eq!(of(&declared), expected);
        assert_eq!(
            of(&manifest("org: a\nenv.test: []\n")).matches('\n').count(),
            8,
            "no name, and still a file"
        );
    }

    #[test]
    fn declarations_quote_hostile_names() {
        for (name, text) in [
            ("A", "'A'"),
            ("a.b-c_1", "'a.b-c_1'"),
            ("'}; evil(); //", r"'\u0027\u007d\u003b\u0020evil\u0028\u0029\u003b\u0020\u002f\u002f'"),
            ("\\\n\u{2028}`${", r"'\u005c\u000a\u2028\u0060\u0024\u007b'"),
            ("é🔑", r"'\u00e9\ud83d\udd11'"),
        ] {
            assert_eq!(quoted(name), text);
        }
        // The manifest itself rejects such a name.
        let hostile = manifest("org: a\nenv.test:\n  - \"x': any } } evil() //\"\n  - OK\n");
        assert_eq!(hostile.faults.len(), 1);
        assert_eq!(names(&hostile).into_keys().collect::<Vec<_>>(), ["OK"]);
    }

    #[test]
    fn formatted_declarations_are_equivalent() {
        let ours = of(&manifest("org: a\nenv.test: [B, A]\nenv.prod: [B]\n"));
        let theirs = ours
            .replace('\'', "\"")
            .replace("\"B\": \"prod\" | \"test\";", "B:\r\n      | \"prod\"\r\n      | \"test\"\r\n")
            .replace(";\n", "\n");
        assert_ne!(ours, theirs);
        assert!(is_equivalent(&ours, &theirs));
        for other in [
            "org: a\nenv.test: [B, A]\n",
            "org: a\nenv.test: [BA]\n",
            "org: a\nenv.test: [B, A]\nenv.prod: [B, A]\n",
        ] {
            assert!(!is_equivalent(&ours, &of(&manifest(other))), "{other}");
        }
    }
}
