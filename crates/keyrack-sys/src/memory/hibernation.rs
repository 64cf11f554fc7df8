//! Detection of hibernation: the machine writing its memory to disk. While one page of
//! `memfd_secret(2)` exists anywhere, the kernel refuses to hibernate and shows that in
//! `/sys/power/*`. So the content of those files is not used, only facts that no open secret
//! changes.

use std::io::ErrorKind;
use std::path::Path;

/// Ability of a machine to hibernate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hibernation {
    /// Its kernel never hibernates: built without it, disabled at boot, or locked down.
    Never,
    /// It has no swap to write to, or only compressed memory. That may change while a process runs.
    NoSwap,
    /// It may hibernate. The text is the reason for that, in a few words.
    Possible(String),
}

/// Facts that decide. A content is `None` if it cannot be read.
#[derive(Clone, Copy, Debug)]
struct Facts<'a> {
    /// `true` if `/sys/power/disk` exists; `None` if that is unknown. Its content is not used.
    disk: Option<bool>,
    /// `/proc/cmdline`.
    cmdline: Option<&'a str>,
    /// `/sys/kernel/security/lockdown`.
    lockdown: Option<&'a str>,
    /// `/proc/swaps`; empty where there is none.
    swaps: Option<&'a str>,
}

impl Hibernation {
    /// Reads the state of this machine. A process that has secret pages does not change the answer.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let [cmdline, lockdown] =
            ["/proc/cmdline", "/sys/kernel/security/lockdown"].map(|path| read(path).ok());
        let swaps = match read("/proc/swaps") {
            // A kernel without swap does not have the file.
            Err(error) if error.kind() == ErrorKind::NotFound && Path::new("/proc/cmdline").exists() => {
                Some(String::new())
            }
            other => other.ok(),
        };
        judge(Facts {
            disk: disk(|path| Path::new(path).try_exists().ok()),
            cmdline: cmdline.as_deref(),
            lockdown: lockdown.as_deref(),
            swaps: swaps.as_deref(),
        })
    }
}

/// Returns `true` if the kernel was built with hibernation, by a file that only such a kernel has.
/// `None` where a container hides all of `/sys/power`, or has no `/sys`. `exists` returns `None`
/// for a path that it may not look up.
fn disk(exists: impl Fn(&str) -> Option<bool>) -> Option<bool> {
    if exists("/sys/power/disk")? {
        return Some(true);
    }
    let seen = if exists("/sys/power")? { exists("/sys/power/state")? } else { exists("/sys/kernel")? };
    seen.then_some(false)
}

/// Decides as `hibernation_available()` of the kernel, ignoring the secrets that are open now.
fn judge(facts: Facts<'_>) -> Hibernation {
    let locked_down =
        |text: &str| ["[integrity]", "[confidentiality]"].iter().any(|level| text.contains(level));
    if facts.disk == Some(false)
        || facts.cmdline.is_some_and(forbidden_at_boot)
        || facts.lockdown.is_some_and(locked_down)
    {
        return Hibernation::Never;
    }
    let Some(swaps) = facts.swaps else {
        return Hibernation::Possible("what swap it has cannot be read".to_owned());
    };
    // The first line names the columns.
    let names = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    match names.into_iter().find(|name| !is_zram(name)) {
        Some(name) => Hibernation::Possible(format!("it has swap on {name}")),
        None => Hibernation::NoSwap,
    }
}

/// `nohibernate`, or `hibernate=no`, among what is meant for the kernel: up to ` -- `, and not
/// inside quotes (`kernel-parameters`).
fn forbidden_at_boot(cmdline: &str) -> bool {
    let mut quoted = false;
    let words = cmdline.split(|c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    });
    words.take_while(|word| *word != "--").any(|word| matches!(word, "nohibernate" | "hibernate=no"))
}

