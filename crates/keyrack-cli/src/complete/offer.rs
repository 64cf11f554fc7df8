//! A word that completion offers.

/// Offered word and its description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer {
    pub(crate) word: String,
    pub(crate) about: String,
}

impl Offer {
    pub(super) fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Offer { word: word.into(), about: about.into() }
    }

    pub(super) fn bare(word: impl Into<String>) -> Self {
        Offer::new(word, "")
    }
}
