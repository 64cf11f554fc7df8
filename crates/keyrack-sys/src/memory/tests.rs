//! The pool against simple models: nothing overlaps, nothing is forgotten, what is given back is
//! zero.
#![expect(clippy::cast_possible_truncation, reason = "test content is made of counters cut to a byte")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use keyrack_testkit::{Need, can_run};
use proptest::collection::vec;
use proptest::prelude::*;

use super::arena::{Allocation, Arena, SLAB};
use super::page::PAGE;
use super::*;

const MIB: usize = 1024 * 1024;

fn pool(total: usize) -> Pool {
    pool_of(MemoryMode::Unlocked, total)
}

fn pool_of(mode: MemoryMode, total: usize) -> Pool {
    let pool = Pool::new(ModeRequest::Require(mode), Budget::bytes(total)).unwrap();
    assert_eq!(pool.mode(), mode);
    pool
}

/// The modes that work here; says which do not.
fn modes(test: &str) -> Vec<MemoryMode> {
    let works = |mode: &MemoryMode| Pool::new(ModeRequest::Require(*mode), Budget::bytes(MIB)).is_ok();
    let needs = [
        Need::That(works(&MemoryMode::Locked), "1 MiB of memory that may be locked"),
        Need::That(works(&MemoryMode::Secret), "memfd_secret, and 1 MiB of memory that may be locked"),
    ];
    let _ = can_run(&format!("{test} (in every mode)"), &needs);
    [MemoryMode::Unlocked, MemoryMode::Locked, MemoryMode::Secret].into_iter().filter(works).collect()
}

fn any_mode() -> impl Strategy<Value = MemoryMode> {
    prop::sample::select(modes("properties"))
}

fn arena(limit: usize) -> Arena {
    Arena::new(Partition::Store, MemoryMode::Unlocked, limit)
}

#[expect(unsafe_code, reason = "the test looks at what was handed out")]
fn bytes<'a>(allocation: &Allocation) -> &'a mut [u8] {
    // SAFETY: the tests call this for grants in use alone, and hold one such slice at a time.
    unsafe { std::slice::from_raw_parts_mut(allocation.at.as_ptr(), allocation.capacity) }
}

#[expect(unsafe_code, reason = "the test holds no slice of what it gives back")]
fn give_back(arena: &mut Arena, allocation: &Allocation) {
    // SAFETY: each test gives each of its grants back once, and keeps no slice of it.
    unsafe { arena.give_back(allocation.id, usize::MAX) };
}

/// Lengths around every boundary there is: slots, pages, slabs.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1..300_usize,
        4 => 300..2100_usize,
        2 => 2000..20_000_usize,
        1 => 60_000..70_000_usize,
        1 => 70_000..300_000_usize,
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    GiveBack(prop::sample::Index),
}

