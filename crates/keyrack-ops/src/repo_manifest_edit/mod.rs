//! Line-based edits of `keyrack.yml`, so that comments, quoting and order stay as they are.
//!
//! Text in, text out. The editor knows the common shapes of manifests and rejects the rest, naming
//! the line to edit by hand. It does not parse YAML: the caller parses the result and compares it
//! before writing.

/// A change that cannot be made safely by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EditError {
    /// The line it is about, counted from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// Reason, as a phrase.
    pub(crate) reason: &'static str,
}

/// Adds `name` at the end of the section of `env`, which is created if it is missing.
pub(crate) fn insert(text: &str, env: &str, name: &str) -> Result<String, EditError> {
    let lines = Lines::read(text)?;
    let Some(section) = lines.section(env)? else {
        return Ok(lines.with_new_section(env, name));
    };
    let header = &lines.all[section.header];
    match section.body {
        Body::Flow { open, close } => {
            let inner = header.content[open + 1..close].trim();
            if inner.is_empty() {
                let emptied =
                    format!("{}{}", header.content[..open].trim_end(), &header.content[close + 1..]);
                return Ok(lines.replaced_and_added(section.header, &emptied, &lines.item("  ", name)));
            }
            let (before, after) = header.content.split_at(close);
            let kept = before.trim_end();
            let comma = if kept.ends_with(',') { " " } else { ", " };
            let line = format!("{kept}{comma}{}{after}", scalar(name));
            Ok(lines.replaced(section.header, &line))
        }
        Body::Null { from, to } => {
            let emptied = format!("{}{}", header.content[..from].trim_end(), &header.content[to..]);
            Ok(lines.replaced_and_added(section.header, &emptied, &lines.item("  ", name)))
        }
        Body::Block { ref items } => {
            let (at, indent) = match items.last() {
                Some(item) => (item.last, lines.all[item.first].indent().to_owned()),
                None => (section.header, lines.usual_indent()),
            };
            Ok(lines.added_after(at, &lines.item(&indent, name)))
        }
    }
}

/// Removes the entries with the indices `which` from the section of `env`, which holds `count`
/// entries. The section stays, empty if need be.
pub(crate) fn remove(text: &str, env: &str, which: &[usize], count: usize) -> Result<String, EditError> {
    let lines = Lines::read(text)?;
    let Some(section) = lines.section(env)? else {
        return Err(EditError { line: 0, reason: "its section was not found" });
    };
    let number = section.header + 1;
    match section.body {
        Body::Flow { open, close } => {
            let header = &lines.all[section.header];
            let inner = &header.content[open + 1..close];
            let entries =
                split_flow(inner).ok_or(EditError { line: number, reason: "the list is too complex" })?;
            if entries.len() != count {
                return Err(EditError { line: number, reason: "the list is too complex" });
            }
            let kept: Vec<_> = entries
                .iter()
                .enumerate()
                .filter(|(at, _)| !which.contains(at))
                .map(|(_, entry)| entry.trim())
                .collect();
            let line =
                format!("{}[{}]{}", &header.content[..open], kept.join(", "), &header.content[close + 1..]);
            Ok(lines.replaced(section.header, &line))
        }
        Body::Null { .. } => Err(EditError { line: number, reason: "the section is empty" }),
        Body::Block { ref items } => {
            if items.len() != count {
                return Err(EditError { line: number, reason: "its entries are too complex" });
            }
            let gone = |at: usize| {
                items
                    .iter()
                    .enumerate()
                    .any(|(n, item)| which.contains(&n) && (item.first..=item.last).contains(&at))
            };
            let kept = lines.all.iter().enumerate().filter(|(at, _)| !gone(*at));
            Ok(kept.flat_map(|(_, line)| [line.content, line.end]).collect())
        }
    }
}

/// Formats a key name as YAML: quoted if a parser could take the plain word for something other
/// than a string.
fn scalar(name: &str) -> String {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(name)) {
        return format!("\"{name}\"");
    }
    name.to_owned()
}

/// One line: its content and its line break (`\n`, `\r\n`, or nothing on the last line).
#[derive(Clone, Copy)]
struct Line<'a> {
    content: &'a str,
    end: &'a str,
}

