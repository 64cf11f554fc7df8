//! The store against cases, and against a model too simple to be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::grade::{DurationGrade, Protection};
use crate::mechanism::Mechanism;
use crate::vault_id::VaultId;

/// A handle that only remembers whether it was erased.
#[derive(Clone, Default)]
struct Probe {
    erased: Arc<AtomicBool>,
    name: u64,
}

impl Probe {
    fn is_erased(&self) -> bool {
        self.erased.load(Ordering::SeqCst)
    }
}

impl Erase for Probe {
    fn erase(&self) {
        self.erased.store(true, Ordering::SeqCst);
    }
}

const STRONG: Grade = Grade { protection: Protection::Encrypted, duration: DurationGrade::Ephemeral };
const WEAK: Grade = Grade { protection: Protection::Plaintext, duration: DurationGrade::Permanent };
const START: Clock = Clock { boot_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };

fn slug(text: &str) -> Slug {
    Slug::parse_stored(text).unwrap()
}

fn later(ms: u64) -> Clock {
    Clock { boot_ns: START.boot_ns + ms * 1_000_000, wall_ms: START.wall_ms + i64::try_from(ms).unwrap() }
}

fn source() -> GrantSource {
    GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica }
}

fn entry(text: &str, deadlines: Deadlines) -> (NewEntry<Probe>, Probe) {
    let probe = Probe::default();
    let new = NewEntry {
        slug: slug(text),
        secret: probe.clone(),
        grade: STRONG,
        source: source(),
        deadlines,
        given: GrantedTtl::default(),
    };
    (new, probe)
}

/// Stores a key with a life from the start.
fn put(store: &mut Store<Probe>, text: &str, life_ms: u64) -> Probe {
    let (new, probe) = entry(text, Deadlines::after(START, Ttl(life_ms)));
    assert_eq!(store.insert(new, START), Inserted::Stored);
    probe
}

#[test]
fn granted_ttl_is_kept_within_remaining_time_and_ceiling() {
    let hour = 3_600_000;
    let given = |ttl: Option<u64>, limit| GrantedTtl { ttl: ttl.map(Ttl), limit };
    for (text, left, said, told) in [
        ("a.test.K", hour, given(None, None), given(Some(hour), None)),
        (
            "a.test.K",
            hour,
            given(Some(9 * hour), Some(TtlLimit::Default)),
            given(Some(9 * hour), Some(TtlLimit::Default)),
        ),
        // What cannot be is not told: a life below what is left of it, one above the ceiling.
        ("a.test.K", hour, given(Some(1), None), given(Some(hour), None)),
        ("a.test.K", hour, given(Some(u64::MAX), None), given(Some(24 * hour), None)),
        (
            "a.sudo.K",
            2 * hour,
            given(None, Some(TtlLimit::Requested)),
            given(Some(hour), Some(TtlLimit::Ceiling)),
        ),
    ] {
        let mut store = Store::new();
        let (new, _) = entry(text, Deadlines::after(START, Ttl(left)));
        store.insert(NewEntry { given: said, ..new }, START);
        // It stays what it was while the key ages.
        let page = store.list(None, 1, later(1000));
        assert_eq!(page.entries[0].given, told, "{said:?}");
    }
}

fn texts(slugs: &[Slug]) -> Vec<&str> {
    slugs.iter().map(Slug::as_str).collect()
}

#[test]
fn key_expires_at_its_deadline_on_either_clock() {
    let at = |boot_ms: i64, wall_ms: i64| Clock {
        boot_ns: START.boot_ns + u64::try_from(boot_ms * 1_000_000).unwrap(),
        wall_ms: START.wall_ms + wall_ms,
    };
    for (now, live) in [
        (at(0, 0), true),
        (at(4999, 4999), true),
        (at(5000, 4999), false),
        (at(4999, 5000), false),
        (at(5000, 5000), false),
        (at(5001, 5001), false),
        (at(5000, -1_000_000_000), false),
        (at(4999, -1_000_000_000), true),
        (at(0, 5000), false),
    ] {
        // by touch
        let mut store = Store::new();
        let probe = put(&mut store, "acme.test.K", 5000);
        assert_eq!(store.live(now).get("acme.test.K").is_some(), live, "get at {now:?}");
        assert_eq!(probe.is_erased(), !live);
        assert_eq!((store.len(), store.erasures()), if live { (1, 0) } else { (0, 1) });
        // by expire
        let mut store = Store::new();
        let probe = put(&mut store, "acme.test.K", 5000);
        assert_eq!(store.expire(now).len(), usize::from(!live), "expire at {now:?}");
        assert_eq!(probe.is_erased(), !live);
        // by listing
        let mut store = Store::new();
        let probe = put(&mut store, "acme.test.K", 5000);
        assert_eq!(store.list(None, 10, now).entries.len(), usize::from(live), "list at {now:?}");
        assert_eq!(probe.is_erased(), !live);
    }
}

