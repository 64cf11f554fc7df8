//! Kernels that lack something: a command is run under a filter that makes system calls fail as
//! they do where the feature is missing. The filter is inherited by all that the command starts.
//!
//! The filter is put in place by the test binary itself, run once more: an ignored test of its own,
//! which calls [`become_the_command`]. Nothing is needed but the test binary, and no code of ours
//! is unsafe.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::wrap;

/// A feature that a kernel can lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// `SO_PEERPIDFD` (before Linux 6.5): ENOPROTOOPT.
    PeerPidfd,
    /// landlock: ENOSYS.
    Landlock,
    /// `memfd_secret`: ENOSYS.
    SecretMemory,
    /// `mlock2`, as before Linux 4.4 and behind filters that know only `mlock`: ENOSYS.
    Mlock2,
    /// `PR_SET_MDWE` and `PR_GET_MDWE` (before Linux 6.3): EINVAL.
    Mdwe,
}

/// Features that keyrack uses and the kernels of Debian 11, Ubuntu 22.04 and Debian 12 lack.
pub const OLD_KERNELS: [(&str, &[Lack]); 3] = [
    ("5.10", &[Lack::PeerPidfd, Lack::Landlock, Lack::SecretMemory, Lack::Mdwe]),
    ("5.15", &[Lack::PeerPidfd, Lack::SecretMemory, Lack::Mdwe]),
    ("6.1", &[Lack::PeerPidfd, Lack::SecretMemory, Lack::Mdwe]),
];

const VARIABLE: &str = "KEYRACK_TEST_LACK";
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;
const ENOPROTOOPT: u32 = 92;
const SOL_SOCKET: u64 = 1;
const SO_PEERPIDFD: u64 = 77;
const PR_SET_MDWE: u64 = 65;
const PR_GET_MDWE: u64 = 66;

impl Lack {
    const ALL: [Lack; 5] = [Lack::PeerPidfd, Lack::Landlock, Lack::SecretMemory, Lack::Mlock2, Lack::Mdwe];

    fn word(self) -> &'static str {
        match self {
            Lack::PeerPidfd => "peer_pidfd",
            Lack::Landlock => "landlock",
            Lack::SecretMemory => "secret_memory",
            Lack::Mlock2 => "mlock2",
            Lack::Mdwe => "mdwe",
        }
    }

    /// The system call, the alternatives of arguments it is known by, and the error it ends with.
    fn call(self) -> (i64, Vec<Vec<(u8, u64)>>, u32) {
        let (getsockopt, mlock2, prctl) =
            if cfg!(target_arch = "aarch64") { (209, 284, 167) } else { (55, 325, 157) };
        match self {
            Lack::PeerPidfd => (getsockopt, vec![vec![(1, SOL_SOCKET), (2, SO_PEERPIDFD)]], ENOPROTOOPT),
            Lack::Landlock => (444, Vec::new(), ENOSYS),
            Lack::SecretMemory => (447, Vec::new(), ENOSYS),
            Lack::Mlock2 => (mlock2, Vec::new(), ENOSYS),
            Lack::Mdwe => (prctl, vec![vec![(0, PR_SET_MDWE)], vec![(0, PR_GET_MDWE)]], EINVAL),
        }
    }

    fn filter(self) -> BpfProgram {
        let (call, alternatives, errno) = self.call();
        let condition = |(index, value)| {
            SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
                .expect("six arguments")
        };
        let rules = alternatives
            .into_iter()
            .map(|arguments| arguments.into_iter().map(condition).collect())
            .map(|conditions| SeccompRule::new(conditions).expect("a condition is there"))
            .collect();
        let arch =
            TargetArch::try_from(std::env::consts::ARCH).expect("an architecture keyrack is built for");
        let rules = BTreeMap::from([(call, rules)]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
        filter.and_then(TryInto::try_into).expect("a small filter")
    }
}

/// Wraps a command so that it runs on a kernel that lacks these. `child` is the full name of an
/// ignored test of the calling binary that does nothing but call [`become_the_command`].
///
/// # Panics
/// When the test binary does not know its own path.
pub fn without(lacks: &[Lack], child: &str, command: &Command) -> Command {
    // The harness writes on stdout before the test runs, so the real one is kept at 3 meanwhile.
    let script = "exec \"$KEYRACK_TEST_SELF\" --exact \"$KEYRACK_TEST_CHILD\" --ignored --nocapture -- \"$@\" 3>&1 >/dev/null";
    let own = std::env::current_exe().expect("a test binary has a path");
    let mut wrapped = wrap(command, &["sh", "-c", script, "sh"]);
    let words: Vec<&str> = lacks.iter().map(|lack| lack.word()).collect();
    wrapped.env(VARIABLE, words.join(",")).env("KEYRACK_TEST_SELF", own).env("KEYRACK_TEST_CHILD", child);
    wrapped
}

/// The other half of [`without`]: puts the filters in place and becomes the command. Returns at
/// once when it was not asked to.
///
/// # Panics
/// When a filter is not taken, or the command cannot be run.
pub fn become_the_command() {
    let Some(words) = std::env::var_os(VARIABLE) else { return };
    let words = words.into_string().expect("our own words");
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let lack = Lack::ALL.into_iter().find(|lack| lack.word() == word).expect("a word of ours");
        apply_filter(&lack.filter()).expect("the kernel takes the filter");
    }
    let arguments = std::env::args_os().skip_while(|argument| argument != "--").skip(1);
    // This is a thread of the test harness: the exec ends the others, and the filter stays.
    let error = Command::new("sh")
        .args(["-c", "exec \"$@\" >&3 3>&-", "sh"])
        .args(arguments)
        .env_remove(VARIABLE)
        .env_remove("KEYRACK_TEST_SELF")
        .env_remove("KEYRACK_TEST_CHILD")
        .exec();
    panic!("sh cannot be run: {error}");
}
