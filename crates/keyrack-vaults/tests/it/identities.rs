//! Keys that are tried, their order, and passphrase prompts.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use keyrack_core::{Error, ErrorCode, VaultId};
use keyrack_testkit::{Need, Reaped, can_run, wait_until};
use keyrack_vaults::identity::{self, FoundKeys};
use keyrack_vaults::recipient_key::{self, Pubkey, StanzaKind};
use keyrack_vaults::{
    Identities, IdentitySource, RackPaths, age_file, manifest_file, recipient_file, recipient_set,
};

use crate::rig::{NOW_MS, PASSPHRASE, Prompt, Rig, fixture};

fn encrypted_to(keys: &[(&str, StanzaKind)]) -> Vec<u8> {
    let to: Vec<_> = keys
        .iter()
        .map(|(key, stanza)| {
            let line = std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap();
            recipient_set::entry(recipient_key::parse(&line, *stanza).unwrap(), key, NOW_MS)
        })
        .collect();
    age_file::encrypt(&to, b"x").unwrap().into_bytes()
}

fn opens(identities: &mut Identities<'_>, file: &[u8]) -> Result<(), ErrorCode> {
    age_file::decrypt(identities, file, 10).map(drop).map_err(|error| error.code)
}

#[test]
fn passphrase_is_prompted_once_and_only_if_it_helps() {
    let rig = Rig::bare();
    rig.key("sealed", "id_ed25519");
    rig.key("rsa_sealed", "id_rsa");

    // Both kinds of stanza, one question.
    let prompt = Prompt::with(&[PASSPHRASE]);
    let mut identities = rig.identities(prompt.clone());
    assert_eq!(opens(&mut identities, &encrypted_to(&[("sealed", StanzaKind::Ssh)])), Ok(()));
    assert_eq!(opens(&mut identities, &encrypted_to(&[("sealed", StanzaKind::Age)])), Ok(()));
    assert_eq!(opens(&mut identities, &encrypted_to(&[("sealed", StanzaKind::Ssh)])), Ok(()));
    assert_eq!(prompt.asked_names(), ["id_ed25519"]);

    // The stanza is for neither of them: there is no prompt.
    let prompt = Prompt::with(&[PASSPHRASE]);
    let file = encrypted_to(&[("rsa", StanzaKind::Ssh), ("plain", StanzaKind::Ssh)]);
    assert_eq!(opens(&mut rig.identities(prompt.clone()), &file), Err(ErrorCode::NoIdentity));
    assert_eq!(prompt.asked_names(), [""; 0]);

    // It is for the second one: the first is not asked for.
    let prompt = Prompt::with(&[PASSPHRASE]);
    let file = encrypted_to(&[("rsa_sealed", StanzaKind::Ssh)]);
    assert_eq!(opens(&mut rig.identities(prompt.clone()), &file), Ok(()));
    assert_eq!(prompt.asked_names(), ["id_rsa"]);
}

#[test]
fn only_known_recipients_are_prompted_for() {
    let rig = Rig::ready();
    rig.set("acme.test.K", &VaultId::OsSecure, "v");
    // Another home's view of the same file: the only key there has a passphrase and is not a
    // recipient.
    std::fs::remove_dir_all(rig.racks.ssh_dir()).unwrap();
    std::fs::create_dir(rig.racks.ssh_dir()).unwrap();
    let sealed = rig.key("sealed", "id_ed25519");
    let plain = std::fs::read_to_string(fixture("keys/plain.pub")).unwrap();
    let known =
        [recipient_set::entry(recipient_key::parse(&plain, StanzaKind::Age).unwrap(), "default", NOW_MS)];
    let slug = crate::rig::slug("acme.test.K");
    let get = |prikeys: Vec<PathBuf>, known: &[_], prompt: Prompt| {
        let source = IdentitySource { prikeys, ..rig.source() };
        let mut context = keyrack_vaults::VaultContext {
            racks: &rig.racks,
            identities: &mut Identities::discover(source, Box::new(prompt)).unwrap(),
            recipients: known,
            env: &|_| None,
            now_ms: NOW_MS,
        };
        let vault = keyrack_vaults::registry::vault(&VaultId::OsSecure).unwrap();
        vault.get(keyrack_vaults::VaultEntry::new(&slug), &mut context).unwrap_err().code
    };
    for (prikeys, known, asked) in [
        (vec![], &known[..], 0),
        // The recipients of the file are unknown: the key could open it.
        (vec![], &[], 1),
        // Named, so it is meant.
        (vec![sealed], &known[..], 1),
    ] {
        let prompt = Prompt::with(&[PASSPHRASE]);
        assert_eq!(get(prikeys, known, prompt.clone()), ErrorCode::NoIdentity);
        assert_eq!(prompt.asked.borrow().len(), asked);
    }
}

