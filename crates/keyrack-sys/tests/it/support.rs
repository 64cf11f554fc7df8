//! Running a test's own body in a child process, and changing that child.

use std::env;
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;

/// Names the test a child process is to run as.
const ROLE: &str = "KEYRACK_SYS_TEST_ROLE";

/// The user that tests run children as. Any number does: no account is needed.
pub(crate) const STRANGER: u32 = 61_234;

/// This test binary, run for one test alone, with `role` to be told by [`role`].
pub(crate) fn again(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments(test)).env(ROLE, role);
    command
}

/// The arguments that make this test binary run one test.
pub(crate) fn arguments(test: &str) -> [&str; 4] {
    [test, "--exact", "--nocapture", "--test-threads=1"]
}

/// Returns the role that [`again`] gave this process, if it did.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The name and value of the variable that gives a process a role.
pub(crate) fn role_variable(role: &str) -> (&'static str, &str) {
    (ROLE, role)
}

/// Runs `body` in a child process of this test's, which must be named in full (`module::name`).
#[track_caller]
pub(crate) fn in_child(test: &str, body: impl FnOnce()) {
    if role().is_some() {
        return body();
    }
    let output = again(test, "child").stdin(Stdio::null()).output().unwrap();
    assert_passed(test, &output);
}

/// Asserts that a child passed its one test.
#[track_caller]
pub(crate) fn assert_passed(test: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A misspelled name would run no test, and pass.
    let ran = out.contains("1 passed") && !err.contains("not run:");
    assert!(output.status.success() && ran, "{test} in a child:\n{out}\n{err}");
}

/// Makes the whole process act as [`STRANGER`], for good. Root only.
pub(crate) fn become_stranger() {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(STRANGER), Gid::from_raw(STRANGER));
    setgroups(&[]).unwrap();
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
}

/// Makes a system call fail with `errno` in this thread and all it starts, for good: any call of
/// that number, or only those with `argument` (its index and value).
pub(crate) fn refuse(number: libc::c_long, argument: Option<(u32, u32)>, errno: i32) {
    #[expect(clippy::cast_possible_truncation, reason = "opcodes are 16 bits wide where they are used")]
    const fn code(bits: u32) -> u16 {
        bits as u16
    }
    const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    const EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);
    let op = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let number = u32::try_from(number).unwrap();
    // seccomp_data: nr at 0, arch at 4, instruction pointer at 8, then six arguments of eight bytes
    // from 16.
    let mut program = vec![op(LOAD, 0), libc::sock_filter { jf: 1, ..op(EQUAL, number) }];
    if let Some((index, value)) = argument {
        program[1].jf = 3;
        program.push(op(LOAD, 16 + 8 * index));
        program.push(libc::sock_filter { jf: 1, ..op(EQUAL, value) });
    }
    program.push(op(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()));
    program.push(op(RETURN, libc::SECCOMP_RET_ALLOW));

    nix::sys::prctl::set_no_new_privs().unwrap();
    let filter =
        libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call.
    let set =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    Errno::result(set).unwrap();
}

/// A process forked off this one that runs `body` and ends with what it returns. `body` must not
/// allocate or lock: other threads of this process may have been doing so.
pub(crate) fn forked(body: impl FnOnce() -> u8) -> nix::unistd::Pid {
    // SAFETY: the child runs `body`, which keeps to what a fork of threads allows, and ends.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => child,
        // SAFETY: _exit only ends the process.
        nix::unistd::ForkResult::Child => unsafe { libc::_exit(body().into()) },
    }
}

/// As [`forked`], in a process of this number, which must be free. Root only.
pub(crate) fn forked_as(number: i32, body: impl FnOnce() -> u8) -> nix::unistd::Pid {
    // SAFETY: an all-zero clone_args is a valid value of that plain C structure.
    let mut wish: libc::clone_args = unsafe { std::mem::zeroed() };
    wish.exit_signal = u64::try_from(libc::SIGCHLD).unwrap();
    let numbers = [number];
    wish.set_tid = u64::try_from(numbers.as_ptr().addr()).unwrap();
    wish.set_tid_size = 1;
    // SAFETY: without flags clone3 is a fork, and the child keeps to what a fork of threads allows.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone3, &raw const wish, size_of_val(&wish)) })
        .unwrap()
    {
        // SAFETY: _exit only ends the process.
        0 => unsafe { libc::_exit(body().into()) },
        child => nix::unistd::Pid::from_raw(i32::try_from(child).unwrap()),
    }
}

/// Returns the exit code of a child of [`forked`].
pub(crate) fn exit_code(child: nix::unistd::Pid) -> i32 {
    match nix::sys::wait::waitpid(child, None).unwrap() {
        nix::sys::wait::WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}
