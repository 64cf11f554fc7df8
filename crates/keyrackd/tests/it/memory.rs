//! Places of secrets in the daemon's memory: in their pages, and nowhere afterwards. The daemon is
//! an ordinary user's; root reads its memory to see.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keyrack_sys::memory::{Budget, Hibernation, MemoryMode, ModeRequest, Pool};
use keyrack_sys::process::signal::Signal;
use keyrack_testkit::{Home, Need, Reaped, as_user, can_run, wait_until};

use crate::daemon::{Daemon, LONG, RELOCK_ALL, command, frame, get, unlock};
use crate::foreign_client::ForeignClient;
use crate::limits::limited;
use crate::memory_scan::{Found, Needles, json, look};

/// Any number does: no account is needed.
const USER: u32 = 65_533;

/// No two pieces of it are alike.
const SIMPLE: &str = "vkzrqhwmbtgynpxsdfjlc9w4eau7oi2t8n5hq3zgmx6kp1ybvrsd0jfluwca";
/// Every form it can be brought into differs from it.
const AWKWARD: &str = "kX\"9vö\nTz漢4q😀Lw7\tRé\"m\\Hs\u{1}ßJd字0pQ🔑\\Zy\"ü2\n漢Ib8";

/// Memory that a daemon is given, and the limit of an ordinary user.
#[derive(Clone, Copy)]
struct Setting {
    memlock_kib: u32,
    demanded: &'static str,
    mode: MemoryMode,
}

const SECRET: Setting = Setting { memlock_kib: 8192, demanded: "secret", mode: MemoryMode::Secret };
const LOCKED: Setting = Setting { memlock_kib: 8192, demanded: "locked", mode: MemoryMode::Locked };
const UNLOCKED: Setting = Setting { memlock_kib: 64, demanded: "auto", mode: MemoryMode::Unlocked };

/// Returns `true` if this machine has what a test of this setting needs.
fn can_have(test: &str, setting: Setting) -> bool {
    let works = Pool::new(ModeRequest::Require(setting.mode), Budget::default()).is_ok();
    can_run(test, &[Need::Root, Need::Program("setpriv"), Need::That(works, "memfd_secret")])
}

/// A daemon of an ordinary user, and a caller.
struct Stage {
    daemon: Daemon,
    teller: ForeignClient,
    mode: MemoryMode,
    needles: Needles,
}

