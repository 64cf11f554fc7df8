//! Table of the forms that the masker finds: writers × forms × offsets × widths. Each result is
//! checked by decoders that share no code with the masker.

use std::sync::Arc;

use keyrack_fuzz::mask::writers::{BREAKS, ENCODINGS, ESCAPES};
use keyrack_fuzz::mask::{AROUND, Writing, is_promised, leaks, masked};
use keyrack_mask::Patterns;

const SECRETS: [&str; 7] = [
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "p@ss w/rd+\"é'<&>%\\~01",
    "c2VjcmV0IGtleSB3aXRoIHBhZGRpbmc+Lw==",
    "sk-ant-api03-AbC_dEf-0123456789+/=$x",
    "0123456789abcdef0123456789abcdef",
    "日本語のパスワード-key",
    // Looks like octal escapes.
    "dir\\0408\\7z-\\101key",
];

#[track_caller]
fn check(writings: impl Fn(usize) -> Vec<Writing>) {
    let mut count = 0;
    for (index, secret) in SECRETS.iter().enumerate() {
        let patterns = Arc::new(Patterns::new([secret], &[7; 32]));
        for writing in writings(index) {
            if !is_promised(secret.as_bytes(), &writing) {
                continue;
            }
            count += 1;
            let found = leaks(&patterns, secret.as_bytes(), &writing);
            let shown: Vec<_> = found.iter().map(|run| run.escape_ascii().to_string()).collect();
            assert!(shown.is_empty(), "{secret:?} {}: readable are {shown:?}", writing.name());
        }
    }
    assert!(count > 100, "{count} writings were tried");
}

const PLAIN: Writing = Writing { encoding: None, offset: 0, escape: 0, breaks: 0, width: 1, around: [1, 1] };

/// The masker leaves one character of Base64, which also holds bits of what is encoded before the
/// secret. Together with the text before it, it reads as `p;/`, a part of this secret.
#[test]
fn shared_character_of_base64_is_no_leak() {
    let secret = "\u{fc}famp;/ter2".as_bytes();
    let encoding = ENCODINGS.iter().position(|(name, _)| *name == "Base64 of UTF-16").unwrap();
    let amp = AROUND.iter().position(|text| *text == "&amp;").unwrap();
    let patterns = Arc::new(Patterns::new([secret], &[7; 32]));
    for (escape, _) in ESCAPES.iter().enumerate() {
        for offset in 0..3 {
            let writing = Writing { encoding: Some(encoding), offset, escape, around: [amp, amp], ..PLAIN };
            assert!(leaks(&patterns, secret, &writing).is_empty(), "{}", writing.name());
        }
    }
}

/// The secret begins with a control character as an octal escape, which is left.
#[test]
fn control_character_before_a_secret_is_no_leak() {
    let secret = br"\\3hunter2";
    let patterns = Arc::new(Patterns::new([&secret[..]], &[7; 32]));
    for (escape, _) in ESCAPES.iter().enumerate() {
        let writing = Writing { escape, around: [36, 2], ..PLAIN };
        assert!(leaks(&patterns, secret, &writing).is_empty(), "{}", writing.name());
    }
}

/// The padding of Base64 is left, and reads as a part of these secrets after the mask.
#[test]
fn padding_of_base64_is_no_leak() {
    for secret in [&b"ghs_16K3e4***==[2F2e178Bx41ghs_16K7e43a"[..], b"\\u0041ter'2hunt1nPT0=ter2"] {
        let patterns = Arc::new(Patterns::new([secret], &[7; 32]));
        let base64 = ENCODINGS.iter().enumerate().filter(|(_, (name, _))| name.starts_with("Base64"));
        for (encoding, offset) in
            base64.flat_map(|(encoding, _)| (0..3).map(move |offset| (encoding, offset)))
        {
            let writing = Writing { encoding: Some(encoding), offset, around: [1, 11], ..PLAIN };
            assert_eq!(AROUND[11], "[");
            assert!(leaks(&patterns, secret, &writing).is_empty(), "{}", writing.name());
        }
    }
}

/// Each form alone, and with each text around it.
#[test]
fn no_escape_leaves_a_secret_readable() {
    check(|index| {
        let around =
            |at: usize| (0..AROUND.len()).filter(move |before| (before + at + index).is_multiple_of(5));
        let writings = (0..ESCAPES.len()).flat_map(|escape| {
            around(escape).map(move |before| Writing {
                escape,
                around: [before, (before * 7 + escape) % AROUND.len()],
                ..PLAIN
            })
        });
        writings.collect()
    });
}

#[test]
fn no_encoding_leaves_a_secret_readable_at_any_offset() {
    check(|_| {
        let offsets =
            |encoding: usize| (0..3).map(move |offset| Writing { encoding: Some(encoding), offset, ..PLAIN });
        let plain = (0..ENCODINGS.len()).flat_map(offsets);
        let around = |writing: Writing| {
            [writing, Writing { around: [13, 2], ..writing }, Writing { around: [20, 3], ..writing }]
        };
        plain.flat_map(around).collect()
    });
}

/// Encodings inside escapes, in two of the six secrets each.
#[test]
fn no_escaped_encoding_leaves_a_secret_readable() {
    check(|index| {
        let pairs = (0..ENCODINGS.len())
            .flat_map(|encoding| (0..ESCAPES.len()).map(move |escape| (encoding, escape)));
        let some = pairs.filter(|(encoding, escape)| (encoding + escape + index).is_multiple_of(6));
        some.map(|(encoding, escape)| Writing {
            encoding: Some(encoding),
            offset: escape % 3,
            escape,
            ..PLAIN
        })
        .collect()
    });
}

/// Every break at every width, of every form.
#[test]
fn no_break_leaves_a_secret_readable_at_any_width() {
    check(|index| {
        let mut writings = Vec::new();
        for breaks in 1..BREAKS.len() {
            for width in [1, 2, 3, 7, 16, 20, 57, 64, 76] {
                for form in 0..ENCODINGS.len() + ESCAPES.len() {
                    if !(form + width + breaks + index).is_multiple_of(9) {
                        continue;
                    }
                    let (encoding, escape) = match form.checked_sub(ENCODINGS.len()) {
                        Some(escape) => (None, escape),
                        None => (Some(form), 0),
                    };
                    writings.push(Writing {
                        encoding,
                        offset: form % 3,
                        escape,
                        breaks,
                        width,
                        around: [1, 2],
                    });
                }
            }
        }
        writings
    });
}

/// Text that is not a secret stays: a masker that masks everything would pass all other tests.
#[test]
fn text_around_a_secret_is_unchanged() {
    for secret in SECRETS {
        let patterns = Arc::new(Patterns::new([secret], &[7; 32]));
        for (escape, (name, ..)) in ESCAPES.iter().enumerate() {
            let written = Writing { escape, ..PLAIN }.write(secret.as_bytes());
            let text = [b"2026-11-30 request \"a\": ", &written[..], b", status=200 %41 &amp;\n"].concat();
            let out = String::from_utf8_lossy(&masked(&patterns, &text, usize::MAX)).into_owned();
            assert!(
                out.starts_with("2026-11-30 request \"a\": ")
                    && out.ends_with(", status=200 %41 &amp;\n")
                    && out.len() < 75,
                "{secret:?}, {name}: {out:?}"
            );
        }
    }
}
