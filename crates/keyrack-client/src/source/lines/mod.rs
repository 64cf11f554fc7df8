//! Text for a shell to evaluate: one assignment for each key, in the shell's syntax. Every value is
//! data to the shell.

use keyrack_core::{Error, ErrorCode};
use keyrack_wire::{WipedBuffer, Writer};
use zeroize::Zeroizing;

use super::{Export, Shell, limits};

/// Text for a shell, and errors for keys that it does not contain.
#[derive(Debug)]
pub struct Lines {
    /// Assignments.
    pub text: Script,
    /// Errors for keys that no variable of that shell can hold.
    pub unfit: Vec<Error>,
}

/// Shell text that holds secrets.
pub struct Script(Zeroizing<Vec<u8>>);

impl Script {
    /// Returns the bytes. Callers write them out and do not keep them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script({} bytes)", self.0.len())
    }
}

/// Writes exports for a shell. Leaves out and reports a key whose name is not a shell name, or
/// whose value no variable can hold.
pub fn lines(exports: &[Export], shell: Shell) -> Lines {
    let mut out = WipedBuffer::new(usize::MAX);
    let mut unfit = Vec::new();
    let mut written = 0;
    if shell == Shell::Nu {
        put(&mut out, b"{");
    }
    for export in exports {
        if let Err(error) = fits(export, shell) {
            unfit.push(error);
            continue;
        }
        let (name, value) = (export.name.as_bytes(), export.secret.expose());
        match shell {
            Shell::Posix => {
                put_all(&mut out, &[b"export ", name, b"="]);
                posix(&mut out, value);
                put(&mut out, b"\n");
            }
            Shell::Fish => {
                put_all(&mut out, &[b"set -gx ", name, b" "]);
                fish(&mut out, value);
                // The lines may be joined, as `eval (…)` does.
                put(&mut out, b";\n");
            }
            Shell::Nu => {
                put_all(&mut out, &[if written > 0 { b", \"" } else { b"\"" }, name, b"\": "]);
                nu(&mut out, value);
            }
            Shell::PowerShell => {
                put_all(&mut out, &[b"$env:", name, b" = "]);
                powershell(&mut out, value);
                put(&mut out, b"\n");
            }
        }
        written += 1;
    }
    if shell == Shell::Nu {
        put(&mut out, b"}\n");
    }
    Lines { text: Script(out.into_inner()), unfit }
}

fn fits(export: &Export, shell: Shell) -> Result<(), Error> {
    let value = export.secret.expose();
    let why = if !is_shell_name(&export.name) {
        "its name is not a valid shell variable name".to_owned()
    } else if value.contains(&0) {
        "its value contains a NUL byte, which no variable can hold".to_owned()
    } else if matches!(shell, Shell::Nu | Shell::PowerShell) && std::str::from_utf8(value).is_err() {
        format!("its value is not UTF-8, and {} has text only", shell.as_str())
    } else {
        return limits::check_variable(export);
    };
    let message = format!("{} cannot be exported: {why}", export.slug);
    let error = Error::new(ErrorCode::BadKeyName, message).of(&export.slug);
    Err(error.hint("read it with `get --value`, and put it into a variable of your own"))
}

/// Returns `true` for a POSIX name: letters, digits and underscores, no digit first (POSIX.1-2024,
/// 3.216 Name).
pub fn is_shell_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Quotes a value for any POSIX shell: in single quotes (POSIX.1-2024, 2.2.2), line breaks and tabs
/// as they are. Other control characters could control the terminal that shows the lines, so the
/// shell's own `printf` makes them. Never `$'…'`: a shell that does not support it, such as dash,
/// takes the quote in `\'` for the end and runs what follows.
fn posix(out: &mut WipedBuffer, value: &[u8]) {
    let is_control = |b: &u8| (*b < 0x20 && !matches!(b, b'\n' | b'\t')) || *b == 0x7f;
    if value.is_empty() {
        put(out, b"''");
    }
    for run in value.chunk_by(|a, b| is_control(a) == is_control(b)) {
        if run.first().is_some_and(is_control) {
            put(out, br#""$(printf '"#);
            for b in run {
                put(out, &[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]);
            }
            put(out, br#"')""#);
            continue;
        }
        put(out, b"'");
        for (index, part) in run.split(|b| *b == b'\'').enumerate() {
            if index > 0 {
                put(out, br"'\''");
            }
            put(out, part);
        }
        put(out, b"'");
    }
}

/// Quotes a value for fish: in single quotes, where only the quote and the backslash are escaped;
/// control characters outside of them as `\xHH` (fish's language reference, "Quotes" and "Escaping
/// characters"). It is always one line.
fn fish(out: &mut WipedBuffer, value: &[u8]) {
    let is_control = |b: &u8| *b < 0x20 || *b == 0x7f;
    if value.is_empty() {
        put(out, b"''");
    }
    for run in value.chunk_by(|a, b| is_control(a) == is_control(b)) {
        if run.first().is_some_and(is_control) {
            run.iter().for_each(|&b| put_hex(out, br"\x", b, b""));
            continue;
        }
        put(out, b"'");
        for &b in run {
            if matches!(b, b'\'' | b'\\') {
                put(out, br"\");
            }
            put(out, &[b]);
        }
        put(out, b"'");
    }
}

/// Quotes a value for NUON: in double quotes, where the quote and the backslash are escaped,
/// control characters as `\u{HH}` (Nushell book, "Working with strings").
fn nu(out: &mut WipedBuffer, value: &[u8]) {
    put(out, b"\"");
    for &b in value {
        match b {
            b'"' | b'\\' => put(out, &[b'\\', b]),
            b if b < 0x20 || b == 0x7f => put_hex(out, br"\u{", b, b"}"),
            b => put(out, &[b]),
        }
    }
    put(out, b"\"");
}

/// Quotes a value for PowerShell: in single quotes, where a quote is doubled; the typographic ones
/// are quotes too (about_Quoting_Rules). Control characters are added as `[char]`, so that it is
/// one line: PowerShell splits what a command prints into lines.
fn powershell(out: &mut WipedBuffer, value: &[u8]) {
    put(out, b"'");
    for c in std::str::from_utf8(value).expect("checked by `fits`").chars() {
        let mut bytes = [0; 4];
        match c {
            '\'' | '\u{2018}'..='\u{201b}' => {
                let quote = c.encode_utf8(&mut bytes).as_bytes();
                put_all(out, &[quote, quote]);
            }
            // Includes line and paragraph separators.
            '\u{85}' | '\u{2028}' | '\u{2029}' => put_char(out, u32::from(c)),
            c if c.is_control() => put_char(out, u32::from(c)),
            c => put(out, c.encode_utf8(&mut bytes).as_bytes()),
        }
        zeroize::Zeroize::zeroize(&mut bytes);
    }
    put(out, b"'");
}

/// Writes a character by its code point.
fn put_char(out: &mut WipedBuffer, number: u32) {
    put(out, b"' + [char]");
    put(out, number.to_string().as_bytes());
    put(out, b" + '");
}

fn put_hex(out: &mut WipedBuffer, before: &[u8], b: u8, after: &[u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    put_all(out, &[before, &[digit(b >> 4), digit(b & 15)], after]);
}

fn put_all(out: &mut WipedBuffer, parts: &[&[u8]]) {
    parts.iter().for_each(|part| put(out, part));
}

fn put(out: &mut WipedBuffer, bytes: &[u8]) {
    out.put(bytes).expect("the buffer has no limit but memory");
}

#[cfg(test)]
mod tests;
