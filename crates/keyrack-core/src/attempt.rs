//! Attempts: what came of asking for a key.

use crate::fix::Fix;
use crate::grant::Grant;
use crate::slug::Slug;

/// What came of asking for one key. The secret of a granted one travels beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The key is there.
    Granted {
        /// What is known of it.
        grant: Grant,
        /// It is weaker than `keyrack.yml` demands, and came from the environment, which is outside keyrack's custody.
        below_declared: bool,
    },
    /// The key was never set, as far as this machine knows.
    Absent {
        /// The slug that was asked for.
        slug: Slug,
        /// One sentence.
        message: String,
        /// The way out.
        fix: Option<Fix>,
    },
    /// The key was set and is not unlocked.
    Locked {
        /// The slug that was asked for.
        slug: Slug,
        /// One sentence.
        message: String,
        /// The way out.
        fix: Option<Fix>,
    },
    /// The key is there and a rule holds it back.
    Blocked {
        /// The slug that was asked for.
        slug: Slug,
        /// Why, a sentence each.
        reasons: Vec<String>,
        /// The way out.
        fix: Option<Fix>,
    },
}

impl Attempt {
    /// The status word.
    pub fn status(&self) -> &'static str {
        match self {
            Attempt::Granted { .. } => "granted",
            Attempt::Absent { .. } => "absent",
            Attempt::Locked { .. } => "locked",
            Attempt::Blocked { .. } => "blocked",
        }
    }

    /// The true slug of a granted key, the asked one otherwise.
    pub fn slug(&self) -> &Slug {
        match self {
            Attempt::Granted { grant, .. } => &grant.slug,
            Attempt::Absent { slug, .. } | Attempt::Locked { slug, .. } | Attempt::Blocked { slug, .. } => {
                slug
            }
        }
    }

    /// Whether the key is there and may be used.
    pub fn is_granted(&self) -> bool {
        matches!(self, Attempt::Granted { .. })
    }

    /// The way out, if it is needed and a command is one.
    pub fn fix(&self) -> Option<&Fix> {
        match self {
            Attempt::Granted { .. } => None,
            Attempt::Absent { fix, .. } | Attempt::Locked { fix, .. } | Attempt::Blocked { fix, .. } => {
                fix.as_ref()
            }
        }
    }
}