#[test]
fn keys_without_passphrase_are_tried_first() {
    let rig = Rig::bare();
    rig.key("sealed", "id_ed25519");
    rig.key("rsa", "id_rsa");
    let prompt = Prompt::with(&[PASSPHRASE]);
    let file = encrypted_to(&[("sealed", StanzaKind::Ssh), ("rsa", StanzaKind::Ssh)]);
    assert_eq!(opens(&mut rig.identities(prompt.clone()), &file), Ok(()));
    assert_eq!(prompt.asked_names(), [""; 0]);
}

#[test]
fn wrong_passphrase_is_reported_and_not_prompted_for_again() {
    let rig = Rig::bare();
    let path = rig.key("sealed", "id_ed25519");
    let file = encrypted_to(&[("sealed", StanzaKind::Ssh)]);
    let prompt = Prompt::with(&["wrong", PASSPHRASE]);
    let mut identities = rig.identities(prompt.clone());
    for _ in 0..2 {
        let error = age_file::decrypt(&mut identities, &file, 10).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadPassphrase);
        assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    }
    assert_eq!(prompt.asked_names(), ["id_ed25519"]);
    // And it is not the cause where the key would have been of no use.
    assert_eq!(
        opens(&mut identities, &encrypted_to(&[("rsa", StanzaKind::Ssh)])),
        Err(ErrorCode::NoIdentity)
    );

    // A prompt that allows more tries is asked that often.
    let prompt = Prompt { tries: 3, ..Prompt::with(&["wrong", "", PASSPHRASE]) };
    assert_eq!(opens(&mut rig.identities(prompt.clone()), &file), Ok(()));
    assert_eq!(prompt.asked.borrow().len(), 3);
    assert_eq!(prompt.rejected.borrow().len(), 2);
}

#[test]
fn declined_prompt_is_the_reported_cause() {
    let rig = Rig::bare();
    rig.key("sealed", "id_ed25519");
    let file = encrypted_to(&[("sealed", StanzaKind::Ssh)]);
    for code in [ErrorCode::PromptNeeded, ErrorCode::Interrupted] {
        let prompt = Prompt::declining(code.clone());
        assert_eq!(opens(&mut rig.identities(prompt), &file), Err(code));
    }
}

#[test]
fn wrong_passphrase_does_not_exclude_another_key() {
    let rig = Rig::bare();
    rig.key("sealed", "id_ed25519");
    rig.key("rsa_sealed", "id_rsa");
    let file = encrypted_to(&[("sealed", StanzaKind::Ssh), ("rsa_sealed", StanzaKind::Ssh)]);
    let prompt = Prompt::with(&["wrong", PASSPHRASE]);
    assert_eq!(opens(&mut rig.identities(prompt.clone()), &file), Ok(()));
    assert_eq!(prompt.asked_names(), ["id_ed25519", "id_rsa"]);
}

