//! Execution of a program as a shell does it: found on PATH, with its own arguments and
//! environment, in this process's place or as a child
//! ([`crate::process::supervise::SupervisedChild`]).
//!
//! The program gets the descriptors, limits, signal dispositions and signal mask that this process
//! was started with.
#![expect(unsafe_code, reason = "execve takes arrays of pointers")]

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use zeroize::Zeroizing;

use crate::hardening::protection;
use crate::process::startup_state;

/// Directories that execvp(3) searches if PATH is not set.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// Shell that runs a file without a `#!` line, as in execvp(3).
const SHELL: &std::ffi::CStr = c"/bin/sh";

/// A program with its arguments and its environment, ready to be executed.
pub struct PreparedCommand {
    /// Paths to try, in order.
    candidates: Vec<CString>,
    args: Vec<CString>,
    /// Each is a `NAME=value` that ends in a NUL byte.
    env: Vec<Zeroizing<Vec<u8>>>,
    /// Descriptors that the program gets besides its streams.
    passed: Vec<OwnedFd>,
}

impl PreparedCommand {
    /// Prepares a command. `command` has the program's name and its arguments; `env` its variables,
    /// each a `NAME=value` with one NUL byte, at its end. A name without a slash is searched for in
    /// `path`, the value of PATH, as execvp(3) does.
    ///
    /// # Errors
    /// `EINVAL` if the command is empty, a string has a NUL byte inside, or a variable does not end
    /// in one; `ENOENT` for an empty name.
    pub fn new(command: &[OsString], env: Vec<Zeroizing<Vec<u8>>>, path: Option<&OsStr>) -> io::Result<Self> {
        let name = command.first().ok_or(Errno::EINVAL)?.as_bytes();
        if name.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if !env.iter().all(|entry| is_string(entry)) {
            return Err(Errno::EINVAL.into());
        }
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
        let args = command.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<_, _>>()?;
        let candidates = if name.contains(&b'/') {
            vec![c_string(name)?]
        } else {
            let path = path.unwrap_or(OsStr::new(USUAL_PATH)).as_bytes();
            let places = path.split(|&b| b == b':').map(|directory| match directory {
                // An empty directory means the working directory.
                [] => c_string(name),
                directory => c_string(&[directory, b"/", name].concat()),
            });
            places.collect::<Result<_, _>>()?
        };
        Ok(Self { candidates, args, env, passed: Vec::new() })
    }

    /// Returns its variables, in the form of [`Self::new`]. A variable of another form is not
    /// passed on.
    pub fn env_mut(&mut self) -> &mut Vec<Zeroizing<Vec<u8>>> {
        &mut self.env
    }

    /// Passes a descriptor on. Returns its number in the program, which no script uses for itself.
    ///
    /// # Errors
    /// `EMFILE` if no number is left.
    pub fn pass(&mut self, fd: &OwnedFd) -> io::Result<RawFd> {
        // Shells reserve 0–9 for scripts; bash uses 10–19 and 255 itself.
        let duplicate = match fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(100)) {
            // RLIMIT_NOFILE is lower: take the first number that no script uses.
            Err(Errno::EINVAL | Errno::EMFILE) => fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(20)),
            done => done,
        }?;
        // SAFETY: the kernel has just made this descriptor for us and nothing else owns it.
        let duplicate = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(duplicate) };
        let number = duplicate.as_raw_fd();
        self.passed.push(duplicate);
        Ok(number)
    }

    /// Replaces this process by the program (`execve(2)`): pid, parent, terminal and process group
    /// stay. Returns only if that fails: with `ENOENT` if the program was not found, and `EACCES`
    /// or others if it cannot be run.
    pub fn replace(&self) -> io::Error {
        startup_state::restore();
        let errno = self.execute();
        protection::lower_core_limit();
        errno.into()
    }

    /// Executes the program, in a process that has restored its startup state.
    pub(crate) fn execute(&self) -> Errno {
        for fd in &self.passed {
            if let Err(errno) = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())) {
                return errno;
            }
        }
        let args: Vec<*const c_char> = pointers(self.args.iter().map(|arg| arg.as_ptr()));
        let env = self.env.iter().filter(|entry| is_string(entry)).map(|entry| entry.as_ptr().cast());
        let env: Vec<*const c_char> = pointers(env);
        let mut forbidden = None;
        let mut last = Errno::ENOENT;
        for candidate in &self.candidates {
            // SAFETY: both arrays end in null and point to strings that end in NUL and outlive the
            // call.
            unsafe { libc::execve(candidate.as_ptr(), args.as_ptr(), env.as_ptr()) };
            match Errno::last() {
                Errno::ENOEXEC => {
                    let script = std::iter::once(SHELL.as_ptr()).chain(std::iter::once(candidate.as_ptr()));
                    let args = pointers(script.chain(self.args.iter().skip(1).map(|arg| arg.as_ptr())));
                    // SAFETY: as above.
                    unsafe { libc::execve(SHELL.as_ptr(), args.as_ptr(), env.as_ptr()) };
                    return Errno::last();
                }
                Errno::EACCES => forbidden = Some(Errno::EACCES),
                // Not in this directory: execvp(3) goes on to the next one.
                errno @ (Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::ENODEV
                | Errno::ESTALE
                | Errno::ETIMEDOUT) => {
                    last = errno;
                }
                errno => return errno,
            }
        }
        forbidden.unwrap_or(last)
    }
}

/// Limit of a `NAME=value`, in bytes without the NUL at its end: `MAX_ARG_STRLEN` of execve(2) with
/// pages of 4 KiB.
pub const MAX_VARIABLE: usize = 32 * 4096 - 1;

