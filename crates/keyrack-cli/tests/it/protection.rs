//! Behavior that must not change because keyrack protects itself from debuggers: limits of child
//! processes, and input and output for an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_testkit::{Need, as_user, binary, can_run, run};

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(30);

/// Uid without an account.
const ORDINARY: u32 = 65_533;

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a home with copies of the programs in its own directory. `keyrackd` can be a script.
fn world_with_bin(keyrackd: Option<&str>) -> Fixture {
    let fixture = Fixture::new();
    let bin = fixture.home.root().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(binary("keyrack"), bin.join("keyrack")).unwrap();
    match keyrackd {
        Some(script) => fs::write(bin.join("keyrackd"), script).map(|()| 0).unwrap(),
        None => fs::copy(binary("keyrackd"), bin.join("keyrackd")).unwrap(),
    };
    fs::set_permissions(bin.join("keyrackd"), Permissions::from_mode(0o755)).unwrap();
    fixture
}

/// Returns a script that finds `keyrack` on its PATH, in the home's own directory.
fn script(fixture: &Fixture, text: &str) -> Command {
    let text = format!("PATH={}:$PATH; {text}", fixture.home.root().join("bin").display());
    fixture.command(&["bash", "-c", &text].map(str::to_owned))
}

#[test]
fn child_programs_inherit_original_core_limit() {
    let test = "child_programs_inherit_original_core_limit";
    let hard = run(Command::new("bash").args(["-c", "ulimit -Hc"]), b"", LIMIT).unwrap();
    let unlimited = shown(&hard.stdout) == "unlimited\n";
    if !can_run(test, &[Need::That(unlimited, "a hard limit on core dumps that is unlimited")]) {
        return;
    }
    let daemon = "#!/bin/bash\necho $1 $(ulimit -Sc) $(ulimit -Hc) >> $0.limits\necho keyrackd 0\n";
    let fixture = world_with_bin(Some(daemon));
    let limits = fixture.home.root().join("bin/keyrackd.limits");
    for (set, found) in [
        ("ulimit -Sc 8", "8 unlimited"),
        ("ulimit -Sc 0", "0 unlimited"),
        ("ulimit -Sc unlimited", "unlimited unlimited"),
        ("ulimit -c 8", "8 8"),
    ] {
        run(&mut script(&fixture, &format!("{set}; keyrack doctor; keyrack daemon start")), b"", LIMIT)
            .unwrap();
        let told = fs::read_to_string(&limits).unwrap();
        fs::remove_file(&limits).unwrap();
        let told: Vec<_> = told.lines().collect();
        let expected =
            ["--version", "--check", "--check", "--check", "--socket"].map(|arg| format!("{arg} {found}"));
        assert_eq!(told, expected, "{set}");
    }
}

#[test]
fn every_command_works_for_unprivileged_user() {
    let test = "every_command_works_for_unprivileged_user";
    let programs = ["setpriv", "bash", "git", "script"].map(Need::Program);
    if !can_run(test, &[&programs[..], &[Need::Root]].concat()) {
        return;
    }
    let fixture = world_with_bin(None);
    for name in ["other.pub", "sealed.pub"] {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        fs::copy(keys.join(name), fixture.home.home().join(".ssh").join(name)).unwrap();
    }
    let owner = format!("{ORDINARY}:{ORDINARY}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(fixture.home.root()).status().unwrap().success());
    let set = "keyrack set --key K --env test --vault os.secure --mech PERMANENT_VIA_REPLICA";
    let cases = [
        ("git init -q && keyrack init --org acme", ""),
        // Input from a pipe, from a file, and from both through their names in `/proc`.
        (&format!("printf s3cret | {set}"), "acme.test.K"),
        (&format!("printf s3cret > v && {set} < v && cat v | {set} < /dev/stdin"), "acme.test.K"),
        (&format!("{set} < <(printf s3cret)"), "acme.test.K"),
        ("keyrack recipient set --label a --pubkey /dev/fd/7 7< ../.ssh/other.pub", "label: a"),
        ("keyrack recipient set --label b --pubkey /dev/stdin < ../.ssh/sealed.pub", "label: b"),
        ("keyrack unlock --env test --prikey ~/.ssh/id_ed25519", "acme.test.K"),
        ("keyrack get --env test --key K --value", "s3cret"),
        ("(keyrack get --env test --key K --value > /dev/stdout) | cat", "s3cret"),
        ("keyrack run --env test -- sh -c 'echo $K; cat' < /dev/null", "s3cret"),
        ("keyrack run --env test --files -- sh -c 'cat $K_FILE'", "s3cret"),
        ("keyrack run --env test --mask --files -- sh -c 'cat $K_FILE; echo; wc -c < $K_FILE'", "***\n6"),
        ("script -qec 'keyrack run --env test --mask -- sh -c \"test -t 1 && echo \\$K\"' /dev/null", "***"),
        (
            "keyrack run --env test -- sh -c 'cat /proc/self/environ | tr \"\\0\" \"\\n\" | grep ^K='",
            "K=s3cret",
        ),
        ("source /dev/stdin <<< \"$(keyrack source --env test)\" && echo $K", "s3cret"),
        (
            "printf '{\"K\":\"x\"}' | keyrack firewall --env test --from 'json(stdin://*)' --into json",
            "s3cret",
        ),
        (
            "printf 'protocol=https\\nhost=h\\n' | keyrack credential git --host h --env test --key K get",
            "s3cret",
        ),
        ("keyrack complete words -- keyrack get --key ''", "K"),
        ("keyrack doctor", "keyrack.host.age opens with"),
        ("keyrack relock --env test", "acme.test.K"),
        ("keyrack daemon restart && keyrack daemon stop", "stopped"),
    ];
    for (line, says) in cases {
        let mut command = as_user(ORDINARY, &script(&fixture, line));
        command.stdin(Stdio::null());
        let output = run(&mut command, b"", LIMIT).unwrap();
        let (out, err) = (shown(&output.stdout).replace('\r', ""), shown(&output.stderr));
        assert!(output.status.success() && out.contains(says), "{line}: {out}\n{err}");
    }
}
