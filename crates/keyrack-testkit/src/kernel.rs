//! Kernels that lack something: a command is run under a filter that makes system calls fail as they do where the feature is missing. The
//! filter is inherited by all that the command starts.
//!
//! The filter is put in place by the test binary itself, run once more: an ignored test of its own, which calls [`become_the_command`]. Nothing
//! is needed but the test binary, and no code of ours is unsafe.

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
}

const VARIABLE: &str = "KEYRACK_TEST_LACK";
const ENOSYS: u32 = 38;
const ENOPROTOOPT: u32 = 92;
const SOL_SOCKET: u64 = 1;
const SO_PEERPIDFD: u64 = 77;

impl Lack {
    const ALL: [Lack; 3] = [Lack::PeerPidfd, Lack::Landlock, Lack::SecretMemory];

    fn word(self) -> &'static str {
        match self {
            Lack::PeerPidfd => "peer_pidfd",
            Lack::Landlock => "landlock",
            Lack::SecretMemory => "secret_memory",
        }
    }

    /// The system call, the arguments it is known by, and the error it ends with.
    fn call(self) -> (i64, Vec<(u8, u64)>, u32) {
        let getsockopt = if cfg!(target_arch = "aarch64") { 209 } else { 55 };
        match self {
            Lack::PeerPidfd => (getsockopt, vec![(1, SOL_SOCKET), (2, SO_PEERPIDFD)], ENOPROTOOPT),
            Lack::Landlock => (444, Vec::new(), ENOSYS),
            Lack::SecretMemory => (447, Vec::new(), ENOSYS),
        }
    }

    fn filter(self) -> BpfProgram {
        let (call, arguments, errno) = self.call();
        let conditions = arguments.into_iter().map(|(index, value)| {
            SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
                .expect("six arguments")
        });
        let conditions: Vec<_> = conditions.collect();
        let rules = match conditions.is_empty() {
            true => Vec::new(),
            false => vec![SeccompRule::new(conditions).expect("a condition is there")],
        };
        let arch =
            TargetArch::try_from(std::env::consts::ARCH).expect("an architecture keyrack is built for");
        let rules = BTreeMap::from([(call, rules)]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
        filter.and_then(TryInto::try_into).expect("a small filter")
    }
}

/// Wraps a command so that it runs on a kernel that lacks these. `child` is the full name of an ignored test of the calling binary that does
/// nothing but call [`become_the_command`].
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

/// The other half of [`without`]: puts the filters in place and becomes the command. Returns at once when it was not asked to.
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
