//! The systemd unit that a process runs in. When a service stops, systemd ends all its processes
//! (`KillMode=`, systemd.kill(5)), including a daemon that was started inside it.

use std::fs;

/// Name of the systemd service that this process runs in, as a daemon that it starts will; `None`
/// in a login session (a scope).
pub fn own_service() -> Option<String> {
    service_in(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Name of the systemd service that a process runs in.
pub fn service_of(pid: u32) -> Option<String> {
    service_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The service in `/proc/PID/cgroup` (cgroups(7)): the innermost unit on the path of systemd's
/// hierarchy.
fn service_in(cgroup: &str) -> Option<String> {
    let path = |label: &str| {
        let of_line = |line: &str| Some(line.split_once(':')?.1.strip_prefix(label)?.to_owned());
        cgroup.lines().find_map(of_line).filter(|path| path != "/")
    };
    let path = path("name=systemd:").or_else(|| path(":"))?;
    let unit = path.rsplit('/').find(|name| name.ends_with(".service") || name.ends_with(".scope"))?;
    let printable = unit.bytes().all(|byte| byte.is_ascii_graphic());
    (unit.ends_with(".service") && printable).then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_is_the_innermost_unit_of_the_path() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for (cgroup, expected) in [
            ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
            ("0::/system.slice/build.service\n", Some("build.service")),
            ("0::/system.slice/runner.service/job/7\n", Some("runner.service")),
            (&format!("0::{user}/app.slice/work.service\n"), Some("work.service")),
            (&format!("0::{user}/app.slice/app-org.kde.konsole-77.scope\n"), None),
            (&format!("0::{user}/init.scope\n"), None),
            (&format!("0::{user}/app.slice\n"), Some("user@1000.service")),
            ("4:memory:/x.service\n1:name=systemd:/system.slice/a.service\n0::/\n", Some("a.service")),
            ("4:memory:/x.service\n1:name=systemd:/\n0::/b.service\n", Some("b.service")),
            ("4:memory:/x.service\n1:name=systemd:/user.slice/session-2.scope\n", None),
            ("0::/system.slice/docker-0123.scope\n", None),
            ("0::/a\u{1b}[2J.service\n", None),
            ("0::/\n", None),
            ("0::/../..\n", None),
            ("", None),
        ] {
            assert_eq!(service_in(cgroup).as_deref(), expected, "{cgroup:?}");
        }
    }
}