impl<'a> Line<'a> {
    fn indent(&self) -> &'a str {
        &self.content[..self.content.len() - self.content.trim_start_matches(' ').len()]
    }

    /// Blank, or nothing but a comment.
    fn is_silent(&self) -> bool {
        let rest = self.content.trim_start();
        rest.is_empty() || rest.starts_with('#')
    }

    fn is_item(&self) -> bool {
        let rest = self.content.trim_start_matches(' ');
        rest == "-" || rest.starts_with("- ")
    }
}

/// The lines of an entry of a block list.
struct Item {
    first: usize,
    last: usize,
}

/// Body of a section, by the way it is written.
enum Body {
    /// `[…]` on the header's own line: where the brackets are, in bytes.
    Flow { open: usize, close: usize },
    /// `null`, `~`: where the word is, in bytes.
    Null { from: usize, to: usize },
    /// Entries on lines of their own; none for a bare header.
    Block { items: Vec<Item> },
}

struct Section {
    header: usize,
    body: Body,
}

struct Lines<'a> {
    all: Vec<Line<'a>>,
    /// Line break of this file.
    end: &'static str,
}

impl<'a> Lines<'a> {
    fn read(text: &'a str) -> Result<Self, EditError> {
        let all: Vec<Line<'a>> = text
            .split_inclusive('\n')
            .map(|line| {
                let content =
                    line.strip_suffix('\n').map_or(line, |rest| rest.strip_suffix('\r').unwrap_or(rest));
                Line { content, end: &line[content.len()..] }
            })
            .collect();
        let mut begun = false;
        for (at, line) in all.iter().enumerate() {
            let marker = line.content == "---" || line.content.starts_with("--- ") || line.content == "...";
            if marker && begun {
                return Err(EditError { line: at + 1, reason: "a YAML document ends or begins here" });
            }
            if marker && line.content != "---" {
                return Err(EditError { line: at + 1, reason: "text after a document marker" });
            }
            begun |= !line.is_silent() && !line.content.starts_with('%');
            if line.content.starts_with(['{', '[', '?']) {
                return Err(EditError {
                    line: at + 1,
                    reason: "the top level does not have one key per line",
                });
            }
            if line.content.starts_with('\t') || line.content.contains('\r') {
                return Err(EditError { line: at + 1, reason: "a tab or a lone carriage return" });
            }
        }
        let end = if all.first().is_some_and(|line| line.end == "\r\n") { "\r\n" } else { "\n" };
        Ok(Lines { all, end })
    }

    /// The section `env.<env>`, if the file has it.
    fn section(&self, env: &str) -> Result<Option<Section>, EditError> {
        let key = format!("env.{env}");
        let mut headers = (0..self.all.len()).filter_map(|at| {
            let (name, from) = top_level_key(self.all[at].content)?;
            (name == key).then_some((at, from))
        });
        let Some((header, from)) = headers.next() else {
            return Ok(None);
        };
        if let Some((second, _)) = headers.next() {
            return Err(EditError { line: second + 1, reason: "the section appears twice" });
        }
        let content = self.all[header].content;
        let (value, value_at) = value_of(content, from);
        let body = match value {
            "" => Body::Block { items: self.items(header)? },
            "~" | "null" | "Null" | "NULL" => Body::Null { from: value_at, to: value_at + value.len() },
            flow if flow.starts_with('[') => {
                // A comment cannot begin inside the brackets of one line: `value_of` cuts it off,
                // and then the last byte is not a bracket.
                let whole =
                    split_flow(flow.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("]"));
                if whole.is_none() {
                    return Err(EditError {
                        line: header + 1,
                        reason: "a bracketed list over several lines",
                    });
                }
                Body::Flow { open: value_at, close: value_at + flow.len() - 1 }
            }
            _ => return Err(EditError { line: header + 1, reason: "the section is not a plain list" }),
        };
        Ok(Some(Section { header, body }))
    }

