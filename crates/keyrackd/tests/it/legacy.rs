//! The protocol of today's TypeScript clients, byte by byte.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::daemon::{Daemon, RELOCK_ALL, STATUS, ask, get, read_all, slugs_in, unlock};

/// Every shape a client sends, in one life of a daemon.
#[test]
fn legacy_requests_get_exact_replies() {
    let daemon = Daemon::start();
    let until = r#","expiresAt":"2999-01-01T00:00:00.000Z","future":{"x":[1,"é"]}"#;
    for (request, expected) in [
        (STATUS.to_owned(), r#"{"success":true,"data":{"homeHash":"83db27ef","keys":[]}}"#),
        (get("acme.test.K"), r#"{"success":true,"data":{"keys":[]}}"#),
        (RELOCK_ALL.to_owned(), r#"{"success":true,"data":{"relocked":[]}}"#),
        (unlock("acme.all.K", "s3", until), r#"{"success":true,"data":{"unlocked":["acme.all.K"]}}"#),
        (
            r#" {"payload":{"slugs":[]},"command":"RELOCK"} "#.to_owned(),
            r#"{"success":true,"data":{"relocked":[]}}"#,
        ),
        (
            r#"{"command":"RELOCK","payload":{"env":"sudo"}}"#.to_owned(),
            r#"{"success":true,"data":{"relocked":[]}}"#,
        ),
        (
            r#"{"command":"NOPE","payload":{}}"#.to_owned(),
            r#"{"success":false,"error":"unknown command: NOPE"}"#,
        ),
    ] {
        assert_eq!(daemon.ask(&request), expected, "{request}");
    }
    let reply = daemon.ask(&get("acme.test.K"));
    let (before, after) = reply.split_once(r#","expiresAt":""#).unwrap();
    assert_eq!(
        before,
        r#"{"success":true,"data":{"keys":[{"slug":"acme.all.K","key":{"secret":"s3","grade":{"protection":"encrypted","duration":"permanent"}},"source":{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"},"env":"all","org":"acme""#
    );
    let (time, rest) = after.split_at(24);
    assert!(time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
    assert_eq!(rest, r#"","future":{"x":[1,"é"]}}]}}"#);
    let status = daemon.ask(STATUS);
    let left: u64 = status.split(r#""ttlLeftMs":"#).nth(1).unwrap().trim_end_matches("}]}}").parse().unwrap();
    assert!((86_000_000..=86_400_000).contains(&left), "clamped to the ceiling: {left}");
    assert_eq!(daemon.ask(RELOCK_ALL), r#"{"success":true,"data":{"relocked":["acme.all.K"]}}"#);
    assert_eq!(daemon.held(), [""; 0]);
}

#[test]
fn legacy_request_split_at_any_byte_is_accepted() {
    let daemon = Daemon::start();
    let secret = r#"gr\u00fc\u00dfe \"ä€😀\\\n"#;
    let request = unlock("acme.test.K", secret, r#","é€😀":"é€😀""#);
    for split in 0..=request.len() {
        let mut stream = daemon.connect();
        stream.write_all(&request.as_bytes()[..split]).unwrap();
        if split % 8 == 0 {
            // Sometimes it has been read by then, sometimes not.
            std::thread::sleep(Duration::from_millis(2));
        }
        stream.write_all(&request.as_bytes()[split..]).unwrap();
        let reply = read_all(&mut stream);
        assert_eq!(reply, r#"{"success":true,"data":{"unlocked":["acme.test.K"]}}"#, "split at {split}");
    }
    let reply = daemon.ask(&get("acme.test.K"));
    assert!(reply.contains(r#""secret":"grüße \"ä€😀\\\n""#), "{reply}");
    assert!(reply.contains(r#""é€😀":"é€😀""#), "{reply}");
}

#[test]
fn legacy_request_sent_byte_by_byte_is_answered_without_close() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    let mut stream = daemon.connect();
    for byte in get("acme.test.K").bytes() {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(slugs_in(&read_all(&mut stream)), ["acme.test.K"]);
}

#[test]
fn large_values_are_returned_whole() {
    let daemon = Daemon::start();
    for n in 0..3 {
        let secret = format!("{n}").repeat(600_000);
        daemon.unlock(&format!("acme.test.K{n}"), &secret);
    }
    let request = r#"{"command":"GET","payload":{"slugs":["acme.test.K0","acme.test.K1","acme.test.K2"]}}"#;
    let mut stream = daemon.connect();
    stream.write_all(request.as_bytes()).unwrap();
    // A caller that takes its time.
    std::thread::sleep(Duration::from_millis(50));
    let reply = read_all(&mut stream);
    assert_eq!(slugs_in(&reply), ["acme.test.K0", "acme.test.K1", "acme.test.K2"]);
    for n in 0..3 {
        assert!(reply.contains(&format!("{n}").repeat(600_000)));
    }
}

#[test]
fn invalid_legacy_request_gets_error_at_once() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    let deep = format!("{}{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    for (request, why) in [
        (&b"hello"[..], "neither a frame nor a JSON object"),
        (b"[]", "neither a frame nor a JSON object"),
        (b"null", "neither a frame nor a JSON object"),
        (b"  []", "not a JSON object"),
        (b"{}", "command is missing"),
        (b"{\"command\":7}", "command must be a string"),
        (b"{\"command\":\"GET\"}", "payload is missing"),
        (b"{\"command\":\"GET\",\"payload\":{}}", "payload.slugs is missing"),
        (b"{\"command\":\"GET\",\"payload\":{\"slugs\":[1]}}", "payload.slugs[0] must be a string"),
        (b"{\"command\":\"GET\",\"payload\":{\"slugs\":\"x\"}}", "must be an array"),
        (b"{\"command\":\"GET\",\"payload\":{\"slugs\":[]}} x", "text after its end"),
        (b"{\"command\":\"STATUS\"}{\"command\":\"STATUS\"}", "text after its end"),
        (b"{\"command\":\"GET\",\"command\":\"GET\",\"payload\":{}}", "command is given twice"),
        (b"{'command':'GET'}", "not valid JSON"),
        (b"{\"command\":\"\xff\"}", "not valid JSON"),
        (deep.as_bytes(), "nests deeper"),
        (b"{\"command\":\"\x1b[31mNOPE\"}", "not valid JSON"),
        (b"{\"command\":\"\\u001b[31mNOPE\",\"payload\":{}}", "unknown command: \\\\u{1b}[31mNOPE\""),
    ] {
        let reply = ask(daemon.connect(), request);
        let shown = String::from_utf8_lossy(request);
        assert!(
            reply.starts_with(r#"{"success":false,"error":""#) && reply.contains(why),
            "{shown}: {reply}"
        );
    }
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

#[test]
fn clients_that_disconnect_early_affect_no_other() {
    let daemon = Daemon::start();
    for _ in 0..50 {
        drop(daemon.connect());
    }
    for part in [&b"{"[..], b"{\"command\":\"GET\"", b" "] {
        let mut stream = daemon.connect();
        stream.write_all(part).unwrap();
        drop(stream);
        // One that only stops sending is told what is missing.
        let mut stream = daemon.connect();
        stream.write_all(part).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let reply = read_all(&mut stream);
        assert!(reply.contains("ended before it was complete"), "{reply}");
    }
    // One that sends all and stops sending is answered.
    let mut stream = daemon.connect();
    stream.write_all(STATUS.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(slugs_in(&read_all(&mut stream)), [""; 0]);
    // A client that leaves without its reply affects no other.
    daemon.unlock("acme.test.BIG", &"x".repeat(900_000));
    for _ in 0..20 {
        let mut stream = daemon.connect();
        stream.write_all(get("acme.test.BIG").as_bytes()).unwrap();
        let mut some = [0; 100];
        stream.read_exact(&mut some).unwrap();
    }
    assert_eq!(daemon.held(), ["acme.test.BIG"]);
}

#[test]
fn legacy_request_is_limited_to_one_mebibyte() {
    let daemon = Daemon::start();
    let frame = unlock("acme.test.K", "", "").len();
    let most = (1 << 20) - frame;
    let text = ask(daemon.connect(), unlock("acme.test.K", &"x".repeat(most + 1), "").as_bytes());
    assert!(text.contains("longer than 1048576 bytes"), "{text}");
    assert_eq!(daemon.held(), [""; 0]);
    // A secret has a limit of its own, so that it fits the other protocol too.
    let text = ask(daemon.connect(), unlock("acme.test.K", &"x".repeat(most), "").as_bytes());
    assert!(text.contains("is longer than 983036 bytes"), "{text}");
    daemon.unlock("acme.test.K", &"x".repeat(983_036));
    let spaces = format!("{}{}", " ".repeat((1 << 20) - STATUS.len()), STATUS);
    assert_eq!(slugs_in(&daemon.ask(&spaces)), ["acme.test.K"]);
}
