//! Repositories of other users: every command that reads a `keyrack.yml` rejects them, as git does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keyrack_testkit::{Need, as_user, binary, can_run, run};
use serde_json::Value;

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

/// User who runs the commands, and another user. Neither has an account.
const ME: u32 = 65_532;
const OTHER: u32 = 65_531;

/// Directory that several users share, with a repository that one of them may have created.
struct Shared {
    fixture: Fixture,
    root: PathBuf,
}

impl Shared {
    fn new() -> Self {
        let fixture = Fixture::new();
        let root = fixture.home.root().join("shared");
        for dir in [".git", ".agent", "work"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join(".agent/keyrack.yml"), "org: acme\nextends: [role.yml]\nenv.test:\n  - K\n")
            .unwrap();
        fs::write(root.join("role.yml"), "org: acme\nenv.test:\n  - R\n").unwrap();
        let bin = fixture.home.root().join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["keyrack", "keyrackd"] {
            fs::copy(binary(name), bin.join(name)).unwrap();
        }
        let shared = Shared { fixture, root };
        shared.give(shared.fixture.home.root(), ME);
        shared
    }

    fn give(&self, path: &Path, user: u32) {
        let owner = format!("{user}:{user}");
        assert!(Command::new("chown").args(["-hR", &owner]).arg(path).status().unwrap().success());
    }

    /// Changes the owner of one path in the repository, without its contents.
    fn give_only(&self, path: &str, user: u32) {
        std::os::unix::fs::lchown(self.root.join(path), Some(user), Some(user)).unwrap();
    }

    /// Returns a command that a user runs in the directory.
    fn command(&self, user: u32, words: &str) -> Command {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let mut command = self.fixture.command(&words);
        let mut own = Command::new(self.fixture.home.root().join("bin/keyrack"));
        own.args(&words[1..]).envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        own.env("K", "k-value").env("R", "r-value").current_dir(self.root.join("work"));
        command = if user == 0 { own } else { as_user(user, &own) };
        command
    }

    /// Runs a command. Returns its exit code, its stdout, the JSON error that it reported, if any,
    /// and its stderr.
    fn ran(&self, command: &mut Command) -> (i32, String, Option<Value>, String) {
        let output = run(command, b"{}", LIMIT).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = text(&output.stderr);
        let last = told.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let error = last.and_then(|value| value.get("error").cloned());
        (output.status.code().unwrap(), text(&output.stdout), error, told)
    }
}

const GET: &str = "keyrack get --for repo --env test --json";

#[test]
fn repository_of_another_user_is_rejected_with_its_path() {
    let test = "repository_of_another_user_is_rejected_with_its_path";
    if !can_run(test, &[Need::Root, Need::Program("setpriv"), Need::Program("chown")]) {
        return;
    }
    let shared = Shared::new();
    let (exit, stdout, error, _) = shared.ran(&mut shared.command(ME, GET));
    assert!(exit == 0 && stdout.contains("k-value") && stdout.contains("r-value"), "{stdout} {error:?}");
    let fix = format!("git config --global --add safe.directory {}", shared.root.display());
    for (path, named) in [
        ("", "/shared belongs to another user, uid 65531"),
        (".git", "/shared/.git belongs to another user, uid 65531"),
        (".agent", "/shared/.agent belongs to another user, uid 65531"),
        (".agent/keyrack.yml", "/shared/.agent/keyrack.yml belongs to another user, uid 65531"),
        ("role.yml", "/shared/role.yml belongs to another user, uid 65531"),
    ] {
        shared.give_only(path, OTHER);
        for words in [
            GET,
            "keyrack get --env test --key K --json",
            "keyrack unlock --env test --json",
            "keyrack source --env test --json",
            "keyrack run --env test -- true",
            "keyrack fill --env test --json",
            "keyrack firewall --env test --from json(stdin://*) --into json",
            "keyrack types --json",
            "keyrack relock --env test --key K --json",
            "keyrack set --env test --key K --vault os.direct --mech PERMANENT_VIA_REPLICA --json",
            "keyrack credential kubectl --env test --key K",
        ] {
            let (exit, stdout, error, told) = shared.ran(&mut shared.command(ME, words));
            assert!(!stdout.contains("-value"), "{path} {words}: {stdout}");
            assert_eq!(exit, 2, "{path} {words}: {told}");
            assert!(told.contains(named), "{path} {words}: {told}");
            assert!(told.contains(&fix), "{path} {words}: {told}");
            if let Some(error) = error {
                assert_eq!(error["code"], "repository_untrusted", "{words}");
                assert_eq!(error["fix"], fix.as_str(), "{words}");
            }
        }
        let (exit, offered, ..) =
            shared.ran(&mut shared.command(ME, "keyrack complete words -- keyrack get --key "));
        assert_eq!((exit, offered.as_str()), (0, ""), "{path}: nothing of it is offered");
        let (_, told, ..) = shared.ran(&mut shared.command(ME, "keyrack doctor --json"));
        assert!(told.contains(named), "{path}: {told}");
        // Root's files are accepted.
        shared.give_only(path, 0);
        assert_eq!(shared.ran(&mut shared.command(ME, GET)).0, 0, "{path}");
        shared.give_only(path, ME);
    }
    // A full slug needs no keyrack.yml.
    shared.give(&shared.root, OTHER);
    let (exit, ..) = shared.ran(&mut shared.command(ME, "keyrack get --org @all --env test --key K --json"));
    assert_eq!(exit, 0);
}