fn steps(lengths: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Step>> {
    let give_back = any::<prop::sample::Index>().prop_map(Step::GiveBack);
    vec(prop_oneof![3 => lengths.prop_map(Step::Take), 2 => give_back], 1..250)
}

/// Either all lengths, or those with few slots in a page, so that many pages of one size fill and
/// empty.
fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![steps(length()), steps(prop::sample::select(&[1000_usize, 1300, 2000][..]))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn arena_hands_out_disjoint_zeros_within_its_limit(steps in any_steps()) {
        let mut arena = arena(2 * MIB);
        let mut held: Vec<(usize, Allocation, u8)> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(len) => match arena.allocate(len) {
                    Ok(allocation) => {
                        prop_assert!(allocation.capacity >= len);
                        prop_assert_eq!(allocation.at.addr().get() % 16, 0);
                        prop_assert_eq!(arena.at(allocation.id), allocation.at);
                        prop_assert!(bytes(&allocation).iter().all(|&b| b == 0), "handed out with something in it");
                        let mark = (n % 255) as u8 + 1;
                        bytes(&allocation).fill(mark);
                        held.push((len, allocation, mark));
                    }
                    Err(error) => {
                        prop_assert_eq!(error.errno, None);
                        // Full means full: at least a third of the limit is really in use.
                        prop_assert!(held.iter().map(|(len, ..)| len).sum::<usize>() + len > arena.limit() / 3);
                    }
                },
                Step::GiveBack(which) => if !held.is_empty() {
                    let (_, allocation, mark) = held.swap_remove(which.index(held.len()));
                    prop_assert!(bytes(&allocation).iter().all(|&b| b == mark), "another allocation wrote over it");
                    give_back(&mut arena, &allocation);
                }
            }
            let mut ranges: Vec<_> = held.iter().map(|(_, g, _)| (g.at.addr().get(), g.capacity)).collect();
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "two places overlap");
            prop_assert!(arena.mapped() <= arena.limit());
            prop_assert_eq!(arena.mapped(), arena.mappings().map(|m| m.len()).sum::<usize>());
        }
        for (_, allocation, mark) in held.drain(..) {
            prop_assert!(bytes(&allocation).iter().all(|&b| b == mark), "another allocation wrote over it");
            give_back(&mut arena, &allocation);
        }
        prop_assert!(arena.mapped() <= SLAB, "more than one spare slab was kept");
        prop_assert!(arena.mappings().all(super::mapping::Mapping::is_zero), "a free slab is not zero");
    }

    #[test]
    fn pool_agrees_with_a_map(
        mode in any_mode(),
        steps in vec((any::<u8>(), length(), any::<prop::sample::Index>()), 1..200),
    ) {
        let pool = pool_of(mode, 4 * MIB);
        let mut next = 0_u32;
        // Every handle with the number of its secret; the content of each secret that is not
        // erased.
        let mut handles: Vec<(u32, PooledSecret)> = Vec::new();
        let mut model: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for (kind, len, which) in steps {
            let at = (!handles.is_empty()).then(|| which.index(handles.len()));
            match (kind % 8, at) {
                (0..=3, _) | (_, None) => {
                    let content: Vec<u8> = (0..len).map(|n| (n as u32 ^ next) as u8).collect();
                    if let Ok(secret) = pool.store(&content) {
                        handles.push((next, secret));
                        model.insert(next, content);
                        next += 1;
                    }
                }
                (4, Some(at)) => handles.push(handles[at].clone()),
                (5, Some(at)) => {
                    handles[at].1.erase();
                    model.remove(&handles[at].0);
                }
                (_, Some(at)) => {
                    let (number, secret) = handles.swap_remove(at);
                    drop(secret);
                    if handles.iter().all(|(other, _)| *other != number) {
                        model.remove(&number);
                    }
                }
            }
            prop_assert_eq!(pool.usage().secrets, model.len());
            for (number, secret) in &handles {
                let same = secret.with(|bytes| Some(bytes) == model.get(number).map(Vec::as_slice));
                prop_assert_eq!(same, model.contains_key(number).then_some(true));
                prop_assert_eq!(secret.is_erased(), !model.contains_key(number));
            }
        }
        drop(handles);
        prop_assert_eq!(pool.usage().secrets, 0);
        prop_assert!(pool.usage().store <= SLAB);
        prop_assert!(pool.is_zero());
    }

    #[test]
    fn buffer_agrees_with_a_vec(mode in any_mode(), steps in vec((0..8_u8, 0..9000_usize), 1..60)) {
        const LIMIT: usize = 20_000;
        let pool = pool_of(mode, MIB);
        let mut buffer = pool.buffer(LIMIT);
        let mut model: Vec<u8> = Vec::new();
        for (kind, n) in steps {
            match kind {
                0 | 1 => {
                    let bytes: Vec<u8> = (0..n).map(|i| (i ^ n) as u8).collect();
                    match buffer.extend(&bytes) {
                        Ok(()) => model.extend(&bytes),
                        Err(error) => {
                            prop_assert_eq!(error.partition, Partition::Buffer);
                            prop_assert!(model.len() + n > LIMIT);
                        }
                    }
                }
                2 => {
                    let n = n.min(model.len());
                    buffer.consume(n);
                    model.drain(..n);
                }
                3 => match buffer.take_in(n) {
                    Some(id) => {
                        prop_assert!(id.iter().all(|&b| b == 0), "something was left behind the end");
                        id.fill(n as u8);
                        model.resize(model.len() + n, n as u8);
                    }
                    None => prop_assert!(n > buffer.room()),
                },
                4 => {
                    let (ours, mut theirs) = UnixStream::pair().unwrap();
                    theirs.write_all(&vec![7; n]).unwrap();
                    let most = n / 2 + 1;
                    let came = buffer.receive(ours.as_fd(), most).map(|(n, _)| n);
                    let expected = n.min(most).min(buffer.room() + came.as_ref().map_or(0, |n| *n));
                    match came {
                        Ok(came) => prop_assert_eq!(came, expected),
                        Err(error) => prop_assert!(n == 0 && error.kind() == ErrorKind::WouldBlock),
                    }
                    model.resize(model.len() + expected, 7);
                }
                // Looking at the room counts as writing to it.
                5 => prop_assert!(buffer.spare_mut().iter().all(|&b| b == 0), "something was left behind the end"),
                6 => {
                    buffer.shrink();
                    prop_assert!(model.len() > PAGE || buffer.filled().len() + buffer.room() <= PAGE);
                }
                _ if n < 500 => {
                    buffer.clear();
                    model.clear();
                }
                _ => {}
            }
            prop_assert_eq!(buffer.filled(), model.as_slice());
            prop_assert!(buffer.filled().len() + buffer.room() <= LIMIT);
        }
        drop(buffer);
        prop_assert!(pool.is_zero());
    }
}

