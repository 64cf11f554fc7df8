//! Limits: no client can deny service to others.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use keyrack_testkit::{Home, Need, as_user, can_run, wait_until};

use crate::daemon::{Daemon, LONG, STATUS, command, frame, get, read_all, read_frame, slugs_in};

/// Runs a command under a limit of the shell's `ulimit`.
pub(crate) fn limited(limit: &str, inner: &Command) -> Command {
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    wrapped.arg(inner.get_program()).args(inner.get_args()).env_clear();
    wrapped.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    wrapped
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn silent_connections_are_evicted_for_requests() {
    let home = Home::new();
    let mut command = limited("-n 100", &command(&home));
    let daemon = Daemon::run(home, &mut command);
    daemon.unlock("acme.test.K", "s");
    // Far more than there are descriptors for.
    let mut silent: Vec<_> = (0..200).map(|_| daemon.connect()).collect();
    let mut native = daemon.connect();
    native.write_all(&frame(r#"{"id":1,"op":"ping"}"#, b"")).unwrap();
    assert!(read_frame(&mut native).is_some());
    for _ in 0..20 {
        assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
    }
    // The oldest were closed first, long before their five seconds.
    let begun = Instant::now();
    assert_eq!(read_all(&mut silent[0]), "");
    assert!(begun.elapsed() < Duration::from_secs(3));
    // Waiting connections cost no CPU time.
    let before = cpu_ticks(daemon.child.pid());
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks(daemon.child.pid()) - before;
    assert!(spent <= 5, "{spent} ticks in half a second of silence");
}

#[test]
fn daemon_recovers_after_running_out_of_descriptors() {
    let home = Home::new();
    // Too few for even the least number of callers.
    let mut command = limited("-n 24", &command(&home));
    let daemon = Daemon::run(home, &mut command);
    daemon.unlock("acme.test.K", "s");
    let silent: Vec<_> = (0..60).map(|_| daemon.connect()).collect();
    let begun = cpu_ticks(daemon.child.pid());
    assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
    drop(silent);
    for _ in 0..20 {
        assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
    }
    assert!(cpu_ticks(daemon.child.pid()) - begun < 200, "it does not spin");
}

#[test]
fn partial_requests_do_not_block_other_clients() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.K", "s");
    // Requests that do not end: large ones, then small ones for what is left.
    let begun = |bytes: usize| {
        let mut stream = daemon.connect();
        let _ = stream.write_all(&[&[0, 0x10, 0, 0, 0, 0, 0, 9][..], &vec![b' '; bytes]].concat());
        stream
    };
    let mut large: Vec<_> = (0..17).map(|_| begun(1_000_000)).collect();
    let small: Vec<_> = (0..400).map(|_| begun(1)).collect();
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(slugs_in(&daemon.ask(STATUS)), ["acme.test.K"]);
        assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "long before the requests have had their ten seconds");
    // The connection with the oldest partial request was evicted, after an error reply.
    let mut told = Vec::new();
    large[0].set_read_timeout(Some(LONG)).unwrap();
    let _ = large[0].read_to_end(&mut told);
    assert!(String::from_utf8_lossy(&told).contains("memory_full"), "{}", String::from_utf8_lossy(&told));
    drop((large, small));
}

#[test]
fn start_fails_with_too_few_descriptors() {
    for nofile in [16, 21] {
        let home = Home::new();
        let output = limited(&format!("-n {nofile}"), &command(&home)).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("only {nofile} files may be open")), "{said}");
        assert_eq!(fs::read_dir(home.runtime()).unwrap().count(), 0, "nothing is left behind");
    }
    let home = Home::new();
    let mut command = limited("-n 22", &command(&home));
    let daemon = Daemon::run(home, &mut command);
    daemon.unlock("acme.test.K", "s");
    assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
}

#[test]
fn daemon_serves_with_zero_file_size_limit() {
    let home = Home::new();
    let mut command = limited("-f 0", &command(&home));
    let daemon = Daemon::run(home, &mut command);
    daemon.unlock("acme.test.K", "s");
}

#[test]
fn closed_connections_release_descriptors() {
    let daemon = Daemon::start();
    let open = || fs::read_dir(format!("/proc/{}/fd", daemon.child.pid())).map(Iterator::count);
    let Ok(before) = open() else { return };
    for round in 0..300 {
        let mut stream = daemon.connect();
        match round % 4 {
            0 => drop(stream),
            1 => drop(crate::daemon::ask(stream, STATUS.as_bytes())),
            2 => drop(stream.write_all(b"nonsense")),
            _ => drop(stream.write_all(b"{\"command\":")),
        }
    }
    wait_until("every descriptor is given back", LONG, || open().is_ok_and(|now| now <= before));
}

