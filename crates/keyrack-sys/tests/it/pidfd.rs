//! Processes held by descriptor.

use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_core::peer::ReadError;
use keyrack_sys::process::pid::Pid;
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;

const SOON: Duration = Duration::from_secs(10);

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn pidfd_follows_one_process_to_its_end() {
    let mut child = sleeper();
    let pid = Pid::try_from(child.id()).unwrap();
    let pidfd = Pidfd::open(pid).unwrap();
    assert_eq!(pidfd.levels(pid), Ok(1));
    assert_eq!(
        pidfd.levels(Pid::from_raw(pid.as_raw() + 1)),
        Err(ReadError::ProcessGone),
        "it has another number"
    );
    assert!(pidfd.is_alive());
    assert!(!pidfd.wait_exit(Duration::from_millis(10)));

    // Stopped is not ended.
    pidfd.signal(Signal::Stop).unwrap();
    assert!(pidfd.is_alive());
    pidfd.signal(Signal::Cont).unwrap();

    pidfd.signal(Signal::Term).unwrap();
    assert!(pidfd.wait_exit(SOON));
    // A zombie has exited, even if its number is still in use.
    assert!(!pidfd.is_alive());
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
    assert_eq!((pidfd.levels(pid), pidfd.levels(Pid::from_raw(-1))), (Err(ReadError::ProcessGone), Ok(1)));
    assert_eq!(pidfd.signal(Signal::Kill).unwrap_err().raw_os_error(), Some(libc::ESRCH));
}

#[test]
fn signal_numbers_match_their_names() {
    let table = [
        (Signal::Term, libc::SIGTERM),
        (Signal::Int, libc::SIGINT),
        (Signal::Hup, libc::SIGHUP),
        (Signal::Usr1, libc::SIGUSR1),
        (Signal::Kill, libc::SIGKILL),
    ];
    for (signal, number) in table {
        assert_eq!(signal.number(), number);
        let mut child = sleeper();
        Pidfd::open(child.id().try_into().unwrap()).unwrap().signal(signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));
    }
}

#[test]
fn open_rejects_pids_without_a_process() {
    let mut child = sleeper();
    let pid = Pid::try_from(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for (pid, errno) in [
        (pid, libc::ESRCH),
        (Pid::from_raw(0), libc::EINVAL),
        (Pid::from_raw(-1), libc::EINVAL),
        (Pid::from_raw(i32::MIN), libc::EINVAL),
    ] {
        assert_eq!(Pidfd::open(pid).unwrap_err().raw_os_error(), Some(errno), "{pid}");
    }
}

#[test]
fn pidfd_of_another_kind_of_descriptor_fails() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let pidfd = Pidfd::from(std::os::fd::OwnedFd::from(file));
    assert!(!pidfd.is_alive());
    assert_eq!(pidfd.levels(Pid::from_raw(1)), Err(ReadError::ProcessGone));
    assert!(pidfd.signal(Signal::Cont).is_err());
}
