//! Hardening, each measure in a child and read back there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use keyrack_sys::hardening::{
    HardeningMeasure, close_inherited, deny_write_exec, hidepid, no_core, no_new_privs, not_dumpable,
    raise_limits, readback, scrub_environment, tracer_pid,
};
use keyrack_sys::process::pid::Pid;
use keyrack_sys::{peer, user};
use keyrack_testkit::{Need, can_run};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{again, assert_passed, become_stranger, exit_code, forked, in_child, refuse, role};

fn measure(name: &str) -> HardeningMeasure {
    readback().into_iter().find(|measure| measure.name == name).unwrap()
}

#[test]
fn readback_shows_each_measure_off_before_and_on_after() {
    in_child("hardening::readback_shows_each_measure_off_before_and_on_after", || {
        type Step = fn() -> io::Result<()>;
        let steps: [(&str, Step); 4] = [
            ("not_dumpable", not_dumpable),
            ("no_core", no_core),
            ("no_new_privs", no_new_privs),
            ("deny_write_exec", deny_write_exec),
        ];
        setrlimit(Resource::RLIMIT_CORE, 0, getrlimit(Resource::RLIMIT_CORE).unwrap().1.max(1)).unwrap();
        for (name, step) in steps {
            let before = measure(name);
            assert!(!before.on && before.detail.is_some(), "{before:?}");
            step().unwrap();
            assert_eq!(measure(name), HardeningMeasure { name, on: true, detail: None });
        }
        assert!(measure("not_traced").on);
        assert_eq!(readback().len(), 5);
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));

        let both = libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice overlaps nothing.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, both, flags, -1, 0) };
        assert_eq!((page, Errno::last()), (libc::MAP_FAILED, Errno::EACCES));
    });
}

#[test]
fn a_process_that_is_not_dumpable_keeps_its_memory_from_its_own_user() {
    let test = "hardening::a_process_that_is_not_dumpable_keeps_its_memory_from_its_own_user";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        become_stranger();
        // Changing user made the process not dumpable already.
        nix::sys::prctl::set_dumpable(true).unwrap();
        let own = std::process::id();
        let peek = || exit_code(forked(|| u8::from(open_path(own))));
        assert_eq!(peek(), 1, "another process of this user can read a dumpable one's memory");
        not_dumpable().unwrap();
        assert_eq!(peek(), 0);
        // What the daemon still needs of itself.
        assert_eq!(tracer_pid().unwrap(), None);
        assert!(peer::own_session().is_ok());
    });
}

/// Returns `true` if `/proc/<pid>/mem` opens. Does not allocate.
fn open_path(pid: u32) -> bool {
    let mut path = [0_u8; 32];
    io::Write::write_fmt(&mut &mut path[..], format_args!("/proc/{pid}/mem")).is_ok()
        // SAFETY: the path ends in NUL, as the buffer is longer than any such path.
        && unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY) } != -1
}

#[test]
fn tracer_pid_names_the_tracer() {
    tracer_pid().unwrap();
    // The tracer is the very thread that forks.
    let own = Pid::from_raw(nix::unistd::gettid().as_raw());
    // SAFETY: PTRACE_TRACEME takes no further arguments. The child allocates nothing after it, and
    // is not stopped by ending.
    let child = forked(|| match unsafe { libc::ptrace(libc::PTRACE_TRACEME) } {
        0 => u8::from(tracer_pid().ok() == Some(Some(own))),
        _ => 2,
    });
    assert_eq!(exit_code(child), 1);
}

#[test]
fn raise_limits_reaches_the_hard_limits() {
    in_child("hardening::raise_limits_reaches_the_hard_limits", || {
        setrlimit(Resource::RLIMIT_NOFILE, 64, 512).unwrap();
        setrlimit(Resource::RLIMIT_MEMLOCK, 4096, 65536).unwrap();
        let limits = raise_limits().unwrap();
        assert_eq!((limits.nofile, limits.memlock), (512, 65536));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (512, 512));
        assert_eq!(getrlimit(Resource::RLIMIT_MEMLOCK).unwrap(), (65536, 65536));
        assert_eq!(raise_limits().unwrap(), limits);
    });
}

#[test]
fn hidepid_of_this_proc_is_off() {
    // Where it does, keyrack cannot run at all.
    assert_eq!(hidepid().unwrap(), None);
}

