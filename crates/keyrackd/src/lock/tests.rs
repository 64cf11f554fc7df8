//! Claims of a socket against everything that may stand in its place.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const SHORT: Duration = Duration::from_millis(60);

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.sock");
    (dir, path)
}

/// Answers every connection with one byte.
fn answering(path: &Path) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let listener = UnixListener::bind(path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let mut stream = stream.unwrap();
            let mut question = [0; 128];
            let _ = stream.read(&mut question);
            let _ = stream.write_all(b"{");
        }
    });
    (stop, thread)
}

#[test]
fn claim_of_free_path_holds_the_lock() {
    let (_dir, path) = place();
    let own = LocalIdentity::read();
    let Claim::Ours(file) = claim(&path, &own, SHORT).unwrap() else { panic!("no daemon serves") };
    let error = claim(&path, &own, SHORT).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonUnresponsive);
    assert!(error.message.contains("k.sock.lock"), "{error}");
    drop(file);
    assert!(matches!(claim(&path, &own, SHORT), Ok(Claim::Ours(_))));
    assert!(lock_path(&path).exists(), "the lock file stays");
}

#[test]
fn claim_replaces_dead_socket_of_this_user() {
    let (_dir, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(claim(&path, &LocalIdentity::read(), SHORT), Ok(Claim::Ours(_))));
    assert!(!path.exists());
}

#[test]
fn claim_finds_answering_server_with_or_without_lock() {
    let (_dir, path) = place();
    let (stop, thread) = answering(&path);
    let own = LocalIdentity::read();
    assert!(matches!(claim(&path, &own, SHORT), Ok(Claim::AlreadyServed)), "it holds no lock");
    let lock = open_lock(&lock_path(&path)).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(claim(&path, &own, SHORT), Ok(Claim::AlreadyServed)), "it holds the lock");
    stop.store(true, Ordering::Relaxed);
    drop(socket::connect(&path, SHORT));
    thread.join().unwrap();
}

#[test]
fn claim_does_not_unlink_silent_server() {
    let (_dir, path) = place();
    let listener = UnixListener::bind(&path).unwrap();
    let error = claim(&path, &LocalIdentity::read(), Duration::ZERO).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonUnresponsive);
    assert!(path.exists());
    drop(listener);
}

#[test]
fn claim_names_and_keeps_what_is_not_a_socket() {
    let own = LocalIdentity::read();
    for (what, make) in [
        ("not a socket", (|path| fs::write(path, "precious").unwrap()) as fn(&Path)),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a symbolic link", |path| symlink("nowhere", path).unwrap()),
    ] {
        let (_dir, path) = place();
        make(&path);
        let error = claim(&path, &own, SHORT).unwrap_err();
        assert_eq!(error.code, ErrorCode::SocketPathTaken);
        assert!(error.message.contains(what), "{error}");
        assert!(fs::symlink_metadata(&path).is_ok());
    }
}