#[test]
fn key_is_live_until_the_nanosecond_of_its_deadline() {
    let mut store = Store::new();
    put(&mut store, "acme.test.K", 5000);
    let end = later(5000);
    let before = Clock { boot_ns: end.boot_ns - 1, wall_ms: end.wall_ms - 1 };
    assert!(store.live(before).get("acme.test.K").is_some());
    let on_boot = Clock { boot_ns: end.boot_ns, ..before };
    assert!(store.live(on_boot).get("acme.test.K").is_none());
}

#[test]
fn get_prefers_exact_slug_over_env_all() {
    let mut store = Store::new();
    put(&mut store, "acme.all.K", 9000);
    let found = |store: &mut Store<Probe>, asked: &str, now| {
        store.live(now).get(asked).map(|entry| entry.slug.to_string())
    };
    for (asked, answer) in [
        ("acme.test.K", Some("acme.all.K")),
        ("acme.all.K", Some("acme.all.K")),
        ("acme.sudo.K", None),
        ("other.test.K", None),
        ("acme.test.K2", None),
        ("acme.test.k", None),
    ] {
        assert_eq!(found(&mut store, asked, START).as_deref(), answer, "{asked}");
    }
    put(&mut store, "acme.test.K", 5000);
    put(&mut store, "acme.sudo.K", 5000);
    assert_eq!(found(&mut store, "acme.test.K", START).as_deref(), Some("acme.test.K"));
    assert_eq!(found(&mut store, "acme.sudo.K", START).as_deref(), Some("acme.sudo.K"));
    // once the exact key has ended, the other one answers again; for sudo nothing does
    assert_eq!(found(&mut store, "acme.test.K", later(5000)).as_deref(), Some("acme.all.K"));
    assert_eq!(found(&mut store, "acme.sudo.K", later(5000)), None);
    assert_eq!(found(&mut store, "acme.test.K", later(9000)), None);
}

#[test]
fn insert_erases_replaced_secret_and_keeps_its_position() {
    let mut store = Store::new();
    let first = put(&mut store, "acme.test.A", 5000);
    put(&mut store, "acme.test.B", 5000);
    let second = put(&mut store, "acme.test.A", 8000);
    assert!(first.is_erased() && !second.is_erased());
    let page = store.list(None, 10, later(1));
    let order: Vec<_> = page.entries.iter().map(|entry| (entry.seq, entry.slug.as_str())).collect();
    assert_eq!(order, [(1, "acme.test.A"), (2, "acme.test.B")]);
    // the deadline of the replaced one is forgotten
    assert_eq!(texts(&store.expire(later(5000))), ["acme.test.B"]);
    assert!(store.live(later(7999)).get("acme.test.A").is_some());
}

#[test]
fn insert_rejects_expired_key() {
    let mut store = Store::new();
    let live = put(&mut store, "acme.test.K", 5000);
    let (new, probe) = entry("acme.test.K", Deadlines::until(START, Some(START.wall_ms), false));
    assert_eq!(store.insert(new, START), Inserted::AlreadyExpired);
    assert!(probe.is_erased() && !live.is_erased());
    assert_eq!(store.len(), 1);
}

#[test]
fn insert_shortens_deadlines_to_the_ceiling() {
    for (text, ceiling) in [("acme.test.K", Ttl::CEILING), ("acme.sudo.K", Ttl::CEILING_SUDO)] {
        let mut store = Store::new();
        let (new, _) = entry(text, Deadlines { boot_ns: u64::MAX, wall_ms: i64::MAX });
        store.insert(new, START);
        assert_eq!(store.next_deadline(), Some(Deadlines::after(START, ceiling)));
        assert!(store.live(later(ceiling.0 - 1)).get(text).is_some());
        assert!(store.live(later(ceiling.0)).get(text).is_none());
    }
}

