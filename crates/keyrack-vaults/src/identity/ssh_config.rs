//! `IdentityFile` of `~/.ssh/config`: where a person keeps keys that have no usual name
//! (ssh_config(5)).
//!
//! Every one is listed, whatever `Host` or `Match` it is for. Tokens that depend on a host are not
//! expanded, and such paths are left out.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Maximum number of bytes read of one file.
const MAX_FILE: u64 = 256 << 10;
/// Maximum number of files read, included ones too.
const MAX_FILES: usize = 64;
/// Maximum number of keys listed.
const MAX_KEYS: usize = 256;

/// Lists the paths in the order of the files.
pub(super) fn identity_files(home: &Path) -> Vec<PathBuf> {
    let ssh = home.join(".ssh");
    let mut found = Vec::new();
    let mut queue = vec![ssh.join("config")];
    let mut read = Vec::new();
    while let Some(path) = queue.pop() {
        if read.len() >= MAX_FILES || read.contains(&path) {
            continue;
        }
        let text = read_text(&path);
        read.push(path);
        let mut included = Vec::new();
        for (keyword, args) in text.iter().flat_map(|text| text.lines()).filter_map(directive) {
            match keyword.to_ascii_lowercase().as_str() {
                "identityfile" => found.extend(args.first().and_then(|arg| expand(arg, home, None))),
                "include" => {
                    let patterns = args.iter().filter_map(|arg| expand(arg, home, Some(&ssh)));
                    included.extend(patterns.flat_map(|pattern| matching(&pattern)));
                }
                _ => {}
            }
        }
        queue.extend(included.into_iter().rev());
    }
    found.truncate(MAX_KEYS);
    found
}

fn read_text(path: &Path) -> Option<String> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Splits a line into keyword and arguments, which blanks or one `=` part, and which may be quoted.
/// `None` for a comment or an empty line.
fn directive(line: &str) -> Option<(&str, Vec<String>)> {
    let line = line.trim();
    let end = line.find([' ', '\t', '=']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    if keyword.is_empty() || keyword.starts_with('#') {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut args = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    for char in rest.chars() {
        match char {
            '"' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            ' ' | '\t' if !quoted => args.extend(current.take()),
            '#' if !quoted && current.is_none() => break,
            char => current.get_or_insert_default().push(char),
        }
    }
    args.extend(current);
    Some((keyword, args))
}

/// Expands `~`, `%d` and `%%`. `None` for `none`, for other tokens, and for a relative path where
/// `base` does not say what it is relative to.
fn expand(arg: &str, home: &Path, base: Option<&Path>) -> Option<PathBuf> {
    if arg.eq_ignore_ascii_case("none") {
        return None;
    }
    let mut text = String::new();
    let mut chars = arg.chars();
    while let Some(char) = chars.next() {
        match char {
            '%' => match chars.next()? {
                'd' => text.push_str(home.to_str()?),
                '%' => text.push('%'),
                _ => return None,
            },
            char => text.push(char),
        }
    }
    let path = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(text),
    };
    match base {
        _ if path.is_absolute() => Some(path),
        Some(base) if !path.as_os_str().is_empty() => Some(base.join(path)),
        _ => None,
    }
}

/// Lists the files that a pattern means, sorted. `*` and `?` count in the last part of the path
/// only.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_match = |path: &PathBuf| {
        let found = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        // A glob does not match hidden files (glob(7)).
        !found.starts_with('.') && matches_glob(name.as_bytes(), found.as_bytes())
    };
    let mut paths: Vec<PathBuf> = entries.filter(is_match).collect();
    paths.sort_unstable();
    paths
}

fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    // The last `*` and where it was tried last: on a mismatch it takes one byte more.
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((back, from)) = star else { return false };
                star = Some((back, from + 1));
                at = back + 1;
                read = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let ssh = home.join(".ssh");
        fs::create_dir_all(ssh.join("conf.d")).unwrap();
        fs::write(
            ssh.join("config"),
            "# IdentityFile ~/commented\n\
             IdentityFile ~/.ssh/first\n\
             Include conf.d/*.conf missing ~/.ssh/config\n\
             Host work\n  identityfile=\"/keys/with blank\" # why\n  IdentityFile = %d/100%%\n\
             \tIdentityFile\t~/.ssh/%h\n  IdentityFile none\n  IdentityFile relative\n  IdentitiesOnly yes\n",
        )
        .unwrap();
        fs::write(ssh.join("conf.d/a.conf"), "IdentityFile /keys/a\n").unwrap();
        fs::write(ssh.join("conf.d/b.conf"), "Host b\nIdentityFile /keys/b\n").unwrap();
        fs::write(ssh.join("conf.d/.hidden.conf"), "IdentityFile /keys/hidden\n").unwrap();
        fs::write(ssh.join("conf.d/c.txt"), "IdentityFile /keys/c\n").unwrap();
        let expected = [
            ssh.join("first"),
            "/keys/with blank".into(),
            home.join("100%"),
            "/keys/a".into(),
            "/keys/b".into(),
        ];
        assert_eq!(identity_files(home), expected);
        assert_eq!(identity_files(&home.join("nobody")), Vec::<PathBuf>::new());
    }

    #[test]
    fn matches_glob_handles_star_and_question_mark() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("plain", "plain", true),
        ] {
            assert_eq!(matches_glob(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }
}
