//! The masker on texts of each kind, however they are cut.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;

use std::sync::Arc;

use super::*;

fn of<K: AsRef<[u8]>>(keys: &[K]) -> Arc<Patterns> {
    Arc::new(Patterns::new(keys, &[7; 32]))
}

/// All of a text, cut where `cuts` says, again and again.
fn masked(patterns: &Arc<Patterns>, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut masker = Masker::new(Arc::clone(patterns));
    let mut out = Vec::new();
    let mut rest = text;
    for cut in cuts.iter().cycle() {
        let (part, behind) = rest.split_at((*cut).max(1).min(rest.len()));
        masker.push(part, &mut out);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    masker.finish(&mut out);
    out
}

#[track_caller]
fn whole(patterns: &Arc<Patterns>, text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let all = masked(patterns, text, &[usize::MAX]);
    for cut in [1, 2, 3, 7] {
        let cut_up = masked(patterns, text, &[cut]);
        assert_eq!(String::from_utf8_lossy(&all), String::from_utf8_lossy(&cut_up), "cut every {cut}");
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn overlapping_occurrences_become_one_mask() {
    let ours = of(&["ZbcdZf", "dZfghi", "bcdZ", "xyzxyz"]);
    for (text, out) in [
        ("", ""),
        ("nothing", "nothing"),
        ("ZbcdZf", "***"),
        ("-ZbcdZf-", "-***-"),
        ("ZbcdZfghi", "***"),
        ("ZbcdZghi", "Z***ghi"),
        ("ZbcdZfZbcdZf", "******"),
        ("xyzxyzxyz", "***"),
        ("xyzxyzxyzxyz!xyz", "***!xyz"),
        ("ZbcdZ", "Z***"),
        ("Zbcd", "Zbcd"),
        ("dZfgh ZbcdZf dZfghi", "dZfgh *** ***"),
    ] {
        assert_eq!(whole(&ours, text), out, "{text}");
    }
    assert_eq!(whole(&of::<&str>(&[]), "abc"), "abc");
    assert_eq!(whole(&of(&["abc", ""]), "abc"), "abc", "too short to be masked");
}

#[test]
fn push_holds_only_beginnings_of_patterns() {
    let mut masker = Masker::new(of(&["hunter2-hunter3"]));
    let mut out = Vec::new();
    for (part, so_far, must_wait) in [
        ("Password: ", "Password: ", false),
        ("hunt", "Password: ", true),
        ("er2-hunter", "Password: ", true),
        ("3", "Password: ***", false),
        ("hunting ", "Password: ***hunting ", false),
        ("hun", "Password: ***hunting hun", false),
    ] {
        masker.push(part.as_bytes(), &mut out);
        assert_eq!(masker.must_wait(), must_wait, "{part:?}");
        assert!(must_wait || masker.holds() < 10, "{part:?}");
        // As a relay does when there is nothing more to be read.
        if !must_wait {
            masker.release(&mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), so_far, "{part:?}");
    }
}

#[test]
fn release_writes_held_bytes_and_masks_the_rest() {
    let key = "sk-live/0123456789+abcdef";
    let escaped: String = key.bytes().map(|b| format!("\\u00{b:02x}")).collect();
    for text in [key, &escaped] {
        for cut in 1..text.len() {
            let mut masker = Masker::new(of(&[key]));
            let mut out = Vec::new();
            masker.push(&text.as_bytes()[..cut], &mut out);
            let held = masker.holds();
            masker.release(&mut out);
            assert_eq!((out.len(), masker.holds(), masker.must_wait()), (cut, 0, false));
            assert!(held <= cut);
            masker.push(&text.as_bytes()[cut..], &mut out);
            masker.push(b" end", &mut out);
            masker.finish(&mut out);
            // An escape that was cut is still one.
            assert_eq!(String::from_utf8_lossy(&out), format!("{}*** end", &text[..cut]), "cut at {cut}");
        }
    }
}

/// Base64 of "hunter3" begins as that of the key does, so what is before it is kept for as long as
/// nothing more comes.
#[test]
fn kept_stream_holds_nothing_of_a_masked_key() {
    let ours = of(&["hunter2/s3cr3t+hunter3"]);
    let text = b"a hunter2/s3cr3t+hunter3\naHVudGVyMi9zM2NyM3QraHVudGVyMw==\nhun\\u0074er2/s3cr3t+hunter3\naHVudGVyMwend\n";
    for cut in [1, 5, text.len()] {
        let (mut masker, mut out) = (Masker::new(Arc::clone(&ours)), Vec::new());
        text.chunks(cut).for_each(|part| masker.push(part, &mut out));
        masker.release(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), "a ***\n***==\n***\naHVudGVyMwend\n");
        let kept = String::from_utf8_lossy(masker.kept()).into_owned();
        assert!(
            ["unter2", "s3cr3t", "aHVudGVyMi", "zM2NyM3"].iter().all(|part| !kept.contains(part)),
            "{kept}"
        );
    }
}

#[test]
fn push_writes_each_printable_byte_at_once() {
    let mut masker = Masker::new(of(&["hunter2-hunter3", "xa\"b c=dd"]));
    for b in b' '..=b'~' {
        let mut out = Vec::new();
        masker.push(&[b], &mut out);
        assert!(!masker.must_wait(), "{}", char::from(b));
        masker.release(&mut out);
        assert_eq!(out, [b]);
    }
}

#[test]
fn common_forms_of_a_secret_are_masked() {
    let secret = "p@ss w/rd+\"é'<&>%\\~";
    let ours = of(&[secret]);
    for text in [
        "p@ss w/rd+\"é'<&>%\\~",
        "cEBzcyB3L3JkKyLDqSc8Jj4lXH4",
        "p%40ss%20w%2Frd%2B%22%C3%A9'%3C%26%3E%25%5C~",
        "p%40ss%20w%2frd%2b%22%c3%a9%27%3c%26%3e%25%5c~",
        "p%40ss+w%2Frd%2B%22%C3%A9%27%3C%26%3E%25%5C%7E",
        "p%2540ss%2520w%252Frd%252B%2522%25C3%25A9'%253C%2526%253E%2525%255C~",
        "p@ss w/rd+\\\"é'<&>%\\\\~",
        "p@ss w/rd+\\\"\\u00e9'<&>%\\\\~",
        "p@ss w\\/rd+\\\"\\u00E9'<&>%\\\\~",
        "p@ss w/rd+\\\"é'\\u003c\\u0026\\u003E%\\\\~",
        "p@ss w/rd+\\\\\\\"é'<&>%\\\\\\\\~",
        "p@ss w/rd+\"é'\\''<&>%\\~",
        "p@ss\\ w/rd+\\\"$'\\303\\251'\\'\\<\\&\\>%\\\\~",
        "p@ss w/rd+\"é'&lt;&amp;&gt;%\\~",
        "p@ss w&#x2F;rd&plus;&quot;&eacute;&#39;&lt;&amp;&gt;%\\~",
        "p@ss w/rd+\"=C3=A9'<&>%\\=7E",
    ] {
        assert_eq!(whole(&ours, text), "***", "{text}");
    }
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    assert_eq!(whole(&ours, &hex), "***");
    assert_eq!(whole(&ours, hex.to_uppercase()), "***");
    assert_eq!(whole(&ours, format!("KEY={hex}")), "KEY=***");
}

#[test]
fn lines_of_a_secret_are_masked() {
    let pem =
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nabcdefghijklmnop\nab\n-----END KEY-----\n";
    let ours = of(&[pem]);
    assert_eq!(whole(&ours, pem), "***\n");
    assert_eq!(whole(&ours, pem.replace('\n', "\\n")), "***\\n");
    assert_eq!(whole(&ours, pem.replace('\n', "\r\n")), "***\r\n");
    assert_eq!(whole(&ours, "  MIIEvQIBADANBgkqhkiG9w0BAQEFAASC |"), "  *** |");
    assert_eq!(whole(&ours, "x MIIEvQIBADAN\n  BgkqhkiG9w0BAQEFAASC |"), "x *** |");
}

#[test]
fn members_of_a_json_secret_are_masked() {
    let blob = r#"{"id": "AKIAIOSFODNN7EXAMPLE", "type": "user", "key": "-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n-----END", "pin": "1234"}"#;
    let ours = of(&[blob]);
    assert_eq!(whole(&ours, blob), "***");
    assert_eq!(whole(&ours, "AKIAIOSFODNN7EXAMPLE"), "***");
    assert_eq!(whole(&ours, "QUtJQUlPU0ZPRE5ON0VYQU1QTEU"), "***");
    assert_eq!(whole(&ours, "MIIEvQIBADANBgkqhkiG9w0B"), "***");
    assert_eq!(whole(&ours, "-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n-----END"), "***");
    assert_eq!(whole(&ours, "the user has 1234"), "the user has ***");
}

#[test]
fn keys_under_the_minimum_are_not_masked() {
    for key in ["", "a", "abc", " a\n"] {
        assert!(!Patterns::can_mask(key.as_bytes()), "{key:?}");
    }
    let ours = of(&["abcd\n"]);
    assert_eq!(whole(&ours, "abcd \\u0061bcd a'b'cd 61626364 a bcd ab\ncd"), "*** *** *** *** a bcd ab\ncd");
}

#[test]
fn keys_around_and_inside_a_link_are_masked() {
    let key = "pass/word+0123456789";
    let ours = of(&[key]);
    let link = |url: &str, text: &str| format!("\u{1b}]8;;{url}\u{1b}\\{text}\u{1b}]8;;\u{7}");
    let inside = format!("a pass/wo{}0123456789 z", link("http://h/", "rd+"));
    assert_eq!(whole(&ours, inside), "a *** z");
    let around = link("http://h/?k=pass%2Fword%2B0123456789", "text");
    assert_eq!(whole(&ours, around), link("http://h/?k=***", "text"));
}

#[test]
fn held_bytes_are_bounded() {
    let mut masker = Masker::new(of(&["hunter2-hunter3"]));
    let mut out = Vec::new();
    masker.push(b"hunter2", &mut out);
    for blank in [" ", "\n", "\u{1b}[K", "'"] {
        masker.push(blank.repeat(50_000).as_bytes(), &mut out);
        assert!(masker.holds() < 30_000, "{blank:?}: {}", masker.holds());
    }
    for start in ["%", "&", "\\", "=", "$", "\u{1b}]8;;"] {
        masker.push(start.as_bytes(), &mut out);
        masker.push("\n".repeat(50_000).as_bytes(), &mut out);
        assert!(masker.holds() < 30_000, "{start:?}: {}", masker.holds());
    }
}

#[test]
fn debug_of_patterns_shows_no_key() {
    assert!(!format!("{:?}", of(&["hunter2-hunter2"])).contains("hunter2"));
}

/// Pieces of texts that are hard to tell apart, of a key that holds some of them.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    vec(
        prop::sample::select(vec![
            "ab",
            "c%41d",
            "\\",
            "%",
            "=",
            "&",
            "$",
            "'",
            " ",
            "\n",
            "4",
            "1",
            "u0041",
            "\\x61",
            "61",
            "b\\u0063",
            "&amp;",
            "=61",
            "%2561",
            "\u{1b}[0m",
            "\u{1b}]8;;",
            "\u{7}",
            "-",
            "_",
            "abc%41d",
            "YWJj",
            "616263",
        ]),
        0..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn output_does_not_depend_on_the_cuts(text in pieces(), cuts in vec(1_usize..20, 1..8)) {
        static OURS: LazyLock<Arc<Patterns>> =
            LazyLock::new(|| of(&["abc%41d", "abc=&$'4 1u0041-_ab", "ababab616161"]));
        let (text, ours) = (text.concat(), &*OURS);
        let expected = masked(ours, text.as_bytes(), &[usize::MAX]);
        let cut_up = masked(ours, text.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&cut_up), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn text_without_keys_is_unchanged(text in vec(any::<u8>(), 0..400), cuts in vec(1_usize..20, 1..8)) {
        static OURS: LazyLock<Arc<Patterns>> =
            LazyLock::new(|| of(&["no text has this key by chance", "nor-this-one/0123456789"]));
        prop_assert_eq!(masked(&OURS, &text, &cuts), text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Verbatim keys are gone whatever is around them, and nothing but keys is.
    #[test]
    fn verbatim_key_is_masked_in_any_text(
        key in "[!-~]{4,40}",
        before in vec(any::<u8>(), 0..40),
        behind in vec(any::<u8>(), 0..40),
    ) {
        let text = [&before[..], key.as_bytes(), &behind].concat();
        let out = masked(&of(&[&key]), &text, &[usize::MAX]);
        prop_assert!(!out.windows(key.len()).any(|window| window == key.as_bytes()) || key.contains("***"));
        prop_assert!(out.windows(3).any(|window| window == MASK));
    }
}

/// Text with an occurrence of a key at every place replaced, found by comparing bytes alone.
fn masked_by_comparison(keys: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut spans = Vec::new();
    for at in 0..text.len() {
        let length = keys.iter().filter(|key| text[at..].starts_with(key)).map(Vec::len).max();
        spans.extend(length.map(|length| at..at + length));
    }
    let (mut out, mut done, mut end) = (Vec::new(), 0, 0);
    for span in spans {
        if span.end <= end {
            continue;
        }
        if span.start >= end {
            out.extend_from_slice(&text[done..span.start]);
            out.extend_from_slice(MASK);
        }
        (done, end) = (span.end, span.end);
    }
    out.extend_from_slice(&text[done..]);
    out
}

/// Texts of a few long runs; their lengths often meet.
fn run_text() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![Just(31), Just(32), Just(33), Just(64), 1_usize..100];
    let run = (prop_oneof![Just(b'G'), Just(b'K'), Just(b'!')], length);
    vec(run, 1..6).prop_map(|runs| runs.into_iter().flat_map(|(b, length)| vec![b; length]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn masker_finds_runs_of_one_byte_as_a_comparison_does(
        keys in vec(run_text(), 1..4),
        text in vec(prop_oneof![run_text(), Just(b"-".to_vec())], 1..6),
        copies in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3),
        cuts in vec(prop_oneof![1_usize..40, Just(usize::MAX)], 1..4),
    ) {
        let keys: Vec<Vec<u8>> = keys.into_iter().filter(|key| key.len() >= MIN).collect();
        let mut text = text;
        for (place, key) in copies.iter().filter(|_| !keys.is_empty()) {
            let at = place.index(text.len());
            text.insert(at, keys[key.index(keys.len())].clone());
        }
        let text = text.concat();
        let out = masked(&of(&keys), &text, &cuts);
        let expected = masked_by_comparison(&keys, &text);
        prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
    }
}
