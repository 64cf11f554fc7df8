//! Option of `/proc` that hides the processes of other users.

use std::io;

use nix::sys::stat::{fstat, major, minor};

use crate::process::procfs;

/// Returns the value of the `hidepid` option of `/proc` if it is not off (`1`, `noaccess`, `2`,
/// `invisible`, `4`, `ptraceable`; `proc(5)`). The mount is the one that this crate reads.
///
/// Reads only what a process that is not dumpable may read of itself. Before Linux 5.14 it may not
/// read `/proc/self/fdinfo`, which names the mount.
///
/// # Errors
/// If `/proc` is missing, or does not tell.
pub fn hidepid() -> io::Result<Option<String>> {
    let device = fstat(procfs::root()?)?.st_dev;
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let options = super_options(&String::from_utf8_lossy(&mounts), device)
        .ok_or_else(|| io::Error::other("/proc/self/mountinfo does not list /proc"))?;
    Ok(hidepid_of(&options))
}

/// Options of the procfs super block with this device number: the last field of a line whose third
/// field is the number (`proc_pid_mountinfo(5)`). Mounts of one super block share them.
fn super_options(mountinfo: &str, device: u64) -> Option<String> {
    let number = format!("{}:{}", major(device), minor(device));
    let line = mountinfo.lines().find(|line| line.split(' ').nth(2) == Some(number.as_str()))?;
    line.rsplit(' ').next().map(str::to_owned)
}

fn hidepid_of(options: &str) -> Option<String> {
    let value = options.split(',').rev().find_map(|option| option.strip_prefix("hidepid="))?;
    (!matches!(value, "0" | "off")).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::makedev;

    use super::*;

    #[test]
    fn hidepid_is_read_from_the_mount_of_our_device() {
        let mountinfo = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:5 - proc proc rw,gid=10,hidepid=invisible\n\
25 23 0:21 /sys /proc/sys ro - proc proc rw,gid=10,hidepid=invisible\n\
123 22 0:22 / /mnt/proc rw - proc proc rw,hidepid=off\n\
124 22 0:2 / /other rw master:1 - proc proc rw\n";
        for (number, expected) in [(21, Some("invisible")), (22, None), (2, None)] {
            let options = super_options(mountinfo, makedev(0, number)).unwrap();
            assert_eq!(hidepid_of(&options).as_deref(), expected, "{number}");
        }
        assert_eq!(super_options(mountinfo, makedev(0, 1)), None);
        assert_eq!(super_options(mountinfo, makedev(1, 21)), None);
    }

    #[test]
    fn hidepid_of_knows_every_spelling() {
        for (options, expected) in [
            ("rw", None),
            ("rw,hidepid=0", None),
            ("rw,hidepid=off,gid=4", None),
            ("rw,hidepid=1", Some("1")),
            ("rw,hidepid=2,subset=pid", Some("2")),
            ("rw,hidepid=noaccess", Some("noaccess")),
            ("rw,hidepid=ptraceable", Some("ptraceable")),
            ("rw,nohidepid=2", None),
        ] {
            assert_eq!(hidepid_of(options).as_deref(), expected, "{options}");
        }
    }
}
