//! Manual pages, as mandoc reads them.

use std::fs;

use keyrack_testkit::{Need, can_run, run};

use crate::fixture::Fixture;

#[test]
fn manual_pages_render_without_warnings() {
    if !can_run("manual_pages_render_without_warnings", &[Need::Program("mandoc")]) {
        return;
    }
    let fixture = Fixture::new();
    let dir = fixture.home.home().join("man");
    let (exit, stdout, stderr) = fixture.run("keyrack man --dir $HOME/man", b"");
    assert_eq!((exit, stdout.len(), stderr.len()), (0, 0, 0), "{stderr:?}");
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    for name in ["keyrack.1", "keyrack-get.1", "keyrack-daemon-status.1", "keyrack-recipient-set.1"] {
        assert!(names.iter().any(|known| known == name), "{name} is missing from {names:?}");
    }
    for name in &names {
        let path = dir.join(name).display().to_string();
        let mut lint = fixture.command(&["mandoc", "-T", "lint", "-W", "warning", &path].map(str::to_owned));
        let linted = run(&mut lint, b"", std::time::Duration::from_secs(20)).unwrap();
        let said = String::from_utf8_lossy(&linted.stdout).into_owned();
        // The pages have no date, so that the same sources always make the same page.
        let faults: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(faults.is_empty(), "{faults:?}");
        let mut show = fixture.command(&["mandoc", "-T", "utf8", "-O", "width=78", &path].map(str::to_owned));
        let shown = run(&mut show, b"", std::time::Duration::from_secs(20)).unwrap();
        // mandoc marks bold and underlined letters with overstrikes.
        let text = String::from_utf8(shown.stdout).unwrap();
        let chars: Vec<char> = text.chars().collect();
        let bare: String = (0..chars.len())
            .filter(|at| chars[*at] != '\u{8}' && chars.get(at + 1) != Some(&'\u{8}'))
            .map(|at| chars[at])
            .collect();
        for heading in ["NAME", "SYNOPSIS", "EXIT STATUS", "SEE ALSO"] {
            assert!(bare.lines().any(|line| line == heading), "{name} has {heading}:\n{bare}");
        }
        let command = name.trim_end_matches(".1");
        assert!(bare.contains(&format!("{command} - ")), "{bare}");
    }
    let (_, page, _) = fixture.run("keyrack man get", b"");
    assert_eq!(page.join("\n"), fs::read_to_string(dir.join("keyrack-get.1")).unwrap().trim_end());
    let (exit, _, stderr) = fixture.run("keyrack man unlok", b"");
    assert!(exit == 2 && stderr.join(" ").contains("did you mean unlock?"), "{stderr:?}");
}
