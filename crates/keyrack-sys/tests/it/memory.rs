//! Secret pages as the kernel sees them.

use std::os::unix::process::CommandExt;
use std::process::Command;

use keyrack_sys::memory::{Budget, MemoryError, MemoryMode, ModeRequest, Partition, Pool, PooledSecret};
use keyrack_testkit::{Need, can_run};
use nix::sys::resource::{Resource, setrlimit};

use crate::support::{again, become_stranger, exit_code, forked, in_child, refuse, role};

const KIB: u64 = 1024;
const MIB: usize = 1024 * 1024;

fn pool(mode: MemoryMode) -> Pool {
    Pool::new(ModeRequest::Require(mode), Budget::default()).unwrap()
}

/// Returns `true` if this mode works here; prints so if not.
fn can_have(test: &str, mode: MemoryMode) -> bool {
    let works = Pool::new(ModeRequest::Require(mode), Budget::default()).is_ok();
    let what = match mode {
        MemoryMode::Secret => "memfd_secret, and memory that may be locked",
        MemoryMode::Locked => "memory that may be locked",
        MemoryMode::Unlocked => "memory",
    };
    can_run(test, &[Need::That(works, what)])
}

fn address(secret: &PooledSecret) -> usize {
    secret.with(|bytes| bytes.as_ptr().addr()).unwrap()
}

/// The `VmFlags` of the mapping an address lies in (`proc_pid_smaps(5)`).
fn flags(address: usize) -> Vec<String> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
            && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
        {
            inside = (from..to).contains(&address);
        }
        if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split_whitespace().map(str::to_owned).collect();
        }
    }
    panic!("no mapping holds {address:x}");
}

/// A field of `/proc/self/status`, in KiB.
fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn kernel_confirms_the_protection_of_each_mode() {
    // dd: not dumped. lo: locked. wf: zeros in a forked child. dc: not there at all.
    for (mode, expected) in [
        (MemoryMode::Secret, ["dd", "lo", "dc"]),
        (MemoryMode::Locked, ["dd", "lo", "wf"]),
        (MemoryMode::Unlocked, ["dd", "wf", ""]),
    ] {
        if !can_have("kernel_confirms_the_protection_of_each_mode", mode) {
            continue;
        }
        // Locking needs room under the limit: 64 KiB for each slab, and 200 KiB.
        let pool = pool(mode);
        assert_eq!(pool.mode(), mode);
        let mut buffer = pool.buffer(MIB);
        buffer.extend(b"x").unwrap();
        let buffer_at = buffer.filled().as_ptr().addr();
        for secret in [pool.store(&[1; 32]), pool.store(&[1; 10_000]), pool.store(&[1; 200_000])] {
            let secret = secret.unwrap();
            for at in [address(&secret), address(&secret) + secret.len() - 1, buffer_at] {
                let flags = flags(at);
                for flag in ["dd", "lo", "wf", "dc"] {
                    let has = flags.iter().any(|other| other == flag);
                    assert_eq!(has, expected.contains(&flag), "{mode:?} {flag}: {flags:?}");
                }
            }
        }
    }
}

#[test]
fn forked_child_sees_zeros_in_locked_pages() {
    for mode in [MemoryMode::Locked, MemoryMode::Unlocked] {
        let pool = pool(mode);
        let mut buffer = pool.buffer(MIB);
        buffer.extend(b"hunter2").unwrap();
        let secrets = [pool.store(b"hunter2").unwrap(), pool.store(&[b'h'; 100_000]).unwrap()];
        let at: Vec<*const u8> = secrets
            .iter()
            .map(|s| s.with(<[u8]>::as_ptr).unwrap())
            .chain([buffer.filled().as_ptr()])
            .collect();
        // SAFETY: the pages are mapped in the child as in the parent, where secrets and buffer are
        // alive.
        let seen = |at: &*const u8| unsafe { at.read_volatile() };
        assert!(at.iter().all(|at| seen(at) == b'h'));
        let child = forked(|| u8::from(at.iter().all(|at| seen(at) == 0)));
        assert_eq!(exit_code(child), 1, "{mode:?}");
        assert!(at.iter().all(|at| seen(at) == b'h'));
    }
}

/// Runs a test's body in a child as an ordinary user with this RLIMIT_MEMLOCK.
fn as_stranger_with(test: &str, memlock: u64, body: impl FnOnce()) {
    if !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        setrlimit(Resource::RLIMIT_MEMLOCK, memlock, memlock).unwrap();
        become_stranger();
        body();
    });
}

