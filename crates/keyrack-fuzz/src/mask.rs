//! The masker: for any secrets, any text and any way to cut it, what comes out is what the plainest search and replace makes of the whole;
//! and nothing is held back that is not the beginning of a pattern.

use std::sync::Arc;

use keyrack_client::run::mask::{MASK, MIN, Masker, Patterns, forms};
use zeroize::Zeroizing;

/// The most secrets of one input, each at most so many bytes long.
const SECRETS: usize = 6;
const LONGEST: usize = 64;

/// The first byte says how the patterns are made of the secrets and how the text is cut. Then the secrets, a `ff` byte behind each, an empty one
/// behind the last; the rest is the text. In it, `fe` and a number stand for a form of a secret.
pub fn mask(data: &[u8]) {
    let Some((&how, mut rest)) = data.split_first() else { return };
    let mut secrets = Vec::new();
    while let Some(end) = rest.iter().position(|&b| b == 0xff) {
        let secret = &rest[..end];
        rest = &rest[end + 1..];
        if secret.is_empty() || secrets.len() == SECRETS {
            break;
        }
        secrets.push(secret[..secret.len().min(LONGEST)].to_vec());
    }
    let patterns: Vec<Vec<u8>> = match how & 1 {
        0 => secrets,
        _ => secrets.iter().flat_map(|secret| forms::of(secret)).map(|form| form.to_vec()).collect(),
    };
    let text = text(rest, &patterns);
    let ours = Arc::new(Patterns::new(patterns.iter().cloned().map(Zeroizing::new).collect()));
    let wanted = naive(&patterns, &text);
    for step in [usize::MAX, 1, usize::from(how >> 1).max(2)] {
        let mut masker = Masker::new(Arc::clone(&ours));
        let mut out = Vec::new();
        for chunk in text.chunks(step.min(text.len().max(1))) {
            masker.push(chunk, &mut out);
            assert!(wanted.starts_with(&out), "what is out is final");
            assert!(masker.holds() < ours.longest().max(1), "no more is held back than may be a pattern");
        }
        let held = text.len() - masker.holds();
        assert!(
            masker.holds() == 0 || patterns.iter().any(|pattern| pattern.starts_with(&text[held..])),
            "what is held back is the beginning of a pattern"
        );
        masker.finish(&mut out);
        assert_eq!(out, wanted, "cut every {step} bytes");
    }
}

/// The text, with the patterns it asks for put in.
fn text(rest: &[u8], patterns: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, patterns.len()) {
            (0xfe, 1..) => {
                let at = usize::from(bytes.next().unwrap_or(0)) % patterns.len();
                text.extend_from_slice(&patterns[at]);
            }
            _ => text.push(b),
        }
    }
    text
}

/// Looks for every pattern at every place, and writes one mask for each run of occurrences that overlap.
fn naive(patterns: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut masked = vec![false; text.len()];
    let mut begins = vec![false; text.len()];
    let mut end = 0;
    for at in 0..text.len() {
        for pattern in
            patterns.iter().filter(|pattern| pattern.len() >= MIN && text[at..].starts_with(pattern))
        {
            begins[at] |= at >= end;
            masked[at..at + pattern.len()].fill(true);
        }
        let longest =
            patterns.iter().filter(|p| p.len() >= MIN && text[at..].starts_with(p)).map(Vec::len).max();
        end = end.max(at + longest.unwrap_or(0));
    }
    let mut out = Vec::new();
    for (at, b) in text.iter().enumerate() {
        if begins[at] {
            out.extend_from_slice(MASK);
        }
        if !masked[at] {
            out.push(*b);
        }
    }
    out
}