impl Stage {
    fn new(setting: Setting) -> Self {
        let home = Home::new();
        home.give_to(USER);
        let mut inner = command(&home);
        inner.env("KEYRACK_MEMORY", setting.demanded);
        let limit = format!("-l {}", setting.memlock_kib);
        let daemon = Daemon::run(home, &mut as_user(USER, &limited(&limit, &inner)));
        let mut teller = ForeignClient::new(USER, &daemon.socket);
        let hello = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"","build":""}"#;
        let (said, _) = teller.ask_native(hello, b"");
        assert!(said.contains(&format!(r#""memory":"{}""#, setting.mode.name())), "{said}");
        let stage = Stage { daemon, teller, mode: setting.mode, needles: Needles::of(&[SIMPLE, AWKWARD]) };
        // The looking works: this daemon's memory can be read, and what is in it is found.
        let socket = stage.daemon.socket.to_str().unwrap();
        assert!(look(stage.pid(), &Needles::of(&[socket])).copies() != Ok(0));
        stage.holds(0, "at the start");
        stage
    }

    fn pid(&self) -> u32 {
        self.daemon.child.pid()
    }

    fn look(&self) -> Found {
        look(self.pid(), &self.needles)
    }

    /// Number of copies of both secrets to find while `held` of each are held.
    fn seen(&self, held: usize) -> usize {
        if self.mode == MemoryMode::Secret { 0 } else { held }
    }

    /// `held` of both secrets lie in memory, each in a page of its own and nowhere else; and in
    /// secret pages they are not to be seen.
    #[track_caller]
    fn holds(&self, held: usize, when: &str) {
        let found = self.look();
        assert_eq!(found.copies(), Ok(self.seen(held)), "{when}");
        assert_eq!(found.hidden > 0, self.mode == MemoryMode::Secret, "{when}");
    }

    /// As [`Self::holds`], soon: what a caller leaves half said is wiped when the daemon sees it
    /// go.
    #[track_caller]
    fn comes_to_hold(&self, held: usize, limit: Duration, when: &str) {
        wait_until(when, limit, || self.look().copies() == Ok(self.seen(held)));
    }

    fn legacy(&mut self, request: &str) -> String {
        self.teller.ask(request.as_bytes())
    }

    /// Keeps both secrets under a name, by the legacy protocol.
    fn unlock(&mut self, name: &str, ascii: bool, more: &str) {
        for (kind, secret) in [("S", SIMPLE), ("A", AWKWARD)] {
            let slug = format!("acme.test.{name}{kind}");
            let reply = self.legacy(&unlock(&slug, &json(secret, ascii), more));
            assert!(reply.contains(&format!(r#""unlocked":["{slug}"]"#)), "{reply}");
        }
    }

    /// Keeps both secrets under a name, by the native protocol, in one request.
    fn unlock_natively(&mut self, name: &str, ttl_ms: u64) {
        let key = |kind: &str, offset: usize, len: usize| {
            format!(
                r#"{{"slug":"acme.test.{name}{kind}","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"v","mech":"m"}},"ttl_ms":{ttl_ms},"secret":{{"offset":{offset},"len":{len}}}}}"#
            )
        };
        let keys = [key("S", 0, SIMPLE.len()), key("A", SIMPLE.len(), AWKWARD.len())].join(",");
        let header = format!(r#"{{"id":1,"op":"unlock","keys":[{keys}]}}"#);
        let (said, _) = self.teller.ask_native(&header, format!("{SIMPLE}{AWKWARD}").as_bytes());
        assert!(!said.contains("error") && said.contains(r#""ok":true"#), "{said}");
    }

    /// Fetches both secrets by both protocols, again and again.
    fn get(&mut self, name: &str) {
        let header = format!(r#"{{"id":2,"op":"get","slugs":["acme.test.{name}A","acme.test.{name}S"]}}"#);
        for _ in 0..20 {
            for (kind, secret) in [("S", SIMPLE), ("A", AWKWARD)] {
                let reply = self.legacy(&get(&format!("acme.test.{name}{kind}")));
                assert!(reply.contains(&json(secret, false)), "{reply}");
            }
            let (_, secrets) = self.teller.ask_native(&header, b"");
            assert_eq!(secrets, format!("{AWKWARD}{SIMPLE}").as_bytes());
        }
    }

    /// Keeps a value that begins with both secrets and is too long for the kernel to take all of a
    /// reply that is never read; and has a caller of each protocol ask for it and not read.
    fn dawdle_over(&mut self, slug: &str, more: &str) {
        let value = json(&format!("{SIMPLE}{AWKWARD}{}", "x".repeat(450_000)), false);
        let reply = self.legacy(&unlock(slug, &value, more));
        assert!(reply.contains(r#""success":true"#), "{reply}");
        self.teller.ask_and_dawdle(get(slug).as_bytes());
        self.teller.ask_and_dawdle(&frame(&format!(r#"{{"id":1,"op":"get","slugs":["{slug}"]}}"#), b""));
    }
}

/// Everything that can become of a secret but a bug.
fn tour(setting: Setting) {
    let mut stage = Stage::new(setting);
    stage.unlock("ONE", false, "");
    stage.holds(1, "after an unlock by the legacy protocol");
    stage.unlock("TWO", true, "");
    stage.holds(2, "after one with every escape there is");
    stage.unlock_natively("THREE", 60_000);
    stage.holds(3, "after one by the native protocol");
    for name in ["ONE", "TWO", "THREE"] {
        stage.get(name);
    }
    stage.holds(3, "after handing out");

    refusals(&mut stage);
    stage.comes_to_hold(3, LONG, "what is refused, cut off or replaced is not kept");

    // Replies that wait for slow readers, and what they carry is relocked.
    stage.dawdle_over("acme.test.LONG", "");
    let waiting = stage.look();
    if stage.mode != MemoryMode::Secret {
        assert!(!waiting.places.is_empty() && waiting.copies() != Ok(3), "the replies wait: {waiting:?}");
    }
    let reply = stage.legacy(r#"{"command":"RELOCK","payload":{"slugs":["acme.test.LONG"]}}"#);
    assert!(reply.contains("acme.test.LONG"), "{reply}");
    stage.holds(3, "relocked while replies that carry it wait");

    let (said, _) =
        stage.teller.ask_native(r#"{"id":1,"op":"relock","slugs":["acme.test.TWOS","acme.test.TWOA"]}"#, b"");
    assert!(said.contains("TWOS") && said.contains("TWOA"), "{said}");
    stage.holds(2, "relocked by the native protocol");
    stage.legacy(RELOCK_ALL);
    stage.holds(0, "all relocked");

    // A signal, with replies waiting.
    stage.unlock("ONE", false, "");
    stage.unlock_natively("TWO", 60_000);
    stage.get("TWO");
    stage.dawdle_over("acme.test.LONG", "");
    stage.daemon.signal(Signal::Usr1);
    stage.comes_to_hold(0, LONG, "a signal erases all");
    stage.holds(0, "and it stays so");

    // The end of a life, with replies waiting, and without any traffic.
    let end = keyrack_sys::clock::wall_ms() + 1500;
    let until = format!(r#","expiresAt":"{}""#, keyrack_core::timestamp::format_ms(end));
    stage.unlock("ONE", false, &until);
    stage.unlock_natively("TWO", 1000);
    stage.get("ONE");
    stage.dawdle_over("acme.test.LONG", &until);
    let left = u64::try_from(end - keyrack_sys::clock::wall_ms()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(left));
    stage.comes_to_hold(0, Duration::from_secs(2), "the end erases it");
    stage.holds(0, "and it stays so");
}

/// Requests that bring both secrets and are refused, or never come to their end.
fn refusals(stage: &mut Stage) {
    let both = format!("{SIMPLE}{AWKWARD}");
    let given = json(&both, false);
    let past = r#","expiresAt":"2001-01-01T00:00:00Z""#;
    let whole = unlock("acme.test.NEW", &given, "");
    let refused = [
        unlock("nonsense", &given, ""),
        whole.replace("permanent", "forever"),
        unlock("acme.test.NEW", &given, r#","expiresAt":"never""#),
        // Weaker than what is held.
        unlock("acme.test.ONES", &given, "").replace("encrypted", "plaintext"),
        // Neither an escape nor a character.
        unlock("acme.test.NEW", &format!("{given}\\q"), ""),
        unlock("acme.test.NEW", &format!("{given}\\ud800"), ""),
        whole.replace("UNLOCK", "LOCK"),
        whole.replace(r#""source""#, r#""source":7,"x""#),
        format!("{whole}{given}"),
        format!("[{whole}]"),
        given.clone(),
        both.clone(),
        // One good and one bad: neither.
        whole.replacen(r#""keys":["#, r#""keys":[{"slug":"nonsense"},"#, 1),
    ];
    for request in &refused {
        let reply = stage.legacy(request);
        assert!(reply.contains(r#""success":false"#), "{reply}");
        assert!(!reply.contains(&SIMPLE[..12]), "{reply}");
    }
    // Taken, and not kept.
    assert!(stage.legacy(&unlock("acme.test.NEW", &given, past)).contains(r#""success":true"#));

    let key = |slug: &str, more: &str| {
        let header = format!(
            r#"{{"id":1,"op":"unlock","keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"v","mech":"m"}},"ttl_ms":60000,"secret":{{"offset":0,"len":{}}}{more}}}]}}"#,
            both.len()
        );
        frame(&header, both.as_bytes())
    };
    let mut long = key("acme.test.NEW", "");
    long[3] += 1;
    let natively = [
        key("nonsense", ""),
        key("acme.test.NEW", r#","credential_expires_at":"soon""#),
        key("acme.test.NEW", r#","credential_expires_at":"2001-01-01T00:00:00Z""#),
        // Secrets that no range covers.
        frame(r#"{"id":1,"op":"ping"}"#, both.as_bytes()),
        frame(r#"{"id":1,"op":"unlock","keys":[]"#, both.as_bytes()),
        frame(&given, both.as_bytes()),
    ];
    for request in &natively {
        stage.teller.send_and_leave(request);
    }
    for cut in [&key("acme.test.NEW", "")[..both.len()], &long, &whole.as_bytes()[..whole.len() - 9]] {
        stage.teller.send_and_leave(cut);
    }
    // What is replaced is erased: one more of each, and the old ones are gone.
    stage.unlock("ONE", false, "");
}

#[test]
fn root_finds_no_secret_in_secret_memory() {
    if can_have(test_name!(), SECRET) {
        tour(SECRET);
    }
}

#[test]
fn secret_is_only_in_its_locked_page() {
    if can_have(test_name!(), LOCKED) {
        tour(LOCKED);
    }
}

#[test]
fn secret_is_only_in_its_page_without_lockable_memory() {
    if can_have(test_name!(), UNLOCKED) {
        tour(UNLOCKED);
    }
}

/// The number of the system call that ends a process.
const EXIT_GROUP: &str = if cfg!(target_arch = "aarch64") { "94" } else { "231" };

/// A debugger of root's makes the daemon's own wait for events fail, which its runtime takes for a
/// bug, and holds it when it is about to end.
#[test]
fn panic_leaves_no_copy_of_a_secret() {
    for setting in [SECRET, LOCKED, UNLOCKED] {
        if !can_have(test_name!(), setting) || !can_run(test_name!(), &[Need::Program("strace")]) {
            continue;
        }
        let mut stage = Stage::new(setting);
        stage.unlock("ONE", true, "");
        stage.unlock_natively("TWO", 60_000);
        stage.get("TWO");
        stage.holds(2, "before it");
        stage.dawdle_over("acme.test.LONG", "");
        // Half a request waits for the rest, too.
        let half = format!(r#"{{"command":"{}"#, json(&format!("{SIMPLE}{AWKWARD}"), true));
        stage.teller.begin_and_dawdle(half.as_bytes());

        let pid = stage.pid();
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-p", &pid.to_string()]);
        strace.args([
            "-e",
            "inject=/^epoll_p?wait:error=EBADF",
            "-e",
            "inject=exit_group:delay_enter=60000000",
        ]);
        let _strace = Reaped::spawn(&mut strace);
        let at = PathBuf::from(format!("/proc/{pid}/syscall"));
        wait_until("it is about to end", LONG, || {
            std::fs::read_to_string(&at).unwrap().starts_with(&format!("{EXIT_GROUP} 0x46 "))
        });
        stage.holds(0, "all is wiped by then");
    }
}

/// The daemon reports its memory, and why it is not stronger.
#[test]
fn hello_and_status_report_memory_mode() {
    // What an ordinary user gets who demands nothing, with the lockable memory of today's systems.
    let strongest = Pool::new(ModeRequest::Auto, Budget::default()).unwrap().mode();
    let auto = Setting { demanded: "auto", mode: strongest, ..LOCKED };
    for setting in [SECRET, LOCKED, UNLOCKED, auto] {
        if !can_have(test_name!(), setting) {
            continue;
        }
        let mut stage = Stage::new(setting);
        let hello = r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"","build":""}"#;
        let status = r#"{"id":2,"op":"status"}"#;
        for said in [hello, status].map(|request| stage.teller.ask_native(request, b"").0) {
            assert!(said.contains(&format!(r#""memory":"{}""#, setting.mode.name())), "{said}");
            let told = |name: &str| {
                let rest = said.split_once(&format!(r#""name":"{name}","on":"#)).unwrap().1;
                rest.split_once('}').unwrap().0.to_owned()
            };
            let (secret, locked) = (told("secret_memory"), told("locked_memory"));
            match setting.mode {
                MemoryMode::Secret => {
                    assert!(secret.starts_with("true") && locked == "true", "{said}");
                    // Demanded, it is had where it blocks hibernation too, which is then told.
                    let blocks = matches!(Hibernation::here(), Hibernation::Possible(_));
                    assert_eq!(
                        secret.contains("hibernation is blocked while keyrackd runs"),
                        blocks,
                        "{said}"
                    );
                }
                MemoryMode::Locked => {
                    assert!(secret.starts_with(r#"false,"detail":""#), "{said}");
                    let demanded = setting.demanded == "locked";
                    assert_eq!(secret.contains("KEYRACK_MEMORY=locked was requested"), demanded, "{said}");
                    assert_eq!(locked, "true", "{said}");
                }
                MemoryMode::Unlocked => {
                    assert!(secret.starts_with(r#"false,"detail":""#), "{said}");
                    assert!(locked.starts_with(r#"false,"detail":"RLIMIT_MEMLOCK is 64 KiB"#), "{said}");
                }
            }
        }
    }
}
