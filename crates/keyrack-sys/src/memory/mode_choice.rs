//! Choice of a pool's mode: the strongest one that works here, or the required one, and the reason
//! why none stronger. A mode is tried out before it is chosen.

use super::error::MemoryError;
use super::hibernation::Hibernation;
use super::limit::{Limited, USEFUL, lockable, secretly_lockable, soft_limit};
use super::mode::{MemoryMode, ModeRequest};

/// Probes of what a machine offers. Each asks only when called.
pub(super) struct Offers<'a> {
    pub(super) hibernation: &'a dyn Fn() -> Hibernation,
    /// Returns the count of bytes, up to those wanted, that secret pages can have.
    pub(super) secret: &'a dyn Fn(usize) -> Result<usize, Limited>,
    /// Returns the count of bytes, up to those wanted, that can be locked.
    pub(super) locked: &'a dyn Fn(usize) -> Result<usize, Limited>,
    /// RLIMIT_MEMLOCK, for messages.
    pub(super) soft_limit: u64,
}

impl Offers<'_> {
    /// Returns the probes of this machine, for this process.
    pub(super) fn here() -> Offers<'static> {
        Offers {
            hibernation: &Hibernation::here,
            secret: &secretly_lockable,
            locked: &lockable,
            soft_limit: soft_limit(),
        }
    }
}

/// A mode that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) mode: MemoryMode,
    /// Count of bytes available in this mode, at most those wanted.
    pub(super) total: usize,
    /// Reason why it is not [`MemoryMode::Secret`], if that was tried.
    pub(super) lacks_secret: Option<String>,
    /// Reason why it is not at least [`MemoryMode::Locked`], if that was tried.
    pub(super) lacks_locked: Option<String>,
    /// State of hibernation that secret pages block. Only set in [`MemoryMode::Secret`].
    pub(super) hibernation: Option<Hibernation>,
}

/// Chooses a mode for `wanted` bytes.
///
/// # Errors
/// If the required mode does not work here.
pub(super) fn choose(
    request: ModeRequest,
    wanted: usize,
    offers: &Offers<'_>,
) -> Result<Choice, MemoryError> {
    let none =
        |mode, total| Choice { mode, total, lacks_secret: None, lacks_locked: None, hibernation: None };
    let secret = || {
        let hibernation = (offers.hibernation)();
        match (request, &hibernation) {
            // A caller that requires secret pages has chosen them over hibernation.
            (ModeRequest::Auto, Hibernation::Possible(why)) => {
                Err(format!("this machine can hibernate ({why}), which secret memory would block"))
            }
            _ => enough_secret(wanted, offers)
                .map(|total| Choice { hibernation: Some(hibernation), ..none(MemoryMode::Secret, total) }),
        }
    };
    let locked = || match (offers.locked)(wanted) {
        Ok(total) if total >= USEFUL.min(wanted) => Ok(none(MemoryMode::Locked, total)),
        Ok(total) => Err(too_little(total, offers.soft_limit)),
        Err(Limited(errno)) => {
            Err(format!("memory cannot be locked: {}", std::io::Error::from_raw_os_error(errno)))
        }
    };
    match request {
        ModeRequest::Require(mode) => {
            let choice = match mode {
                MemoryMode::Secret => secret(),
                MemoryMode::Locked => locked(),
                MemoryMode::Unlocked => Ok(none(MemoryMode::Unlocked, wanted)),
            };
            choice.map_err(|lacks| MemoryError::Unavailable { mode, lacks })
        }
        ModeRequest::Auto => {
            let lacks_secret = match secret() {
                Ok(choice) => return Ok(choice),
                Err(lacks) => Some(lacks),
            };
            Ok(match locked() {
                Ok(choice) => Choice { lacks_secret, ..choice },
                Err(lacks) => {
                    Choice { lacks_secret, lacks_locked: Some(lacks), ..none(MemoryMode::Unlocked, wanted) }
                }
            })
        }
    }
}

fn enough_secret(wanted: usize, offers: &Offers<'_>) -> Result<usize, String> {
    match (offers.secret)(wanted) {
        Ok(total) if total >= USEFUL.min(wanted) => Ok(total),
        Ok(total) => Err(too_little(total, offers.soft_limit)),
        Err(Limited(errno)) => Err(match errno {
            libc::ENOSYS => "the kernel has no memfd_secret, or it is turned off (it is on since Linux 6.5; from 5.14, boot with secretmem.enable=1)".to_owned(),
            libc::EPERM | libc::EACCES => "memfd_secret is not permitted here, as in many containers".to_owned(),
            libc::EFBIG => "no file may be as large as is needed (RLIMIT_FSIZE), and memfd_secret counts as one".to_owned(),
            errno => format!("memfd_secret cannot be used: {}", std::io::Error::from_raw_os_error(errno)),
        }),
    }
}