#[test]
fn hidepid_is_found_on_a_hiding_proc() {
    let test = "hardening::hidepid_is_found_on_a_hiding_proc";
    if !can_run(test, &[Need::Root, Need::Program("unshare"), Need::Program("mount")]) {
        return;
    }
    if role().is_some() {
        assert_eq!(hidepid().unwrap().as_deref(), Some("invisible"));
        return;
    }
    let child = again(test, "hidden");
    let script = "mount -t proc -o hidepid=2 proc /proc && exec \"$0\" \"$@\"";
    let mut wrapped = std::process::Command::new("unshare");
    wrapped.args(["--mount", "--pid", "--fork", "sh", "-c", script]).arg(child.get_program());
    wrapped.args(child.get_args()).envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_passed(test, &wrapped.output().unwrap());
}

/// Before Linux 5.14 a process that is not dumpable may not look into its own `/proc/self/fdinfo`.
/// A directory without access takes its place here.
#[test]
fn hidepid_is_read_without_fdinfo() {
    let test = "hardening::hidepid_is_read_without_fdinfo";
    if !can_run(test, &[Need::Root, Need::Program("unshare"), Need::Program("mount")]) {
        return;
    }
    if role().is_some() {
        become_stranger();
        not_dumpable().unwrap();
        let closed = std::fs::read_dir("/proc/self/fdinfo").unwrap_err();
        assert_eq!(closed.kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(hidepid().unwrap(), None);
        return;
    }
    let child = again(test, "hidden");
    let script = "mount -t tmpfs -o mode=0 none /proc/$$/fdinfo && exec \"$0\" \"$@\"";
    let mut wrapped = std::process::Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", script]).arg(child.get_program());
    wrapped.args(child.get_args()).envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_passed(test, &wrapped.output().unwrap());
}

fn open_descriptors() -> Vec<i32> {
    (0..256)
        // SAFETY: F_GETFD by number touches no memory, and EBADF is an answer.
        .filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1)
        .collect()
}

fn close_all_but_one() {
    // Opens /proc, which must then survive.
    peer::own_session().ok();
    let files: Vec<OwnedFd> = (0..20).map(|_| OwnedFd::from(File::open("/dev/null").unwrap())).collect();
    let kept = files[7].as_fd();
    close_inherited(&[kept]).unwrap();
    let open = open_descriptors();
    assert!(open.contains(&kept.as_raw_fd()));
    assert!(open.starts_with(&[0, 1, 2]), "{open:?}");
    assert_eq!(open.len(), 5, "0, 1, 2, the kept one and /proc: {open:?}");
    assert!(peer::own_session().is_ok());
    // Their numbers may be others' by now.
    files.into_iter().for_each(std::mem::forget);
}

#[test]
fn close_inherited_keeps_only_named_descriptors() {
    in_child("hardening::close_inherited_keeps_only_named_descriptors", close_all_but_one);
}

#[test]
fn close_inherited_works_without_close_range() {
    in_child("hardening::close_inherited_works_without_close_range", || {
        refuse(libc::SYS_close_range, None, libc::ENOSYS);
        close_all_but_one();
    });
}

#[test]
fn scrub_environment_keeps_only_named_variables() {
    let test = "hardening::scrub_environment_keeps_only_named_variables";
    let variables = [("KEYRACK_A", "kept=as it is"), ("KEYRACK_AB", "a longer name"), ("TOKEN", "sentinel")];
    if role().is_none() {
        let output = again(test, "child").envs(variables).output().unwrap();
        return assert_passed(test, &output);
    }
    let block = || std::fs::read("/proc/self/environ").unwrap();
    let has = |what: &str| block().windows(what.len()).any(|window| window == what.as_bytes());
    // A test is never alone.
    assert!(scrub_environment(&["KEYRACK_A"]).is_err());
    assert!(has("sentinel") && std::env::var("TOKEN").is_ok());
    let code = exit_code(forked(|| {
        let scrubbed = scrub_environment(&["KEYRACK_A", "ABSENT"]).is_ok();
        let left: Vec<_> = std::env::vars().collect();
        let kept = left == [("KEYRACK_A".to_owned(), "kept=as it is".to_owned())];
        let gone = !has("sentinel") && !has("TOKEN") && !has("KEYRACK_AB") && has("KEYRACK_A=kept=as it is");
        u8::from(scrubbed) | u8::from(kept) << 1 | u8::from(gone) << 2
    }));
    assert_eq!(code, 0b111);
}

#[test]
fn effective_uid_follows_seteuid() {
    let test = "hardening::effective_uid_follows_seteuid";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        assert_eq!(user::effective_uid(), user::Uid::ROOT);
        let stranger = nix::unistd::Uid::from_raw(crate::support::STRANGER);
        nix::unistd::seteuid(stranger).unwrap();
        assert_eq!(user::effective_uid().as_raw(), crate::support::STRANGER);
    });
}