#[test]
fn identities_are_searched_in_a_fixed_order() {
    let rig = Rig::of("ehmpath");
    let named = rig.key("other", "given");
    rig.key("plain", "ehmpath");
    rig.key("rsa", "id_rsa");
    rig.key("ecdsa", "id_ecdsa");
    let agent_key = rig.home.home().join("agent-key");
    std::fs::copy(fixture("keys/other"), &agent_key).unwrap();
    let socket = agent(&rig, &[agent_key.to_str().unwrap(), "u@host", "relative/path", "/nonexistent"]);
    let source = IdentitySource { prikeys: vec![named.clone()], ssh_auth_sock: Some(socket), ..rig.source() };
    let mut identities = Identities::discover(source, Box::new(Prompt::default())).unwrap();
    let error =
        age_file::decrypt(&mut identities, &encrypted_to(&[("sealed", StanzaKind::Ssh)]), 10).unwrap_err();
    let ssh = rig.racks.ssh_dir();
    let expected = [named, ssh.join("ehmpath"), agent_key, ssh.join("id_rsa"), ssh.join("id_ecdsa")];
    assert_eq!(identities.candidate_paths(), expected);
    // The error lists them, says what is wrong with one, and shows nothing of any key.
    let hint = error.hint.unwrap();
    for path in &expected {
        let shown = path.strip_prefix(rig.racks.home()).unwrap();
        assert!(hint.contains(&format!("~/{}", shown.display())), "{hint}");
    }
    assert!(hint.contains("id_ecdsa (only ed25519 and rsa keys"), "{hint}");
    assert!(!hint.contains("AGE-SECRET") && !hint.contains("PRIVATE"), "{hint}");
}

/// Ssh-agent that lists keys with these comments, once.
fn agent(rig: &Rig, comments: &[&str]) -> PathBuf {
    let path = rig.home.runtime().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let mut body = vec![12];
    body.extend(u32::try_from(comments.len()).unwrap().to_be_bytes());
    for comment in comments {
        for text in ["blob", comment] {
            body.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            body.extend(text.as_bytes());
        }
    }
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    path
}

