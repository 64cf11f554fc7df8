//! Files of os.secure in the wrong place: swapped, restored, edited. Each key yields its own
//! current value or none.

use std::fs;
use std::path::Path;
use std::time::Duration;

use keyrack_core::host_manifest::NewHostEntry;
use keyrack_core::{ErrorCode, Fix, Mechanism, VaultId};
use keyrack_testkit::{Need, can_run, run};
use keyrack_vaults::recipient_key::{self, StanzaKind};
use keyrack_vaults::{RackPaths, age_file, manifest_file, os_secure, recipient_set};

use crate::rig::{NOW_MS, Prompt, Rig, fixture, slug};

const SECURE: VaultId = VaultId::OsSecure;
const A: &str = "acme.test.A";
const B: &str = "acme.test.B";

fn ready(owner: &str) -> Rig {
    let rig = Rig::of(owner);
    rig.key("plain", "id_ed25519");
    rig.init("id_ed25519");
    rig
}

fn file(rig: &Rig, key: &str) -> Vec<u8> {
    fs::read(rig.racks.secure_path(&slug(key))).unwrap()
}

fn put_file(racks: &RackPaths, key: &str, bytes: &[u8]) {
    fs::write(racks.secure_path(&slug(key)), bytes).unwrap();
}

/// Asserts that a key is rejected by name, with a hint and a fix.
fn refused(rig: &Rig, key: &str, because: &str) {
    let error = rig.get(key, &SECURE).unwrap_err();
    assert_eq!(error.code, ErrorCode::VaultMismatch, "{error}");
    assert!(error.message.contains(key) && error.message.contains(because), "{error}");
    assert_eq!(error.slug, Some(slug(key)));
    assert!(error.hint.is_some());
    assert_eq!(error.fix, Some(Fix::set_secure(rig.racks.owner(), &slug(key))));
    assert!(!error.message.contains("value of"), "no value is shown: {error}");
}

#[test]
fn swapped_files_are_refused() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    rig.set(B, &SECURE, "value of B");
    let (a, b) = (file(&rig, A), file(&rig, B));
    put_file(&rig.racks, A, &b);
    put_file(&rig.racks, B, &a);
    refused(&rig, A, "another key");
    refused(&rig, B, "another key");
    put_file(&rig.racks, A, &a);
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of A"));
    refused(&rig, B, "another key");
    // Setting it again fixes that.
    rig.set(B, &SECURE, "value of B again");
    assert_eq!(rig.get(B, &SECURE).unwrap().as_deref(), Some("value of B again"));
}

#[test]
fn file_of_another_owner_is_refused() {
    let (one, other) = (ready("default"), ready("work"));
    one.set(A, &SECURE, "value of one");
    other.set(A, &SECURE, "value of other");
    put_file(&other.racks, A, &file(&one, A));
    refused(&other, A, "another key, owner or mechanism");
}

#[test]
fn older_file_is_refused() {
    let rig = ready("default");
    let mut files = Vec::new();
    for n in 0..3 {
        rig.set(A, &SECURE, &format!("value of set {n}"));
        files.push(file(&rig, A));
    }
    for older in &files[..2] {
        put_file(&rig.racks, A, older);
        refused(&rig, A, "an older value");
    }
    put_file(&rig.racks, A, &files[2]);
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of set 2"));
}

#[test]
fn file_from_before_a_del_is_refused() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of before");
    let before = file(&rig, A);
    manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        manifest.hosts.remove(&slug(A));
        Ok(())
    })
    .unwrap();
    rig.set_at(A, &SECURE, "value of after", NOW_MS + 1);
    put_file(&rig.racks, A, &before);
    refused(&rig, A, "older value");
}

/// Writes a file as another implementation does: the same recipients, no binding, no `meta`.
fn write_unbound(rig: &Rig, key: &str, secret: &str) {
    let bytes = age_file::encrypt(&rig.manifest().recipients, secret.as_bytes()).unwrap();
    put_file(&rig.racks, key, bytes.as_bytes());
}

fn forget_meta(rig: &Rig, key: &str) {
    manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        let (vault, mech) = (SECURE, Mechanism::Replica);
        let new = NewHostEntry { vault, mech, exid: None, meta: None, max_duration: None };
        manifest.put(&slug(key), new, NOW_MS + 60_000);
        Ok(())
    })
    .unwrap();
}

