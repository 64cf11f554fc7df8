//! Writes the checked-in corpora: `cargo run -p keyrack-fuzz --example seeds`. Other files of the
//! corpora stay.

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_fuzz::{BETWEEN, SECRETS};
use keyrack_wire::native::{Decoded, decode};

fn main() {
    native();
    json();
    legacy();
    dispatcher();
    server();
    repo_manifest();
    host_manifest();
    words();
    age();
    direct_file();
    secrets_json();
    mask();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn put(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let dir = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&dir).expect("the checkout can be written");
    fs::write(dir.join(name), bytes).expect("the checkout can be written");
}

/// Returns the recorded messages of the wire whose names begin with `prefix`.
fn golden(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let dir = root().join("crates/keyrack-wire/tests/golden");
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .expect("the recorded messages")
        .map(|entry| entry.expect("a file").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
            let name = name.trim_end_matches(".bin").trim_end_matches(".json").to_owned();
            Some((name, fs::read(&path).expect("a file")))
        })
        .collect();
    files.sort();
    files
}

/// Returns a frame without its lengths, with another id if one is given.
fn unframed(frame: &[u8], id: Option<u64>) -> Vec<u8> {
    let Ok(Decoded::Frame(frame)) = decode(frame) else { panic!("a recorded frame is one") };
    let mut header = String::from_utf8(frame.header.to_vec()).expect("a header is text");
    if let Some(id) = id {
        let at = header.find(r#""id":"#).expect("a header has an id") + 5;
        let end = at + header[at..].find([',', '}']).expect("something follows");
        header.replace_range(at..end, &id.to_string());
    }
    [header.as_bytes(), &[SECRETS], frame.secrets].concat()
}

fn joined(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.join(&BETWEEN)
}

fn header(text: &str, secrets: &str) -> Vec<u8> {
    [text.as_bytes(), &[SECRETS], secrets.as_bytes()].concat()
}

fn native() {
    for side in ["request", "reply"] {
        for (name, bytes) in golden(&format!("native.{side}.")) {
            put("native", &format!("{side}-{name}"), unframed(&bytes, None));
            if ["get", "unlock", "hello"].contains(&&*name) {
                put("native", &format!("{side}-{name}-framed"), bytes);
            }
        }
    }
    for (name, text) in [
        ("array-as-message", r#"[1,"get",["acme.test.A"]]"#),
        (
            "array-as-grade",
            r#"{"id":1,"ok":{"keys":[],"more":false,"home_hash":"","memory":"","boundary":"","hardening":[["a",true,null]],"counts":[1,2]}}"#,
        ),
        ("escaped-names", r#"{"\u0069d":1,"o\u0070":"g\u0065t","slugs":["\ud83d\udd11.test.A"]}"#),
        ("field-twice", r#"{"id":1,"id":2,"op":"get","slugs":[]}"#),
        ("id-too-long", r#"{"id":18446744073709551616,"op":"ping"}"#),
        ("id-longest", r#"{"id":18446744073709551615,"op":"get","slugs":["a.b.c"]}"#),
        ("op-unknown", r#"{"id":9,"op":"reload","slugs":7}"#),
    ] {
        put("native", name, header(text, ""));
    }
    put("native", "length-too-long", b"\x00\x10\x00\x01\x00\x00\x00\x01");
    put("native", "length-too-short", b"\x00\x00\x00\x03");
}

fn json() {
    for (name, text) in [
        ("empty", ""),
        ("object", r#" {"a":1,"b":[true,false,null],"c":{"d":"e"}} "#),
        ("array", "[[],[1,-0.5e+3,0],{}]"),
        ("scalar", "\"x\""),
        ("escapes", r#"["\"\\\/\b\f\n\r\t\u00e9\ud83d\udd11","\u0000"]"#),
        ("lone-surrogate", r#"{"\ud800":"\udc00\ud800"}"#),
        ("unknown-escape", r#"["\x"]"#),
        ("control-character", "[\"a\nb\"]"),
        ("truncated", r#"{"a":"b\"#),
        ("trailing-comma", r#"{"a":1,}"#),
        ("comment", "{\"a\": \"b\", // \"c\"\n}"),
        ("number-too-large", "[1e999,-0.0E-00]"),
        ("leading-zero", "[01]"),
        ("two-values", "{} {}"),
        ("same-name-twice", r#"{"a":1,"\u0061":2}"#),
        ("nested", &format!("{}1{}", "[{\"a\":".repeat(32), "}]".repeat(32))),
        ("too-deep", &format!("{}1{}", "[".repeat(65), "]".repeat(65))),
        ("unicode", "{\"é\":\"\u{1f511}\u{2028}\u{feff}\"}"),
    ] {
        put("json", name, text);
    }
    put("json", "not-utf8", b"[\"\xff\"]");
}

fn legacy() {
    for side in ["request", "reply"] {
        for (name, bytes) in golden(&format!("legacy.{side}.")) {
            put("legacy", &format!("{side}-{name}"), bytes);
        }
    }
    for (name, text) in [
        ("field-twice", r#"{"command":"STATUS","command":"GET","payload":{"slugs":[]}}"#),
        (
            "escaped-names",
            r#"{"c\u006fmmand":"G\u0045T","payload":{"slugs":["\ud83d\udd11.test.A"],"\ud800":1}}"#,
        ),
        ("number-too-large", r#"{"command":"RELOCK","payload":{"env":"prod","x":1e999,"y":-0.0E+00}}"#),
        ("trailing", "{}{}"),
        ("not-an-object", "[1]"),
        ("cut", r#"{"command":"GET","payload":{"slugs":["a\"#),
        ("brackets-mixed", r#"{"command":"STATUS","payload":{"a":[1,{"b":]}]}}"#),
        ("blank-around", " \r\n\t{\"command\" : \"STATUS\" , \"payload\" : { } }\n\n"),
        ("relock-env-empty", r#"{"command":"RELOCK","payload":{"env":""}}"#),
        ("nested", r#"{"command":"STATUS","payload":{"a":[[[[[[[[{"b":{"c":[]}}]]]]]]]]}}"#),
    ] {
        put("legacy", name, text);
    }
}

const GET: &str = r#"{"id":2,"op":"get","slugs":["acme.test.API_KEY","acme.camp.ONLY_ALL","acme.sudo.ONLY_ALL","@all.sudo.B.C"]}"#;
const LEGACY_GET: &str = r#"{"command":"GET","payload":{"slugs":["acme.prep.API_KEY","acme.test.ONLY_ALL","acme.all.ONLY_SUDO"],"org":"acme","env":"all"}}"#;
const LEGACY_UNLOCK: &str = r#"{"command":"UNLOCK","payload":{"keys":[{"slug":"acme.test.NEW","key":{"secret":"n\u0065w","grade":{"protection":"encrypted","duration":"permanent"},"x":1e999},"source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"test","org":"acme","y":"\ud800"}]}}"#;

fn unlock(slug: &str, ttl_ms: u64, secret: &str) -> Vec<u8> {
    let text = format!(
        r#"{{"id":3,"op":"unlock","keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"permanent"}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"ttl_ms":{ttl_ms},"secret":{{"offset":0,"len":{}}}}}]}}"#,
        secret.len()
    );
    header(&text, secret)
}

fn dispatcher() {
    for (name, bytes) in golden("native.request.") {
        put("dispatcher", &format!("native-{name}"), unframed(&bytes, None));
    }
    for (name, bytes) in golden("legacy.request.") {
        put("dispatcher", &format!("legacy-{name}"), bytes);
    }
    let ask = |slugs: &str| header(&format!(r#"{{"id":4,"op":"get","slugs":[{slugs}]}}"#), "");
    let status = header(r#"{"id":5,"op":"status"}"#, "");
    for (name, messages) in [
        ("native-get-many", vec![header(GET, "")]),
        ("legacy-get-many", vec![LEGACY_GET.into()]),
        (
            "unlock-and-get",
            vec![
                unlock("acme.test.NEW", 1000, "new"),
                ask(r#""acme.test.NEW""#),
                b"+\x04\x00".to_vec(),
                ask(r#""acme.test.NEW""#),
                status.clone(),
            ],
        ),
        (
            "replace-and-get",
            vec![
                unlock("acme.test.API_KEY", 9000, "other"),
                ask(r#""acme.test.API_KEY""#),
                ask(r#""acme.prod.API_KEY""#),
            ],
        ),
        (
            "legacy-unlock-and-get",
            vec![
                LEGACY_UNLOCK.into(),
                br#"{"command":"GET","payload":{"slugs":["acme.test.NEW"]}}"#.to_vec(),
            ],
        ),
        (
            "relock-env-and-status",
            vec![
                header(r#"{"id":6,"op":"relock","env":"sudo"}"#, ""),
                status.clone(),
                br#"{"command":"STATUS"}"#.to_vec(),
            ],
        ),
        ("expire-and-status", vec![b"+\x01\xff\xff\xff".to_vec(), status, ask(r#""acme.test.ONLY_TEST""#)]),
        ("shutdown-and-get", vec![header(r#"{"id":7,"op":"shutdown"}"#, ""), ask(r#""acme.test.API_KEY""#)]),
        (
            "relock-all-and-get",
            vec![br#"{"command":"RELOCK","payload":{}}"#.to_vec(), ask(r#""acme.test.API_KEY""#)],
        ),
        ("get-twice-the-same", vec![ask(r#""acme.test.API_KEY","acme.test.API_KEY","acme.dev.ONLY_ALL""#)]),
    ] {
        put("dispatcher", name, joined(&messages));
    }
}

fn server() {
    let native: Vec<(String, Vec<u8>)> = golden("native.reply.");
    let reply = |name: &str, id| {
        let (_, bytes) = native.iter().find(|(found, _)| found == name).expect("a recorded reply");
        unframed(bytes, Some(id))
    };
    let says = |op: u8, messages: &[Vec<u8>]| [&[op][..], &joined(messages)].concat();
    let hello = || reply("hello", 1);
    for (op, name) in [
        (b'g', "get"),
        (b'g', "get-none"),
        (b's', "status"),
        (b'r', "relock"),
        (b'r', "relock-unnamed"),
        (b'u', "unlock"),
        (b'p', "nothing"),
        (b'q', "nothing"),
        (b'g', "error"),
        (b'u', "error-full"),
    ] {
        let file = format!("native-{}-{name}", char::from(op));
        // An unlock begins with a ping.
        let messages = if op == b'u' {
            vec![hello(), reply("nothing", 2), reply(name, 4)]
        } else {
            vec![hello(), reply(name, 2)]
        };
        put("server", &file, says(op, &messages));
    }
    put(
        "server",
        "native-row",
        says(b'm', &[hello(), reply("get", 2), reply("status", 4), reply("get", 6), reply("relock", 8)]),
    );
    put("server", "native-refused", says(b'g', &[reply("error", 0)]));
    put("server", "native-other-id", says(b'g', &[hello(), reply("get", 3)]));
    put("server", "native-more-than-asked", says(b'g', &[hello(), reply("get", 2), reply("get", 2)]));
    put("server", "native-silent", b"g");
    let page = |id: u64, n: u64| {
        let key = format!(
            r#"{{"slug":"a.test.K{n}","env":"test","org":"a","grade":{{"protection":"plaintext","duration":"transient"}},"source":{{"vault":"v","mech":"m"}},"expires_at":"2026-01-01T09:00:00.123Z","ttl_ms":1,"ends_by":"boot","n":{n}}}"#
        );
        header(
            &format!(
                r#"{{"id":{id},"ok":{{"keys":[{key}],"more":true,"home_hash":"","memory":"locked","boundary":"user","hardening":[],"counts":{{"keys":1,"bytes":1}}}}}}"#
            ),
            "",
        )
    };
    put("server", "native-status-pages", says(b's', &[hello(), page(2, 1), page(4, 2), page(6, 2)]));
    let rest = header(r#"{"id":2,"ok":{"keys":[],"rest":["acme.test.API_KEY"]}}"#, "");
    put("server", "native-get-rest-only", says(b'g', &[hello(), rest]));
    let full = header(r#"{"id":2,"error":{"code":"memory_full","message":"x"}}"#, "");
    put(
        "server",
        "native-get-memory-full",
        says(b'g', &[hello(), full, header(r#"{"id":4,"ok":{"keys":[]}}"#, "")]),
    );
    for (name, bytes) in golden("legacy.reply.") {
        let op = match &*name {
            "status" => b'S',
            "relock" | "relock-none" => b'R',
            _ => b'G',
        };
        put("server", &format!("legacy-{name}"), [&[op][..], &bytes].concat());
    }
    put("server", "legacy-session-mismatch", br#"G{"success":false,"error":"session mismatch"}"#);
}

fn repo_manifest() {
    for (name, text) in [
        (
            "flat",
            "org: acme\n\nenv.all:\n  - A\nenv.test:\n  - B: encrypted\n  - key: C\n    grade: ephemeral\n",
        ),
        ("extends", "org: acme\nextends: [.agent/other.yml, \"a/../b.yml\"]\nenv.prod: [A]\n"),
        ("extends-itself", "org: acme\nextends:\n  - .agent/keyrack.yml\n"),
        ("extends-outside", "org: acme\nextends: [../outside.yml, /etc/passwd]\n"),
        ("anchors", "a: &a [x, y]\nb: *a\norg: *a\nenv.test: *a\n"),
        ("merge", "base: &base {key: A, grade: encrypted}\norg: acme\nenv.test:\n  - <<: *base\n"),
        ("block-text", "org: |\n  acme\nenv.test: >-\n  - A\n  - B\n"),
        ("documents", "---\norg: acme\n...\n---\norg: other\n"),
        ("tags", "!!map\norg: !!str acme\nenv.test: !!seq [!x A, !!int \"1\", !!binary aGk=]\n"),
        ("names-like-booleans", "org: NO\nenv.test: [ON, y, true, ~, 1, 1.5, .inf, 0x1f]\n"),
        ("key-twice", "org: acme\norg: other\n"),
        ("nothing", "# only a comment\n"),
        ("behind-the-last-line", "? # ef :\n"),
        ("names-of-lines", "org: a\nenv.test:\n  - \"A\\nB\": weak\n"),
        (
            "grades",
            "org: acme\nenv.sudo:\n  - {key: A, grade: {protection: encrypted, duration: permanent}}\n  - B: reference.ephemeral\n  - C: {optional: true}\n",
        ),
        ("any-of", "org: acme\nenv.test:\n  - A|B\n  - {any: [C, D]}\n"),
        ("complex-key", "? [a, b]\n: c\n? {d: e}\n: f\n"),
        ("quotes", "org: 'it''s'\nenv.test: [\"\\x41\\u00e9\\U0001F511\\n\", 'a']\n"),
        ("line-ends", "org: acme\r\nenv.test:\r\n  - A\r  - B\u{85}  - C\u{2028}\n"),
        ("tabs", "org:\tacme\nenv.test:\n\t- A\n"),
    ] {
        put("repo_manifest", name, text);
    }
}

fn host_manifest() {
    let host = |more: &str| {
        format!(
            r#"{{"slug":"acme.test.API_KEY","mech":"PERMANENT_VIA_REPLICA","vault":"os.secure","exid":null,"env":"test","org":"acme","meta":null,"maxDuration":null,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z"{more}}}"#
        )
    };
    let manifest = |hosts: &str, more: &str| {
        format!(
            r#"{{"uri":"~/.rhachet/keyrack/keyrack.host.age","owner":null,"recipients":[{{"mech":"age","pubkey":"age1qqqq","label":"default","addedAt":"2026-01-01T00:00:00.000Z"}}],"hosts":{{{hosts}}}{more}}}"#
        )
    };
    for (name, text) in [
        ("empty", r#"{"uri":"","hosts":{}}"#.to_owned()),
        ("one", manifest(&format!(r#""acme.test.API_KEY":{}"#, host("")), "")),
        (
            "unknown-fields",
            manifest(
                &format!(r#""acme.test.API_KEY":{}"#, host(r#","tags":[1,2.5,{"a":null}]"#)),
                r#","version":3"#,
            ),
        ),
        ("other-slug-than-its-key", manifest(&format!(r#""acme.prod.API_KEY":{}"#, host("")), "")),
        ("strange-host", manifest(r#""acme.test.A":7,"no slug":{}"#, "")),
        ("short-host", manifest(r#""acme.test.A":{"mech":"PERMANENT_VIA_REPLICA","vault":"os.direct"}"#, "")),
        (
            "unknown-vault",
            manifest(
                r#""acme.sudo.A":{"mech":"NEW","vault":"new.vault","meta":{"x":[1]},"maxDuration":"5m"}"#,
                "",
            ),
        ),
        (
            "strange-recipient",
            r#"{"uri":"u","owner":"me","recipients":[7,{"mech":"age"}],"hosts":{}}"#.to_owned(),
        ),
        (
            "numbers",
            r#"{"uri":"u","hosts":{},"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":1e300}"#
                .to_owned(),
        ),
        ("not-an-object", "[]".to_owned()),
        ("array-of-fields", r#"["u",null,[],{}]"#.to_owned()),
        ("key-twice", r#"{"uri":"u","hosts":{"a.b.c":1,"a.b.c":{}},"hosts":{}}"#.to_owned()),
    ] {
        put("host_manifest", name, text);
    }
}

fn words() {
    for (name, text) in [
        ("slug", "acme.test.API_KEY"),
        ("slug-dots", "acme.all.a.b.c"),
        ("slug-machine", "@all.sudo.ROOT"),
        ("slug-other-env", "acme.dev.K"),
        ("slug-not-ascii", "f\u{f6}o.prod.\u{1f511}"),
        ("life-hours", "9h"),
        ("life-minutes", "30m"),
        ("life-seconds", "45s"),
        ("life-longest", "5124095576030h"),
        ("time", "2026-01-01T09:00:00.123Z"),
        ("time-offset", "2026-01-01T01:00:00+01:00"),
        ("time-never", "9999-12-31T23:59:59.999Z"),
        ("time-before", "-009999-01-02T01:59:59Z"),
        ("org-machine", "@all"),
        ("org-this", "@this"),
        ("owner", "ehm-path_1"),
        ("vault", "os.secure"),
        ("mechanism", "PERMANENT_VIA_REPLICA"),
        ("token-github", "ghp_0123456789"),
        ("token-blob", r#"{"appId":"1","privateKey":"x","installationId":"2"}"#),
        ("recipient-age", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
    ] {
        put("words", name, text);
    }
    for key in ["plain", "rsa", "ecdsa", "age"] {
        put("words", &format!("public-key-{key}"), fixture(&format!("keys/{key}.pub")));
    }
}

fn fixture(path: &str) -> Vec<u8> {
    fs::read(root().join("crates/keyrack-vaults/tests/fixtures").join(path)).expect("a fixture")
}

fn age() {
    for file in [
        "cli/age",
        "cli/mixed",
        "cli/plain",
        "cli/rsa",
        "cli/sealed_binary",
        "npm/binary",
        "npm/secret",
        "npm/two",
        "npm/empty",
    ] {
        put("age_file", &file.replace('/', "-"), fixture(&format!("{file}.age")));
    }
    put("age_file", "nothing", "");
    put("age_file", "armor-empty", "-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n");
    put("age_file", "header-alone", "age-encryption.org/v1\n-> X25519 AAAA\nAAAA\n--- AAAA\n");
    for key in [
        "age.txt",
        "plain",
        "other",
        "ecdsa",
        "rsa",
        "rsa_pem",
        "rsa_pem_sealed",
        "sealed",
        "rsa_sealed",
        "plain.pub",
        "age.pub",
        "pkcs8",
        "sk",
    ] {
        put("key_file", &key.replace('.', "-"), fixture(&format!("keys/{key}")));
    }
}

fn direct_file() {
    for (name, text) in [
        ("empty", "{}"),
        (
            "one",
            "{\n  \"acme.test.API_KEY\": {\n    \"value\": \"old\",\n    \"expiresAt\": \"2026-01-01T09:00:00.000Z\"\n  }\n}",
        ),
        ("other", r#"{"acme.all.B":{"value":"\u00e9\ud83d\udd11","more":[1,{"x":null}]}}"#),
        ("both", r#"{"acme.all.B":{"value":"b","expiresAt":null},"acme.test.API_KEY":{"value":"a"}}"#),
        (
            "twice",
            r#"{"acme.test.API_KEY":{"value":"a"},"acme.all.B":{"value":"b"},"acme.test.API_KEY":{"value":"c"}}"#,
        ),
        (
            "value-twice",
            r#"{"acme.test.API_KEY":{"value":"a","value":"b"},"acme.all.B":{"value":"b","value":"c"}}"#,
        ),
        ("escaped-name", r#"{"acme.test.API\u005fKEY":{"v\u0061lue":"a"}}"#),
        ("no-entry", r#"{"acme.test.API_KEY":7,"acme.all.B":"text"}"#),
        ("not-an-object", "[{}]"),
        ("cut", r#"{"acme.test.API_KEY":{"value":"a\"#),
        ("nested", r#"{"x":[[[[[[{"y":{"z":[1e9,-0.5,true,false]}}]]]]]],"acme.all.B":{"value":""}}"#),
        ("blank", " \r\n\t{ \"acme.all.B\" : { \"value\" : \"b\" } , \"acme.test.API_KEY\" : { } }\n"),
    ] {
        put("direct_file", name, text);
    }
}

fn secrets_json() {
    for (name, text) in [
        ("empty", "{}"),
        ("blank", " { } \n"),
        ("one", r#"{"API_KEY":"tok-123"}"#),
        (
            "github",
            "{\n  \"API_KEY\": \"tok-123\",\n  \"github_token\": \"ghs_x\",\n  \"PEM\": \"-----BEGIN\\nabc\\n-----END\\n\"\n}",
        ),
        ("escaped", r#"{"A\u0050I_KEY":"\"\\\/\b\f\n\r\t\u00e9\ud83d\udd11","PATH":"\u0000"}"#),
        ("twice", r#"{"API_KEY":"a","API_KEY":"b"}"#),
        ("no-string", r#"{"API_KEY":5,"PATH":null,"":["x",{"API_KEY":"y"}],"t":true,"n":-0.5e+3}"#),
        ("half-a-pair", r#"{"API_KEY":"\ud800","PATH":"\udc00\ud800"}"#),
        ("blob", r#"{"API_KEY":"{\"mech\":\"EPHEMERAL_VIA_GITHUB_APP\",\"privateKey\":\"x\"}"}"#),
        ("cut", r#"{"API_KEY":"tok"#),
        ("behind", r#"{"API_KEY":"a"} {"PATH":"b"}"#),
        ("not-an-object", r#"["API_KEY"]"#),
        ("nested", &format!("{{\"API_KEY\":{}1{}}}", "[".repeat(70), "]".repeat(70))),
    ] {
        put("secrets_json", name, text);
    }
}

fn mask() {
    // Cut, encoding, escape, break, width, text before and after; the secret.
    for (name, head, secret) in [
        ("verbatim", [6, 255, 0, 0, 1, 0, 0], "ghs_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("json", [1, 255, 1, 0, 1, 12, 3], "p@ss w/rd+'\"&<>~"),
        ("json-in-json", [2, 255, 8, 0, 1, 3, 3], "quote\"and\\back/slash+"),
        ("json-all-wrapped", [3, 255, 6, 1, 20, 2, 2], "sk-ant-api03-AbC_dEf-0123456789+/=$x"),
        ("html-names", [4, 255, 15, 0, 1, 28, 28], "a=b+c/d$e%f@gh"),
        ("percent-twice", [5, 255, 22, 0, 1, 14, 15], "p@ss w/rd+\"'<&>%~"),
        ("c-octal", [6, 255, 25, 0, 1, 30, 3], "hunter2hunter2"),
        ("shell-q", [7, 255, 27, 0, 1, 13, 1], "it's a $ecret!"),
        ("quoted-printable", [8, 255, 36, 0, 1, 5, 2], "c2VjcmV0IGtleQ==4141"),
        ("base64-wrapped", [9, 1, 0, 3, 20, 6, 2], "ghs_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("base64-colored", [9, 2, 0, 4, 7, 6, 2], "ghs_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("base64-of-base64", [10, 18, 0, 0, 1, 13, 2], "hunter2hunter2hunter2"),
        ("base64-of-utf16", [10, 13, 1, 9, 16, 12, 3], "hunter2h\u{fc}nter2"),
        ("hexadecimal", [11, 27, 0, 0, 1, 13, 2], "0123456789abcdef"),
        ("hexadecimal-colons", [11, 33, 0, 1, 20, 5, 2], "0123456789abcdef"),
        ("linked", [12, 255, 0, 7, 5, 1, 1], "ghs_16C7e42F292c6912"),
        ("short", [13, 255, 6, 0, 1, 1, 1], "abcd"),
        ("too-short", [0, 255, 0, 0, 1, 1, 1], "abc"),
    ] {
        put("mask", name, [&head[..], secret.as_bytes()].concat());
    }
}
