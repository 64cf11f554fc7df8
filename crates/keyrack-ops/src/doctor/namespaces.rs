//! Namespaces of this process: the sandbox it is in, and what does not work there.

use keyrack_client::sandbox::Sandbox;
use keyrack_core::peer::LocalNamespaces;
use keyrack_sys::peer;

use super::check::{Check, CheckStatus};

const NAME: &str = "session.namespaces";

pub(super) fn check() -> Check {
    of(&peer::own_namespaces())
}

fn of(own: &LocalNamespaces) -> Check {
    let sandboxed =
        |state, sandbox: Sandbox| Check::new(NAME, state, sandbox.sentence()).hint(sandbox.hint());
    match Sandbox::blocking(own) {
        Some(sandbox) => sandboxed(CheckStatus::Fail, sandbox),
        None if own.is_initial_user() => Check::ok(
            NAME,
            "this process is in the initial user namespace, and /proc is of its pid namespace",
        ),
        None => sandboxed(CheckStatus::Warn, Sandbox::UserNamespace),
    }
}

#[cfg(test)]
mod tests {
    use keyrack_core::peer::{DEFAULT_OVERFLOW_UID, Uid, UidMap};

    use super::*;

    #[test]
    fn namespaces_check_names_the_sandbox() {
        let own = |own_proc, uid, map: &str| LocalNamespaces {
            own_proc,
            uid: Uid::from_raw(uid),
            uid_map: Ok(UidMap::new(map.as_bytes())),
            overflow_uid: DEFAULT_OVERFLOW_UID,
        };
        for (own, state, word) in [
            (own(true, 1000, "0 0 4294967295\n"), CheckStatus::Ok, "initial"),
            (own(false, 1000, "0 0 4294967295\n"), CheckStatus::Fail, "without its own /proc"),
            (own(true, 65_534, ""), CheckStatus::Fail, "does not map its user"),
            (own(true, 1000, "1000 1000 1\n"), CheckStatus::Warn, "its own user namespace"),
        ] {
            let check = of(&own);
            assert_eq!((check.state, check.message.contains(word)), (state, true), "{check:?}");
        }
    }
}
