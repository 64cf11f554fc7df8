//! Reads without a daemon: the environment, the inventory, and the messages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use keyrack_core::{Attempt, Env, ErrorCode, Fix, Invocation, Org, Slug};
use keyrack_testkit::Home;

use super::*;

const MANIFEST: &str = "
org: acme
env.all:
  - EVERYWHERE
env.test:
  - PLAIN
  - STRONG: encrypted
  - SHORT: ephemeral
  - ODD: unbreakable
  - key: MAYBE
    is-optional-if-has: STAND_IN
env.prod:
  - PLAIN
";

struct Worksite {
    home: Home,
}

impl Worksite {
    fn new(manifest: Option<&str>) -> Self {
        let home = Home::new();
        fs::create_dir(home.home().join(".git")).unwrap();
        if let Some(manifest) = manifest {
            fs::create_dir(home.home().join(".agent")).unwrap();
            fs::write(home.home().join(".agent/keyrack.yml"), manifest).unwrap();
        }
        Worksite { home }
    }

    fn context(&self, variables: &[(&str, &str)]) -> Context {
        let own = [("HOME", self.home.home()), ("XDG_RUNTIME_DIR", self.home.runtime())];
        let own = own.map(|(name, value)| (name.to_owned(), value.into_os_string()));
        let more = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Context::new(self.home.home(), own.into_iter().chain(more).collect())
    }

    fn was_set(&self, slug: &str) {
        let dir = self.home.home().join(".rhachet/keyrack/inventory/owner=default");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{}.stocked", Slug::parse(slug).unwrap().hash16())), "").unwrap();
    }
}

fn key(ask: &str, env: Option<Env>) -> Scope {
    Scope::Key { ask: ask.to_owned(), org: Org::This, env }
}

fn one(ctx: &Context, ask: &str, options: GetOptions) -> KeyOutcome {
    let mut outcome = get(ctx, &key(ask, None), options).unwrap();
    assert!(outcome.single && outcome.keys.len() == 1);
    let answer = outcome.keys.remove(0);
    assert_eq!(answer.secret.is_some(), answer.attempt.is_granted());
    answer
}

/// Returns the status, the reasons or the message, and the fix or else the note.
fn shown(answer: &KeyOutcome) -> (String, String, String) {
    let said = match &answer.attempt {
        Attempt::Granted { grant, below_declared } => {
            format!("{} {} {below_declared}", grant.slug, grant.source.vault)
        }
        Attempt::Absent { message, .. } | Attempt::Locked { message, .. } => message.clone(),
        Attempt::Blocked { reasons, .. } => reasons.join("; "),
    };
    let fix = answer.attempt.fix().map(|fix| match fix {
        Fix::Command(_) => fix.render(Invocation::default()),
        other => panic!("no command: {other:?}"),
    });
    let note =
        || answer.note.as_ref().filter(|_| !answer.attempt.is_granted()).map(|note| format!("note: {note}"));
    let fix = fix.or_else(note).unwrap_or_default();
    (answer.attempt.status().to_owned(), said, fix)
}