#[test]
fn check_replace_rejects_weaker_grade() {
    let mut store = Store::new();
    put(&mut store, "acme.test.K", 5000);
    let key = slug("acme.test.K");
    let refusal = store.check_replace(&key, WEAK, START).unwrap_err();
    assert_eq!((refusal.held, refusal.offered), (STRONG, WEAK));
    let error = refusal.to_error(&Owner::DEFAULT);
    assert_eq!(error.code, ErrorCode::GradeDegraded);
    assert!(error.message.contains("encrypted,ephemeral") && error.message.contains("plaintext,permanent"));
    assert_eq!(
        error.fix.unwrap().render(crate::fix::Invocation::default()),
        "keyrack relock --key acme.test.K"
    );
    let weaker_on_one_axis = Grade { duration: DurationGrade::Permanent, ..STRONG };
    assert!(store.check_replace(&key, weaker_on_one_axis, START).is_err());
    assert!(store.check_replace(&key, STRONG, START).is_ok());
    let stronger = Grade { protection: Protection::Reference, ..STRONG };
    assert!(store.check_replace(&key, stronger, START).is_ok());
    assert!(store.check_replace(&slug("acme.all.K"), WEAK, START).is_ok(), "another slug");
    assert!(store.check_replace(&key, WEAK, later(5000)).is_ok(), "an ended key protects nothing");
    store.relock(RelockScope::Slugs(std::slice::from_ref(&key)), START);
    assert!(store.check_replace(&key, WEAK, START).is_ok(), "a relocked key protects nothing");
}

#[test]
fn check_batch_rejects_batch_with_weaker_key() {
    let mut store = Store::new();
    put(&mut store, "acme.test.HELD", 5000);
    let (held, a, b) = (slug("acme.test.HELD"), slug("acme.test.A"), slug("acme.test.B"));
    for (batch, refused) in [
        (vec![], None),
        (vec![(&a, WEAK), (&b, STRONG), (&held, STRONG)], None),
        (vec![(&a, STRONG), (&held, WEAK)], Some("acme.test.HELD")),
        (vec![(&a, STRONG), (&a, WEAK)], Some("acme.test.A")),
        (vec![(&a, WEAK), (&a, STRONG)], None),
        (vec![(&a, WEAK), (&a, STRONG), (&a, WEAK)], Some("acme.test.A")),
    ] {
        let result = store.check_batch(batch, START);
        assert_eq!(result.err().map(|refusal| refusal.slug.to_string()).as_deref(), refused);
    }
    assert_eq!(store.len(), 1);
}

#[test]
fn relock_erases_exactly_its_scope() {
    let fill = || {
        let mut store = Store::new();
        let probes: Vec<_> = ["acme.test.A", "acme.all.A", "acme.test.B", "@all.sudo.R", "acme.dev.X"]
            .into_iter()
            .map(|text| put(&mut store, text, 5000))
            .collect();
        (store, probes)
    };
    let asked = [
        slug("acme.test.B"),
        slug("acme.prod.A"),
        slug("acme.test.A"),
        slug("acme.test.B"),
        slug("no.test.X"),
    ];
    for (which, relocked) in [
        (RelockScope::Slugs(&[]), vec![]),
        (RelockScope::Slugs(&asked), vec!["acme.test.B", "acme.test.A"]),
        (RelockScope::Env("test"), vec!["acme.test.A", "acme.test.B"]),
        (RelockScope::Env("all"), vec!["acme.all.A"]),
        (RelockScope::Env("dev"), vec!["acme.dev.X"]),
        (RelockScope::Env(""), vec![]),
        (RelockScope::Env("prod"), vec![]),
        (RelockScope::All, vec!["acme.test.A", "acme.all.A", "acme.test.B", "@all.sudo.R", "acme.dev.X"]),
    ] {
        let (mut store, probes) = fill();
        assert_eq!(texts(&store.relock(which, START)), relocked, "{which:?}");
        assert_eq!(probes.iter().filter(|probe| probe.is_erased()).count(), relocked.len(), "{which:?}");
        assert_eq!(store.len(), 5 - relocked.len());
        assert_eq!(store.next_deadline().is_none(), relocked.len() == 5);
    }
    let (mut store, probes) = fill();
    assert!(store.relock(RelockScope::All, later(5000)).is_empty(), "a key that expired is not reported");
    assert!(probes.iter().all(Probe::is_erased));
}

