//! Each syntax, read back by the shells themselves.

use std::fs;
use std::process::Command;

use keyrack_core::Slug;
use keyrack_testkit::{Need, can_run};

use super::*;
use crate::secret::Secret;

fn line(name: &str, value: &[u8], shell: Shell) -> Lines {
    let slug = Slug::parse(&format!("a.test.{name}")).unwrap();
    let export = Export { name: name.to_owned(), slug, ambient: false, secret: Secret::copy_of(value) };
    lines(&[export], shell)
}

#[test]
fn values_are_quoted_for_each_shell() {
    use Shell::{Fish, Nu, Posix, PowerShell};
    for (shell, value, line_of_it) in [
        (Posix, &b"plain"[..], &b"export K='plain'\n"[..]),
        (Posix, b"", b"export K=''\n"),
        (Posix, b"it's", b"export K='it'\\''s'\n"),
        (Posix, b"$(rm -rf ~) `x` \\n \"", b"export K='$(rm -rf ~) `x` \\n \"'\n"),
        (Posix, b"a\nb", b"export K='a\nb'\n"),
        (Posix, b"\n'; x #", b"export K='\n'\\''; x #'\n"),
        (
            Posix,
            b"a\r\t\\'\x01\x7f2",
            b"export K='a'\"$(printf '\\015')\"'\t\\'\\'''\"$(printf '\\001\\177')\"'2'\n",
        ),
        (Posix, b"\x1b[2J", b"export K=\"$(printf '\\033')\"'[2J'\n"),
        (Posix, "grüße".as_bytes(), "export K='grüße'\n".as_bytes()),
        (Posix, b"\xff", b"export K='\xff'\n"),
        (Fish, b"plain", b"set -gx K 'plain';\n"),
        (Fish, b"", b"set -gx K '';\n"),
        (Fish, br"it's \n", br"set -gx K 'it\'s \\n';".as_slice()),
        (Fish, b"a\nb\x1b", br"set -gx K 'a'\x0a'b'\x1b;".as_slice()),
        (Fish, b"'; echo ran; '", br"set -gx K '\'; echo ran; \'';".as_slice()),
        (Fish, b"\xff", b"set -gx K '\xff';\n"),
        (Nu, b"plain", b"{\"K\": \"plain\"}\n"),
        (Nu, b"a\"\\\n$x", br#"{"K": "a\"\\\u{0a}$x"}"#.as_slice()),
        (PowerShell, b"plain", b"$env:K = 'plain'\n"),
        (PowerShell, "it's ‘$x’".as_bytes(), "$env:K = 'it''s ‘‘$x’’'\n".as_bytes()),
        (PowerShell, b"a\n$(b)", b"$env:K = 'a' + [char]10 + '$(b)'\n"),
    ] {
        let lines = line("K", value, shell);
        let expected = [line_of_it, if line_of_it.ends_with(b"\n") { b"" } else { b"\n" }].concat();
        assert_eq!(
            lines.text.expose(),
            expected,
            "{shell:?}: {}",
            String::from_utf8_lossy(lines.text.expose())
        );
    }
    let two = [("A", "a"), ("B", "b")].map(|(name, value)| Export {
        name: name.to_owned(),
        slug: Slug::parse(&format!("a.test.{name}")).unwrap(),
        ambient: false,
        secret: Secret::copy_of(value.as_bytes()),
    });
    for (shell, text) in [
        (Posix, "export A='a'\nexport B='b'\n"),
        (Fish, "set -gx A 'a';\nset -gx B 'b';\n"),
        (Nu, "{\"A\": \"a\", \"B\": \"b\"}\n"),
        (PowerShell, "$env:A = 'a'\n$env:B = 'b'\n"),
    ] {
        assert_eq!(lines(&two, shell).text.expose(), text.as_bytes());
        assert_eq!(lines(&[], shell).text.expose(), if shell == Nu { &b"{}\n"[..] } else { b"" });
    }
}

/// Values that would run, vanish or change where a shell took them for more than data.
fn values() -> Vec<Vec<u8>> {
    let text = [
        "",
        "plain",
        "'; echo ran; '",
        "\\'; echo ran; \\'",
        "\\'; echo ran; #",
        "\"; echo ran; \"",
        "$(echo ran) `echo ran` (echo ran) $K {$K} %self ~ ~root * ? [a] !! !$",
        "’; echo ran; ‘ ‚ ‛ “ ”",
        "line\n'; echo ran; #\n\x1b';echo ran;'\n",
        "ends with a newline\n",
        "\n\n",
        "\r\n a\rb \r",
        "\\",
        "ends with a backslash\\",
        "\\x41 \\041 \\u0041 \\u{41} \\e \\n \\c",
        "a'\"'\"'b",
        "-n -e --help",
        "#comment ; & | < > ( ) { } [ ] ^ = % @ ,",
        "  blanks at both ends\t ",
        "grüße 日本語 🔑 e\u{301} \u{85} \u{2028} \u{202e} \u{feff} \u{a0}",
        "\u{f600}\u{f6ff}\u{e000}\u{f8ff}\u{fdd0}\u{fffd}",
    ];
    let every = (1..=127_u8).chain(*b"0'\\x41\\041");
    text.iter().map(|text| text.as_bytes().to_vec()).chain([every.collect()]).collect()
}

/// Has a shell evaluate a script, and what it started prints the variable, so that it is known to
/// be exported.
fn read_back(mut command: Command, value: &[u8], shown: &str) {
    let output = command.env_remove("K").output().unwrap();
    let expected = [value, b"."].concat();
    assert!(
        output.stdout == expected && output.stderr.is_empty(),
        "{shown}: {:?} became {:?}: {}",
        String::from_utf8_lossy(value),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

const PRINT: &[u8] = b"sh -c 'printf \"%s.\" \"$K\"'\n";

/// Also shells that do not know `$'…'`; and what looks like a command in a value is none.
#[test]
fn every_shell_reads_back_every_byte() {
    let bytes: Vec<u8> = (1..=255).chain(*b"0'\\x41\\041").collect();
    let cut = b"\xe2\x80 \xff\xfe '\xc3'".to_vec();
    for (program, first, shell) in [
        ("sh", None, Shell::Posix),
        ("bash", None, Shell::Posix),
        ("dash", None, Shell::Posix),
        ("zsh", Some("-f"), Shell::Posix),
        ("ksh", None, Shell::Posix),
        ("mksh", None, Shell::Posix),
        ("busybox", Some("sh"), Shell::Posix),
        ("fish", Some("--no-config"), Shell::Fish),
    ] {
        let name = format!("every_shell_reads_back_every_byte({program})");
        if !can_run(&name, &[Need::Program(program)]) {
            continue;
        }
        for value in values().iter().chain([&bytes, &cut]) {
            let lines = line("K", value, shell);
            let file = tempfile::NamedTempFile::new().unwrap();
            for locale in ["C", "C.UTF-8"] {
                let run = |script: &[u8], how: &str| {
                    fs::write(file.path(), script).unwrap();
                    let mut command = Command::new(program);
                    command.args(first).arg(file.path()).env("LC_ALL", locale);
                    read_back(command, value, &format!("{program} {how} {locale}"));
                };
                run(&[lines.text.expose(), PRINT].concat(), "script");
                let text = tempfile::NamedTempFile::new().unwrap();
                fs::write(text.path(), lines.text.expose()).unwrap();
                let path = text.path().display();
                // As people write it.
                let idioms = match shell {
                    Shell::Fish => vec![format!("cat {path} | source\n"), format!("eval (cat {path})\n")],
                    _ => vec![format!("eval \"$(cat {path})\"\n")],
                };
                for idiom in idioms {
                    run(&[idiom.as_bytes(), PRINT].concat(), &idiom);
                }
            }
        }
    }
}

#[test]
fn nu_reads_back_every_character() {
    if !can_run("nu_reads_back_every_character", &[Need::Program("nu")]) {
        return;
    }
    for value in values() {
        let text = tempfile::NamedTempFile::new().unwrap();
        fs::write(text.path(), line("K", &value, Shell::Nu).text.expose()).unwrap();
        let mut command = Command::new("nu");
        let print = "^sh -c 'printf \"%s.\" \"$K\"'";
        let load = format!("^cat {} | from nuon | load-env; {print}", text.path().display());
        command.args(["--no-config-file", "--no-history", "-c", &load]);
        read_back(command, &value, "nu");
    }
}

/// A reader of one assignment by the rules of about_Quoting_Rules and about_Type_Conversion; not a
/// PowerShell.
fn read_as_powershell(text: &str) -> String {
    let is_quote = |c: char| matches!(c, '\'' | '\u{2018}'..='\u{201b}');
    let mut rest = text.strip_prefix("$env:K = ").unwrap().strip_suffix('\n').unwrap();
    let mut value = String::new();
    loop {
        if let Some(number) = rest.strip_prefix("[char]") {
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            value.push(char::from_u32(number[..end].parse().unwrap()).unwrap());
            rest = &number[end..];
        } else {
            let mut chars = rest.chars();
            assert!(chars.next().is_some_and(is_quote), "no string at {rest:?}");
            loop {
                match chars.next().expect("the string ends") {
                    quote if is_quote(quote) => match chars.clone().next() {
                        Some(second) if is_quote(second) => value.push(chars.next().unwrap()),
                        _ => break,
                    },
                    other => value.push(other),
                }
            }
            rest = chars.as_str();
        }
        match rest.strip_prefix(" + ") {
            Some(more) => rest = more,
            None => break,
        }
    }
    assert_eq!(rest, "", "nothing else runs");
    value
}

#[test]
fn powershell_reads_every_value_as_data() {
    for value in values() {
        let value = String::from_utf8(value).unwrap();
        let lines = line("K", value.as_bytes(), Shell::PowerShell);
        let text = std::str::from_utf8(lines.text.expose()).unwrap();
        assert_eq!(read_as_powershell(text), value);
        let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        assert_eq!(text.matches(ends).count(), 1, "one line: {text:?}");
    }
}

#[test]
fn value_that_no_variable_can_hold_is_reported() {
    for (name, value, shell) in [
        ("a.b", &b"v"[..], Shell::Posix),
        ("A-1", b"v", Shell::Fish),
        ("K", b"a\0b", Shell::Posix),
        ("K", b"a\0b", Shell::Fish),
        ("K", b"\xff", Shell::Nu),
        ("K", b"\xff", Shell::PowerShell),
    ] {
        let lines = line(name, value, shell);
        assert_eq!(lines.text.expose(), if shell == Shell::Nu { &b"{}\n"[..] } else { b"" });
        assert_eq!(lines.unfit.len(), 1, "{name} {shell:?}");
        assert!(!format!("{lines:?}").contains("a\\0b"));
    }
    let large = line("K", &[b'x'; 131_070], Shell::Posix);
    assert_eq!((large.text.expose(), &large.unfit[0].code), (&b""[..], &ErrorCode::ValueTooLarge));
    for bad in ["", "1A", "a b", "a=b", "é", "a;b"] {
        assert!(!is_shell_name(bad), "{bad:?}");
    }
}