#[test]
fn small_secrets_share_pages() {
    assert_eq!(size_of::<PooledSecret>(), 16);
    for (count, len, most) in [(10_000, 200, 2_200_000), (100_000, 32, 3_300_000), (1, 1, SLAB)] {
        let pool = pool(64 * MIB);
        let secrets: Vec<PooledSecret> =
            (0..count).map(|n: u32| pool.store(&vec![n as u8; len]).unwrap()).collect();
        let mapped = pool.usage().store;
        assert!(mapped <= most, "{count} of {len}: {mapped}");
        assert!(secrets.iter().zip(0_u32..).all(|(s, n)| s.with(|b| b == vec![n as u8; len]) == Some(true)));
        drop(secrets);
        assert!(pool.usage().store <= SLAB);
    }
}

#[test]
fn secrets_of_boundary_lengths_are_stored_whole() {
    for mode in modes("secrets_of_boundary_lengths_are_stored_whole") {
        let pool = pool_of(mode, 16 * MIB);
        for around in [0, 1, 16, 32, 208, 1024, 1360, 2048, PAGE, 2 * PAGE, SLAB, MIB, 2 * MIB] {
            for len in [around.saturating_sub(1), around, around + 1] {
                let content: Vec<u8> = (0..len).map(|n| (n % 251) as u8 + 1).collect();
                let secret = pool.store(&content).unwrap();
                assert_eq!(secret.len(), len);
                assert_eq!(secret.is_empty(), len == 0);
                assert_eq!(secret.with(|bytes| bytes == content), Some(true), "{len}");
                secret.erase();
                assert_eq!(secret.with(<[u8]>::len), None);
            }
        }
        assert!(pool.is_zero());
    }
}

#[test]
fn small_budget_holds_secrets_of_differing_sizes() {
    let pool = pool(Budget::LEAST);
    let secrets: Vec<PooledSecret> = (1..=60).map(|n| pool.store(&vec![1; n * 34]).unwrap()).collect();
    assert_eq!(secrets.len(), 60);
    assert!(pool.usage().store <= pool.usage().store_limit);
}

#[test]
fn out_of_memory_leaves_stored_secrets_untouched() {
    let pool = pool(Budget::LEAST);
    let mut kept = Vec::new();
    let error = loop {
        match pool.store(&[7; 1000]) {
            Ok(secret) => kept.push(secret),
            Err(error) => break error,
        }
    };
    assert_eq!(error, OutOfMemory { partition: Partition::Store, limit: 192 * 1024, errno: None });
    assert_eq!(kept.len(), 192 * 1024 / PAGE * 4);
    assert!(kept.iter().all(|secret| secret.with(|b| b == [7; 1000]) == Some(true)));
    assert!(pool.store(&[1; 200_000]).is_err());

    // A full store takes no room from requests.
    let mut buffer = pool.buffer(64 * 1024);
    buffer.extend(&[1; 64 * 1024]).unwrap();
    let mut second = pool.buffer(64 * 1024);
    let refused = second.extend(&[1]).unwrap_err();
    assert_eq!(refused, OutOfMemory { partition: Partition::Requests, limit: 64 * 1024, errno: None });
    drop(buffer);
    second.extend(&[1]).unwrap();

    // Nor do full requests take any from the store, and one that goes makes room for one.
    kept.pop();
    let again = pool.store(&[8; 1000]).unwrap();
    assert_eq!(again.with(|b| b == [8; 1000]), Some(true));
}

