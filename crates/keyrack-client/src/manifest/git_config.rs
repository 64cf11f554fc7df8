//! `safe.directory` in git's configuration files (git-config(1), "SYNTAX"). git is not run, because
//! a read must take microseconds.
//!
//! Strict: a file that breaks the syntax, or uses syntax that this parser does not know, is ignored
//! as a whole. Included files (`include.path`, `includeIf`) are not read.

/// Reads the values of `safe.directory` in the order they stand; an empty one, which forgets those
/// before it, is `""`. `None` for a file that is not understood.
pub(super) fn safe_directories(text: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut reader = Reader { left: &text };
    let mut in_safe = false;
    let mut found = Vec::new();
    loop {
        reader.skip(|c| c.is_ascii_whitespace());
        match reader.left.chars().next() {
            None => return Some(found),
            Some('#' | ';') => reader.skip(|c| c != '\n'),
            Some('[') => in_safe = reader.section()?.eq_ignore_ascii_case("safe"),
            Some(c) if c.is_ascii_alphabetic() => {
                let (name, value) = reader.variable()?;
                if in_safe && name.eq_ignore_ascii_case("directory") {
                    found.push(value);
                }
            }
            Some(_) => return None,
        }
    }
}

struct Reader<'t> {
    left: &'t str,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<char> {
        let c = self.left.chars().next()?;
        self.left = &self.left[c.len_utf8()..];
        Some(c)
    }

    fn skip(&mut self, these: impl Fn(char) -> bool) {
        self.left = self.left.trim_start_matches(these);
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> &'t str {
        let end = self.left.find(|c| !of(c)).unwrap_or(self.left.len());
        let (word, left) = self.left.split_at(end);
        self.left = left;
        word
    }

    /// `[name]`, or `[name "part"]`, which is another section than `[name]` whatever the part is.
    fn section(&mut self) -> Option<String> {
        self.next();
        let mut name = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).to_owned();
        if name.is_empty() {
            return None;
        }
        let blanks = self.left.len();
        self.skip(|c| matches!(c, ' ' | '\t'));
        if self.left.len() < blanks {
            name.push('.');
            if self.next()? != '"' {
                return None;
            }
            loop {
                match self.next()? {
                    '"' => break,
                    '\n' => return None,
                    '\\' => name.push(self.next().filter(|c| *c != '\n')?),
                    c => name.push(c),
                }
            }
        }
        (self.next()? == ']').then_some(name)
    }

    /// A name, and its value: `""` where there is none.
    fn variable(&mut self) -> Option<(&'t str, String)> {
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '-');
        self.skip(|c| matches!(c, ' ' | '\t'));
        match self.left.chars().next() {
            None | Some('\n') => Some((name, String::new())),
            Some('=') => {
                self.next();
                Some((name, self.value()?))
            }
            Some(_) => None,
        }
    }

    /// Parses the value after `=`: removes quotes, resolves escapes, and trims blanks outside
    /// quotes.
    fn value(&mut self) -> Option<String> {
        self.skip(|c| matches!(c, ' ' | '\t'));
        let mut value = String::new();
        // Length of the value without the blanks at its end.
        let mut kept = 0;
        let mut quoted = false;
        loop {
            match self.next() {
                None | Some('\n') if quoted => return None,
                None | Some('\n') => break,
                Some('#' | ';') if !quoted => self.skip(|c| c != '\n'),
                Some('"') => quoted = !quoted,
                Some('\\') => {
                    match self.next()? {
                        '\n' => continue,
                        'n' => value.push('\n'),
                        't' => value.push('\t'),
                        'b' => value.push('\u{8}'),
                        c @ ('"' | '\\') => value.push(c),
                        _ => return None,
                    }
                    kept = value.len();
                }
                Some('\0') => return None,
                Some(c) => {
                    value.push(c);
                    if quoted || !matches!(c, ' ' | '\t') {
                        kept = value.len();
                    }
                }
            }
        }
        value.truncate(kept);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_directories_are_read_as_git_reads_them() {
        for (text, found) in [
            ("", &[][..]),
            ("[safe]\n\tdirectory = /a\n\tdirectory = /b\n", &["/a", "/b"]),
            ("[Safe] Directory=/a", &["/a"]),
            ("\u{feff}[safe]\r\ndirectory = /a\r\n", &["/a"]),
            ("[safe]\ndirectory = /a b\t \n", &["/a b"]),
            ("[safe]\ndirectory = \"/a b \" # why\n", &["/a b "]),
            ("[safe]\ndirectory = /a;b\n", &["/a"]),
            ("[safe]\ndirectory = \"/a;b#c\"\n", &["/a;b#c"]),
            ("[safe]\ndirectory = /a\\\n/b\n", &["/a/b"]),
            ("[safe]\ndirectory = \"/a\\\"\\\\b\"\n", &["/a\"\\b"]),
            ("[safe]\ndirectory = /a\ndirectory =\ndirectory\n", &["/a", "", ""]),
            ("[safe]\ndirectory = *\n", &["*"]),
            ("# x\n; y\n[user]\nname = \"a\"\ndirectory = /no\n[safe]\ndirectory = /a\n", &["/a"]),
            ("[safe \"x\"]\ndirectory = /no\n[safe.x]\ndirectory = /no\n", &[]),
            (
                "[includeIf \"gitdir:~/x\\\"/\"]\npath = x\n[safe]\nbare-repository = all\ndirectory = /a",
                &["/a"],
            ),
            ("[safe]\ndirectory = /a\n[other]\n", &["/a"]),
        ] {
            let expected: Vec<String> = found.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(safe_directories(text.as_bytes()), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn config_with_a_syntax_error_is_ignored() {
        for text in [
            "directory",
            "[safe\ndirectory = /a\n",
            "[]\n",
            "[safe x]\n",
            "[safe \"x]\n",
            "[safe \"x\"\n",
            "[safe]\ndirectory = \"/a\n",
            "[safe]\ndirectory = \"/a",
            "[safe]\ndirectory = /a\\x\n",
            "[safe]\ndirectory /a\n",
            "[safe]\ndirectory = /a\0\n",
            "[safe]\n= /a\n",
            "[safe]\ndirectory = /a\n]\n",
        ] {
            let found = safe_directories(text.as_bytes());
            let harmless = text == "directory" && found == Some(Vec::new());
            assert!(found.is_none() || harmless, "{text:?}: {found:?}");
        }
        assert_eq!(safe_directories(b"[safe]\ndirectory = /\xff\n"), None);
    }
}
