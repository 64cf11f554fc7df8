//! Where secrets lie while a daemon holds them, and that they lie nowhere afterwards. Root reads the daemon's memory to see.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use keyrack_sys::signal::Signal;
use keyrack_testkit::{Need, can_run, wait_until};

use crate::daemon::{Daemon, LONG, RELOCK_ALL, frame, get, read_frame, unlock};

/// What is looked for.
fn secret() -> String {
    (0..60_u8).map(|n| char::from(((n.wrapping_mul(37) ^ 0x55) % 26) + b'a')).collect()
}

/// How often the inner part of the secret lies in the daemon's memory: plain, and as UTF-16.
fn copies(daemon: &Daemon) -> usize {
    let pid = daemon.child.pid();
    let text = secret()[10..40].to_owned();
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = 0;
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        for needle in [text.as_bytes(), &wide] {
            found += bytes.windows(needle.len()).filter(|window| *window == needle).count();
        }
    }
    found
}

#[test]
fn a_secret_lies_in_its_page_and_nowhere_else() {
    if !can_run("a_secret_lies_in_its_page_and_nowhere_else", &[Need::Root]) {
        return;
    }
    let daemon = Daemon::start();
    let secret = secret();
    assert_eq!(copies(&daemon), 0);
    daemon.unlock("acme.test.A", &secret);
    assert_eq!(copies(&daemon), 1, "the looking works");

    let mut native = daemon.connect();
    let header = format!(
        r#"{{"id":1,"op":"unlock","keys":[{{"slug":"acme.test.B","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"v","mech":"m"}},"ttl_ms":60000,"secret":{{"offset":0,"len":{}}}}}]}}"#,
        secret.len()
    );
    native.write_all(&frame(&header, secret.as_bytes())).unwrap();
    assert!(read_frame(&mut native).unwrap().0.contains(r#""ok":true"#));
    assert_eq!(copies(&daemon), 2);

    for _ in 0..20 {
        assert!(daemon.ask(&get("acme.test.A")).contains(&secret));
        native
            .write_all(&frame(r#"{"id":2,"op":"get","slugs":["acme.test.B","acme.test.A"]}"#, b""))
            .unwrap();
        assert_eq!(read_frame(&mut native).unwrap().1.len(), 2 * secret.len());
    }
    assert_eq!(copies(&daemon), 2, "handing out leaves nothing behind");

    // What is refused, cut short or already past is not kept either.
    let refused = [
        unlock("nonsense", &secret, ""),
        unlock("acme.test.C", &secret, "").replace("permanent", "forever"),
        unlock("acme.test.C", &secret, r#","expiresAt":"never""#),
        unlock("acme.test.C", &secret, r#","expiresAt":"2001-01-01T00:00:00Z""#),
        format!("{}x", unlock("acme.test.C", &secret, "")),
        secret.clone(),
    ];
    for request in &refused {
        daemon.ask(request);
    }
    let mut cut = daemon.connect();
    cut.write_all(&unlock("acme.test.C", &secret, "").as_bytes()[..200]).unwrap();
    drop(cut);
    wait_until("nothing of them is left", LONG, || copies(&daemon) == 2);

    daemon.ask(r#"{"command":"RELOCK","payload":{"slugs":["acme.test.B"]}}"#);
    assert_eq!(copies(&daemon), 1);
    daemon.ask(RELOCK_ALL);
    assert_eq!(copies(&daemon), 0, "relocked is gone");

    daemon.unlock("acme.test.A", &secret);
    daemon.signal(Signal::Usr1);
    wait_until("a signal erases it", LONG, || copies(&daemon) == 0);

    let end = keyrack_core::iso::format_ms(keyrack_sys::clock::wall_ms() + 700);
    daemon.ask(&unlock("acme.test.A", &secret, &format!(r#","expiresAt":"{end}""#)));
    assert_eq!(copies(&daemon), 1);
    std::thread::sleep(Duration::from_millis(700));
    wait_until("its end erases it without any traffic", Duration::from_millis(500), || copies(&daemon) == 0);
}