#[test]
fn allocation_without_a_free_page_uses_a_larger_slot() {
    let pool = pool(Budget::LEAST);
    let pages = 192 * 1024 / PAGE;
    let _runs: Vec<PooledSecret> = (1..pages).map(|_| pool.store(&[1; PAGE]).unwrap()).collect();
    let _one = pool.store(&[1; 2000]).unwrap();
    let other = pool.store(b"small").unwrap();
    assert_eq!(other.with(|b| b == b"small"), Some(true));
    assert!(pool.store(b"small").is_err());
    other.erase();
    assert!(pool.store(&[2; 1500]).is_ok());
}

#[test]
fn spare_slab_is_freed_for_a_large_value() {
    let pool = pool(Budget::LEAST);
    drop(pool.store(b"x").unwrap());
    assert_eq!(pool.usage().store, SLAB);
    let whole = pool.store(&vec![5; 192 * 1024]).unwrap();
    assert_eq!(pool.usage().store, 192 * 1024);
    drop(whole);
    assert_eq!(pool.usage().store, 0);
}

#[test]
fn absurd_length_is_rejected_before_anything_is_mapped() {
    let pool = pool(4 * MIB);
    for len in [usize::MAX, usize::MAX - PAGE, isize::MAX as usize, u32::MAX as usize + 1, 4 * MIB] {
        let refused = pool.store_with(len, |_| panic!("filled {len} bytes")).unwrap_err();
        assert_eq!(refused.partition, Partition::Store);
        let mut buffer = pool.buffer(usize::MAX);
        assert_eq!(buffer.ensure_spare(len).unwrap_err().partition, Partition::Requests);
    }
    assert_eq!((pool.usage().store, pool.usage().requests), (0, 0));
}

#[test]
fn erase_reaches_every_handle() {
    for mode in modes("erase_reaches_every_handle") {
        let pool = pool_of(mode, MIB);
        let secret = pool.store(b"hunter2").unwrap();
        let clone = secret.clone();
        clone.erase();
        assert!(secret.is_erased());
        assert_eq!(secret.with(|_| ()), None);
        assert!(pool.is_zero());
        // The slot is free for others while old handles live, and those do not see what comes
        // there.
        let other = pool.store(b"another").unwrap();
        assert_eq!(secret.with(|_| ()), None);
        secret.erase();
        drop((secret, clone));
        assert_eq!(other.with(|b| b == b"another"), Some(true));
    }
}

#[test]
fn erase_all_leaves_nothing() {
    for mode in modes("erase_all_leaves_nothing") {
        let pool = pool_of(mode, 4 * MIB);
        let secrets: Vec<PooledSecret> =
            (1..200).map(|n| pool.store(&vec![n as u8; n * 50]).unwrap()).collect();
        pool.erase_all();
        assert!(secrets.iter().all(|secret| secret.with(|_| ()).is_none()));
        assert!(pool.is_zero());
        assert_eq!(pool.usage().secrets, 0);
        assert!(pool.store(b"still works").is_ok());
    }
}

#[test]
fn closure_may_erase_the_secret_it_reads() {
    for mode in modes("closure_may_erase_the_secret_it_reads") {
        let pool = pool_of(mode, MIB);
        let secret = pool.store(b"hunter2").unwrap();
        let mut buffer = pool.buffer(PAGE);
        let copied = secret.with(|bytes| {
            let copy = pool.store(bytes).unwrap();
            buffer.extend(bytes).unwrap();
            secret.erase();
            assert_eq!(secret.with(|_| ()), None, "a later closure must not see it");
            assert_eq!(bytes, b"hunter2", "the bytes must stay as they are until the closure ends");
            copy
        });
        assert_eq!(copied.unwrap().with(|b| b == b"hunter2"), Some(true));
        assert_eq!(buffer.filled(), b"hunter2");
        drop(buffer);
        assert!(pool.is_zero(), "the wipe that was put off did not come");
    }
}

