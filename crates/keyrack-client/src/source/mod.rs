//! Keys into an environment: as `export` lines for a shell, or as assignments for a process that
//! sets its own variables. Nothing is set here.

pub mod limits;
mod lines;
pub mod shell;

pub use lines::{Lines, Script, is_shell_name, lines};
pub use shell::Shell;

use keyrack_core::{Error, ErrorCode, Reserved, Slug, reserved};
use zeroize::Zeroizing;

use crate::get::{GetOutcome, KeyOutcome};
use crate::secret::Secret;
use keyrack_json::JsonWriter;

/// Handling of keys that are not granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceMode {
    /// Exports nothing unless every key is granted or may be absent.
    #[default]
    Strict,
    /// Exports the granted keys.
    Lenient,
}

/// A variable and its value.
#[derive(Debug)]
pub struct Export {
    /// Name of the variable: everything after the second dot of the slug.
    pub name: String,
    /// Slug that the key is stored under.
    pub slug: Slug,
    /// `true` if the value comes from the environment, `false` if from the daemon.
    pub ambient: bool,
    /// Value.
    pub secret: Secret,
}

/// Result of a read, sorted for export.
#[derive(Debug)]
pub struct Sourced {
    /// One for each variable, in the order of the request. Of several keys of one name, the first
    /// granted one.
    pub exports: Vec<Export>,
    /// Keys that are not granted, including those that may be absent.
    pub missing: Vec<KeyOutcome>,
}

/// Missing keys that stop strict mode.
#[derive(Debug)]
pub struct Refused {
    /// Keys that are required and not granted.
    pub missing: Vec<KeyOutcome>,
}

/// Sorts the outcome of a read for export.
///
/// # Errors
/// In strict mode, the keys that are not granted and may not be absent. All granted secrets are
/// then wiped.
pub fn sort(outcome: GetOutcome, mode: SourceMode) -> Result<Sourced, Refused> {
    if mode == SourceMode::Strict && !outcome.all_fine() {
        let missing = outcome.keys.into_iter().filter(|answer| !answer.is_fine()).collect();
        return Err(Refused { missing });
    }
    let mut sourced = Sourced { exports: Vec::new(), missing: Vec::new() };
    for mut answer in outcome.keys {
        match (answer.secret.take(), &answer.attempt) {
            (Some(secret), keyrack_core::Attempt::Granted { grant, .. }) => {
                let name = grant.slug.name();
                if sourced.exports.iter().any(|export| export.name == name) {
                    continue;
                }
                sourced.exports.push(Export {
                    name: name.to_owned(),
                    slug: grant.slug.clone(),
                    ambient: grant.source.vault == keyrack_core::VaultId::OsEnvvar,
                    secret,
                });
            }
            _ => sourced.missing.push(answer),
        }
    }
    Ok(sourced)
}

impl Sourced {
    /// Removes the keys whose variables belong to a shell or a loader and match `is_meant`. Returns
    /// them, each with a reason.
    pub fn take_reserved(&mut self, is_meant: impl Fn(Reserved) -> bool) -> Vec<LeftOut> {
        let (out, kept) = std::mem::take(&mut self.exports)
            .into_iter()
            .partition(|export| reserved(&export.name).is_some_and(&is_meant));
        self.exports = kept;
        let why = |Export { name, slug, ambient, .. }: Export| {
            let whose = reserved(&name)?;
            Some(LeftOut { message: format!("{slug} is left out: {name} {}", whose.reason()), name, ambient })
        };
        Vec::into_iter(out).filter_map(why).collect()
    }
}

/// Granted key that is not exported.
#[derive(Debug)]
pub struct LeftOut {
    /// Name of the variable.
    pub name: String,
    /// `true` if the value is that of the variable itself.
    pub ambient: bool,
    /// Notice that names the key and the reason.
    pub message: String,
}