/// Returns the limit of arguments and variables together, in bytes, by the kernel's rule
/// (execve(2)): a quarter of `RLIMIT_STACK`, at least 128 KiB and at most 6 MiB.
pub fn execution_limit() -> usize {
    let stack = getrlimit(Resource::RLIMIT_STACK).map_or(0, |(soft, _)| soft);
    limit_of(stack)
}

fn limit_of(stack: u64) -> usize {
    usize::try_from((stack / 4).clamp(128 << 10, 6 << 20)).expect("6 MiB fit")
}

/// Bytes that the kernel counts for each string besides its own bytes: the NUL at its end and the
/// pointer to it.
pub const COUNTED_PER_STRING: usize = 1 + size_of::<*const c_char>();

impl PreparedCommand {
    /// Returns the bytes that the kernel counts against [`execution_limit`].
    pub fn size(&self) -> usize {
        let args: usize = self.args.iter().map(|arg| arg.as_bytes().len() + COUNTED_PER_STRING).sum();
        // Each has its NUL byte already.
        let env: usize = self.env.iter().map(|entry| entry.len() - 1 + COUNTED_PER_STRING).sum();
        let path = self.candidates.iter().map(|path| path.as_bytes_with_nul().len()).max();
        args + env + path.unwrap_or_default()
    }
}

impl std::fmt::Debug for PreparedCommand {
    /// Names only: an argument or a variable may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({:?}, {} variables)", self.args.first(), self.env.len())
    }
}

/// Returns `true` if there is one NUL byte, at the end.
fn is_string(entry: &[u8]) -> bool {
    entry.iter().position(|&b| b == 0).is_some_and(|at| at + 1 == entry.len())
}

fn pointers(strings: impl Iterator<Item = *const c_char>) -> Vec<*const c_char> {
    strings.chain(std::iter::once(std::ptr::null())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &[&str], env: &[&[u8]], path: Option<&str>) -> io::Result<PreparedCommand> {
        let command: Vec<OsString> = command.iter().map(Into::into).collect();
        let env = env.iter().map(|entry| Zeroizing::new(entry.to_vec())).collect();
        PreparedCommand::new(&command, env, path.map(OsStr::new))
    }

    #[test]
    fn new_searches_path_only_for_bare_names() {
        for (name, path, places) in [
            ("/bin/x", Some("/a:/b"), &["/bin/x"][..]),
            ("./x", None, &["./x"]),
            ("x/", Some("/a"), &["x/"]),
            ("x", Some("/a:/b"), &["/a/x", "/b/x"]),
            ("x", Some(":/b:"), &["x", "/b/x", "x"]),
            ("x", Some(""), &["x"]),
            ("x", None, &["/bin/x", "/usr/bin/x"]),
        ] {
            let found = program(&[name], &[], path).unwrap();
            let found: Vec<_> = found.candidates.iter().map(|place| place.to_str().unwrap()).collect();
            assert_eq!(found, places, "{name} {path:?}");
        }
    }

    #[test]
    fn new_rejects_nul_bytes_and_empty_commands() {
        for (command, env) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["x\0y"], &[]),
            (&["x", "a\0b"], &[]),
            (&["x"], &[&b"A=1"[..]]),
            (&["x"], &[b"A=1\x00B\0"]),
            (&["x"], &[b""]),
        ] {
            assert!(program(command, env, None).is_err(), "{command:?} {env:?}");
        }
        let shown = format!("{:?}", program(&["x", "hunter2"], &[b"A=hunter2\0"], None).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn limit_of_clamps_a_quarter_of_the_stack() {
        for (stack, limit) in [
            (0, 128 << 10),
            (512 << 10, 128 << 10),
            (8 << 20, 2 << 20),
            (24 << 20, 6 << 20),
            (64 << 20, 6 << 20),
            (u64::MAX, 6 << 20),
        ] {
            assert_eq!(limit_of(stack), limit, "{stack}");
        }
    }

    /// The kernel accepts the allowed size. It refuses one byte more in a variable, or 4 KiB more
    /// in all.
    #[test]
    fn kernel_executes_up_to_the_limit_and_no_more() {
        let ran = |lens: &[usize]| {
            let entries: Vec<String> = (0..lens.len()).map(|at| format!("V{at:03}")).collect();
            let entries =
                entries.iter().zip(lens).map(|(name, len)| (name, "x".repeat(len - name.len() - 1)));
            let entries: Vec<_> = entries.collect();
            let raw: Vec<Vec<u8>> =
                entries.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect();
            let raw: Vec<&[u8]> = raw.iter().map(Vec::as_slice).collect();
            let size = program(&["/bin/true"], &raw, None).unwrap().size();
            match std::process::Command::new("/bin/true").env_clear().envs(entries).status() {
                Ok(status) => (size, status.success()),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ArgumentListTooLong);
                    (size, false)
                }
            }
        };
        assert!(ran(&[MAX_VARIABLE]).1);
        assert!(!ran(&[MAX_VARIABLE + 1]).1, "one byte more");
        let (empty, _) = ran(&[]);
        let full = |limit: usize| {
            let mut lens = vec![100_000; (limit - empty) / (100_000 + COUNTED_PER_STRING)];
            lens.push((limit - empty) % (100_000 + COUNTED_PER_STRING) - COUNTED_PER_STRING);
            ran(&lens)
        };
        assert_eq!(full(execution_limit()), (execution_limit(), true));
        assert_eq!(full(execution_limit() + 4096), (execution_limit() + 4096, false));
    }

    #[test]
    fn pass_uses_numbers_above_those_of_scripts() {
        let mut program = program(&["x"], &[], None).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(program.pass(&reader.into()).unwrap() >= 100);
        assert!(program.pass(&writer.into()).unwrap() > 100);
    }
}
