//! Logout detection: the login session has ended when the kernel or logind's session file says so,
//! whichever is first. No D-Bus.
//!
//! Needs only what the daemon may do once it serves: read below `/proc` and
//! `/run/systemd/sessions`, and hold pidfds. A daemon without a login session watches nothing: it
//! does not belong to a login, so there is no logout.

mod logind;
mod session_scan;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use keyrack_sys::session;
use keyrack_wire::native::Hardening;
use tokio::sync::Notify;

use crate::conn::table::ConnectionTable;
use crate::shutdown::{Shutdown, ShutdownReason};

use logind::LogindSessionFile;

/// Directory of logind's session files. logind calls their content private, yet the two facts read
/// from them have not changed since they were introduced.
const SESSIONS: &str = "/run/systemd/sessions";

/// User who owns logind's session files.
const ROOT: u32 = 0;

/// Watch over the login session of the daemon.
pub(crate) struct LogoutWatch {
    file: Option<LogindSessionFile>,
    shutdown: Rc<Shutdown>,
    /// Wakes the scan at each check.
    checks: Rc<Notify>,
}

impl LogoutWatch {
    /// Starts to watch `session`, in a task of the runtime. Call [`LogoutWatch::check`] regularly.
    pub(crate) fn spawn(
        session: Option<u32>,
        shutdown: Rc<Shutdown>,
        connections: Rc<RefCell<ConnectionTable>>,
    ) -> Self {
        let file = session.and_then(|session| LogindSessionFile::find(Path::new(SESSIONS), session, ROOT));
        let checks = Rc::new(Notify::new());
        if let Some(session) = session {
            let scan = session_scan::run(session, Rc::clone(&shutdown), connections, Rc::clone(&checks));
            tokio::task::spawn_local(scan);
        }
        LogoutWatch { file, shutdown, checks }
    }

    /// Checks what sends no notification when it changes.
    pub(crate) fn check(&self) {
        if self.file.as_ref().is_some_and(LogindSessionFile::has_ended) {
            self.shutdown.request(ShutdownReason::LoggedOut);
        }
        self.checks.notify_waiters();
    }
}

/// Returns the state of logout detection, for `hello` and `status`.
pub(crate) fn report(session: Option<u32>) -> Hardening<'static> {
    let missing = match session {
        None => Some("this process has no login session: keys expire by their TTL alone".to_owned()),
        Some(_) => session::check_scan_support()
            .err()
            .map(|error| format!("cannot watch the processes of the login session: {error}")),
    };
    Hardening { name: "logout".into(), on: missing.is_none(), detail: missing.map(Into::into) }
}