#[test]
fn unbound_file_is_read_only_where_the_entry_is_unbound() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    let bound = file(&rig, A);
    write_unbound(&rig, A, "value of another");
    refused(&rig, A, "is not bound");

    // The other implementation sets the key: its file is not bound, and its entry has no meta.
    forget_meta(&rig, A);
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of another"));
    assert_eq!(os_secure::newer_meta(&rig.racks, &rig.host(&slug(A)).unwrap()), None);
    // A bound file of earlier does not pass for it.
    put_file(&rig.racks, A, &bound);
    refused(&rig, A, "another key");

    // The next set binds it again, at a version after all earlier ones.
    rig.set(A, &SECURE, "value of the next set");
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of the next set"));
    put_file(&rig.racks, A, &bound);
    let error = rig.get(A, &SECURE).unwrap_err();
    assert_eq!(error.code, ErrorCode::VaultMismatch);
    write_unbound(&rig, A, "value of another");
    refused(&rig, A, "is not bound");
}

/// The first `set` over an unbound entry is cut short between the file and the manifest.
#[test]
fn first_binding_cut_short_is_adopted() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    forget_meta(&rig, A);
    write_unbound(&rig, A, "value of A");
    let before = rig.host(&slug(A)).unwrap();
    rig.set(A, &SECURE, "value of the set");
    manifest_file::update(&rig.racks, &mut rig.identities(Prompt::default()), |manifest, _| {
        manifest.hosts.insert(slug(A), before.clone());
        Ok(())
    })
    .unwrap();
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of the set"));
    assert!(os_secure::newer_meta(&rig.racks, &before).is_some());
}

#[test]
fn recipient_changes_keep_the_binding() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    rig.set(B, &SECURE, "value of B");
    forget_meta(&rig, B);
    write_unbound(&rig, B, "value of B");
    let line = fs::read_to_string(fixture("keys/other.pub")).unwrap();
    let key = recipient_key::parse(&line, StanzaKind::Age).unwrap();
    let before = file(&rig, A);
    recipient_set::add(&rig.racks, &mut rig.identities(Prompt::default()), key, "other", NOW_MS).unwrap();
    assert_ne!(file(&rig, A), before);
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of A"));
    assert_eq!(rig.get(B, &SECURE).unwrap().as_deref(), Some("value of B"));
    let (a, b) = (file(&rig, A), file(&rig, B));
    put_file(&rig.racks, A, &b);
    refused(&rig, A, "is not bound");
    put_file(&rig.racks, B, &a);
    refused(&rig, B, "another key");
    put_file(&rig.racks, A, &a);
    recipient_set::remove(&rig.racks, &mut rig.identities(Prompt::default()), "other").unwrap();
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of A"));
}

/// The file as binary age, its header as text.
fn binary(rig: &Rig, key: &str) -> (String, Vec<u8>) {
    use base64::Engine as _;
    let text = String::from_utf8(file(rig, key)).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = base64::prelude::BASE64_STANDARD.decode(body).unwrap();
    let end = bytes.windows(4).position(|part| part == b"\n---").unwrap() + 1;
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end..].to_vec())
}

/// Splits a header before and after its binding stanza.
fn around_stanza(header: &str) -> [&str; 3] {
    let start = header.find("-> keyrack-bind v1 ").expect("it is bound");
    let end = start + header[start..].find("\n\n").expect("its body is empty") + 2;
    [&header[..start], &header[start..end], &header[end..]]
}

#[test]
fn edited_stanza_opens_nothing() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    rig.set(B, &SECURE, "value of B");
    let (header, rest) = binary(&rig, A);
    let [before, stanza, after] = around_stanza(&header);
    let (other_header, _) = binary(&rig, B);
    let [_, other, _] = around_stanza(&other_header);
    assert_eq!(stanza.len(), "-> keyrack-bind v1 ".len() + 43 + 2);
    let write = |header: String| put_file(&rig.racks, A, &[header.as_bytes(), &rest].concat());
    write(header.clone());
    assert_eq!(rig.get(A, &SECURE).unwrap().as_deref(), Some("value of A"), "as it was");
    for edited in [
        format!("{before}{after}"),
        format!("{before}{other}{after}"),
        format!("{before}{stanza}{stanza}{after}"),
        format!("{before}{}{after}", stanza.replace("v1", "v2")),
        format!("{before}{}{after}", stanza.replace("keyrack", "another")),
    ] {
        write(edited.clone());
        assert_eq!(rig.get(A, &SECURE).unwrap_err().code, ErrorCode::VaultCorrupt, "{edited}");
    }
}