#[test]
fn repository_of_another_user_can_be_allowed_by_path() {
    let test = "repository_of_another_user_can_be_allowed_by_path";
    if !can_run(test, &[Need::Root, Need::Program("setpriv"), Need::Program("chown")]) {
        return;
    }
    let shared = Shared::new();
    let config = shared.fixture.home.home().join(".gitconfig");
    shared.give(&shared.root, OTHER);
    let get = |variables: &[(&str, &str)]| {
        let mut command = shared.command(ME, GET);
        command.env_remove("GIT_CONFIG_GLOBAL").envs(variables.iter().copied());
        shared.ran(&mut command).0
    };
    let root = shared.root.to_str().unwrap();
    let below = format!("{}/*", shared.fixture.home.root().display());
    assert_eq!(get(&[]), 2);
    for (listed, exit) in [(root, 0), ("*", 0), (&*below, 0), ("/nowhere", 2), ("", 2)] {
        assert_eq!(get(&[("KEYRACK_SAFE_DIRECTORY", listed)]), exit, "{listed}");
    }
    for (text, exit) in [
        (format!("[safe]\n\tdirectory = {root}\n"), 0),
        (format!("[safe]\n\tdirectory = {root}\n\tdirectory =\n"), 2),
        (format!("[safe]\n\tdirectory = {root}/work\n"), 2),
        (format!("[safe]\n\tdirectory = \"{root}\n"), 2),
    ] {
        fs::write(&config, &text).unwrap();
        shared.give(&config, ME);
        assert_eq!(get(&[]), exit, "{text}");
        // Another user's configuration file is ignored.
        shared.give(&config, OTHER);
        assert_eq!(get(&[]), 2, "{text}");
    }
    // The repository's own configuration is ignored.
    fs::remove_file(&config).unwrap();
    fs::write(shared.root.join(".git/config"), format!("[safe]\n\tdirectory = {root}\n")).unwrap();
    fs::write(shared.root.join("work/.env"), format!("KEYRACK_SAFE_DIRECTORY={root}\n")).unwrap();
    assert_eq!(get(&[]), 2);
}

#[test]
fn root_accepts_repository_of_sudo_user() {
    let test = "root_accepts_repository_of_sudo_user";
    if !can_run(test, &[Need::Root, Need::Program("chown")]) {
        return;
    }
    let shared = Shared::new();
    let me = ME.to_string();
    // Root's own home.
    shared.give(&shared.fixture.home.home(), 0);
    shared.give(&shared.fixture.home.runtime(), 0);
    let get = |sudo: Option<&str>| {
        let mut command = shared.command(0, GET);
        command.env_remove("SUDO_UID").envs(sudo.map(|uid| ("SUDO_UID", uid)));
        shared.ran(&mut command).0
    };
    for (owner, planted, sudo, exit) in [
        // A CI job runs as root in a checkout of the runner's user.
        (ME, &[][..], None, 0),
        (0, &[], None, 0),
        (ME, &[], Some(me.as_str()), 0),
        (0, &[], Some(&me), 0),
        (OTHER, &[], Some(&me), 2),
        (ME, &[".agent/keyrack.yml"], None, 2),
        (ME, &[".git"], None, 2),
        // Root's directory, to which other users can write.
        (0, &[".git", ".agent", ".agent/keyrack.yml"], None, 2),
    ] {
        shared.give(&shared.root, owner);
        planted.iter().for_each(|path| shared.give_only(path, OTHER));
        assert_eq!(get(sudo), exit, "{owner} {planted:?} {sudo:?}");
    }
}

#[test]
fn repository_of_another_user_is_never_written() {
    let test = "repository_of_another_user_is_never_written";
    if !can_run(test, &[Need::Root, Need::Program("setpriv"), Need::Program("chown")]) {
        return;
    }
    let shared = Shared::new();
    fs::remove_dir_all(shared.root.join(".agent")).unwrap();
    shared.give_only(".git", OTHER);
    let (exit, stdout, error, _) = shared.ran(&mut shared.command(ME, "keyrack init --org acme --json"));
    assert_eq!(exit, 2, "{stdout}");
    assert_eq!(error.unwrap()["code"], "repository_untrusted");
    assert!(!shared.root.join(".agent").exists());
    assert!(!shared.fixture.home.home().join(".rhachet").exists(), "it is refused before the rack is made");
}

#[test]
fn repository_of_unmapped_user_is_rejected() {
    let test = "repository_of_unmapped_user_is_rejected";
    let programs = ["setpriv", "chown", "unshare"].map(Need::Program);
    let possible = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    let possible = possible.is_ok_and(|status| status.success());
    let needs = [&programs[..], &[Need::Root, Need::That(possible, "user namespaces")]].concat();
    if !can_run(test, &needs) {
        return;
    }
    let shared = Shared::new();
    let get = |flags: &[&str]| {
        let inner = shared.command(ME, GET);
        let mut command = Command::new("setpriv");
        let ids = ["--reuid", "65532", "--regid", "65532", "--clear-groups", "unshare", "--user"];
        command.args(ids).args(flags).arg(shared.fixture.home.root().join("bin/keyrack"));
        command.args(GET.split(' ').skip(1)).env_clear().current_dir(inner.get_current_dir().unwrap());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shared.ran(&mut command)
    };
    // The user is mapped, so the repository belongs to the caller.
    let (exit, _, _, told) = get(&["--map-root-user"]);
    assert_eq!(exit, 0, "{told}");
    shared.give(&shared.root, OTHER);
    let (exit, _, _, told) = get(&["--map-root-user"]);
    assert!(exit == 2 && told.contains("belongs to another user"), "{exit} {told}");
}