/// Returns `true` for compressed memory, which does not survive without power.
fn is_zram(name: &str) -> bool {
    let number = name.strip_prefix("/dev/zram").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    const SDA2: &str = "/dev/sda2                               partition\t8388604\t\t0\t\t-2\n";
    const ZRAM0: &str = "/dev/zram0                              partition\t4194300\t\t0\t\t100\n";
    const ZRAM12: &str = "/dev/zram12                             partition\t4194300\t\t0\t\t100\n";
    const FILE: &str = "/swap\\040file                           file\t\t2097148\t\t0\t\t-3\n";
    const FOOLING: &str = "/dev/zram0x                             file\t\t2097148\t\t0\t\t-3\n";

    /// A desktop of our day: it can, and each test changes one thing.
    fn desktop(swaps: &str) -> Facts<'_> {
        Facts {
            disk: Some(true),
            cmdline: Some("BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet resume=/dev/sda2\n"),
            lockdown: Some("[none] integrity confidentiality\n"),
            swaps: Some(swaps),
        }
    }

    #[test]
    fn hibernation_is_never_when_the_kernel_forbids_it() {
        let swaps = format!("{SWAPS}{SDA2}");
        let desktop = desktop(&swaps);
        let can = Hibernation::Possible("it has swap on /dev/sda2".to_owned());
        assert_eq!(judge(desktop), can);
        for (disk, expected) in
            [(Some(false), Hibernation::Never), (Some(true), can.clone()), (None, can.clone())]
        {
            assert_eq!(judge(Facts { disk, ..desktop }), expected, "{disk:?}");
        }
        for (cmdline, never) in [
            (Some("quiet nohibernate"), true),
            (Some("nohibernate\n"), true),
            (Some("hibernate=no quiet"), true),
            (Some("hibernate=nocompress"), false),
            (Some("hibernate=noresume"), false),
            (Some("xnohibernate nohibernate.x nohibernated"), false),
            (Some("quiet -- nohibernate"), false),
            (Some("dyndbg=\"file a +p; nohibernate \" quiet"), false),
            (Some("dyndbg=\"file a +p\" nohibernate"), true),
            (Some(""), false),
            (None, false),
        ] {
            let expected = if never { Hibernation::Never } else { can.clone() };
            assert_eq!(judge(Facts { cmdline, ..desktop }), expected, "{cmdline:?}");
        }
        for (lockdown, never) in [
            (Some("none [integrity] confidentiality\n"), true),
            (Some("none integrity [confidentiality]\n"), true),
            (Some("[none] integrity confidentiality\n"), false),
            (Some(""), false),
            (None, false),
        ] {
            let expected = if never { Hibernation::Never } else { can.clone() };
            assert_eq!(judge(Facts { lockdown, ..desktop }), expected, "{lockdown:?}");
        }
    }

    #[test]
    fn hibernation_is_possible_with_swap_on_disk() {
        for (lines, on) in [
            (&[][..], None),
            (&[ZRAM0], None),
            (&[ZRAM0, ZRAM12], None),
            (&[SDA2], Some("/dev/sda2")),
            (&[ZRAM0, SDA2], Some("/dev/sda2")),
            (&[ZRAM0, FILE], Some("/swap\\040file")),
            (&[FOOLING], Some("/dev/zram0x")),
        ] {
            let swaps = format!("{SWAPS}{}", lines.concat());
            let expected = on
                .map_or(Hibernation::NoSwap, |name| Hibernation::Possible(format!("it has swap on {name}")));
            assert_eq!(judge(desktop(&swaps)), expected, "{lines:?}");
        }
        // A kernel without swap has no such file; one that cannot be read may hold anything.
        assert_eq!(judge(desktop("")), Hibernation::NoSwap);
        let unknown = judge(Facts { swaps: None, ..desktop("") });
        assert!(matches!(unknown, Hibernation::Possible(_)), "{unknown:?}");
    }

    #[test]
    fn missing_disk_file_counts_only_beside_visible_neighbors() {
        let with = |there: &[&str]| disk(|path| Some(there.contains(&path)));
        for (there, expected) in [
            (&["/sys/kernel", "/sys/power", "/sys/power/state", "/sys/power/disk"][..], Some(true)),
            (&["/sys/kernel", "/sys/power", "/sys/power/state"], Some(false)),
            // Built without power management.
            (&["/sys/kernel"], Some(false)),
            // Hidden by a container, or no /sys at all.
            (&["/sys/kernel", "/sys/power"], None),
            (&[], None),
        ] {
            assert_eq!(with(there), expected, "{there:?}");
        }
        assert_eq!(disk(|_| None), None);
    }

    #[test]
    fn hibernation_of_this_machine_ignores_open_secrets() {
        let first = Hibernation::here();
        // What a process of ours holds open must not change it.
        let pool = super::super::Pool::new(super::super::ModeRequest::Auto, super::super::Budget::default());
        let _kept = pool.unwrap().store(b"x").unwrap();
        assert_eq!(Hibernation::here(), first);
    }
}