/// Writes exports as a JSON object: the value of each variable by its name. Any name is possible
/// there.
///
/// # Errors
/// [`ErrorCode::Usage`] if a value is not UTF-8, which JSON cannot carry.
pub fn json(exports: &[Export]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut json = JsonWriter::new();
    let mut result = Ok(());
    json.object(|json| {
        for export in exports {
            json.name(&export.name);
            if json.secret(export.secret.expose()).is_err() {
                json.plain("null");
                let message = format!("the value of {} is not UTF-8, which JSON cannot carry", export.slug);
                result =
                    Err(Error::new(ErrorCode::Usage, message).of(&export.slug).hint("use `get --value`"));
            }
        }
    });
    result.map(|()| json.into_bytes())
}

/// Plan of a process that exports into its own environment.
#[derive(Debug)]
pub struct Assignments {
    /// Variables to set, with their values.
    pub set: Vec<(String, Secret)>,
    /// Names in `set`, and names that an earlier call set and that already have the right value.
    pub sourced: Vec<String>,
    /// Variables of others, left unchanged.
    pub kept: Vec<String>,
    /// Names in `kept` for which the daemon has another value.
    pub differing: Vec<String>,
    /// Names of keys that are not granted.
    pub missing: Vec<String>,
}

/// Compares exports with the process's variables. `current` returns a variable's value. `ours`
/// returns `true` if an earlier call set it. A variable that is set, not empty and not ours stays
/// unchanged unless `override_others`.
pub fn assign(
    sourced: Sourced,
    mut current: impl FnMut(&str) -> Option<Secret>,
    ours: impl Fn(&str) -> bool,
    override_others: bool,
) -> Assignments {
    let mut plan = Assignments {
        set: Vec::new(),
        sourced: Vec::new(),
        kept: Vec::new(),
        differing: Vec::new(),
        missing: Vec::new(),
    };
    for answer in &sourced.missing {
        // A name may be missing in one env and granted in another. It is one variable.
        let name = answer.attempt.slug().name();
        if !sourced.exports.iter().any(|export| export.name == name)
            && !plan.missing.iter().any(|it| it == name)
        {
            plan.missing.push(name.to_owned());
        }
    }
    for Export { name, ambient, secret, .. } in sourced.exports {
        let value = current(&name).filter(|value| !value.is_empty());
        let same = value.as_ref().is_some_and(|value| value.expose() == secret.expose());
        let is_ours = ours(&name);
        match value {
            Some(_) if same && is_ours => plan.sourced.push(name),
            Some(_) if same || ambient => plan.kept.push(name),
            Some(_) if !is_ours && !override_others => {
                plan.differing.push(name.clone());
                plan.kept.push(name);
            }
            _ => {
                plan.sourced.push(name.clone());
                plan.set.push((name, secret));
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Attempt, Grade, Grant, GrantSource, Mechanism, VaultId};

    use super::*;

    fn granted(slug: &str, value: &[u8], vault: VaultId) -> KeyOutcome {
        let source = GrantSource { vault, mech: Mechanism::Replica };
        let grant = Grant {
            slug: Slug::parse(slug).unwrap(),
            grade: Grade::of(&source.vault, &source.mech),
            source,
            expires_at_ms: None,
        };
        KeyOutcome {
            attempt: Attempt::Granted { grant, below_declared: false },
            secret: Some(Secret::copy_of(value)),
            note: None,
            waived: false,
        }
    }

    fn missing(slug: &str, waived: bool) -> KeyOutcome {
        let slug = Slug::parse(slug).unwrap();
        let attempt = Attempt::Absent { slug, message: String::new(), fix: None };
        KeyOutcome { attempt, secret: None, note: None, waived }
    }

    fn outcome(answers: Vec<KeyOutcome>) -> GetOutcome {
        GetOutcome {
            keys: answers,
            single: false,
            legacy_daemon: false,
            daemon_error: None,
            manifest_faults: Vec::new(),
        }
    }

    #[test]
    fn strict_mode_fails_unless_missing_keys_are_waived() {
        let secure = VaultId::OsSecure;
        let with =
            |waived| outcome(vec![granted("a.test.K", b"v", secure.clone()), missing("a.test.L", waived)]);
        let refused = sort(with(false), SourceMode::Strict).unwrap_err();
        assert_eq!(refused.missing.len(), 1);
        for (waived, mode) in
            [(true, SourceMode::Strict), (false, SourceMode::Lenient), (true, SourceMode::Lenient)]
        {
            let sourced = sort(with(waived), mode).unwrap();
            assert_eq!((sourced.exports.len(), sourced.missing.len()), (1, 1));
            assert_eq!(sourced.exports[0].name, "K");
        }
    }

    #[test]
    fn first_key_of_a_name_is_exported() {
        let answers =
            vec![granted("a.all.K", b"1", VaultId::OsSecure), granted("a.test.K", b"2", VaultId::OsSecure)];
        let sourced = sort(outcome(answers), SourceMode::Strict).unwrap();
        assert_eq!(sourced.exports.len(), 1);
        assert_eq!(sourced.exports[0].slug.as_str(), "a.all.K");
    }

    #[test]
    fn reserved_variables_are_not_exported() {
        let answers = ["PATH", "K", "UID", "LD_PRELOAD"];
        let sourced = || {
            let answers =
                answers.map(|name| granted(&format!("a.test.{name}"), b"hunter2", VaultId::OsSecure));
            sort(outcome(answers.into()), SourceMode::Strict).unwrap()
        };
        for (is_meant, out, kept) in [
            ((|_| true) as fn(Reserved) -> bool, &["PATH", "UID", "LD_PRELOAD"][..], &["K"][..]),
            (|whose| whose == Reserved::Loader, &["PATH", "LD_PRELOAD"], &["K", "UID"]),
        ] {
            let mut sourced = sourced();
            let left = sourced.take_reserved(is_meant);
            assert_eq!(left.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), out);
            assert_eq!(sourced.exports.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), kept);
            assert!(left.iter().all(|key| !key.message.contains("hunter2")));
            assert_eq!(left[0].message, "a.test.PATH is left out: PATH decides what programs load and run");
        }
    }

    #[test]
    fn variable_is_missing_if_no_env_has_it() {
        let answers = vec![
            missing("a.prod.K", false),
            granted("a.test.K", b"v", VaultId::OsSecure),
            missing("a.prod.L", false),
            missing("a.test.L", false),
        ];
        let plan = assign(sort(outcome(answers), SourceMode::Lenient).unwrap(), |_| None, |_| false, false);
        assert_eq!((plan.sourced, plan.missing), (vec!["K".to_owned()], vec!["L".to_owned()]));
    }

    #[test]
    fn assign_keeps_variables_of_others() {
        for (current, ours, over, vault, expected) in [
            (None, false, false, VaultId::OsSecure, "set"),
            (Some(""), false, false, VaultId::OsSecure, "set"),
            (Some("other"), false, false, VaultId::OsSecure, "differing"),
            (Some("other"), false, true, VaultId::OsSecure, "set"),
            (Some("other"), true, false, VaultId::OsSecure, "set"),
            (Some("v"), true, false, VaultId::OsSecure, "sourced"),
            (Some("v"), false, false, VaultId::OsSecure, "kept"),
            (Some("v"), false, false, VaultId::OsEnvvar, "kept"),
        ] {
            let sourced = sort(outcome(vec![granted("a.test.K", b"v", vault)]), SourceMode::Strict).unwrap();
            let plan = assign(sourced, |_| current.map(|v| Secret::copy_of(v.as_bytes())), |_| ours, over);
            let found = match (plan.set.len(), plan.sourced.len(), plan.kept.len(), plan.differing.len()) {
                (1, 1, 0, 0) => "set",
                (0, 1, 0, 0) => "sourced",
                (0, 0, 1, 0) => "kept",
                (0, 0, 1, 1) => "differing",
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{current:?} {ours} {over}");
        }
    }
}
