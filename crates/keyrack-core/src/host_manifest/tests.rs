//! Host manifests against texts that today's TypeScript writes, and texts it never would.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mechanism::Mechanism;
use crate::ttl::Ttl;
use crate::vault_id::VaultId;

const WRITTEN: &str = r#"{
  "uri": "~/.rhachet/keyrack/keyrack.host.age",
  "owner": null,
  "recipients": [
    {
      "mech": "age",
      "pubkey": "age1xyz",
      "label": "default",
      "addedAt": "2026-01-01T00:00:00.000Z"
    }
  ],
  "hosts": {
    "acme.test.API_KEY": {
      "slug": "acme.test.API_KEY",
      "mech": "PERMANENT_VIA_REPLICA",
      "vault": "os.secure",
      "exid": null,
      "env": "test",
      "org": "acme",
      "meta": null,
      "maxDuration": null,
      "createdAt": "2026-01-01T00:00:00.123Z",
      "updatedAt": "2026-01-01T00:00:00.123Z"
    }
  }
}"#;

fn slug(text: &str) -> Slug {
    Slug::parse_stored(text).unwrap()
}

fn new(vault: VaultId, mech: Mechanism) -> NewHostEntry {
    NewHostEntry { vault, mech, exid: None, meta: None, max_duration: None }
}

fn parse(value: &Value) -> HostManifest {
    HostManifest::parse(value.to_string().as_bytes()).unwrap()
}

/// A manifest of which `hosts` is given.
fn with_hosts(hosts: &Value) -> HostManifest {
    let recipient = json!({"mech": "age", "pubkey": "age1", "label": "l", "addedAt": "x"});
    parse(&json!({"uri": "~/x", "recipients": [recipient], "hosts": hosts}))
}

#[test]
fn manifest_of_today_is_rewritten_byte_for_byte() {
    let manifest = HostManifest::parse(WRITTEN.as_bytes()).unwrap();
    assert_eq!(manifest.to_plaintext(), WRITTEN);
    assert!(manifest.faults().is_empty());
    let host = &manifest.hosts["acme.test.API_KEY"];
    assert_eq!((&host.vault, &host.mech), (&VaultId::OsSecure, &Mechanism::Replica));
    assert_eq!(host.grade().to_string(), "encrypted,permanent");
    let empty = HostManifest { uri: "~/x".into(), ..HostManifest::default() };
    assert_eq!(
        empty.to_plaintext(),
        "{\n  \"uri\": \"~/x\",\n  \"owner\": null,\n  \"recipients\": [],\n  \"hosts\": {}\n}"
    );
}

#[test]
fn unknown_number_is_rewritten_as_read() {
    // The shortest text of the number that is nearest to what stands there; read in haste it would
    // be its neighbor, and at each rewrite another one.
    for number in ["1.8446744073709552e20", "184467440703709551615", "8.41e21", "2.2250738585072014e-308"] {
        let text = format!(r#"{{"uri": "~/x", "hosts": {{}}, "later": {number}}}"#);
        let manifest = HostManifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.rest["later"].as_f64(), number.parse().ok(), "{number}");
        assert_eq!(HostManifest::parse(manifest.to_plaintext().as_bytes()).unwrap(), manifest, "{number}");
    }
}

