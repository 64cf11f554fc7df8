//! A GitHub Actions runner, as far as a step can tell: it reads the step's output line by line,
//! obeys the workflow commands in it and masks the rest, and after the step reads the file of
//! `GITHUB_ENV`.
//!
//! Written after the runner's behavior: `ActionCommand` (commands and their escapes),
//! `AddMaskCommandExtension`, and the file commands' `EnvFileKeyValuePairs`, of
//! github.com/actions/runner.

/// State of a runner after a step.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Texts that are replaced by `***` from then on.
    pub masks: Vec<String>,
    /// Annotations.
    pub notices: Vec<String>,
    /// The log as people see it.
    pub log: Vec<String>,
    /// Variables for the later steps, in order.
    pub variables: Vec<(String, String)>,
    /// The word that makes it obey commands again, after `stop-commands`.
    pub stopped: Option<String>,
}

impl Step {
    /// Reads what a step wrote, and the file of `GITHUB_ENV` it left.
    ///
    /// # Errors
    /// Error that the runner would fail the step with.
    pub fn read(output: &[u8], file: &[u8]) -> Result<Self, String> {
        let mut step = Step::default();
        let text = String::from_utf8_lossy(output);
        // .NET reads a line up to \r, \n or both.
        for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
            step.line(line);
        }
        let file = String::from_utf8_lossy(file);
        let file = file.strip_prefix('\u{feff}').unwrap_or(&file);
        step.variables = variables(file)?;
        Ok(step)
    }

    fn line(&mut self, line: &str) {
        let told = command(line);
        if let Some(token) = &self.stopped {
            if told.as_ref().is_some_and(|(name, _)| name == token) {
                self.stopped = None;
            }
            self.log.push(self.masked(line));
            return;
        }
        match told {
            Some(("add-mask", data)) if !data.trim().is_empty() => {
                self.masks
                    .extend(data.split(['\r', '\n']).filter(|part| !part.is_empty()).map(str::to_owned));
                self.masks.push(data);
            }
            Some(("notice", data)) => self.notices.push(data),
            Some(("stop-commands", token)) => self.stopped = Some(token),
            Some((command, _)) if COMMANDS.contains(&command) => self.log.push(format!("[{command}]")),
            _ => self.log.push(self.masked(line)),
        }
    }

    /// A text as the log shows it.
    pub fn masked(&self, text: &str) -> String {
        let mut masks: Vec<&str> = self.masks.iter().map(String::as_str).collect();
        masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
        masks.into_iter().fold(text.to_owned(), |text, mask| text.replace(mask, "***"))
    }

    /// The last value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// The commands that do something else than those above.
const COMMANDS: [&str; 11] = [
    "add-mask",
    "warning",
    "error",
    "debug",
    "group",
    "endgroup",
    "echo",
    "set-output",
    "save-state",
    "set-env",
    "add-path",
];

/// `::name properties::data` at the start of a line, or `##[name properties]data` anywhere in it,
/// unescaped.
fn command(line: &str) -> Option<(&str, String)> {
    let newer = line.trim_start().strip_prefix("::").and_then(|rest| rest.split_once("::"));
    let (head, data) = match newer {
        Some(found) => found,
        None => line.split_once("##[")?.1.split_once(']')?,
    };
    let name = head.split(' ').next()?;
    let data = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
    Some((name, data))
}

fn variables(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(line) = next_line(&mut rest) {
        if line.is_empty() {
            continue;
        }
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        match (equals, heredoc) {
            (equals, Some(at)) if equals.is_none_or(|equals| at < equals) => {
                let (name, delimiter) = (&line[..at], &line[at + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err(format!("Invalid format '{line}'"));
                }
                let mut lines = Vec::new();
                loop {
                    let next = next_line(&mut rest);
                    match next {
                        Some(line) if line == delimiter => break,
                        Some(line) => lines.push(line),
                        None => return Err(format!("Matching delimiter not found '{delimiter}'")),
                    }
                }
                found.push((name.to_owned(), lines.join("\n")));
            }
            (Some(at), _) if at > 0 => found.push((line[..at].to_owned(), line[at + 1..].to_owned())),
            _ => return Err(format!("Invalid format '{line}'")),
        }
    }
    if found.iter().any(|(name, _)| name.eq_ignore_ascii_case("NODE_OPTIONS")) {
        return Err("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.".to_owned());
    }
    Ok(found)
}

/// Up to `\n` alone, as on Linux.
fn next_line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    if rest.is_empty() {
        return None;
    }
    let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
    *rest = behind;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_obeyed_and_the_rest_is_masked() {
        let output = b"a s3cret\n::add-mask::s3cret\n ::notice::it%0Ais 5%25\r\nthe s3cret again\n::add-mask::%25a\n%a\n::nope::s3cret\n";
        let step = Step::read(output, b"").unwrap();
        assert_eq!(step.masks, ["s3cret", "s3cret", "%a", "%a"]);
        assert_eq!(step.notices, ["it\nis 5%"]);
        assert_eq!(step.log, ["a s3cret", "the *** again", "***", "::nope::***", ""]);
        let output =
            b"an ##[stop-commands]word\n::add-mask::s3cret\n::other::\n::word::\n##[add-mask]s3cret\ns3cret";
        let step = Step::read(output, b"").unwrap();
        assert_eq!(step.masks, ["s3cret", "s3cret"]);
        assert_eq!(step.log, ["::add-mask::s3cret", "::other::", "::word::", "***"]);
    }

    #[test]
    fn a_file_of_variables() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (file, variables) in [
            ("", Some(vec![])),
            ("A=b\n\nB=c=d", Some(vec![pair("A", "b"), pair("B", "c=d")])),
            ("A<<E\none\r\ntwo\n\nE\nB=x\n", Some(vec![pair("A", "one\r\ntwo\n"), pair("B", "x")])),
            ("A<<E\nE\n", Some(vec![pair("A", "")])),
            ("A=x<<E\n", Some(vec![pair("A", "x<<E")])),
            ("A<<E\none\n", None),
            ("<<E\nE\n", None),
            ("nothing", None),
            ("NODE_OPTIONS=x", None),
        ] {
            assert_eq!(
                Step::read(b"", file.as_bytes()).ok().map(|step| step.variables),
                variables,
                "{file:?}"
            );
        }
    }
}
