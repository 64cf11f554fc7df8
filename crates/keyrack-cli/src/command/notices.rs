//! Notices that several commands print on stderr.

use keyrack_client::daemon::own_service;
use keyrack_client::get::GetOutcome;
use keyrack_client::render::status::open_namespaces;
use keyrack_core::layout::variables::ALLOW_NAMESPACES;
use keyrack_core::peer::{AllowedNamespaces, EnforcedNamespaces};
use keyrack_core::{Attempt, Error, ErrorCode, Fix};
use keyrack_ops::unlock::declares_nothing;

use crate::app::App;

/// Prints every notice about a read: see the functions below.
pub(crate) fn read(app: &App, outcome: &GetOutcome, env: Option<&str>) {
    daemon_and_manifest(app, outcome);
    nothing_declared(app, outcome, env);
    weaker_grades(app, outcome);
}

/// Warns about a legacy daemon, a daemon that failed, and faults of `keyrack.yml` files.
pub(crate) fn daemon_and_manifest(app: &App, outcome: &GetOutcome) {
    if outcome.legacy_daemon {
        let fix = Fix::command(["daemon", "restart"]).render(app.invocation);
        app.notice(&format!("an older TypeScript keyrack daemon answered; replace it with `{fix}`"));
    }
    // No warning if no daemon can run here and the environment has all keys.
    let needless = |error: &&Error| {
        outcome.all_granted() && matches!(error.code, ErrorCode::NoHome | ErrorCode::RuntimeDirMissing)
    };
    if let Some(error) = outcome.daemon_error.as_ref().filter(|error| !needless(error)) {
        app.warn(error);
    }
    outcome.manifest_faults.iter().for_each(|fault| app.warn(fault));
}

/// Prints a notice for each value of the environment that is used in place of a key of a stronger
/// grade.
pub(crate) fn weaker_grades(app: &App, outcome: &GetOutcome) {
    for answer in &outcome.keys {
        if let (Attempt::Granted { below_declared: true, .. }, Some(note)) = (&answer.attempt, &answer.note) {
            app.notice(&format!("{}: {note}", answer.attempt.slug()));
        }
    }
}

/// Prints a notice if `keyrack.yml` declares no key for the env: not an error, but maybe a typo.
pub(crate) fn nothing_declared(app: &App, outcome: &GetOutcome, env: Option<&str>) {
    if !outcome.single && outcome.keys.is_empty() {
        app.notice(&declares_nothing(env));
    }
}

/// Prints the notices about a daemon that a command spawned on its way, with its pid.
pub(crate) fn daemon_spawned(app: &App, pid: Option<u32>) {
    if let Some(pid) = pid {
        app.notice(&format!("[keyrack-daemon] spawned background daemon (pid: {pid})"));
        daemon_started(app);
    }
}

/// Prints notices about a daemon that was just started: the namespaces it serves besides its own,
/// and the service that ends it.
pub(crate) fn daemon_started(app: &App) {
    daemon_in_service(app);
    let allowed = app.environment.text(ALLOW_NAMESPACES).and_then(AllowedNamespaces::parse);
    let enforced = allowed.and_then(EnforcedNamespaces::of_allowed);
    if let Some(open) = enforced.and_then(|enforced| open_namespaces(enforced.as_str())) {
        app.notice(open);
    }
}

/// Prints that a daemon that was just started ends with the systemd service it runs in.
fn daemon_in_service(app: &App) {
    if let Some(service) = own_service() {
        app.notice(&format!(
            "keyrackd runs inside the systemd unit {service}: when the unit stops, the daemon ends and its keys are locked"
        ));
    }
}