#[test]
fn environment_answers_missing_keys() {
    let site = Worksite::new(Some(MANIFEST));
    let pat = format!("ghp_{}", "x".repeat(36));
    let blob = r#" {"mech":"EPHEMERAL_VIA_GITHUB_APP","key":"-----BEGIN"} "#;
    let odd_blob = r#"{"mech":"hunter2 hunter2"}"#;
    for (variables, ask, status, said, fix) in [
        (&[("PLAIN", "v")][..], "acme.test.PLAIN", "granted", "acme.test.PLAIN os.envvar false", ""),
        (&[("PLAIN", "v")], "@this.test.PLAIN", "granted", "acme.test.PLAIN os.envvar false", ""),
        (&[("EVERYWHERE", "v")], "EVERYWHERE", "granted", "acme.all.EVERYWHERE os.envvar false", ""),
        (&[("K", "v")], "@all.test.K", "granted", "@all.test.K os.envvar false", ""),
        // keyrack does not store the values of the environment, so a weak one is marked, and
        // blocked only on request.
        (&[("STRONG", "v")], "acme.test.STRONG", "granted", "acme.test.STRONG os.envvar true", ""),
        (&[("SHORT", "v")], "acme.test.SHORT", "granted", "acme.test.SHORT os.envvar true", ""),
        (&[("ODD", "v")], "acme.test.ODD", "granted", "acme.test.ODD os.envvar true", ""),
        (
            &[("STRONG", "v"), ("KEYRACK_STRICT_ENV", "1")],
            "acme.test.STRONG",
            "blocked",
            "the value in the environment has grade plaintext,permanent, weaker than the minimum encrypted that keyrack.yml declares",
            "keyrack set --env test --key STRONG --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
        (
            &[("SHORT", "v"), ("KEYRACK_STRICT_ENV", "1")],
            "acme.test.SHORT",
            "blocked",
            "the value in the environment has grade plaintext,permanent, weaker than the minimum ephemeral that keyrack.yml declares",
            "note: set it again with a mechanism whose keys are ephemeral",
        ),
        (
            &[("PLAIN", "v"), ("KEYRACK_STRICT_ENV", "1")],
            "acme.test.PLAIN",
            "granted",
            "acme.test.PLAIN os.envvar false",
            "",
        ),
        // The environment never answers a sudo key.
        (
            &[("ROOT", "v")],
            "acme.sudo.ROOT",
            "absent",
            "acme.sudo.ROOT was never set on this machine",
            "keyrack set --env sudo --key ROOT --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
        // The input of a mechanism is never returned as a key.
        (
            &[("PLAIN", blob)],
            "acme.test.PLAIN",
            "blocked",
            "the variable PLAIN holds the input of EPHEMERAL_VIA_GITHUB_APP, which keyrack never returns as a key; \
             this version of keyrack does not support EPHEMERAL_VIA_GITHUB_APP",
            "note: create the credential first, as by the action actions/create-github-app-token, and put it into PLAIN",
        ),
        (
            &[("PLAIN", odd_blob)],
            "acme.test.PLAIN",
            "blocked",
            "the variable PLAIN holds the input of a mechanism, which keyrack never returns as a key",
            "keyrack set --env test --key PLAIN --vault os.secure",
        ),
        (
            &[("PLAIN", &pat)],
            "acme.test.PLAIN",
            "blocked",
            "a long-lived token is dangerous to hand out as it is; detected a github classic personal access token (ghp_*)",
            "keyrack get --env test --key PLAIN --allow-dangerous",
        ),
        // An empty variable counts as unset.
        (
            &[("PLAIN", "")],
            "acme.test.PLAIN",
            "absent",
            "acme.test.PLAIN was never set on this machine",
            "keyrack set --env test --key PLAIN --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
    ] {
        let answer = one(&site.context(variables), ask, GetOptions::default());
        let expected = (status.to_owned(), said.to_owned(), fix.to_owned());
        assert_eq!(shown(&answer), expected, "{ask}");
        assert!(!format!("{answer:?}").contains("hunter2"));
    }
}

#[test]
fn allow_dangerous_only_lifts_the_token_check() {
    let site = Worksite::new(Some(MANIFEST));
    let options = GetOptions { allow_dangerous: true, ..GetOptions::default() };
    for (value, status) in [
        ("ghp_abcdef", "granted"),
        ("AKIAXXXX", "granted"),
        ("", "absent"),
        (r#"{"mech":"EPHEMERAL_VIA_GITHUB_APP"}"#, "blocked"),
    ] {
        let answer = one(&site.context(&[("PLAIN", value)]), "acme.test.PLAIN", options);
        assert_eq!(answer.attempt.status(), status, "{value}");
    }
    let ctx = site.context(&[("STRONG", "v"), ("KEYRACK_STRICT_ENV", "1")]);
    assert_eq!(one(&ctx, "acme.test.STRONG", options).attempt.status(), "blocked");
}

#[test]
fn missing_key_is_locked_or_absent() {
    for (trace, ask, owner, status, fix) in [
        ("acme.test.PLAIN", "acme.test.PLAIN", "default", "locked", "keyrack unlock --env test --key PLAIN"),
        ("acme.all.PLAIN", "acme.test.PLAIN", "default", "locked", "keyrack unlock --env test --key PLAIN"),
        (
            "acme.all.ROOT",
            "acme.sudo.ROOT",
            "default",
            "absent",
            "keyrack set --env sudo --key ROOT --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
        ("acme.sudo.ROOT", "acme.sudo.ROOT", "default", "locked", "keyrack unlock --env sudo --key ROOT"),
        (
            "@all.test.BOX",
            "@all.test.BOX",
            "default",
            "locked",
            "keyrack unlock --env test --key @all.test.BOX",
        ),
        (
            "acme.test.PLAIN",
            "acme.prod.PLAIN",
            "default",
            "absent",
            "keyrack set --env prod --key PLAIN --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
        (
            "acme.test.PLAIN",
            "acme.test.PLAIN",
            "robot",
            "absent",
            "keyrack set --owner robot --env test --key PLAIN --vault os.secure --mech PERMANENT_VIA_REPLICA",
        ),
    ] {
        let site = Worksite::new(Some(MANIFEST));
        site.was_set(trace);
        let ctx = site.context(&[]).with_owner(owner.parse().unwrap());
        let (found, _, found_fix) = shown(&one(&ctx, ask, GetOptions::default()));
        assert_eq!((found.as_str(), found_fix.as_str()), (status, fix), "{trace} {ask} {owner}");
    }
}

#[test]
fn fix_without_a_manifest_names_the_full_slug() {
    let site = Worksite::new(None);
    site.was_set("acme.test.K");
    let (status, _, fix) = shown(&one(&site.context(&[]), "acme.test.K", GetOptions::default()));
    assert_eq!((status.as_str(), fix.as_str()), ("locked", "keyrack unlock --env test --key acme.test.K"));
}

#[test]
fn misspelled_key_suggests_the_declared_one() {
    let meant = "keyrack get --env test --key PLAIN";
    let set = |key: &str| {
        format!("keyrack set --env test --key {key} --vault os.secure --mech PERMANENT_VIA_REPLICA")
    };
    for (ask, fix) in [
        ("acme.test.PLIAN", meant.to_owned()),
        ("acme.test.plain", meant.to_owned()),
        ("acme.prod.PLIAN", "keyrack get --env prod --key PLAIN".to_owned()),
        // The key is declared, but not in this env.
        ("acme.camp.MAYEB", "keyrack get --env test --key MAYBE".to_owned()),
        ("acme.prod.EVERYHWERE", "keyrack get --env prod --key EVERYWHERE".to_owned()),
        ("acme.test.OTHER", set("OTHER")),
        ("@all.test.PLIAN", set("PLIAN").replace("set", "set --org @all")),
        ("acme.sudo.PLIAN", set("PLIAN").replace("test", "sudo")),
    ] {
        let site = Worksite::new(Some(MANIFEST));
        for undeclared_is_absent in [false, true] {
            let options = GetOptions { undeclared_is_absent, ..GetOptions::default() };
            let (status, _, found) = shown(&one(&site.context(&[]), ask, options));
            assert_eq!((status.as_str(), &found), ("absent", &fix), "{ask} {undeclared_is_absent}");
        }
    }
    // A key that was set once is probably not misspelled.
    let site = Worksite::new(Some(MANIFEST));
    site.was_set("acme.test.PLIAN");
    let (status, ..) = shown(&one(&site.context(&[]), "acme.test.PLIAN", GetOptions::default()));
    assert_eq!(status, "locked");
}

#[test]
fn undeclared_key_is_absent_on_request() {
    let options = GetOptions { undeclared_is_absent: true, ..GetOptions::default() };
    for (ask, status) in [
        ("acme.test.PLAIN", "locked"),
        ("acme.test.OTHER", "absent"),
        ("acme.sudo.OTHER", "locked"),
        ("@all.test.OTHER", "locked"),
    ] {
        let site = Worksite::new(Some(MANIFEST));
        site.was_set(ask);
        assert_eq!(one(&site.context(&[]), ask, options).attempt.status(), status, "{ask}");
        assert_eq!(one(&site.context(&[]), ask, GetOptions::default()).attempt.status(), "locked", "{ask}");
    }
    let site = Worksite::new(None);
    site.was_set("acme.test.OTHER");
    assert_eq!(one(&site.context(&[]), "acme.test.OTHER", options).attempt.status(), "locked");
}

#[test]
fn environment_answers_without_home_or_runtime_dir() {
    for variables in [
        &[("K", "v")][..],
        &[("K", "v"), ("HOME", "/nonexistent")],
        &[("K", "v"), ("XDG_RUNTIME_DIR", "relative")],
        &[("K", "v"), ("HOME", ""), ("XDG_RUNTIME_DIR", "")],
    ] {
        let ctx = Context::new("/", variables.iter().copied().collect());
        let outcome = get(&ctx, &key("a.test.K", None), GetOptions::default()).unwrap();
        assert!(outcome.all_granted());
        assert!(outcome.daemon_error.is_some(), "{variables:?}");
    }
}

#[test]
fn get_fails_without_home_but_not_without_runtime_dir() {
    let site = Worksite::new(Some(MANIFEST));
    site.was_set("acme.test.PLAIN");
    let get_in = |home: &str, runtime: &str| {
        let variables = [("HOME", home), ("XDG_RUNTIME_DIR", runtime)];
        let ctx = Context::new(site.home.home(), variables.into_iter().collect());
        get(&ctx, &key("acme.test.PLAIN", None), GetOptions::default())
    };
    let runtime = site.home.runtime().display().to_string();
    assert_eq!(get_in("", &runtime).unwrap_err().code, ErrorCode::NoHome);
    let home = site.home.home().display().to_string();
    let long = format!("{runtime}/{}", "x".repeat(100));
    fs::create_dir(&long).unwrap();
    fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).unwrap();
    for (runtime, code) in [
        ("", ErrorCode::RuntimeDirUnsafe),
        ("relative", ErrorCode::RuntimeDirUnsafe),
        ("/", ErrorCode::RuntimeDirUnsafe),
        ("/nonexistent", ErrorCode::RuntimeDirMissing),
        (&long, ErrorCode::SocketPathTooLong),
    ] {
        let outcome = get_in(&home, runtime).unwrap();
        assert_eq!(outcome.keys[0].attempt.status(), "locked", "{runtime:?}");
        assert_eq!(outcome.daemon_error.unwrap().code, code, "{runtime:?}");
    }
}

#[test]
fn locked_key_names_other_sessions() {
    let site = Worksite::new(Some(MANIFEST));
    site.was_set("acme.test.PLAIN");
    let address = crate::RackAddress::of(&site.context(&[])).unwrap();
    let mut other = address;
    other.name.session = "77".to_owned();
    fs::write(other.socket(), "").unwrap();
    let answer = one(&site.context(&[]), "acme.test.PLAIN", GetOptions::default());
    let (status, said, _) = shown(&answer);
    assert_eq!(status, "locked");
    assert!(said.contains("login session 77"), "{said}");
    assert!(answer.note.unwrap().contains("login session 77"));
}

#[test]
fn repository_keys_are_in_manifest_order() {
    let site = Worksite::new(Some(MANIFEST));
    let ctx = site.context(&[("PLAIN", "v"), ("EVERYWHERE", "e"), ("STAND_IN", "1")]);
    let outcome = get(&ctx, &Scope::Repo { env: Some(Env::Test) }, GetOptions::default()).unwrap();
    let found: Vec<_> = outcome
        .keys
        .iter()
        .map(|answer| (answer.attempt.slug().as_str(), answer.attempt.status(), answer.waived))
        .collect();
    assert_eq!(
        found,
        [
            ("acme.test.EVERYWHERE", "granted", false),
            ("acme.test.PLAIN", "granted", false),
            ("acme.test.STRONG", "absent", false),
            ("acme.test.SHORT", "absent", false),
            ("acme.test.ODD", "absent", false),
            ("acme.test.MAYBE", "absent", true),
        ]
    );
    assert!(!outcome.all_fine() && !outcome.single);
    assert_eq!(outcome.manifest_faults.len(), 1);
    assert!(outcome.manifest_faults[0].message.contains("unbreakable"));

    let error = get(&ctx, &Scope::Repo { env: None }, GetOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::EnvRequired);
    let error = get(&ctx, &Scope::Repo { env: Some(Env::Sudo) }, GetOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::SudoNeedsKey);
    let elsewhere = Context::new("/", ctx.env);
    let error = get(&elsewhere, &Scope::Repo { env: Some(Env::Test) }, GetOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoManifest);
}

#[test]
fn only_absent_keys_are_waived() {
    for (set, stand_in, waived) in [(false, "1", true), (false, "", false), (true, "1", false)] {
        let site = Worksite::new(Some(MANIFEST));
        if set {
            site.was_set("acme.test.MAYBE");
        }
        let answer = one(&site.context(&[("STAND_IN", stand_in)]), "acme.test.MAYBE", GetOptions::default());
        assert_eq!(answer.waived, waived);
        assert_eq!(answer.is_fine(), waived);
        assert_eq!(answer.note.as_deref() == Some("not needed: STAND_IN is set"), waived);
    }
}

#[test]
fn each_key_has_its_own_attempt() {
    let site = Worksite::new(Some(MANIFEST));
    let ctx = site.context(&[("PLAIN", "v"), ("STAND_IN", "1"), ("ROOT", "v")]);
    let keys = |asks: &[&str]| {
        let asks = asks.iter().map(|ask| (*ask).to_owned()).collect();
        Scope::Keys { asks, org: Org::This, env: None }
    };
    let asked = ["acme.test.MAYBE", "@this.test.PLAIN", "EVERYWHERE", "@all.sudo.ROOT", "acme.test.PLAIN"];
    let outcome = get(&ctx, &keys(&asked), GetOptions::default()).unwrap();
    let got = outcome.keys.iter().map(|answer| (answer.attempt.slug().as_str(), answer.attempt.status()));
    let expected = [
        ("acme.test.MAYBE", "absent"),
        ("acme.test.PLAIN", "granted"),
        ("acme.all.EVERYWHERE", "absent"),
        ("@all.sudo.ROOT", "absent"),
        ("acme.test.PLAIN", "granted"),
    ];
    assert_eq!(got.collect::<Vec<_>>(), expected);
    assert!(outcome.keys[0].waived && !outcome.single);

    assert!(get(&ctx, &keys(&[]), GetOptions::default()).unwrap().keys.is_empty());
    let error = get(&ctx, &keys(&["acme.test.PLAIN", "other.test.K"]), GetOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::OrgMismatch);
}

#[test]
fn machine_keys_are_read_despite_a_broken_manifest() {
    let site = Worksite::new(Some("org: [broken"));
    let ctx = site.context(&[("K", "v")]);
    assert!(one(&ctx, "@all.test.K", GetOptions::default()).attempt.is_granted());
    let scope = Scope::Key { ask: "K".to_owned(), org: Org::Machine, env: Some(Env::Test) };
    assert!(get(&ctx, &scope, GetOptions::default()).unwrap().all_granted());
    let several = Scope::Keys { asks: vec!["@all.test.K".to_owned()], org: Org::This, env: None };
    assert!(get(&ctx, &several, GetOptions::default()).unwrap().all_granted());
    let error = get(&ctx, &key("acme.test.K", None), GetOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::ManifestInvalid);
}

#[test]
fn pending_get_names_the_variables_it_needs() {
    let site = Worksite::new(Some(MANIFEST));
    // The context's environment is empty: the caller uses another.
    let ctx = site.context(&[]);
    let plan = GetPlan::of(&ctx, &Scope::Repo { env: Some(Env::Test) }).unwrap();
    let pending = read(&ctx, plan, GetOptions::default()).into_owned();
    assert_eq!(pending.names(), ["EVERYWHERE", "MAYBE", "ODD", "PLAIN", "SHORT", "STAND_IN", "STRONG"]);
    let outcome = pending.answer(|name| (name != "STAND_IN").then(|| Secret::copy_of(b"x"))).unwrap();
    assert!(outcome.all_granted());

    let plan = GetPlan::of(&ctx, &key("acme.sudo.ROOT", None)).unwrap();
    let pending = read(&ctx, plan, GetOptions::default());
    assert!(pending.names().is_empty());
    let outcome = pending.answer(|_| panic!("no variable answers for a sudo key")).unwrap();
    assert_eq!(outcome.keys[0].attempt.status(), "absent");
}