#[test]
fn panic_in_a_closure_unpins_the_secret() {
    for mode in modes("panic_in_a_closure_unpins_the_secret") {
        let pool = pool_of(mode, MIB);
        let secret = pool.store(b"hunter2").unwrap();
        catch_unwind(AssertUnwindSafe(|| secret.with(|_| panic!("while reading")))).unwrap_err();
        assert_eq!(secret.with(|b| b == b"hunter2"), Some(true));
        secret.erase();
        assert!(pool.is_zero(), "the panic left its pin behind");

        let fill = |slot: &mut [u8]| {
            slot.fill(9);
            panic!("while filling")
        };
        catch_unwind(AssertUnwindSafe(|| pool.store_with(100, fill))).unwrap_err();
        assert!(pool.is_zero());
        assert_eq!(pool.usage().secrets, 0);
    }
}

#[test]
fn pool_is_shared_by_threads() {
    for mode in modes("pool_is_shared_by_threads") {
        let pool = pool_of(mode, 4 * MIB);
        let shared = pool.store(&[3; 100]).unwrap();
        std::thread::scope(|scope| {
            for n in 1..5_u8 {
                let (pool, shared) = (pool.clone(), shared.clone());
                scope.spawn(move || {
                    for round in 1..500_usize {
                        let mine = pool.store(&vec![n; round]).unwrap();
                        assert_eq!(mine.with(|b| b.iter().all(|&b| b == n)), Some(true));
                        if let Some(same) = shared.with(|b| b == [3; 100]) {
                            assert!(same);
                        }
                        if round == 400 && n == 1 {
                            shared.erase();
                        }
                    }
                });
            }
        });
        assert_eq!(shared.with(|_| ()), None);
        assert!(pool.is_zero());
    }
}

#[test]
fn buffers_start_with_no_page_and_grow_to_their_limit() {
    let pool = pool(4 * MIB);
    let mut buffer = pool.buffer(20_000);
    assert_eq!(pool.usage().requests, 0);
    assert!(buffer.filled().is_empty() && buffer.spare_mut().is_empty());
    buffer.ensure_spare(1).unwrap();
    assert_eq!(buffer.spare_mut().len(), PAGE);
    buffer.spare_mut()[..3].copy_from_slice(b"abc");
    buffer.advance(3);
    buffer.ensure_spare(PAGE).unwrap();
    assert_eq!(buffer.spare_mut().len(), 2 * PAGE - 3);
    buffer.ensure_spare(19_997).unwrap();
    assert_eq!(buffer.spare_mut().len(), 19_997);
    let error = buffer.ensure_spare(19_998).unwrap_err();
    assert_eq!(error, OutOfMemory { partition: Partition::Buffer, limit: 20_000, errno: None });
    assert!(buffer.ensure_spare(usize::MAX).is_err());
    assert_eq!(buffer.filled(), b"abc");
    buffer.release();
    assert!(buffer.filled().is_empty() && buffer.spare_mut().is_empty());
    assert!(pool.is_zero());
}

/// A message a few bytes over a power of two fits a share of twice that, for it is never there
/// twice.
#[test]
fn last_growth_of_a_buffer_reaches_its_limit() {
    let pool = pool(8 * MIB);
    let mut buffer = pool.buffer(MIB + 5);
    for _ in 0..MIB / PAGE {
        buffer.extend(&[1; PAGE]).unwrap();
    }
    buffer.extend(&[1; 5]).unwrap();
    assert_eq!(buffer.filled().len(), MIB + 5);
    assert_eq!(pool.usage().requests_limit, 2 * MIB);
}

#[test]
fn buffer_wipes_its_old_pages_when_it_grows() {
    for mode in modes("buffer_wipes_its_old_pages_when_it_grows") {
        let pool = pool_of(mode, 4 * MIB);
        let mut buffer = pool.buffer(MIB);
        buffer.extend(&[1; PAGE]).unwrap();
        buffer.extend(&[1; 200_000]).unwrap();
        assert_eq!(pool.slabs_in_use_by_requests(), 0, "what it grew out of still holds bytes");
        buffer.consume(200_000);
        assert!(buffer.spare_mut().iter().all(|&b| b == 0));
        buffer.clear();

        // What was written behind the end, but never taken in, goes too.
        buffer.ensure_spare(10).unwrap();
        buffer.spare_mut()[..6].copy_from_slice(b"secret");
        buffer.clear();
        assert!(pool.is_zero());
        buffer.ensure_spare(10).unwrap();
        buffer.spare_mut()[..6].copy_from_slice(b"secret");
        drop(buffer);
        assert!(pool.is_zero());
    }
}