#[test]
fn age_cli_opens_bound_files_and_no_edited_ones() {
    let test = "age_cli_opens_bound_files_and_no_edited_ones";
    if !can_run(test, &[Need::Program("age")]) {
        return;
    }
    let rig = Rig::bare();
    let identity = rig.key("age.txt", "id_ed25519");
    rig.init("id_ed25519");
    rig.set(A, &SECURE, "value of A");
    let age = |path: &Path| {
        let mut command = std::process::Command::new("age");
        command.args(["-d", "-i"]).arg(&identity).arg(path);
        run(&mut command, b"", Duration::from_secs(20)).unwrap()
    };
    let path = rig.racks.secure_path(&slug(A));
    let output = age(&path);
    assert_eq!(output.stdout, b"value of A", "{}", String::from_utf8_lossy(&output.stderr));

    let (header, rest) = binary(&rig, A);
    let [before, stanza, after] = around_stanza(&header);
    for edited in
        [format!("{before}{after}"), format!("{before}{}{after}", stanza.replacen("v1 ", "v1 A", 1))]
    {
        let path = rig.racks.home().join("edited.age");
        fs::write(&path, [edited.as_bytes(), &rest].concat()).unwrap();
        let output = age(&path);
        assert!(!output.status.success());
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(why.contains("MAC"), "{why}");
    }
}

/// A header that would keep the age library busy for minutes.
fn endless(kind: &str) -> Vec<u8> {
    let stanzas = match kind {
        "20,000 stanzas" => {
            let key = "A".repeat(43);
            format!("-> X25519 {key}\n{key}\n").repeat(20_000)
        }
        "one stanza of 2 MB" => {
            format!("-> X25519 {}\n{}A\n", "A".repeat(43), format!("{}\n", "A".repeat(64)).repeat(32_000))
        }
        "180,000 empty stanzas" => "-> x\n\n".repeat(180_000),
        "64 KiB of empty stanzas" => "-> x\n\n".repeat(10_900),
        _ => unreachable!(),
    };
    format!("age-encryption.org/v1\n{stanzas}--- {}\npayload and nonce of it", "A".repeat(43)).into_bytes()
}

#[test]
fn endless_header_is_refused_at_once() {
    let rig = ready("default");
    rig.set(A, &SECURE, "value of A");
    let manifest = fs::read(rig.racks.manifest_path()).unwrap();
    for (kind, because) in [
        ("20,000 stanzas", "age header is longer than 64 KiB"),
        ("one stanza of 2 MB", "age header is longer than 64 KiB"),
        ("180,000 empty stanzas", "age header is longer than 64 KiB"),
        // Within the limit: parsed once, however many lines it has.
        ("64 KiB of empty stanzas", ""),
    ] {
        let bytes = endless(kind);
        for (what, path) in
            [("file", rig.racks.secure_path(&slug(A))), ("manifest", rig.racks.manifest_path())]
        {
            fs::write(&path, &bytes).unwrap();
            let start = std::time::Instant::now();
            let error = match what {
                "file" => rig.get(A, &SECURE).unwrap_err(),
                _ => manifest_file::load(&rig.racks, &mut rig.identities(Prompt::default())).unwrap_err(),
            };
            let took = start.elapsed();
            assert!(error.message.contains(because), "{kind}: {error}");
            assert!(error.message.contains(&path.display().to_string()), "{kind}: {error}");
            // A debug build on a busy machine; the library alone took minutes.
            assert!(took < Duration::from_secs(2), "{kind} as {what}: {took:?}");
            fs::write(rig.racks.manifest_path(), &manifest).unwrap();
        }
    }
}
