//! The masker: however a text is cut, the outcome is the same, and no secret is left in it.

use std::sync::Arc;

use keyrack_mask::{MIN, Masker, Patterns};

/// Most secrets of one input, and the most bytes of each.
const SECRETS: usize = 6;
const LONGEST: usize = 64;

/// The first byte says how the text is cut. Then the secrets, a `ff` byte behind each, an empty one behind the last; the rest is the
/// text. In it, `fe` and a number stand for a secret.
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
    let text = text(rest, &secrets);
    let patterns = Arc::new(Patterns::new(&secrets, &[how; 32]));
    let whole = masked(&patterns, &text, usize::MAX);
    for step in [1, usize::from(how).max(2)] {
        assert_eq!(masked(&patterns, &text, step), whole, "cut every {step} bytes");
    }
    for secret in secrets.iter().map(|secret| secret.trim_ascii()).filter(|secret| secret.len() >= MIN) {
        let found = whole.windows(secret.len()).any(|window| window == secret);
        assert!(!found || secret.iter().all(|&b| b == b'*'), "a secret is left");
    }
}

fn masked(patterns: &Arc<Patterns>, text: &[u8], step: usize) -> Vec<u8> {
    let mut masker = Masker::new(Arc::clone(patterns));
    let mut out = Vec::new();
    for chunk in text.chunks(step.min(text.len().max(1))) {
        masker.push(chunk, &mut out);
    }
    masker.finish(&mut out);
    out
}

/// The text, with the secrets it asks for put in.
fn text(rest: &[u8], secrets: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, secrets.len()) {
            (0xfe, 1..) => {
                let at = usize::from(bytes.next().unwrap_or(0)) % secrets.len();
                text.extend_from_slice(&secrets[at]);
            }
            _ => text.push(b),
        }
    }
    text
}
