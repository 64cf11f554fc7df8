//! Results of requests for keys.

use crate::fix::Fix;
use crate::grant::Grant;
use crate::slug::Slug;

/// Result of a request for one key. The secret of a granted key travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The key is available.
    Granted {
        /// Metadata of the key.
        grant: Grant,
        /// Set if the grade is below the minimum of `keyrack.yml`. Only a key from the environment
        /// is granted then: keyrack does not control its protection.
        below_declared: bool,
    },
    /// The key was never set on this machine.
    Absent {
        /// Requested slug.
        slug: Slug,
        /// Explanation for the user.
        message: String,
        /// Remedy, if a command is one.
        fix: Option<Fix>,
    },
    /// The key was set and is not unlocked.
    Locked {
        /// Requested slug.
        slug: Slug,
        /// Explanation for the user.
        message: String,
        /// Remedy, if a command is one.
        fix: Option<Fix>,
    },
    /// A rule withholds the key.
    Blocked {
        /// Requested slug.
        slug: Slug,
        /// Reasons, a sentence each.
        reasons: Vec<String>,
        /// Remedy, if a command is one.
        fix: Option<Fix>,
    },
}

impl Attempt {
    /// Name of the status.
    pub fn status(&self) -> &'static str {
        match self {
            Attempt::Granted { .. } => "granted",
            Attempt::Absent { .. } => "absent",
            Attempt::Locked { .. } => "locked",
            Attempt::Blocked { .. } => "blocked",
        }
    }

    /// Slug of the granted key, else the requested one.
    pub fn slug(&self) -> &Slug {
        match self {
            Attempt::Granted { grant, .. } => &grant.slug,
            Attempt::Absent { slug, .. } | Attempt::Locked { slug, .. } | Attempt::Blocked { slug, .. } => {
                slug
            }
        }
    }

    /// Returns `true` if the key is available.
    pub fn is_granted(&self) -> bool {
        matches!(self, Attempt::Granted { .. })
    }

    /// Remedy, if the key was not granted and a command is one.
    pub fn fix(&self) -> Option<&Fix> {
        match self {
            Attempt::Granted { .. } => None,
            Attempt::Absent { fix, .. } | Attempt::Locked { fix, .. } | Attempt::Blocked { fix, .. } => {
                fix.as_ref()
            }
        }
    }
}
