//! Paths below a repository's root.

/// Resolves `.` and `..` lexically. `None` if the path leaves the root, is absolute, names nothing,
/// or contains control characters or backslashes. A symbolic link in it may still leave the root:
/// the reader of the file must check that.
pub fn contained(path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\\') || path.chars().any(char::is_control) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::contained;

    #[test]
    fn contained_rejects_paths_that_leave_the_root() {
        for (path, inside) in [
            (".agent/keyrack.yml", Some(".agent/keyrack.yml")),
            ("./.agent//repo=x/role=y/keyrack.yml", Some(".agent/repo=x/role=y/keyrack.yml")),
            ("a/../b.yml", Some("b.yml")),
            ("a/b/../../c", Some("c")),
            ("..a/b", Some("..a/b")),
            ("../x", None),
            ("a/../../x", None),
            ("a/../../root/x", None),
            ("/etc/passwd", None),
            ("//x", None),
            ("", None),
            (".", None),
            ("a/..", None),
            ("a\\..\\..\\x", None),
            ("a\0b", None),
            ("a\nb", None),
        ] {
            assert_eq!(contained(path).as_deref(), inside, "{path:?}");
        }
    }
}