/// Returns `true` if the page at this address belongs to this process. Allocates nothing.
fn is_mapped(at: *const u8) -> bool {
    let page = at.map_addr(|at| at & !4095).cast_mut().cast();
    let mut resident = 0_u8;
    // SAFETY: mincore only says of the range whether it is there, in the one byte it is given for
    // one page.
    unsafe { libc::mincore(page, 4096, &raw mut resident) == 0 }
}

#[test]
fn forked_child_has_no_secret_pages() {
    if !can_have("forked_child_has_no_secret_pages", MemoryMode::Secret) {
        return;
    }
    let pool = pool(MemoryMode::Secret);
    let mut buffer = pool.buffer(MIB);
    buffer.extend(b"hunter2").unwrap();
    // A slot of a slab, a mapping of its own of many pages, and a request's page.
    let secrets = [pool.store(b"hunter2").unwrap(), pool.store(&[b'h'; 200_000]).unwrap()];
    let large = address(&secrets[1]);
    let at: Vec<*const u8> = secrets
        .iter()
        .map(|s| s.with(<[u8]>::as_ptr).unwrap())
        .chain([buffer.filled().as_ptr(), std::ptr::without_provenance(large + 199_999)])
        .collect();
    assert!(at.iter().all(|at| is_mapped(*at)), "the looking works");
    let child = forked(|| u8::from(at.iter().all(|at| !is_mapped(*at))));
    assert_eq!(exit_code(child), 1);
    assert!(secrets.iter().all(|secret| secret.with(|bytes| bytes[0]) == Some(b'h')), "ours are untouched");
}

#[test]
fn secret_pages_cannot_be_read_from_outside() {
    use std::os::unix::fs::FileExt;

    if !can_have("secret_pages_cannot_be_read_from_outside", MemoryMode::Secret) {
        return;
    }
    // The process itself may open this even where others may not, and the kernel reads it the same
    // way for root.
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let own = std::process::id().cast_signed();
    for (mode, readable) in [(MemoryMode::Secret, false), (MemoryMode::Unlocked, true)] {
        let pool = pool(mode);
        let secret = pool.store(b"hunter2").unwrap();
        let at = address(&secret);
        let mut seen = [0; 7];
        let read = memory.read_at(&mut seen, at as u64).is_ok() && &seen == b"hunter2";
        assert_eq!(read, readable, "/proc/self/mem, {mode:?}");

        let mut seen = [0_u8; 7];
        let local = libc::iovec { iov_base: seen.as_mut_ptr().cast(), iov_len: 7 };
        let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(at), iov_len: 7 };
        // SAFETY: writes at most seven bytes, into the array.
        let came = unsafe { libc::process_vm_readv(own, &raw const local, 1, &raw const remote, 1, 0) };
        assert_eq!(came == 7 && &seen == b"hunter2", readable, "process_vm_readv, {mode:?}");
    }
}

/// The pages are the process's own all the same: sockets and files take bytes from them and put
/// bytes into them.
#[test]
fn secret_pages_work_with_read_and_write() {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    if !can_have("secret_pages_work_with_read_and_write", MemoryMode::Secret) {
        return;
    }
    let pool = pool(MemoryMode::Secret);
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"hunter2").unwrap();
    let mut buffer = pool.buffer(MIB);
    buffer.ensure_spare(1).unwrap();
    assert_eq!(buffer.receive(ours.as_fd(), 100).unwrap(), (7, None));
    let secret = pool.store(buffer.filled()).unwrap();
    secret.with(|bytes| (&ours).write_all(bytes)).unwrap().unwrap();
    let mut back = [0; 7];
    theirs.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hunter2");
}

#[test]
fn freed_secret_pages_are_unmapped_without_an_open_descriptor() {
    if !can_have("freed_secret_pages_are_unmapped_without_an_open_descriptor", MemoryMode::Secret) {
        return;
    }
    let test = "memory::freed_secret_pages_are_unmapped_without_an_open_descriptor";
    in_child(test, || {
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = (descriptors(), status("VmLck"));
        let pool = pool(MemoryMode::Secret);
        for _ in 0..20 {
            let secrets: Vec<PooledSecret> = (0..50).map(|_| pool.store(&[1; 20_000]).unwrap()).collect();
            let _large = pool.store(&vec![1; MIB]).unwrap();
            assert_eq!(descriptors(), before.0);
            // Three to a slab, and one of its own.
            assert_eq!(status("VmLck") - before.1, 17 * 64 + 1024);
            drop(secrets);
        }
        assert_eq!(pool.usage().store, 64 * 1024);
        drop(pool);
        assert_eq!((descriptors(), status("VmLck")), before);
    });
}