#[test]
fn buffer_grows_to_what_it_needs_when_doubling_fails() {
    let pool = pool(MIB);
    let mut buffer = pool.buffer(MIB);
    // Of 256 KiB: doubling would ask for 256 beside the 64 there are, and gets what is needed, 140.
    buffer.extend(&[1; 60_000]).unwrap();
    buffer.extend(&[2; 80_000]).unwrap();
    assert_eq!(pool.usage().requests, 140 * 1024 + SLAB);
    // Beside 140, 235 do not fit.
    let refused = buffer.extend(&[3; 100_000]).unwrap_err();
    assert_eq!(refused.partition, Partition::Requests);
    assert!(buffer.filled()[..60_000].iter().all(|&b| b == 1));
    assert!(buffer.filled()[60_000..].iter().all(|&b| b == 2));
    assert_eq!(buffer.filled().len(), 140_000);
}

#[test]
#[should_panic(expected = "past the end")]
fn advancing_past_the_end_is_refused() {
    pool(MIB).buffer(10).advance(1);
}

#[test]
fn debug_output_never_contains_content() {
    let pool = pool(MIB);
    let secret = pool.store(b"hunter2").unwrap();
    let mut buffer = pool.buffer(PAGE);
    buffer.extend(b"hunter2").unwrap();
    let shown = format!("{secret:?} {buffer:?} {pool:?} {secret:#?} {buffer:#?} {pool:#?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
    assert_eq!(format!("{secret:?} {buffer:?}"), "PooledSecret(7 bytes) Buffer(7 bytes of 4096)");
}

#[test]
fn unavailable_mode_is_an_error_with_a_reason() {
    let small = Pool::new(ModeRequest::Auto, Budget::bytes(Budget::LEAST - 1)).unwrap_err();
    assert_eq!(small, MemoryError::BudgetTooSmall { total: Budget::LEAST - 1 });
    let unlocked = pool(MIB);
    let lacks =
        [MemoryMode::Secret, MemoryMode::Locked, MemoryMode::Unlocked].map(|mode| unlocked.lacks(mode));
    assert_eq!((unlocked.mode(), lacks), (MemoryMode::Unlocked, [None; 3]));
}

#[test]
fn wipe_all_zeroes_every_page() {
    for mode in modes("wipe_all_zeroes_every_page") {
        let pool = pool_of(mode, 8 * MIB);
        let _secrets: Vec<PooledSecret> = (1..100).map(|n| pool.store(&vec![1; n * 1000]).unwrap()).collect();
        let mut buffer = pool.buffer(MIB);
        buffer.extend(&[1; 5000]).unwrap();
        assert!(!pool.is_zero());
        pool.wipe_all_pages();
        assert!(pool.is_zero());
    }
}

#[test]
fn missing_page_is_an_error_not_a_signal() {
    use std::num::NonZeroUsize;
    use std::ptr::NonNull;

    use nix::errno::Errno;
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

    // A mapping of three pages, of a file that has two.
    let file = tempfile::tempfile().unwrap();
    file.set_len(2 * PAGE as u64).unwrap();
    let size = NonZeroUsize::new(3 * PAGE).unwrap();
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    #[expect(unsafe_code, reason = "a mapping with a page that cannot be populated")]
    // SAFETY: a mapping at an address of the kernel's choice overlaps nothing; the file is this
    // test's.
    let base: NonNull<u8> = unsafe { mmap(None, size, prot, MapFlags::MAP_SHARED, &file, 0) }.unwrap().cast();
    assert_eq!(super::secretmem::bring_in(base, 2 * PAGE), Ok(()));
    #[expect(unsafe_code, reason = "the test looks at what it has mapped")]
    // SAFETY: the first two pages are there, and nothing writes to them.
    let there = unsafe { std::slice::from_raw_parts(base.as_ptr(), 2 * PAGE) };
    assert!(there.iter().all(|&b| b == 0), "what brought them in is gone again");
    assert_eq!(super::secretmem::bring_in(base, 3 * PAGE), Err(Errno::ENOMEM));
    #[expect(unsafe_code, reason = "the mapping goes")]
    // SAFETY: exactly the range mapped above, with no slice of it in use any more.
    unsafe { munmap(base.cast(), size.get()) }.unwrap();
}