#[test]
fn unknown_fields_and_entries_survive_a_rewrite() {
    let text = json!({
        "uri": "~/x", "owner": "ehmpath", "version": 7, "later": {"a": [1, null]},
        "recipients": [
            {"mech": "passkey", "pubkey": "p", "label": "l", "addedAt": "x", "slot": 1},
            {"mech": "age", "label": "no pubkey"}, "text", null,
        ],
        "hosts": {
            "acme.test.NEWER": {
                "slug": "acme.test.NEWER", "mech": "EPHEMERAL_VIA_MOON", "vault": "os.keyring", "exid": "e",
                "env": "test", "org": "acme", "meta": {"region": "x"}, "maxDuration": "1h", "createdAt": "c", "updatedAt": "u",
                "tags": ["a"], "rotation": null,
            },
            "acme.dev.OTHER_ENV": {
                "slug": "acme.dev.OTHER_ENV", "mech": "PERMANENT_VIA_REPLICA", "vault": "os.direct", "exid": null,
                "env": "dev", "org": "acme", "meta": null, "maxDuration": "soon", "createdAt": "c", "updatedAt": "u",
            },
            "acme.test.STRANGE": {"slug": "acme.test.STRANGE", "vault": 7, "mech": "X"},
            "acme.test.OTHER": {"slug": "acme.test.ELSE", "vault": "os.secure", "mech": "X"},
            "acme.test.NULL": null,
            "noslug": {"slug": "noslug", "vault": "os.secure", "mech": "X"},
        },
    });
    let manifest = parse(&text);
    assert_eq!(serde_json::to_value(&manifest).unwrap(), text);
    assert_eq!(HostManifest::parse(manifest.to_plaintext().as_bytes()).unwrap(), manifest);
    let names: Vec<_> = manifest.hosts.keys().map(Slug::as_str).collect();
    assert_eq!(names, ["acme.dev.OTHER_ENV", "acme.test.NEWER"]);
    assert_eq!(manifest.hosts["acme.test.NEWER"].vault.as_str(), "os.keyring");
    assert_eq!((manifest.recipients.len(), manifest.strange_recipients.len()), (1, 3));
    let faults: Vec<_> =
        manifest.faults().into_iter().map(|fault| (fault.code, fault.slug.map(|s| s.to_string()))).collect();
    let invalid = |slug: Option<&str>| (ErrorCode::HostManifestInvalid, slug.map(str::to_owned));
    assert_eq!(
        faults,
        [
            invalid(None),
            invalid(None),
            invalid(None),
            invalid(Some("acme.test.NULL")),
            invalid(Some("acme.test.OTHER")),
            invalid(Some("acme.test.STRANGE")),
            invalid(None),
        ]
    );
}

#[test]
fn missing_fields_and_old_names_are_read() {
    let manifest = with_hosts(&json!({
        "acme.test.OLD": {"slug": "acme.test.OLD", "vault": "os.secure", "mech": "REPLICA", "exid": null},
        "@all.sudo.LEAST": {"vault": "aws.config", "mech": "AWS_SSO"},
    }));
    assert_eq!(manifest.owner, None);
    let old = &manifest.hosts["acme.test.OLD"];
    assert_eq!((old.env.as_str(), old.org.as_str(), old.max_ttl().unwrap()), ("test", "acme", None));
    assert_eq!(old.created_at, "1970-01-01T00:00:00.000Z");
    let least = &manifest.hosts["@all.sudo.LEAST"];
    assert_eq!((least.slug.as_str(), &least.mech), ("@all.sudo.LEAST", &Mechanism::AwsSso));
    let text = manifest.to_plaintext();
    assert!(text.contains("\"PERMANENT_VIA_REPLICA\"") && !text.contains("\"REPLICA\""));
    assert!(text.contains("\"exid\": null") && text.contains("\"maxDuration\": null"));
}

