//! Check if the nearest `tsconfig.json` includes a file, as far as that file alone tells.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Maximum size of a `tsconfig.json` that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Advice on what to add to which file; `None` if nothing is missing, or it is unknown.
pub(super) fn advice(root: &Path, file: &Path) -> Option<String> {
    let mut dirs = file.ancestors().skip(1).take_while(|dir| dir.starts_with(root));
    let Some(dir) = dirs.find(|dir| dir.join("tsconfig.json").is_file()) else {
        return Some(
            "no tsconfig.json found above it: add it to `include` in the tsconfig.json that should use it"
                .to_owned(),
        );
    };
    let config = dir.join("tsconfig.json");
    if fs::metadata(&config).ok()?.len() > MAX_FILE {
        return None;
    }
    let config: Value = serde_json::from_str(&plain_json(&fs::read_to_string(&config).ok()?)).ok()?;
    let below = file.strip_prefix(dir).ok()?.to_str()?;
    let list = |name: &str| {
        let list = config.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    let (files, mut include) = (list("files"), list("include"));
    // A configuration that this one extends is not read.
    if files.is_none() && include.is_none() {
        include = Some(vec!["**/*"]);
    }
    let named = files.iter().flatten().any(|name| trimmed(name) == below);
    if named || include.iter().flatten().any(|pattern| includes(pattern, below)) {
        return None;
    }
    let shown = dir.strip_prefix(root).unwrap_or(dir).join("tsconfig.json");
    Some(format!("add {below:?} to `include` in {}", shown.display()))
}

fn trimmed(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path).trim_end_matches('/')
}

/// Returns `true` if a pattern of `include` matches a path, both relative to the configuration: `*`
/// and `?` within a part, `**/` for any parts. A pattern that ends without a wildcard or an
/// extension is a directory (TSConfig reference, `include`).
fn includes(pattern: &str, path: &str) -> bool {
    let pattern = trimmed(pattern);
    let mut parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let is_directory = parts.last().is_none_or(|last| *last == "**" || !last.contains(['.', '*', '?']));
    if is_directory {
        if parts.last() != Some(&"**") {
            parts.push("**");
        }
        parts.push("*");
    }
    matches(&parts, &path.split('/').collect::<Vec<_>>())
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            matches(rest, path)
                || path.split_first().is_some_and(|(first, others)| {
                    // Any parts but hidden ones and those of packages.
                    !first.starts_with('.') && *first != "node_modules" && matches(pattern, others)
                })
        }
        ([first, rest @ ..], [part, others @ ..]) => part_matches(first, part) && matches(rest, others),
        _ => false,
    }
}

fn part_matches(pattern: &str, part: &str) -> bool {
    fn from(pattern: &[u8], part: &[u8]) -> bool {
        match (pattern, part) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                from(rest, part) || matches!(part, [_, more @ ..] if from(pattern, more))
            }
            ([b'?', rest @ ..], [_, more @ ..]) => from(rest, more),
            ([a, rest @ ..], [b, more @ ..]) => a == b && from(rest, more),
            _ => false,
        }
    }
    from(pattern.as_bytes(), part.as_bytes())
}

/// JSON without the comments and the commas before a closing bracket that `tsconfig.json` may have.
fn plain_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => {
                out.push(c);
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => while chars.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                chars.next();
                let mut before = ' ';
                for c in chars.by_ref() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            (']' | '}', _) => {
                let kept = out.trim_end();
                let kept = kept.strip_suffix(',').unwrap_or(kept).len();
                out.truncate(kept);
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_matches_tsconfig_patterns() {
        for (pattern, path, taken) in [
            ("**/*", "keyrack-env.d.ts", true),
            ("**/*", "a/b/keyrack-env.d.ts", true),
            ("**/*", ".agent/keyrack-env.d.ts", false),
            ("**/*", "node_modules/x/keyrack-env.d.ts", false),
            ("**/*.ts", "keyrack-env.d.ts", true),
            ("./**/*.ts", "keyrack-env.d.ts", true),
            ("**/*.tsx", "keyrack-env.d.ts", false),
            ("src", "keyrack-env.d.ts", false),
            ("src", "src/keyrack-env.d.ts", true),
            ("src", "src/a/keyrack-env.d.ts", true),
            ("./src/", "src/keyrack-env.d.ts", true),
            ("src/**", "src/a/keyrack-env.d.ts", true),
            ("src/**/*", "src/keyrack-env.d.ts", true),
            ("src/*", "src/a/keyrack-env.d.ts", false),
            ("*.d.ts", "keyrack-env.d.ts", true),
            ("keyrack-env.d.ts", "keyrack-env.d.ts", true),
            ("./keyrack-env.d.ts", "keyrack-env.d.ts", true),
            ("next-env.d.ts", "keyrack-env.d.ts", false),
            ("keyrack-en?.d.ts", "keyrack-env.d.ts", true),
            (".", "keyrack-env.d.ts", true),
            ("", "keyrack-env.d.ts", true),
        ] {
            assert_eq!(includes(pattern, path), taken, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn advice_names_the_tsconfig_that_excludes_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("packages/a")).unwrap();
        let file = root.join("keyrack-env.d.ts");
        assert!(advice(root, &file).unwrap().starts_with("no tsconfig.json found"));
        for (config, expected) in [
            ("{}", None),
            ("{ \"extends\": \"x\" }", None),
            ("{ // all\n \"include\": [\"**/*\", /* , ] */ ], }", None),
            (
                "\u{feff}{ \"include\": [\"src\"], }",
                Some("add \"keyrack-env.d.ts\" to `include` in tsconfig.json"),
            ),
            ("{ \"include\": [\"src\", \"keyrack-env.d.ts\"] }", None),
            ("{ \"files\": [\"a.ts\"] }", Some("add \"keyrack-env.d.ts\" to `include` in tsconfig.json")),
            ("{ \"files\": [\"./keyrack-env.d.ts\"] }", None),
            (
                "{ \"include\": [\"//\\\"src\"] }",
                Some("add \"keyrack-env.d.ts\" to `include` in tsconfig.json"),
            ),
            ("not json", None),
        ] {
            fs::write(root.join("tsconfig.json"), config).unwrap();
            assert_eq!(advice(root, &file).as_deref(), expected, "{config}");
        }
        fs::write(root.join("tsconfig.json"), "{}").unwrap();
        let hidden = advice(root, &root.join(".agent/keyrack-env.d.ts")).unwrap();
        assert_eq!(hidden, "add \".agent/keyrack-env.d.ts\" to `include` in tsconfig.json");
        fs::write(root.join("packages/a/tsconfig.json"), "{ \"include\": [\"src\"] }").unwrap();
        let inner = advice(root, &root.join("packages/a/keyrack-env.d.ts")).unwrap();
        assert_eq!(inner, "add \"keyrack-env.d.ts\" to `include` in packages/a/tsconfig.json");
    }
}