fn too_little(lockable: usize, soft: u64) -> String {
    let limit = match soft {
        u64::MAX => "RLIMIT_MEMLOCK is unlimited".to_owned(),
        soft => format!("RLIMIT_MEMLOCK is {} KiB", soft / 1024),
    };
    let least = USEFUL / 1024;
    format!("{limit}, and {} KiB could be locked where at least {least} KiB are needed", lockable / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Returns the choice for a request of 64 MiB.
    fn chosen(
        request: ModeRequest,
        hibernation: &Hibernation,
        secret: Result<usize, i32>,
        locked: usize,
    ) -> Result<Choice, MemoryError> {
        choose(
            request,
            64 * MIB,
            &Offers {
                hibernation: &|| hibernation.clone(),
                secret: &|wanted| secret.map(|most| most.min(wanted)).map_err(Limited),
                locked: &|wanted| Ok(locked.min(wanted)),
                soft_limit: 8192 * 1024,
            },
        )
    }

    #[test]
    fn auto_chooses_the_first_mode_that_works() {
        use Hibernation::{Never, NoSwap};
        let possible = Hibernation::Possible("it has swap on /dev/sda2".to_owned());
        let all = usize::MAX;
        let little = 64 * 1024;
        for (hibernation, secret, locked, mode, total, no_secret, no_locked) in [
            (&Never, Ok(all), all, MemoryMode::Secret, 64 * MIB, "", ""),
            (&NoSwap, Ok(8 * MIB), 8 * MIB, MemoryMode::Secret, 8 * MIB, "", ""),
            (&Never, Ok(MIB), MIB, MemoryMode::Secret, MIB, "", ""),
            (&possible, Ok(all), all, MemoryMode::Locked, 64 * MIB, "it has swap on /dev/sda2", ""),
            (
                &possible,
                Ok(all),
                little,
                MemoryMode::Unlocked,
                64 * MIB,
                "can hibernate",
                "64 KiB could be locked",
            ),
            (&Never, Err(libc::ENOSYS), 8 * MIB, MemoryMode::Locked, 8 * MIB, "has no memfd_secret", ""),
            (&Never, Err(libc::EPERM), all, MemoryMode::Locked, 64 * MIB, "not permitted", ""),
            (&NoSwap, Err(libc::EFBIG), all, MemoryMode::Locked, 64 * MIB, "RLIMIT_FSIZE", ""),
            (
                &NoSwap,
                Err(libc::EMFILE),
                all,
                MemoryMode::Locked,
                64 * MIB,
                "memfd_secret cannot be used: ",
                "",
            ),
            (
                &Never,
                Ok(little),
                little,
                MemoryMode::Unlocked,
                64 * MIB,
                "RLIMIT_MEMLOCK is 8192 KiB",
                "64 KiB could",
            ),
        ] {
            let choice = chosen(ModeRequest::Auto, hibernation, secret, locked).unwrap();
            assert_eq!((choice.mode, choice.total), (mode, total), "{hibernation:?} {secret:?} {locked}");
            for (lacks, part) in [(&choice.lacks_secret, no_secret), (&choice.lacks_locked, no_locked)] {
                assert_eq!(lacks.is_some(), !part.is_empty(), "{choice:?}");
                assert!(lacks.as_deref().unwrap_or_default().contains(part), "{choice:?}");
            }
            assert_eq!(choice.hibernation.as_ref(), (mode == MemoryMode::Secret).then_some(hibernation));
        }
    }

    #[test]
    fn required_mode_is_chosen_or_an_error() {
        let possible = Hibernation::Possible("it has swap on /dev/sda2".to_owned());
        let all = usize::MAX;
        let secret = ModeRequest::Require(MemoryMode::Secret);
        // Hibernation is the machine's owner's to give up.
        let choice = chosen(secret, &possible, Ok(all), 0).unwrap();
        assert_eq!((choice.mode, choice.hibernation), (MemoryMode::Secret, Some(possible)));
        for (offered, part) in [
            (Err(libc::ENOSYS), "has no memfd_secret"),
            (Ok(MIB - 4096), "RLIMIT_MEMLOCK is 8192 KiB, and 1020 KiB could be locked"),
        ] {
            let refused = chosen(secret, &Hibernation::Never, offered, all).unwrap_err();
            let text = refused.to_string();
            assert!(text.starts_with("no secret memory: ") && text.contains(part), "{text}");
        }
        // Never more than is asked for, however much there is.
        let choice =
            chosen(ModeRequest::Require(MemoryMode::Locked), &Hibernation::Never, Ok(all), all).unwrap();
        assert_eq!((choice.mode, choice.lacks_secret), (MemoryMode::Locked, None));
        assert!(chosen(ModeRequest::Require(MemoryMode::Locked), &Hibernation::Never, Ok(all), 0).is_err());
        let choice =
            chosen(ModeRequest::Require(MemoryMode::Unlocked), &Hibernation::Never, Ok(all), all).unwrap();
        assert_eq!((choice.mode, choice.total), (MemoryMode::Unlocked, 64 * MIB));
    }
}