#[test]
fn parse_rejects_other_text() {
    for (plain, what) in [
        (&b""[..], "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "is not of the expected kind"),
        (b"{}", "is not of the expected kind"),
        (b"{\"uri\":\"~/x\"}", "is not of the expected kind"),
        (b"{\"uri\":7,\"hosts\":{}}", "is not of the expected kind"),
        (b"{\"uri\":\"~/x\",\"hosts\":[\"acme.test.SHY\"]}", "is not of the expected kind"),
        (b"{\"uri\":\"~/x\",\"hosts\":\"acme.test.SHY\"}", "is not of the expected kind"),
    ] {
        let error = HostManifest::parse(plain).unwrap_err();
        assert_eq!(error.code, ErrorCode::HostManifestInvalid);
        assert!(error.message.contains(what), "{}", error.message);
        assert!(!error.message.contains("SHY"), "{} quotes the manifest", error.message);
    }
}

#[test]
fn put_reports_added_updated_and_unchanged() {
    let mut manifest = HostManifest::parse(WRITTEN.as_bytes()).unwrap();
    let key = slug("acme.test.API_KEY");
    let same = new(VaultId::OsSecure, Mechanism::Replica);
    assert_eq!(manifest.put(&key, same.clone(), 5000), Change::Unchanged);
    assert_eq!(manifest.to_plaintext(), WRITTEN);

    let limited = NewHostEntry { max_duration: Some("1h".into()), ..same.clone() };
    assert_eq!(
        manifest.put(&key, limited.clone(), 5000),
        Change::Updated,
        "a new maxDuration alone is a change"
    );
    let host = manifest.hosts.get_mut("acme.test.API_KEY").unwrap();
    assert_eq!(host.created_at, "2026-01-01T00:00:00.123Z", "kept");
    assert_eq!(host.updated_at, "1970-01-01T00:00:05.000Z");
    assert_eq!(host.max_ttl().unwrap(), Some(Ttl(3_600_000)));
    host.rest.insert("later".into(), json!(1));

    let moved = NewHostEntry { vault: VaultId::OnePassword, exid: Some("op://k/x".into()), ..limited };
    assert_eq!(manifest.put(&key, moved.clone(), 6000), Change::Updated);
    assert_eq!(manifest.put(&key, moved, 7000), Change::Unchanged);
    let host = &manifest.hosts["acme.test.API_KEY"];
    assert_eq!(host.rest["later"], 1, "what is not known here is kept");
    assert_eq!(host.updated_at, "1970-01-01T00:00:06.000Z");

    assert_eq!(manifest.put(&slug("@all.sudo.R"), same.clone(), 0), Change::Added);
    let added = &manifest.hosts["@all.sudo.R"];
    assert_eq!((added.org.as_str(), added.env.as_str()), ("@all", "sudo"));

    let mut manifest = with_hosts(&json!({"acme.test.K": {"vault": 7}}));
    assert_eq!(manifest.put(&slug("acme.test.K"), same, 0), Change::Updated);
    assert!(manifest.faults().is_empty());
}

#[test]
fn check_storable_rejects_what_typescript_cannot_read() {
    let before = HostManifest::parse(WRITTEN.as_bytes()).unwrap();
    before.check_storable(&HostManifest::default()).unwrap();
    for (text, code) in [
        ("acme.test.K", None),
        ("@all.sudo.K", None),
        ("a-b_9.camp.K", None),
        ("Acme.test.K", Some(ErrorCode::BadOrg)),
        ("9acme.test.K", Some(ErrorCode::BadOrg)),
        ("acmé.test.K", Some(ErrorCode::BadOrg)),
        ("@this.test.K", Some(ErrorCode::BadOrg)),
        ("acme.dev.K", Some(ErrorCode::BadSlug)),
    ] {
        let mut after = before.clone();
        after.put(&slug(text), new(VaultId::OsSecure, Mechanism::Replica), 0);
        assert_eq!(after.check_storable(&before).err().map(|error| error.code), code, "{text}");
        assert!(after.check_storable(&after).is_ok(), "what was there before is left alone");
    }
    let change = |change: fn(&mut HostManifest)| {
        let mut after = before.clone();
        change(&mut after);
        after.check_storable(&before).unwrap_err().code
    };
    assert_eq!(change(|m| m.recipients.clear()), ErrorCode::LastRecipient);
    assert_eq!(change(|m| m.strange_recipients.push(json!(7))), ErrorCode::BadRecipient);
    assert_eq!(change(|m| host(m).max_duration = Some("1d".into())), ErrorCode::BadDuration);
    assert_eq!(change(|m| host(m).env = "prod".into()), ErrorCode::BadSlug);
    assert_eq!(change(|m| host(m).meta = Some(json!([]))), ErrorCode::Internal);
}

fn host(manifest: &mut HostManifest) -> &mut HostEntry {
    manifest.hosts.values_mut().next().unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![Just("os.secure".to_owned()), Just("SESSION".to_owned()), ".{0,8}"].prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        let name = "slug|vault|mech|exid|env|org|meta|maxDuration|createdAt|pubkey|label|addedAt|[a-z]{1,4}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..9)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Returns `true` if `new` has everything that `old` has; it may have more. Mechanisms may have got
/// their new name.
fn survives(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(name, value)| new.get(name).is_some_and(|new| survives(value, new)))
        }
        (Value::String(old), Value::String(new)) => old == new || Mechanism::parse(old).as_str() == new,
        _ => old == new,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewrite_loses_no_member(
        hosts in prop::collection::btree_map("(acme|@all)\\.(test|dev)\\.[A-C]|.{0,6}", value(), 0..5),
        recipients in prop::collection::vec(value(), 0..3),
        more in value(),
    ) {
        let mut old = json!({"uri": "~/x", "hosts": hosts, "recipients": recipients});
        if let Value::Object(more) = more {
            for (name, value) in more {
                old["x-".to_owned() + &name] = value;
            }
        }
        let manifest = parse(&old);
        let new: Value = serde_json::from_str(&manifest.to_plaintext()).unwrap();
        for part in old.as_object().unwrap().keys().filter(|part| *part != "recipients") {
            prop_assert!(survives(&old[part], &new[part]), "{} became {}", old[part], new[part]);
        }
        // those that are understood are written first
        let kept = new["recipients"].as_array().unwrap();
        prop_assert_eq!(kept.len(), recipients.len());
        prop_assert!(recipients.iter().all(|old| kept.iter().any(|new| survives(old, new))));
        prop_assert_eq!(HostManifest::parse(manifest.to_plaintext().as_bytes()).unwrap(), manifest);
    }
}
