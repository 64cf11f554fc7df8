//! The masker against the plainest thing that does the same, and what it is for.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn patterns(texts: &[&[u8]]) -> Arc<Patterns> {
    Arc::new(Patterns::of(texts.iter().map(|text| Zeroizing::new(text.to_vec())).collect()))
}

fn of_secret(secret: &[u8]) -> Arc<Patterns> {
    Arc::new(Patterns::new([secret], &[7; 32]))
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

fn whole(patterns: &Arc<Patterns>, text: &str) -> String {
    let all = masked(patterns, text.as_bytes(), &[usize::MAX]);
    assert_eq!(all, masked(patterns, text.as_bytes(), &[1]), "byte by byte");
    String::from_utf8(all).unwrap()
}

/// Marks every byte of every occurrence, then writes one mask for each run of overlapping ones.
fn naive(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut end = 0;
    for at in 0..text.len() {
        let longest =
            patterns.iter().filter(|p| p.len() >= MIN && text[at..].starts_with(p)).map(Vec::len).max();
        if let Some(length) = longest {
            if at >= end {
                out.extend_from_slice(MASK);
            }
            end = end.max(at + length);
        }
        if at >= end {
            out.push(text[at]);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Few letters, so that patterns occur, overlap, begin and end in each other.
    #[test]
    fn it_agrees_with_the_naive_reference(
        texts in vec(vec(0_u8..3, 0..9), 0..6),
        text in vec(0_u8..3, 0..200),
        cuts in vec(1_usize..20, 1..8),
    ) {
        let ours = patterns(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(masked(&ours, &text, &cuts), naive(&texts, &text));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Any secret, somewhere in any text, in any of its forms and cut anywhere, is not there any more.
    #[test]
    fn no_form_of_a_secret_is_left(
        secret in vec(any::<u8>(), 4..80),
        before in vec(any::<u8>(), 0..40),
        behind in vec(any::<u8>(), 0..40),
        cuts in vec(1_usize..50, 1..8),
    ) {
        let ours = of_secret(&secret);
        let forms: Vec<Vec<u8>> = forms::of(&secret).iter().map(|form| form.to_vec()).collect();
        for form in forms.iter().filter(|form| form.len() >= MIN) {
            prop_assert_eq!(masked(&ours, form, &cuts), MASK);
            let text = [&before[..], form, &behind].concat();
            prop_assert_eq!(masked(&ours, &text, &cuts), naive(&forms, &text));
        }
    }
}

#[test]
fn runs_of_occurrences() {
    let ours = patterns(&[b"abcdef", b"defghi", b"bcde", b"xyzxyz"]);
    for (text, out) in [
        ("", ""),
        ("nothing", "nothing"),
        ("abcdef", "***"),
        ("-abcdef-", "-***-"),
        ("abcdefghi", "***"),
        ("abcdeghi", "a***ghi"),
        ("abcdefabcdef", "******"),
        ("xyzxyzxyz", "***"),
        ("xyzxyzxyzxyz-xyz", "***-xyz"),
        ("abcde", "a***"),
        ("abcd", "abcd"),
        ("defgh abcdef defghi", "defgh *** ***"),
    ] {
        assert_eq!(whole(&ours, text), out, "{text}");
    }
    assert_eq!(whole(&patterns(&[]), "abc"), "abc");
    assert_eq!(whole(&patterns(&[b"abc", b""]), "abc"), "abc", "too short for a pattern");
}

#[test]
fn only_what_may_be_a_beginning_is_held_back() {
    let ours = of_secret(b"hunter2-hunter3");
    let mut masker = Masker::new(ours);
    let mut out = Vec::new();
    for (part, so_far, held) in [
        ("Password: ", "Password: ", 0),
        ("hunter", "Password: ", 6),
        ("2-hunter", "Password: ", 14),
        ("3", "Password: ***", 0),
        ("hunt down", "Password: ***hunt down", 0),
        (" h", "Password: ***hunt down ", 1),
    ] {
        masker.push(part.as_bytes(), &mut out);
        assert_eq!((String::from_utf8_lossy(&out).as_ref(), masker.holds()), (so_far, held), "{part:?}");
    }
    masker.finish(&mut out);
    assert!(out.ends_with(b" h"));
}

#[test]
fn the_usual_ways_to_write_a_secret() {
    let secret = "p@ss w/rd+\"é'<&>%\\~";
    let ours = of_secret(secret.as_bytes());
    for text in [
        "p@ss w/rd+\"é'<&>%\\~",
        "cEBzcyB3L3JkKyLDqSc8Jj4lXH4=",
        "cEBzcyB3L3JkKyLDqSc8Jj4lXH4",
        "cEBzcyB3L3JkKyLDqSc8Jj4lXH4",
        "p%40ss%20w%2Frd%2B%22%C3%A9'%3C%26%3E%25%5C~",
        "p%40ss%20w%2frd%2b%22%c3%a9%27%3c%26%3e%25%5c~",
        "p%40ss+w%2Frd%2B%22%C3%A9%27%3C%26%3E%25%5C%7E",
        "p%40ss+w%2Frd%2B%22%C3%A9%27%3C%26%3E%25%5C~",
        "p%40ss%20w/rd%2B%22%C3%A9%27%3C%26%3E%25%5C~",
        "p@ss w/rd+\\\"é'<&>%\\\\~",
        "p@ss w/rd+\\\"\\u00e9'<&>%\\\\~",
        "p@ss w\\/rd+\\\"\\u00e9'<&>%\\\\~",
        "p@ss w/rd+\\\"é'\\u003c\\u0026\\u003e%\\\\~",
        "p@ss w/rd+\\\\\\\"é'<&>%\\\\\\\\~",
        "p@ss w/rd+\"é'\\''<&>%\\~",
        "p@ss w/rd+\"é'&lt;&amp;&gt;%\\~",
        "p@ss w/rd+&quot;é&#39;&lt;&amp;&gt;%\\~",
    ] {
        assert_eq!(whole(&ours, text), "***", "{text}");
    }
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    assert_eq!(whole(&ours, &hex), "***");
    assert_eq!(whole(&ours, &hex.to_uppercase()), "***");
}

/// As basic authentication has it: `user:secret` for users of every length.
#[test]
fn base64_at_every_alignment() {
    const KEY: &[u8] = b"ghs_16C7e42F292c6912E7710c838347Ae178B4a";
    let ours = of_secret(KEY);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |text: &[u8]| {
        let mut out = String::new();
        for three in text.chunks(3) {
            let number = three.iter().chain([&0, &0]).take(3).fold(0_u32, |sum, b| sum << 8 | u32::from(*b));
            for place in 0..=three.len() {
                out.push(alphabet[(number >> (18 - 6 * place)) as usize & 63].into());
            }
        }
        while !out.len().is_multiple_of(4) {
            out.push('=');
        }
        out
    };
    for user in ["", "u:", "us:", "usr:", "x-access-token:"] {
        for behind in ["", "\n", "@host", "!!"] {
            let text = encode(&[user.as_bytes(), KEY, behind.as_bytes()].concat());
            let out = whole(&ours, &text);
            assert!(out.contains("***"), "{user}{behind}: {out}");
            // What is left are the neighbours, and at most one character of either edge.
            let left = (user.len() + behind.len()).div_ceil(3) * 4 + 4;
            assert!(out.len() <= 3 + left, "{user}{behind}: {out}");
        }
    }
    let mut wrapped = encode(&KEY.repeat(4));
    let long = of_secret(&KEY.repeat(4));
    for at in [76, 153] {
        wrapped.insert(at, '\n');
    }
    assert_eq!(whole(&long, &wrapped), "***\n***\n***");
}

#[test]
fn the_lines_of_a_secret() {
    let pem =
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nabcdefghijklmnop\nab\n-----END KEY-----\n";
    let ours = of_secret(pem.as_bytes());
    assert_eq!(whole(&ours, pem), "***\n");
    assert_eq!(whole(&ours, &pem.replace('\n', "\\n")), "***\\n");
    assert_eq!(
        whole(&ours, &pem.replace('\n', "\r\n")),
        "-----BEGIN KEY-----\r\n***\r\n***\r\nab\r\n-----END KEY-----\r\n"
    );
    assert_eq!(whole(&ours, "  MIIEvQIBADANBgkqhkiG9w0BAQEFAASC |"), "  *** |");
}

#[test]
fn the_parts_of_a_json_secret() {
    let blob = r#"{"id": "AKIAIOSFODNN7EXAMPLE", "type": "service_account", "key": "-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n-----END"}"#;
    let ours = of_secret(blob.as_bytes());
    assert_eq!(whole(&ours, blob), "***");
    assert_eq!(whole(&ours, "AKIAIOSFODNN7EXAMPLE"), "***");
    assert_eq!(whole(&ours, "MIIEvQIBADANBgkqhkiG9w0B"), "***");
    assert_eq!(whole(&ours, "-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0B\n-----END"), "***");
    assert_eq!(whole(&ours, "a service_account of type"), "a *** of type");
    for broken in ["{\"a\": \"unended value of a secret}", "{\"\\", "{}", "{\"a\\\"}"] {
        forms::of(broken.as_bytes());
    }
}

#[test]
fn short_secrets_have_no_form() {
    for secret in ["", "a", "abc", " a\n"] {
        assert!(forms::of(secret.as_bytes()).iter().all(|form| form.len() < MIN), "{secret:?}");
    }
    assert_eq!(whole(&of_secret(b"abcd\n"), "abcd abcd"), "*** ***");
}

#[test]
fn nothing_is_shown_and_nothing_moves() {
    let ours = of_secret(b"hunter2-hunter2");
    assert!(!format!("{ours:?}").contains("hunter2"));
    let mut masker = Masker::new(ours);
    let (at, room) = (masker.held.as_ptr(), masker.held.capacity());
    let mut out = Vec::new();
    masker.push(b"hunter", &mut out);
    masker.push(&b"2-hunter".repeat(50_000), &mut out);
    assert_eq!((masker.held.as_ptr(), masker.held.capacity()), (at, room));
}