#[test]
fn unread_replies_do_not_block_other_clients() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.BIG", &"x".repeat(900_000));
    daemon.unlock("acme.test.K", "s");
    // Far more replies than there are pages for.
    let slow: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = daemon.connect();
            stream.write_all(get("acme.test.BIG").as_bytes()).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(slugs_in(&daemon.ask(&get("acme.test.K"))), ["acme.test.K"]);
        assert_eq!(slugs_in(&daemon.ask(&get("acme.test.BIG"))), ["acme.test.BIG"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "long before the replies have had their ten seconds");
    drop(slow);
}

#[test]
fn slow_clients_do_not_delay_others() {
    let daemon = Daemon::start();
    daemon.unlock("acme.test.BIG", &"x".repeat(900_000));
    let mut slow = Vec::new();
    for round in 0..40 {
        let mut stream = daemon.connect();
        match round % 4 {
            0 => stream.write_all(b"{\"command\":").unwrap(),
            1 => stream.write_all(&[0, 0x0f, 0xff, 0xff, 0, 0, 1, 0, b'{']).unwrap(),
            // A client that reads nothing of a long reply.
            2 if round < 8 => stream.write_all(get("acme.test.BIG").as_bytes()).unwrap(),
            _ => {}
        }
        slow.push(stream);
    }
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(slugs_in(&daemon.ask(STATUS)), ["acme.test.BIG"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn silent_connection_is_closed_after_five_seconds() {
    let daemon = Daemon::start();
    let mut silent = daemon.connect();
    let mut native = daemon.connect();
    native.write_all(&frame(r#"{"id":1,"op":"ping"}"#, b"")).unwrap();
    assert!(read_frame(&mut native).is_some());
    let begun = Instant::now();
    assert_eq!(read_all(&mut silent), "");
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(9), "{waited:?}");
    // A native client that has sent a request may be silent for longer.
    native.write_all(&frame(r#"{"id":2,"op":"ping"}"#, b"")).unwrap();
    assert!(read_frame(&mut native).is_some());
}

#[test]
fn flood_from_one_client_does_not_delay_others() {
    let daemon = Daemon::start();
    let mut flood = daemon.connect();
    let ping = frame(r#"{"id":1,"op":"ping"}"#, b"").repeat(200);
    let mut reader = flood.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..200 {
            flood.write_all(&ping).unwrap();
        }
    });
    let drain = std::thread::spawn(move || {
        let mut left = 200 * 200 * (8 + r#"{"id":1,"ok":{}}"#.len());
        let mut chunk = [0; 65_536];
        while left > 0 {
            left -= reader.read(&mut chunk).unwrap();
        }
    });
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(slugs_in(&daemon.ask(STATUS)), [""; 0]);
        worst = worst.max(begun.elapsed());
    }
    sender.join().unwrap();
    drain.join().unwrap();
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[test]
fn little_lockable_memory_suffices_unless_locked_is_required() {
    if !can_run(test_name!(), &[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let home = Home::new();
    home.give_to(65_533);
    let mut command = as_user(65_533, &limited("-l 64", &command(&home)));
    let mut daemon = Daemon::run(home, &mut command);
    let asked = |request: &str| {
        crate::peer_process::ask_as(|ask| as_user(65_533, ask), daemon.socket.as_os_str(), request)
    };
    let kept = asked(&crate::daemon::unlock("acme.test.K", &"s".repeat(100_000), ""));
    assert!(kept.contains(r#""unlocked":["acme.test.K"]"#), "{kept}");
    assert!(asked(&get("acme.test.K")).contains(&"s".repeat(100_000)), "it works");
    daemon.signal(keyrack_sys::process::signal::Signal::Term);
    assert!(daemon.ended(LONG).success());

    // Where locked memory is required, the start fails.
    let home = Home::new();
    home.give_to(65_533);
    let mut command = crate::daemon::command(&home);
    command.env("KEYRACK_MEMORY", "locked");
    let output = keyrack_testkit::run(&mut as_user(65_533, &limited("-l 64", &command)), b"", LONG).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no locked memory: ") && text.contains("RLIMIT_MEMLOCK is 64 KiB"), "{text}");
}
