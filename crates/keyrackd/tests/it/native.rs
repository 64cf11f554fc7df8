//! Frames: many requests on one connection, values as bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::daemon::{Daemon, LONG, frame, get, read_frame, slugs_in};

fn roundtrip(stream: &mut UnixStream, header: &str, secrets: &[u8]) -> (String, Vec<u8>) {
    stream.write_all(&frame(header, secrets)).unwrap();
    read_frame(stream).expect("a reply")
}

fn key(id: u64, slug: &str, len: usize) -> String {
    format!(
        r#"{{"id":{id},"op":"unlock","keys":[{{"slug":"{slug}","grade":{{"protection":"encrypted","duration":"ephemeral"}},"source":{{"vault":"os.secure","mech":"M"}},"ttl_ms":60000,"secret":{{"offset":0,"len":{len}}}}}]}}"#
    )
}

#[test]
fn native_connection_serves_every_operation() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    // Hello and the first request in one write.
    let hello = frame(r#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#, b"");
    let unlock = frame(&key(2, "acme.all.K", 5), b"\x00\xff\n\"z");
    stream.write_all(&[hello, unlock].concat()).unwrap();
    let (greeting, _) = read_frame(&mut stream).unwrap();
    for part in [
        r#"{"id":1,"ok":{"proto":1,"min_proto":1,"version":"0.1.0","#,
        &format!(r#""pid":{}"#, daemon.child.pid()),
        r#""boundary":""#,
        r#""memory":""#,
        r#"{"name":"not_dumpable","on":true}"#,
        r#"{"name":"no_new_privs","on":true}"#,
        r#"{"name":"no_core","on":true}"#,
        r#"{"name":"deny_write_exec","on":true}"#,
        r#"{"name":"seccomp","on":true}"#,
    ] {
        assert!(greeting.contains(part), "{part} in {greeting}");
    }
    let (kept, _) = read_frame(&mut stream).unwrap();
    assert!(
        kept.starts_with(r#"{"id":2,"ok":{"results":[{"slug":"acme.all.K","ok":true,"ttl_ms":60000,"#),
        "{kept}"
    );

    let (hit, secret) = roundtrip(
        &mut stream,
        r#"{"id":18446744073709551615,"op":"get","slugs":["acme.test.K","acme.sudo.K"]}"#,
        b"",
    );
    assert!(hit.starts_with(r#"{"id":18446744073709551615,"ok":{"keys":[{"slug":"acme.all.K","#), "{hit}");
    assert_eq!(secret, b"\x00\xff\n\"z");
    let (status, _) = roundtrip(&mut stream, r#"{"id":3,"op":"status"}"#, b"");
    assert!(
        status.contains(r#""counts":{"keys":1,"bytes":5}"#) && status.contains(r#""more":false"#),
        "{status}"
    );
    // The other protocol sees the same keys.
    daemon.unlock("acme.test.L", "s");
    assert_eq!(daemon.held(), ["acme.all.K", "acme.test.L"]);
    let (gone, _) = roundtrip(&mut stream, r#"{"id":4,"op":"relock","env":"all"}"#, b"");
    assert_eq!(gone, r#"{"id":4,"ok":{"relocked":["acme.all.K"]}}"#);
    assert_eq!(slugs_in(&daemon.ask(&get("acme.all.K"))), [""; 0]);
    let (pong, _) = roundtrip(&mut stream, r#"{"id":5,"op":"ping"}"#, b"");
    assert_eq!(pong, r#"{"id":5,"ok":{}}"#);
    // What is not understood costs the request, not the connection.
    let (odd, _) = roundtrip(&mut stream, r#"{"id":6,"op":"tomorrow","new":true}"#, b"");
    assert!(odd.starts_with(r#"{"id":6,"error":{"code":"unknown_op","#), "{odd}");
    let (odd, _) = roundtrip(&mut stream, r#"{"id":7,"op":"relock"}"#, b"");
    assert!(odd.starts_with(r#"{"id":7,"error":{"code":"bad_request","#), "{odd}");
    let (pong, _) = roundtrip(&mut stream, r#"{"id":8,"op":"ping"}"#, b"");
    assert_eq!(pong, r#"{"id":8,"ok":{}}"#);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for id in 0..5000 {
            writer.write_all(&frame(&format!(r#"{{"id":{id},"op":"ping"}}"#), b"")).unwrap();
        }
    });
    for id in 0..5000 {
        let (pong, _) = read_frame(&mut stream).unwrap();
        assert_eq!(pong, format!(r#"{{"id":{id},"ok":{{}}}}"#));
    }
    sender.join().unwrap();
}

#[test]
fn frame_split_at_any_byte_is_accepted() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    let bytes = frame(&key(1, "acme.test.K", 3), b"abc");
    for split in 1..bytes.len() {
        stream.write_all(&bytes[..split]).unwrap();
        if split % 16 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(&bytes[split..]).unwrap();
        let (kept, _) = read_frame(&mut stream).unwrap();
        assert!(kept.contains(r#""ok":true"#), "split at {split}: {kept}");
    }
}

#[test]
fn invalid_frame_gets_error_and_close() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    for bytes in [
        &[0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 3, 0, 0, 0, 1],
        &[0, 0x10, 0, 1, 0, 0, 0, 1],
        &[0, 0xff, 0xff, 0xff],
        &[0, 0, 0, 5, 0, 0, 0, 0, b'x'],
        &[0, 0, 0, 5, 0, 0, 0, 2, b'x'],
        &[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, b'x'],
        &[0, 2, 0, 0, 0, 1, 0, 1],
        &frame("{}", b""),
        &frame("nonsense", b""),
        &frame(r#"{"id":1,"op":"ping"}"#, b"stray"),
        &frame(
            r#"{"id":1,"op":"unlock","keys":[{"slug":"a.test.K","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":1,"secret":{"offset":1,"len":1}}]}"#,
            b"ab",
        ),
    ] {
        let mut stream = daemon.connect();
        stream.write_all(bytes).unwrap();
        let (error, _) = read_frame(&mut stream).unwrap_or_else(|| panic!("{bytes:?}: no reply"));
        assert!(error.starts_with(r#"{"id":0,"error":{"code":"bad_frame","#), "{bytes:?}: {error}");
        assert!(read_frame(&mut stream).is_none(), "closed after it");
    }
    let mut stream = daemon.connect();
    stream.write_all(&frame(r#"{"id":1,"op":"ping"}"#, b"")[..9]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (error, _) = read_frame(&mut stream).unwrap();
    assert!(error.contains("bad_frame"), "{error}");
    assert_eq!(daemon.held(), ["acme.test.K"]);
}

#[test]
fn values_of_every_size_are_returned_unchanged() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect();
    for len in [0_usize, 1, 4095, 4096, 4097, 983_036] {
        let value: Vec<u8> = (0..len).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let (kept, _) = roundtrip(&mut stream, &key(1, "acme.test.K", len), &value);
        assert!(kept.contains(r#""ok":true"#), "{len}: {kept}");
        let (_, secret) = roundtrip(&mut stream, r#"{"id":2,"op":"get","slugs":["acme.test.K"]}"#, b"");
        assert!(secret == value, "{len}");
    }
}

/// Relocked is gone: also from a reply that its caller has not read yet.
#[test]
fn relock_drops_queued_replies_that_carry_the_key() {
    let daemon = Daemon::start();
    // More than the kernel takes of a reply that is never read, and less than fills an ordinary
    // user's lockable memory.
    daemon.unlock("acme.test.K", &"k".repeat(400_000));
    daemon.unlock("acme.test.L", &"l".repeat(400_000));
    let asked = |slug: &str| {
        let mut native = daemon.connect();
        native.write_all(&frame(&format!(r#"{{"id":1,"op":"get","slugs":["{slug}"]}}"#), b"")).unwrap();
        let mut legacy = daemon.connect();
        legacy.write_all(get(slug).as_bytes()).unwrap();
        [native, legacy]
    };
    let gone = asked("acme.test.K");
    let kept = asked("acme.test.L");
    // By now the daemon has answered all four as far as the kernel takes it.
    let mut first = [[0; 1]; 4];
    for (stream, first) in gone.iter().chain(&kept).zip(&mut first) {
        (&*stream).read_exact(first).unwrap();
    }
    let reply = daemon.ask(r#"{"command":"RELOCK","payload":{"slugs":["acme.test.K"]}}"#);
    assert!(reply.contains("acme.test.K"), "{reply}");
    for mut stream in gone {
        let mut rest = Vec::new();
        // Cut off: an end, or a broken connection.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 350_000, "{} bytes came after the acknowledgement", rest.len());
    }
    let [mut native, mut legacy] = kept;
    let mut rest = Vec::new();
    legacy.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 400_000);
    native.set_read_timeout(Some(LONG)).unwrap();
    let mut rest = vec![0; 400_000];
    native.read_exact(&mut rest).unwrap();
}

#[test]
fn shutdown_request_is_acknowledged_before_exit() {
    let mut daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    let mut stream = daemon.connect();
    let (done, _) = roundtrip(&mut stream, r#"{"id":9,"op":"shutdown"}"#, b"");
    assert_eq!(done, r#"{"id":9,"ok":{}}"#);
    assert!(daemon.ended(Duration::from_secs(5)).success());
    assert_eq!(daemon.files(), ["keyrack.7.83db27ef.sock.lock"]);
}
