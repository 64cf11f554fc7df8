//! Namespaces of this process: the sandbox it is in, and what does not work there.

use keyrack_client::sandbox::{Namespaces, Sandbox};

use super::check::{Check, CheckStatus};

const NAME: &str = "session.namespaces";

pub(super) fn check() -> Check {
    of(&Namespaces::read())
}

fn of(own: &Namespaces) -> Check {
    let sandboxed =
        |state, sandbox: Sandbox| Check::new(NAME, state, sandbox.sentence()).hint(sandbox.hint());
    match own.unusable() {
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
    use super::*;

    #[test]
    fn sandboxes_are_named() {
        let own = |own_proc, uid, map: &str| Namespaces {
            own_proc,
            uid,
            uid_map: Ok(map.into()),
            overflow_uid: 65_534,
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