#[test]
fn unusable_named_key_is_an_error() {
    let rig = Rig::bare();
    let write = |name: &str, text: &str| {
        let path = rig.home.home().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let rsa_pem_sealed = fixture("keys/rsa_pem_sealed");
    for (path, says) in [
        (rig.home.home().join("missing"), "there is no key file"),
        (rig.home.home(), "not a regular file"),
        (fixture("keys/plain.pub"), "it is a public key"),
        (fixture("keys/ecdsa"), "only ed25519 and rsa"),
        (rsa_pem_sealed, "ssh-keygen -p"),
        (write("empty", ""), "neither"),
        (write("text", "hello"), "neither"),
        (
            write(
                "damaged",
                "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            ),
            "damaged",
        ),
        (write("pkcs8", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "damaged"),
        (
            write(
                "sealed8",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ),
            "openssl pkey -in FILE",
        ),
        (write("ec", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"), "ecdsa"),
        (write("plugin", "# a key\nAGE-PLUGIN-YUBIKEY-1QQQ\n"), "an identity of an age plugin"),
        (write("age", "# comment\n\nAGE-SECRET-KEY-1QQQ\n"), "line 3"),
        (write("large", &"x".repeat(70_000)), "not a key file"),
    ] {
        let source = IdentitySource { prikeys: vec![path.clone()], ..rig.source() };
        let error = Identities::discover(source, Box::new(Prompt::default())).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadKeyFile, "{}", path.display());
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
        assert!(!error.message.contains("QQQ"), "{}", error.message);
    }
}

#[test]
fn key_given_in_place_of_its_path_is_not_repeated() {
    let rig = Rig::bare();
    for typed in [
        "AGE-SECRET-KEY-1HUNTER2",
        "age-secret-key-1hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2/hunter2\n",
    ] {
        let source = IdentitySource { prikeys: vec![rig.home.home().join(typed)], ..rig.source() };
        let error = Identities::discover(source, Box::new(Prompt::default())).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadKeyFile, "{typed}");
        assert!(error.message.contains("not a key itself"), "{}", error.message);
        assert!(!format!("{error:?}").to_lowercase().contains("hunter2"), "{typed}");
    }
}

#[test]
fn error_without_any_key_says_so() {
    let rig = Rig::ready();
    rig.set("acme.test.K", &VaultId::OsSecure, "v");
    std::fs::remove_dir_all(rig.racks.ssh_dir()).unwrap();
    let error = rig.get("acme.test.K", &VaultId::OsSecure).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoIdentity);
    assert!(error.hint.unwrap().contains("no key was found"), "names the place");
}

#[test]
fn for_init_derives_the_recipient_of_the_key() {
    let rig = Rig::bare();
    let sealed = rig.key("sealed", "id_ed25519");
    let first = recipient_file::for_init(&sealed).unwrap();
    let line = std::fs::read_to_string(fixture("keys/sealed.pub")).unwrap();
    assert_eq!((first.mech, first.pubkey.as_str()), (recipient_key::SSH, line.trim()));
    assert_eq!(recipient_file::for_init(&sealed.with_extension("pub")).unwrap(), first);

    // Without its public half beside it, the key file says it itself.
    std::fs::remove_file(rig.racks.ssh_dir().join("id_ed25519.pub")).unwrap();
    let own = recipient_file::for_init(&sealed).unwrap();
    assert!(line.starts_with(&own.pubkey), "{own:?}");

    // The public half of another key beside it would lock the user out.
    std::fs::copy(fixture("keys/other.pub"), rig.racks.ssh_dir().join("id_ed25519.pub")).unwrap();
    assert_eq!(recipient_file::for_init(&sealed).unwrap_err().code, ErrorCode::BadKeyFile);

    for (key, mech) in [
        ("plain", Some(recipient_key::AGE)),
        ("rsa", Some(recipient_key::SSH)),
        ("rsa_pem", Some(recipient_key::SSH)),
        ("rsa_sealed", Some(recipient_key::SSH)),
        ("ecdsa", None),
    ] {
        let made = recipient_file::for_init(&fixture(&format!("keys/{key}")));
        assert_eq!(made.as_ref().map(|made| made.mech).ok(), mech, "{key}: {made:?}");
        if let Ok(Pubkey { mech: recipient_key::SSH, pubkey }) = &made {
            let line = std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap();
            let key_of = |line: &str| line.split(' ').nth(1).map(str::to_owned);
            assert_eq!(key_of(pubkey), key_of(line.trim()), "{key}");
        }
        if let Err(error) = made {
            assert_eq!(error.code, ErrorCode::BadKeyFile);
        }
    }
}

/// Returns the key that `init` takes.
fn chosen(rig: &Rig) -> Result<PathBuf, Error> {
    FoundKeys::search(&rig.racks, None).choose(&rig.racks).map(|usable| usable.path)
}

#[test]
fn for_init_needs_no_public_half() {
    for (key, name) in [
        ("plain", "id_ed25519"),
        ("sealed", "id_ed25519"),
        ("rsa", "id_rsa"),
        ("rsa_pem", "id_rsa"),
        ("rsa_sealed", "id_rsa"),
    ] {
        let rig = Rig::bare();
        let ssh = rig.racks.ssh_dir();
        assert_eq!(chosen(&rig).unwrap_err().code, ErrorCode::BadKeyFile);
        let path = rig.key(key, name);
        let beside = recipient_file::for_init(&path).unwrap();
        std::fs::remove_file(ssh.join(format!("{name}.pub"))).unwrap();
        assert_eq!(chosen(&rig).unwrap(), path, "{key}");
        let alone = recipient_file::for_init(&path).unwrap();
        assert_eq!(alone.mech, beside.mech, "{key}");
        assert!(beside.pubkey.starts_with(&alone.pubkey), "{key}: {alone:?} of {beside:?}");
    }
}

#[test]
fn choose_prefers_default_keys_of_the_home() {
    let rig = Rig::bare();
    let ssh = rig.racks.ssh_dir();
    let elsewhere = rig.home.home().join("keys");
    std::fs::create_dir(&elsewhere).unwrap();
    for (name, text) in [("known_hosts", "host ssh-ed25519 AAAA"), ("authorized_keys", ""), ("agent.sh", "x")]
    {
        std::fs::write(ssh.join(name), text).unwrap();
    }
    let fix = |error: Error| error.fix.map(|fix| fix.render(Default::default()));
    let error = chosen(&rig).unwrap_err();
    assert!(error.message.contains("there is no ssh key in ~/.ssh"), "{error}");
    assert_eq!(fix(error).as_deref(), Some("ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519"));

    // Keys that do not help are named, with the reason.
    rig.key("ecdsa", "id_ecdsa");
    std::fs::copy(fixture("keys/other.pub"), ssh.join("id_ed25519.pub")).unwrap();
    std::fs::copy(fixture("keys/rsa_pem_sealed"), ssh.join("old")).unwrap();
    std::fs::copy(fixture("keys/sk"), ssh.join("id_ed25519_sk")).unwrap();
    let error = chosen(&rig).unwrap_err();
    let hint = error.hint.clone().unwrap();
    for says in [
        "~/.ssh/id_ecdsa (only ed25519 and rsa keys open age files, and it is ecdsa)",
        "~/.ssh/id_ed25519.pub (only the public half of a key is here)",
        "~/.ssh/old (it is an old PEM file with a passphrase",
        "~/.ssh/id_ed25519_sk (its private half is in a security key, which signs and cannot decrypt)",
    ] {
        assert!(hint.contains(says), "{hint}");
    }
    assert!(!hint.contains("known_hosts") && !hint.contains("id_ecdsa.pub"), "{hint}");
    // A name that is free.
    assert_eq!(fix(error).as_deref(), Some("ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519_keyrack"));

    // The only one that helps, whatever its name and place.
    std::fs::write(ssh.join("config"), format!("Host x\n IdentityFile {}/other\n", elsewhere.display()))
        .unwrap();
    std::fs::copy(fixture("keys/other"), elsewhere.join("other")).unwrap();
    assert_eq!(chosen(&rig).unwrap(), elsewhere.join("other"));
    let work = rig.key("sealed", "work");
    let error = chosen(&rig).unwrap_err();
    assert!(error.message.contains("several keys could open the rack: ~/.ssh/work, ~/keys/other"), "{error}");
    assert_eq!(fix(error), Some(format!("keyrack init --prikey {}", work.display())));
    // One of the usual names is taken first.
    let rsa = rig.key("rsa", "id_rsa");
    assert_eq!(chosen(&rig).unwrap(), rsa);
}

#[test]
fn remembered_identity_is_found() {
    let rig = Rig::bare();
    let work = rig.key("plain", "work");
    rig.init("work");
    let open = |rig: &Rig| manifest_file::load_existing(&rig.racks, &mut rig.identities(Prompt::default()));
    let error = open(&rig).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoIdentity);
    assert!(error.hint.as_ref().unwrap().contains("not tried: ~/.ssh/work"), "{error:?}");

    let mut named = rig.with_keys(std::slice::from_ref(&work), Prompt::default());
    assert_eq!(named.to_remember(), None, "it has opened nothing yet");
    manifest_file::load_existing(&rig.racks, &mut named).unwrap();
    assert_eq!(named.to_remember(), Some(work.as_path()));
    assert!(identity::remember(&rig.racks, &work).unwrap());
    assert!(!identity::remember(&rig.racks, &work).unwrap(), "known already");
    assert_eq!(named.to_remember(), None);
    assert!(open(&rig).is_ok());
    let file = rig.racks.identities_path();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n", work.display()));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // A path that is gone is skipped, and so is a file that is a link.
    for n in 0..20 {
        assert!(identity::remember(&rig.racks, &PathBuf::from(format!("/nonexistent/{n}"))).unwrap());
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 16);
    assert!(!identity::remember(&rig.racks, Path::new("relative")).unwrap());
    assert!(!identity::remember(&rig.racks, Path::new("/two\nlines")).unwrap());
    assert!(identity::remember(&rig.racks, &work).unwrap());
    assert!(open(&rig).is_ok());
    let content = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(rig.home.home().join("linked"), &file).unwrap();
    std::fs::write(rig.home.home().join("linked"), content).unwrap();
    assert_eq!(open(&rig).unwrap_err().code, ErrorCode::NoIdentity);
    // Each owner's rack remembers its own.
    let other = RackPaths::new(Some(rig.racks.home().as_os_str()), "other".parse().unwrap()).unwrap();
    assert_ne!(other.identities_path(), file);
}

#[test]
fn pkcs8_key_opens_what_its_ssh_form_opens() {
    let rig = Rig::bare();
    let key = rig.racks.ssh_dir().join("id_ed25519");
    std::fs::copy(fixture("keys/pkcs8"), &key).unwrap();
    rig.init("id_ed25519");
    rig.set("acme.test.K", &VaultId::OsSecure, "v");
    assert_eq!(rig.get("acme.test.K", &VaultId::OsSecure).unwrap().as_deref(), Some("v"));
    // The same key in OpenSSH's form.
    std::fs::copy(fixture("keys/pkcs8_ssh"), &key).unwrap();
    assert_eq!(rig.get("acme.test.K", &VaultId::OsSecure).unwrap().as_deref(), Some("v"));
}

#[test]
fn key_of_an_agent_only_is_named_as_unusable() {
    let test = "key_of_an_agent_only_is_named_as_unusable";
    let needs = ["ssh-agent", "ssh-add", "ssh-keygen"].map(Need::Program);
    if !can_run(test, &needs) {
        return;
    }
    let rig = Rig::bare();
    let key = rig.home.home().join("gone");
    let socket = rig.home.runtime().join("agent");
    let mut keygen = rig.home.command("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "me@work", "-f"]).arg(&key);
    assert!(keygen.status().unwrap().success());
    let mut command = rig.home.command("ssh-agent");
    let _agent = Reaped::spawn(command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
    wait_until("the agent listens", Duration::from_secs(10), || socket.exists());
    let mut add = rig.home.command("ssh-add");
    assert!(add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status().unwrap().success());
    let error = FoundKeys::search(&rig.racks, Some(&socket)).choose(&rig.racks).unwrap_err();
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("ssh-ed25519 key \"me@work\" of an ssh-agent (an agent signs and cannot decrypt)"),
        "{hint}"
    );
    // With its file in the home, it is a key as any other.
    std::fs::rename(&key, rig.racks.ssh_dir().join("work")).unwrap();
    std::fs::rename(key.with_extension("pub"), rig.racks.ssh_dir().join("work.pub")).unwrap();
    let survey = FoundKeys::search(&rig.racks, Some(&socket));
    assert_eq!((survey.usable.len(), survey.unusable), (1, vec![]));
}

#[test]
fn key_that_a_real_agent_names_by_path_is_found() {
    let test = "key_that_a_real_agent_names_by_path_is_found";
    let needs = ["ssh-agent", "ssh-add", "ssh-keygen"].map(Need::Program);
    if !can_run(test, &needs) {
        return;
    }
    let rig = Rig::bare();
    let key = rig.home.home().join("elsewhere");
    let socket = rig.home.runtime().join("agent");
    let mut keygen = rig.home.command("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).arg("-C").arg(&key);
    assert!(keygen.status().unwrap().success());
    let mut command = rig.home.command("ssh-agent");
    let _agent = Reaped::spawn(command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
    wait_until("the agent listens", Duration::from_secs(10), || socket.exists());
    let mut add = rig.home.command("ssh-add");
    assert!(add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status().unwrap().success());

    let line = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let to = recipient_set::entry(recipient_key::parse(&line, StanzaKind::Age).unwrap(), "x", NOW_MS);
    let file = age_file::encrypt(&[to], b"x").unwrap().into_bytes();
    assert_eq!(opens(&mut rig.identities(Prompt::default()), &file), Err(ErrorCode::NoIdentity));
    let source = IdentitySource { ssh_auth_sock: Some(socket), ..rig.source() };
    let mut identities = Identities::discover(source, Box::new(Prompt::default())).unwrap();
    assert_eq!(opens(&mut identities, &file), Ok(()));
    assert_eq!(identities.candidate_paths(), [key]);
}