#[test]
fn list_pages_in_insertion_order() {
    let mut store = Store::new();
    let keys: Vec<String> = (0..25).map(|i| format!("acme.test.K{i}")).collect();
    for key in &keys {
        put(&mut store, key, 5000);
    }
    store.relock(RelockScope::Slugs(&[slug("acme.test.K3"), slug("acme.test.K10")]), START);
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.list(after, 10, START);
        seen.extend(page.entries.iter().map(|entry| entry.slug.to_string()));
        after = page.entries.last().map(|entry| entry.seq);
        pages += 1;
        if !page.has_more {
            break;
        }
    }
    let expected: Vec<_> =
        keys.into_iter().filter(|key| !key.ends_with("K3") && !key.ends_with("K10")).collect();
    assert_eq!((seen, pages), (expected, 3));
    assert!(store.list(Some(u64::MAX), 10, START).entries.is_empty());
    let none = store.list(None, 0, START);
    assert!(none.entries.is_empty() && none.has_more);
}

#[test]
fn erase_all_and_drop_erase_every_secret() {
    let mut store = Store::new();
    let probes = [put(&mut store, "a.test.A", 5000), put(&mut store, "a.test.B", 5000)];
    store.erase_all();
    assert!(probes.iter().all(Probe::is_erased) && store.is_empty());
    assert_eq!(store.erasures(), 2);
    let probe = put(&mut store, "a.test.A", 5000);
    assert!(store.live(START).get("a.test.A").is_some(), "a slug can come back at once");
    for none in ["", "a", "a.test", "a..A", "\u{1b}", &"a.test.".repeat(200)] {
        assert!(store.live(START).get(none).is_none(), "{none:?}");
    }
    drop(store);
    assert!(probe.is_erased());
}

#[test]
fn sources_are_shared_up_to_a_bound() {
    let mut store = Store::new();
    put(&mut store, "a.test.A", 5000);
    put(&mut store, "a.test.B", 5000);
    let page = store.list(None, 2, START);
    assert!(Arc::ptr_eq(&page.entries[0].source, &page.entries[1].source));
    for i in 0..1000 {
        let (mut new, _) = entry("a.test.C", Deadlines::after(START, Ttl(5000)));
        new.source.vault = VaultId::Other(format!("vault{i}"));
        store.insert(new, START);
        assert_eq!(store.live(START).get("a.test.C").unwrap().source.vault.as_str(), format!("vault{i}"));
    }
    assert!(store.sources.len() <= MAX_SHARED_SOURCES);
}

#[test]
fn slots_and_deadlines_are_reused() {
    let mut store = Store::new();
    put(&mut store, "a.test.STAYS", 5_000_000);
    for round in 0..200_u64 {
        for i in 0..10 {
            put(&mut store, &format!("a.test.K{i}"), 5000 + round);
        }
        assert_eq!(store.relock(RelockScope::Slugs(&[slug("a.test.K1"), slug("a.test.K2")]), START).len(), 2);
    }
    assert!(store.slots.len() <= 11, "{} slots for 11 keys", store.slots.len());
    for _ in 0..10_000 {
        put(&mut store, "a.test.AGAIN", 5000);
    }
    assert!(store.expiry.len() <= 2 * store.len() + 65, "{} deadlines", store.expiry.len());
    assert_eq!(store.next_deadline(), Some(Deadlines::after(START, Ttl(5000))));
}

#[test]
fn store_keeps_and_expires_twenty_thousand_keys() {
    let mut store = Store::new();
    let key = |i: u64| format!("acme.test.K{i}");
    let probes: Vec<_> = (0..20_000).map(|i| put(&mut store, &key(i), 1000 + i)).collect();
    for i in 0..20_000 {
        assert!(store.live(START).get(&key(i)).is_some(), "{i}");
    }
    assert_eq!(store.expire(later(11_000)).len(), 10_001);
    for i in (0..20_000).step_by(7) {
        let live = i > 10_000;
        assert_eq!(store.live(later(11_000)).get(&key(i)).is_some(), live, "{i}");
        assert_eq!(probes[usize::try_from(i).unwrap()].is_erased(), !live, "{i}");
    }
    assert_eq!(store.relock(RelockScope::All, later(11_000)).len(), 9_999);
    assert!(probes.iter().all(Probe::is_erased));
    assert_eq!((store.slots.capacity(), store.expiry.len()), (0, 0), "memory is given back");
}