    /// The entries of the block list that begins after a header.
    fn items(&self, header: usize) -> Result<Vec<Item>, EditError> {
        let mut items: Vec<Item> = Vec::new();
        let mut indent = None;
        for at in header + 1..self.all.len() {
            let line = &self.all[at];
            if line.is_silent() {
                continue;
            }
            let depth = line.indent().len();
            let list = *indent.get_or_insert(depth);
            if line.is_item() && depth == list {
                items.push(Item { first: at, last: at });
            } else if depth > list
                && let Some(item) = items.last_mut()
            {
                item.last = at;
            } else if depth == 0 {
                break;
            } else {
                return Err(EditError { line: at + 1, reason: "an entry that is too complex" });
            }
        }
        Ok(items)
    }

    /// Indentation of the first entry of any section; two blanks if there is none.
    fn usual_indent(&self) -> String {
        let first = self.all.iter().find(|line| line.is_item() && !line.is_silent());
        first.map_or_else(|| "  ".to_owned(), |line| line.indent().to_owned())
    }

    fn item(&self, indent: &str, name: &str) -> String {
        format!("{indent}- {}{}", scalar(name), self.end)
    }

    fn with_new_section(&self, env: &str, name: &str) -> String {
        let mut text = self.whole();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str(self.end);
        }
        text + &format!("env.{env}:{}{}", self.end, self.item(&self.usual_indent(), name))
    }

    fn whole(&self) -> String {
        self.all.iter().flat_map(|line| [line.content, line.end]).collect()
    }

    fn replaced(&self, at: usize, content: &str) -> String {
        self.rebuilt(at, content, "")
    }

    fn replaced_and_added(&self, at: usize, content: &str, added: &str) -> String {
        self.rebuilt(at, content, added)
    }

    fn added_after(&self, at: usize, added: &str) -> String {
        self.rebuilt(at, self.all[at].content, added)
    }

    /// The text with the content of one line changed and lines added after it.
    fn rebuilt(&self, with_section: usize, content: &str, added: &str) -> String {
        let mut text = String::new();
        for (at, line) in self.all.iter().enumerate() {
            if at != with_section {
                text.extend([line.content, line.end]);
                continue;
            }
            text.push_str(content);
            text.push_str(if line.end.is_empty() && !added.is_empty() { self.end } else { line.end });
            text.push_str(added);
        }
        text
    }
}

/// Returns the key that begins a top-level line, plain or quoted, and the index after its colon.
fn top_level_key(content: &str) -> Option<(&str, usize)> {
    let (name, after) = match content.chars().next()? {
        quote @ ('"' | '\'') => {
            let close = content[1..].find(quote)? + 1;
            (&content[1..close], close + 1)
        }
        ' ' | '#' | '-' => return None,
        _ => {
            let colon = content.find(": ").or_else(|| content.strip_suffix(':').map(str::len))?;
            (content[..colon].trim_end(), colon)
        }
    };
    let rest = content.get(after..)?.trim_start();
    let at = content.len() - rest.len();
    let follows = rest.strip_prefix(':')?;
    (follows.is_empty() || follows.starts_with(' ')).then_some((name, at + 1))
}

/// The value on the rest of a line, without blanks and comment, and where it begins.
fn value_of(content: &str, from: usize) -> (&str, usize) {
    let rest = &content[from..];
    let mut quote = None;
    let mut end = rest.len();
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' || before == '\t' => {
                end = at;
                break;
            }
            (None, '"' | '\'') if matches!(before, ' ' | '[' | ',' | '{' | ':') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    let value = rest[..end].trim();
    let at = from + rest[..end].len() - rest[..end].trim_start().len();
    (value, at)
}

/// Splits the entries of a flow list; `None` if brackets or quotes do not close. A trailing comma
/// adds no entry.
fn split_flow(inner: &str) -> Option<Vec<&str>> {
    let mut entries = Vec::new();
    let (mut depth, mut quote, mut from) = (0_usize, None, 0);
    let mut before = ' ';
    for (at, c) in inner.char_indices() {
        match (quote, c) {
            (Some('"'), '\\') => return None,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if matches!(before, ' ' | '[' | ',' | '{' | ':') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                entries.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    if depth != 0 || quote.is_some() {
        return None;
    }
    if !inner[from..].trim().is_empty() {
        entries.push(&inner[from..]);
    }
    Some(entries)
}

#[cfg(test)]
mod tests;