#[test]
fn without_memfd_secret_mode_is_locked_with_a_reason() {
    for (number, argument, errno, said) in [
        (libc::SYS_memfd_secret, None, libc::ENOSYS, "has no memfd_secret"),
        (libc::SYS_memfd_secret, None, libc::EPERM, "not permitted"),
        (libc::SYS_madvise, Some((2, 10)), libc::EINVAL, "cannot be used: Invalid argument"),
    ] {
        // A filter is for life: a thread of its own takes it along into its grave.
        std::thread::spawn(move || {
            refuse(number, argument, errno);
            let refused = Pool::new(ModeRequest::Require(MemoryMode::Secret), Budget::default()).unwrap_err();
            let text = refused.to_string();
            assert!(text.starts_with("no secret memory: ") && text.contains(said), "{text}");
            let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
            assert_ne!(pool.mode(), MemoryMode::Secret);
            assert!(pool.lacks(MemoryMode::Secret).is_some());
            assert_eq!(pool.store(b"x").unwrap().with(|b| b == b"x"), Some(true));
        })
        .join()
        .unwrap();
    }
}

/// Answers of kernels, and of filters of containers, to the calls that a pool makes to lock memory.
#[test]
fn lock_probe_asks_what_a_pool_does() {
    const NONE: u32 = libc::PROT_NONE.cast_unsigned();
    const ON_FAULT: u32 = libc::MLOCK_ONFAULT;
    type Refused = (libc::c_long, Option<(u32, u32)>, i32);
    let cases: [(&str, &[Refused], Result<usize, &str>); 6] = [
        ("as it is", &[], Ok(64 * MIB)),
        // Not the locking of such a mapping is refused here, as it is there, but the mapping.
        ("up to 5.15, without access", &[(libc::SYS_mmap, Some((2, NONE)), libc::ENOMEM)], Ok(64 * MIB)),
        ("no MLOCK_ONFAULT", &[(libc::SYS_mlock2, Some((2, ON_FAULT)), libc::EINVAL)], Ok(MIB)),
        ("no mlock2", &[(libc::SYS_mlock2, None, libc::ENOSYS)], Ok(MIB)),
        ("no memory for mlock2", &[(libc::SYS_mlock2, None, libc::ENOMEM)], Ok(MIB)),
        (
            "neither",
            &[(libc::SYS_mlock2, None, libc::EPERM), (libc::SYS_mlock, None, libc::EPERM)],
            Err("no locked memory: memory cannot be locked: Operation not permitted"),
        ),
    ];
    let test = "lock_probe_asks_what_a_pool_does";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    for (kernel, refused, expected) in cases {
        let found = std::thread::spawn(move || {
            for &(number, argument, errno) in refused {
                refuse(number, argument, errno);
            }
            let pool = Pool::new(ModeRequest::Require(MemoryMode::Locked), Budget::default())?;
            assert_eq!(pool.store(b"x").expect("room").with(|b| b == b"x"), Some(true));
            Ok::<_, MemoryError>(pool.usage().store_limit + pool.usage().requests_limit)
        });
        let found = found.join().unwrap().map_err(|error| error.to_string());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{kernel}"),
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{kernel}: {found}"),
            _ => panic!("{kernel}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn with_zero_file_size_mode_is_locked_with_a_reason() {
    if !can_have("with_zero_file_size_mode_is_locked_with_a_reason", MemoryMode::Secret) {
        return;
    }
    in_child("memory::with_zero_file_size_mode_is_locked_with_a_reason", || {
        keyrack_sys::hardening::no_file_size_signal().unwrap();
        // The output of this child is a pipe, which is not a file that grows.
        setrlimit(Resource::RLIMIT_FSIZE, 64 * KIB, 64 * KIB).unwrap();
        let refused = Pool::new(ModeRequest::Require(MemoryMode::Secret), Budget::default()).unwrap_err();
        assert!(refused.to_string().contains("RLIMIT_FSIZE"), "{refused}");
        assert_ne!(Pool::new(ModeRequest::Auto, Budget::default()).unwrap().mode(), MemoryMode::Secret);
    });
}

#[test]
fn with_little_lockable_memory_mode_is_unlocked_with_a_reason() {
    as_stranger_with("memory::with_little_lockable_memory_mode_is_unlocked_with_a_reason", 64 * KIB, || {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!(pool.mode(), MemoryMode::Unlocked);
        let lacks = pool.lacks(MemoryMode::Locked).unwrap();
        assert!(lacks.starts_with("RLIMIT_MEMLOCK is 64 KiB"), "{lacks}");
        assert!(pool.lacks(MemoryMode::Secret).is_some());
        assert_eq!(pool.store(b"x").unwrap().with(|b| b == b"x"), Some(true));
        assert_eq!(pool.usage().store_limit, 48 * MIB);

        let refused = Pool::new(ModeRequest::Require(MemoryMode::Locked), Budget::default()).unwrap_err();
        assert_eq!(refused, MemoryError::Unavailable { mode: MemoryMode::Locked, lacks: lacks.to_owned() });
        assert!(refused.to_string().starts_with("no locked memory: RLIMIT_MEMLOCK is 64 KiB"), "{refused}");
        // Of what may be locked, and not of what the kernel has.
        let refused = Pool::new(ModeRequest::Require(MemoryMode::Secret), Budget::default()).unwrap_err();
        let MemoryError::Unavailable { mode: MemoryMode::Secret, lacks } = refused else {
            panic!("{refused}")
        };
        assert!(lacks.contains("RLIMIT_MEMLOCK is 64 KiB") || lacks.contains("memfd_secret"), "{lacks}");
    });
}

#[test]
fn with_no_lockable_memory_mode_is_unlocked() {
    as_stranger_with("memory::with_no_lockable_memory_mode_is_unlocked", 0, || {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!(pool.mode(), MemoryMode::Unlocked);
        assert!(pool.lacks(MemoryMode::Locked).unwrap().starts_with("RLIMIT_MEMLOCK is 0 KiB"));
    });
}

fn the_limit_is_the_budget(mode: MemoryMode) {
    let pool = pool(mode);
    assert_eq!(pool.mode(), mode);
    let usage = pool.usage();
    assert_eq!((usage.store_limit, usage.requests_limit), (3 * MIB / 2, MIB / 2));

    let mut kept = Vec::new();
    let error = loop {
        match pool.store(&[1; 5000]) {
            Ok(secret) => kept.push(secret),
            Err(error) => break error,
        }
    };
    // Our own count said so, not the kernel; and requests still have all of theirs.
    assert_eq!((error.partition, error.is_denied_by_kernel()), (Partition::Store, false));
    let mut buffer = pool.buffer(MIB);
    buffer.extend(&vec![1; MIB / 2]).unwrap();
    assert_eq!(status("VmLck"), 2048);
    assert!(kept.iter().all(|secret| secret.with(|b| b == [1; 5000]) == Some(true)));

    // The limit is lowered: the kernel's error is passed on, and stored secrets stay.
    drop(buffer);
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
    let refused = pool.buffer(MIB).extend(&vec![1; MIB / 2]).unwrap_err();
    assert_eq!(refused.partition, Partition::Requests);
    assert!(refused.is_denied_by_kernel(), "{refused:?}");
    let reasons = [libc::ENOMEM, libc::EPERM, libc::EAGAIN].map(std::io::Error::from_raw_os_error);
    let message = refused.to_string();
    assert!(reasons.iter().any(|reason| message.ends_with(&reason.to_string())), "{message}");
    assert!(kept.iter().all(|secret| secret.with(|b| b == [1; 5000]) == Some(true)));
}

#[test]
fn budget_shrinks_to_the_memlock_limit() {
    as_stranger_with("memory::budget_shrinks_to_the_memlock_limit", 2048 * KIB, || {
        the_limit_is_the_budget(MemoryMode::Locked);
    });
}

#[test]
fn budget_of_secret_pages_shrinks_to_the_memlock_limit() {
    if can_have("budget_of_secret_pages_shrinks_to_the_memlock_limit", MemoryMode::Secret) {
        as_stranger_with("memory::budget_of_secret_pages_shrinks_to_the_memlock_limit", 2048 * KIB, || {
            the_limit_is_the_budget(MemoryMode::Secret);
        });
    }
}

#[test]
fn memory_that_is_locked_already_is_not_counted() {
    as_stranger_with("memory::memory_that_is_locked_already_is_not_counted", 4096 * KIB, || {
        let first = Pool::new(ModeRequest::Require(MemoryMode::Locked), Budget::default()).unwrap();
        let _held = first.store(&vec![1; MIB]).unwrap();
        for request in [ModeRequest::Auto, ModeRequest::Require(MemoryMode::Locked)] {
            let second = Pool::new(request, Budget::default()).unwrap();
            assert_ne!(second.mode(), MemoryMode::Unlocked);
            let usage = second.usage();
            assert_eq!(usage.store_limit + usage.requests_limit, 3 * MIB, "{request:?}");
        }
    });
}

#[test]
fn probe_leaves_nothing_locked() {
    in_child("memory::probe_leaves_nothing_locked", || {
        // What a first use leaves, such as the descriptor of /proc, is there before.
        drop(Pool::new(ModeRequest::Auto, Budget::default()).unwrap());
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = (status("VmLck"), status("VmSize"), descriptors());
        let _pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!((status("VmLck"), status("VmSize"), descriptors()), before);
    });
}

#[test]
fn many_secrets_use_little_memory_of_the_process() {
    in_child("memory::many_secrets_use_little_memory_of_the_process", || {
        let pool = Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::default()).unwrap();
        let before = status("VmRSS");
        let mut secrets = Vec::with_capacity(100_000);
        secrets.extend((0..100_000_u32).map(|n| pool.store(&[n.to_le_bytes()[0]; 32]).unwrap()));
        // 3.1 MiB of content, 1.5 of handles, 1.5 of entries (room for twice that may be touched
        // while it grows).
        let grown = status("VmRSS") - before;
        assert!(grown < 8 * 1024, "{grown} KiB");
        drop(secrets);
    });
}

#[test]
fn read_of_a_secret_takes_well_under_a_microsecond() {
    // The strongest mode there is: reading costs the same in any.
    let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
    let secrets: Vec<PooledSecret> =
        (0..1000_u32).map(|n| pool.store(&n.to_le_bytes().repeat(8)).unwrap()).collect();
    let rounds = 50;
    let best = (0..rounds)
        .map(|_| {
            let start = std::time::Instant::now();
            let sum: usize = secrets.iter().map(|s| s.with(|bytes| usize::from(bytes[0])).unwrap()).sum();
            std::hint::black_box(sum);
            start.elapsed() / 1000
        })
        .min()
        .unwrap();
    // About 60 ns when optimized; the bar leaves room for builds that are not.
    assert!(best.as_nanos() < 1000, "{best:?}");
}

#[test]
fn wipe_and_exit_ends_the_process() {
    let test = "memory::wipe_and_exit_ends_the_process";
    if role().is_some() {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        let _secret = pool.store(b"x").unwrap();
        std::panic::set_hook(Box::new(move |_| pool.wipe_and_exit(70)));
        panic!("the hook ends the process");
    }
    assert_eq!(again(test, "panicking").output().unwrap().status.code(), Some(70));
}

#[test]
fn a_dump_of_the_process_has_no_secret() {
    let test = "memory::a_dump_of_the_process_has_no_secret";
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    // A pipe or another directory is the machine's own business.
    let here = Need::That(pattern.starts_with("core"), "core dumps written to the working directory");
    if !can_run(test, &[Need::Root, here]) {
        return;
    }
    if role().is_some() {
        let pool = pool(MemoryMode::Unlocked);
        // Built here, so that the image of the program does not have it whole.
        let needle: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(37) ^ 0x5a).collect();
        let open: &'static [u8] = needle.leak();
        let _secret = pool
            .store_with(64, |slot| (0..64_u8).zip(slot).for_each(|(n, b)| *b = n.wrapping_mul(37) ^ 0xa5));
        std::hint::black_box(open);
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child: Command = again(test, "dumped");
    child.current_dir(dir.path());
    // SAFETY: setrlimit is async-signal-safe.
    unsafe {
        child.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_CORE, libc::RLIM_INFINITY, libc::RLIM_INFINITY)?));
    }
    child.output().unwrap();
    let core = std::fs::read_dir(dir.path()).unwrap().next().expect("a core file").unwrap().path();
    let core = std::fs::read(core).unwrap();
    let contains = |mask: u8| {
        let needle: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(37) ^ mask).collect();
        core.windows(64).any(|window| window == needle)
    };
    assert!(contains(0x5a), "the dump lacks even what is open");
    assert!(!contains(0xa5), "the secret is in the dump");
}
