//! Suggestions for mistyped words ("did you mean"). Only known words are suggested, and the typed
//! word is not repeated.

/// Maximum length of a compared word.
const LONGEST: usize = 64;

/// Returns the known word that `typed` most likely stands for: at most one wrong, missing, added or
/// swapped letter in three, ignoring case. The first of equals. A known word is not suggested for
/// itself.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = typed.chars().count();
    if !(2..=LONGEST).contains(&letters) {
        return None;
    }
    let lower = typed.to_lowercase();
    let distance = |word: &str| strsim::osa_distance(&lower, &word.to_lowercase());
    let near = known
        .into_iter()
        .filter(|word| word.len() <= LONGEST && *word != typed)
        .map(|word| (distance(word), word));
    let allowed = (letters / 3).max(1);
    // At most half of the suggested word may differ.
    let (_, word) =
        near.filter(|(far, word)| *far <= allowed && far * 2 <= word.len()).min_by_key(|(far, _)| *far)?;
    Some(word)
}

/// Returns the suggestion as a sentence.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(typed, known).map(|word| format!("did you mean {word}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_finds_typos_and_nothing_far() {
        let envs = ["sudo", "prod", "prep", "test", "all", "camp"];
        let keys = ["API_KEY", "API_KEY_2", "DATABASE_URL", "GH", "X"];
        for (typed, known, meant) in [
            ("tset", &envs[..], Some("test")),
            ("TEST", &envs, Some("test")),
            ("pord", &envs, Some("prod")),
            ("prod ", &envs, Some("prod")),
            ("al", &envs, Some("all")),
            ("dev", &envs, None),
            ("staging", &envs, None),
            ("", &envs, None),
            ("s", &envs, None),
            ("API_KEI", &keys, Some("API_KEY")),
            ("api_key", &keys, Some("API_KEY")),
            ("API_KEY", &keys, Some("API_KEY_2")),
            ("APIKEY", &keys, Some("API_KEY")),
            ("DATABSE_URL", &keys, Some("DATABASE_URL")),
            ("DB_URL", &keys, None),
            ("GX", &keys, Some("GH")),
            ("XY", &keys, None),
            ("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", &keys, None),
        ] {
            assert_eq!(closest(typed, known.iter().copied()), meant, "{typed}");
        }
        let long = "x".repeat(65);
        assert_eq!(closest(&long, [long.as_str()]), None);
    }
}