/// Model of the store: a plain list.
#[derive(Default)]
struct Model {
    keys: Vec<(Slug, Deadlines, Grade, u64, Probe)>,
    gone: Vec<Probe>,
    next: u64,
}

impl Model {
    fn end_where(&mut self, ends: impl Fn(&(Slug, Deadlines, Grade, u64, Probe)) -> bool) -> Vec<Slug> {
        let (ended, kept) = std::mem::take(&mut self.keys).into_iter().partition(|key| ends(key));
        self.keys = kept;
        let ended: Vec<(Slug, Deadlines, Grade, u64, Probe)> = ended;
        self.gone.extend(ended.iter().map(|key| key.4.clone()));
        ended.into_iter().map(|key| key.0).collect()
    }

    fn expire(&mut self, now: Clock) -> Vec<Slug> {
        self.end_where(|key| now.boot_ns >= key.1.boot_ns || now.wall_ms >= key.1.wall_ms)
    }

    fn at(&self, slug: &str) -> Option<&(Slug, Deadlines, Grade, u64, Probe)> {
        self.keys.iter().find(|key| key.0.as_str() == slug)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { key: usize, boot_ms: u64, wall_ms: i64, strong: bool },
    Get { key: usize },
    RelockSlugs(Vec<usize>),
    RelockEnv(usize),
    RelockAll,
    Expire,
    List { after: Option<u64>, limit: usize },
    Boot(u64),
    Wall(i64),
    EraseAll,
}

const KEYS: [&str; 9] = [
    "acme.test.A",
    "acme.all.A",
    "acme.prod.A",
    "acme.sudo.A",
    "acme.test.B",
    "acme.all.B",
    "@all.test.A",
    "@all.all.A",
    "acme.dev.A",
];
const ENVS: [&str; 5] = ["test", "all", "prod", "sudo", "dev"];

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    prop_oneof![
        8 => (key.clone(), 0..400_u64, -50..400_i64, any::<bool>())
            .prop_map(|(key, boot_ms, wall_ms, strong)| Step::Insert { key, boot_ms, wall_ms, strong }),
        8 => key.clone().prop_map(|key| Step::Get { key }),
        2 => prop::collection::vec(key, 0..4).prop_map(Step::RelockSlugs),
        1 => (0..ENVS.len()).prop_map(Step::RelockEnv),
        1 => Just(Step::RelockAll),
        3 => Just(Step::Expire),
        2 => (prop::option::of(0..20_u64), 0..6_usize).prop_map(|(after, limit)| Step::List { after, limit }),
        4 => (0..120_u64).prop_map(Step::Boot),
        4 => (-200..120_i64).prop_map(Step::Wall),
        1 => Just(Step::EraseAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The boot clock only goes forward, the wall clock anywhere, independently.
    #[test]
    fn store_agrees_with_the_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut store: Store<Probe> = Store::new();
        let mut model = Model::default();
        let mut now = START;
        for step in steps {
            match step {
                Step::Boot(ms) => now.boot_ns += ms * 1_000_000,
                Step::Wall(ms) => now.wall_ms += ms,
                Step::Insert { key, boot_ms, wall_ms, strong } => {
                    model.expire(now);
                    let slug = slug(KEYS[key]);
                    let grade = if strong { STRONG } else { WEAK };
                    let deadlines = Deadlines {
                        boot_ns: now.boot_ns + boot_ms * 1_000_000,
                        wall_ms: now.wall_ms + wall_ms,
                    };
                    let allowed = store.check_replace(&slug, grade, now).is_ok();
                    let live = model.at(KEYS[key]);
                    prop_assert_eq!(allowed, !live.is_some_and(|key| key.2 == STRONG && grade == WEAK));
                    if !allowed {
                        continue;
                    }
                    model.next += 1;
                    let probe = Probe { name: model.next, ..Probe::default() };
                    let new = NewEntry {
                        slug: slug.clone(),
                        secret: probe.clone(),
                        grade,
                        source: source(),
                        deadlines,
                        given: GrantedTtl::default(),
                    };
                    let inserted = store.insert(new, now);
                    if boot_ms == 0 || wall_ms <= 0 {
                        prop_assert_eq!(inserted, Inserted::AlreadyExpired);
                        model.gone.push(probe);
                    } else if let Some(old) = model.keys.iter_mut().find(|key| key.0 == slug) {
                        prop_assert_eq!(inserted, Inserted::Stored);
                        model.gone.push(old.4.clone());
                        (old.1, old.2, old.3, old.4) = (deadlines, grade, probe.name, probe);
                    } else {
                        prop_assert_eq!(inserted, Inserted::Stored);
                        model.keys.push((slug, deadlines, grade, probe.name, probe));
                    }
                }
                Step::Get { key } => {
                    model.expire(now);
                    let live = |text: &str| model.at(text);
                    let parts: Vec<&str> = KEYS[key].splitn(3, '.').collect();
                    let stand_in = format!("{}.all.{}", parts[0], parts[2]);
                    let expected = live(KEYS[key]).or_else(|| if parts[1] == "sudo" { None } else { live(&stand_in) });
                    let got = store.live(now).get(KEYS[key]);
                    prop_assert_eq!(got.map(|entry| (entry.secret.name, entry.slug.to_string(), entry.deadlines)),
                        expected.map(|key| (key.3, key.0.to_string(), key.1)));
                    if let Some(entry) = got {
                        prop_assert!(!entry.secret.is_erased());
                        prop_assert!(!entry.deadlines.is_expired(now));
                    }
                }
                Step::RelockSlugs(keys) => {
                    let slugs: Vec<Slug> = keys.iter().map(|key| slug(KEYS[*key])).collect();
                    model.expire(now);
                    let mut expected = Vec::new();
                    for slug in &slugs {
                        expected.extend(model.end_where(|key| &key.0 == slug));
                    }
                    prop_assert_eq!(store.relock(RelockScope::Slugs(&slugs), now), expected);
                }
                Step::RelockEnv(env) => {
                    model.expire(now);
                    let expected = model.end_where(|key| key.0.env() == ENVS[env]);
                    prop_assert_eq!(store.relock(RelockScope::Env(ENVS[env]), now), expected);
                }
                Step::RelockAll => {
                    model.expire(now);
                    let expected = model.end_where(|_| true);
                    prop_assert_eq!(store.relock(RelockScope::All, now), expected);
                }
                Step::Expire => {
                    let mut expected = model.expire(now);
                    let mut got = store.expire(now);
                    expected.sort();
                    got.sort();
                    prop_assert_eq!(got, expected);
                    prop_assert_eq!(store.len(), model.keys.len());
                }
                Step::List { after, limit } => {
                    model.expire(now);
                    let page = store.list(after, limit, now);
                    let more = page.has_more;
                    let all: Vec<u64> = page.entries.iter().map(|entry| entry.seq).collect();
                    prop_assert!(all.is_sorted());
                    let everything = store.list(None, usize::MAX, now);
                    let behind: Vec<u64> = everything.entries.iter().map(|entry| entry.seq)
                        .filter(|n| after.is_none_or(|after| *n > after)).collect();
                    prop_assert_eq!(&all[..], &behind[..limit.min(behind.len())]);
                    prop_assert_eq!(more, behind.len() > limit);
                    let names: Vec<u64> = everything.entries.iter().map(|entry| entry.secret.name).collect();
                    prop_assert_eq!(names, model.keys.iter().map(|key| key.3).collect::<Vec<_>>());
                }
                Step::EraseAll => {
                    model.end_where(|_| true);
                    store.erase_all();
                    prop_assert!(store.is_empty());
                }
            }
            prop_assert!(model.gone.iter().all(Probe::is_erased));
            prop_assert!(model.keys.iter().all(|key| !key.4.is_erased()));
            if let Some(next) = store.next_deadline() {
                let held = store.entries().map(|(_, entry)| entry.deadlines).collect::<Vec<_>>();
                prop_assert_eq!(Some(next.boot_ns), held.iter().map(|at| at.boot_ns).min());
                prop_assert_eq!(Some(next.wall_ms), held.iter().map(|at| at.wall_ms).min());
            }
        }
    }
}
