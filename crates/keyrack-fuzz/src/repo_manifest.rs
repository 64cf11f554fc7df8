//! `keyrack.yml`: any text is read or rejected in bounded time, with an error on one line that
//! names the file; a manifest holds nothing outside of its file.

use std::time::{Duration, Instant};

use keyrack_client::manifest::parse;
use keyrack_core::repo_manifest::{
    MANIFEST_PATH, ManifestFile, YamlNode, YamlValue, contained, load_manifest,
};
use keyrack_core::{Error, ErrorCode, Slug};

/// Takes the text of a root file. Each file that it extends has the same text.
pub fn repo_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let begun = Instant::now();
    let raw = match parse(MANIFEST_PATH, text) {
        Ok(raw) => raw,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::ManifestInvalid, "{error}");
            assert!(error.message.starts_with(MANIFEST_PATH), "the error names the file: {error}");
            return is_readable(&error);
        }
    };
    let lines =
        u64::try_from(text.lines().count()).unwrap_or(u64::MAX).max(1) + text.matches(BREAKS).count() as u64;
    check_lines(&raw.root, lines);
    let mut reads = 0;
    let hydrated = load_manifest(&raw, |path| {
        reads += 1;
        assert_eq!(contained(path).as_deref(), Some(path), "nothing outside the repository is read");
        assert!(reads <= text.len(), "each file is read once");
        parse(path, text).map(ManifestFile::Content).map(Some)
    });
    match hydrated {
        Ok(manifest) => {
            for key in manifest.keys() {
                assert_eq!(Slug::parse(key.slug.as_str()).as_ref(), Ok(&key.slug), "a key's slug is one");
                assert_eq!(key.slug.org(), manifest.org, "every key is of the root's org");
                assert_eq!(key.slug.env_kind(), Some(key.env), "a slug has its env");
                assert_eq!(manifest.spec(&key.slug), Some(key), "a key is found by its slug");
            }
            manifest.faults.iter().for_each(is_readable);
        }
        Err(error) => is_readable(&error),
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "reading ends");
}

/// Line breaks of YAML 1.1 that are none for Rust.
const BREAKS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

fn check_lines(node: &YamlNode, lines: u64) {
    assert!((1..=lines).contains(&node.line), "line {} of {lines}", node.line);
    match &node.value {
        YamlValue::List(items) => items.iter().for_each(|item| check_lines(item, lines)),
        YamlValue::Map(fields) => fields.iter().for_each(|(_, item)| check_lines(item, lines)),
        _ => {}
    }
}

fn is_readable(error: &Error) {
    assert!(!error.message.contains('\n'), "an error is one line: {:?}", error.message);
}
