//! Secret pages as the kernel sees them.

use std::os::unix::process::CommandExt;
use std::process::Command;

use keyrack_sys::memory::{Budget, MemoryError, Mode, ModeRequest, Pool, Secret, Share};
use keyrack_testkit::{Need, can_run};
use nix::sys::resource::{Resource, setrlimit};

use crate::support::{again, become_stranger, exit_code, forked, in_child, role};

const KIB: u64 = 1024;
const MIB: usize = 1024 * 1024;

fn pool(mode: Mode) -> Pool {
    Pool::new(ModeRequest::Require(mode), Budget::default()).unwrap()
}

fn address(secret: &Secret) -> usize {
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
fn the_kernel_confirms_what_the_mode_says() {
    // Locking needs room under the limit: 64 KiB for each slab, and 200 KiB.
    for (mode, locked) in [(Mode::Locked, true), (Mode::Unlocked, false)] {
        let pool = pool(mode);
        assert_eq!(pool.mode(), mode);
        let mut buffer = pool.buffer(MIB);
        buffer.extend(b"x").unwrap();
        let buffer_at = buffer.filled().as_ptr().addr();
        for secret in [pool.store(&[1; 32]), pool.store(&[1; 10_000]), pool.store(&[1; 200_000])] {
            let secret = secret.unwrap();
            for at in [address(&secret), address(&secret) + secret.len() - 1, buffer_at] {
                let flags = flags(at);
                let has = |flag: &str| flags.iter().any(|other| other == flag);
                // dd: not dumped. wf: wiped on fork. lo: locked.
                assert!(has("dd") && has("wf"), "{mode:?}: {flags:?}");
                assert_eq!(has("lo"), locked, "{mode:?}: {flags:?}");
            }
        }
    }
}

#[test]
fn a_forked_child_sees_zeros() {
    for mode in [Mode::Locked, Mode::Unlocked] {
        let pool = pool(mode);
        let mut buffer = pool.buffer(MIB);
        buffer.extend(b"hunter2").unwrap();
        let secrets = [pool.store(b"hunter2").unwrap(), pool.store(&[b'h'; 100_000]).unwrap()];
        let at: Vec<*const u8> = secrets
            .iter()
            .map(|s| s.with(<[u8]>::as_ptr).unwrap())
            .chain([buffer.filled().as_ptr()])
            .collect();
        // SAFETY: the pages are mapped in the child as in the parent, where secrets and buffer are alive.
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

#[test]
fn with_little_to_lock_it_works_unlocked_and_says_so() {
    as_stranger_with("memory::with_little_to_lock_it_works_unlocked_and_says_so", 64 * KIB, || {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!(pool.mode(), Mode::Unlocked);
        let lacks = pool.lacks().unwrap();
        assert!(lacks.starts_with("RLIMIT_MEMLOCK is 64 KiB"), "{lacks}");
        assert_eq!(pool.store(b"x").unwrap().with(|b| b == b"x"), Some(true));
        assert_eq!(pool.usage().store_limit, 48 * MIB);

        let refused = Pool::new(ModeRequest::Require(Mode::Locked), Budget::default()).unwrap_err();
        assert_eq!(refused, MemoryError::Unavailable { mode: Mode::Locked, lacks: lacks.to_owned() });
        assert!(refused.to_string().starts_with("no locked memory: RLIMIT_MEMLOCK is 64 KiB"), "{refused}");
    });
}

#[test]
fn with_nothing_to_lock_it_works_unlocked() {
    as_stranger_with("memory::with_nothing_to_lock_it_works_unlocked", 0, || {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!(pool.mode(), Mode::Unlocked);
        assert!(pool.lacks().unwrap().starts_with("RLIMIT_MEMLOCK is 0 KiB"));
    });
}

#[test]
fn the_limit_is_the_budget_and_is_never_met_by_surprise() {
    as_stranger_with("memory::the_limit_is_the_budget_and_is_never_met_by_surprise", 2048 * KIB, || {
        let pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!((pool.mode(), pool.lacks()), (Mode::Locked, None));
        let usage = pool.usage();
        assert_eq!((usage.store_limit, usage.requests_limit), (3 * MIB / 2, MIB / 2));

        let mut kept = Vec::new();
        let full = loop {
            match pool.store(&[1; 5000]) {
                Ok(secret) => kept.push(secret),
                Err(full) => break full,
            }
        };
        // Our own count said so, not the kernel; and requests still have all of theirs.
        assert_eq!((full.share, full.errno), (Share::Store, None));
        let mut buffer = pool.buffer(MIB);
        buffer.extend(&vec![1; MIB / 2]).unwrap();
        assert_eq!(status("VmLck"), 2048);
        assert!(kept.iter().all(|secret| secret.with(|b| b == [1; 5000]) == Some(true)));

        // Somebody lowers the limit: the kernel's word is passed on, and what is stored stays.
        drop(buffer);
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).unwrap();
        let refused = pool.buffer(MIB).extend(&vec![1; MIB / 2]).unwrap_err();
        assert_eq!(refused.share, Share::Requests);
        assert!(matches!(refused.errno, Some(libc::ENOMEM | libc::EPERM | libc::EAGAIN)), "{refused:?}");
        assert!(kept.iter().all(|secret| secret.with(|b| b == [1; 5000]) == Some(true)));
    });
}

#[test]
fn what_others_have_locked_is_not_counted_on() {
    as_stranger_with("memory::what_others_have_locked_is_not_counted_on", 4096 * KIB, || {
        let first = Pool::new(ModeRequest::Require(Mode::Locked), Budget::default()).unwrap();
        let _held = first.store(&vec![1; MIB]).unwrap();
        let second = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!(second.mode(), Mode::Locked);
        let usage = second.usage();
        assert_eq!(usage.store_limit + usage.requests_limit, 3 * MIB);
    });
}

#[test]
fn probing_leaves_nothing_locked() {
    in_child("memory::probing_leaves_nothing_locked", || {
        let before = (status("VmLck"), status("VmSize"));
        let _pool = Pool::new(ModeRequest::Auto, Budget::default()).unwrap();
        assert_eq!((status("VmLck"), status("VmSize")), before);
    });
}

#[test]
fn many_secrets_stay_small_in_the_whole_process() {
    in_child("memory::many_secrets_stay_small_in_the_whole_process", || {
        let pool = Pool::new(ModeRequest::Require(Mode::Unlocked), Budget::default()).unwrap();
        let before = status("VmRSS");
        let mut secrets = Vec::with_capacity(100_000);
        secrets.extend((0..100_000_u32).map(|n| pool.store(&[n.to_le_bytes()[0]; 32]).unwrap()));
        // 3.1 MiB of content, 1.5 of handles, 1.5 of entries (room for twice that may be touched while it grows).
        let grown = status("VmRSS") - before;
        assert!(grown < 8 * 1024, "{grown} KiB");
        drop(secrets);
    });
}

#[test]
fn a_read_costs_well_under_a_microsecond() {
    let pool = pool(Mode::Unlocked);
    let secrets: Vec<Secret> =
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
    // About 60 ns when optimised; the bar leaves room for builds that are not.
    assert!(best.as_nanos() < 1000, "{best:?}");
}

#[test]
fn wiping_at_the_end_ends_the_process() {
    let test = "memory::wiping_at_the_end_ends_the_process";
    if role().is_some() {
        let pool = pool(Mode::Unlocked);
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
        let pool = pool(Mode::Unlocked);
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
