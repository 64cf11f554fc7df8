//! The end of the login session, by what the kernel and logind's file say of it, without D-Bus: whichever is first. Needs only
//! what the daemon may still do once it serves: read below `/proc` and `/run/systemd/sessions`, and hold processes.
//!
//! Of a daemon without a login session nothing here is watched: it is not of one person's logging in, so there is no logging out.

mod logind;
mod session_scan;

use std::path::Path;
use std::rc::Rc;

use keyrack_sys::session;
use keyrack_wire::native::Hardening;
use tokio::sync::Notify;

use crate::peer_auth::LocalIdentity;
use crate::shutdown::ShutdownReason;
use crate::state::Daemon;

use logind::SessionFile;

/// Where logind tells of sessions. (It calls the content private, and has not changed the two things read of it since they came.)
const SESSIONS: &str = "/run/systemd/sessions";

/// Who may tell of sessions there.
const ROOT: u32 = 0;

/// What is watched of a login session.
pub(crate) struct Logout {
    file: Option<SessionFile>,
    /// Woken at each look.
    round: Notify,
}

impl Logout {
    /// Begins to watch, in tasks of the runtime. [`Self::look`] is to be called now and then.
    pub(crate) fn begin(daemon: &Rc<Daemon>) -> Rc<Self> {
        let session = daemon.identity.session();
        let file = session.and_then(|session| SessionFile::find(Path::new(SESSIONS), session, ROOT));
        let logout = Rc::new(Logout { file, round: Notify::new() });
        if let Some(session) = session {
            tokio::task::spawn_local(session_scan::watch(Rc::clone(daemon), session, Rc::clone(&logout)));
        }
        logout
    }

    /// Looks at what tells nobody when it changes.
    pub(crate) fn look(&self, daemon: &Daemon) {
        if self.file.as_ref().is_some_and(SessionFile::says_it_is_over) {
            daemon.ending.decide(ShutdownReason::LoggedOut);
        }
        self.round.notify_waiters();
    }
}

/// What the daemon tells of it.
pub(crate) fn to_wire(own: &LocalIdentity) -> Hardening<'static> {
    let lacks = match own.session() {
        None => Some("this process has no login session: keys end by their lives alone".to_owned()),
        Some(_) => session::check_scan_support()
            .err()
            .map(|error| format!("the processes of the login session cannot be watched: {error}")),
    };
    Hardening { name: "logout".into(), on: lacks.is_none(), detail: lacks.map(Into::into) }
}
