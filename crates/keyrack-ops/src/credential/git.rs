//! git's credential helper (gitcredentials(7), git-credential(1)): lines of `name=value` on stdin
//! and stdout.

use keyrack_core::Error;
use keyrack_json::{WipedBuffer, Writer};
use zeroize::Zeroizing;

use super::{CredentialKey, line};

/// User name that is sent with a token if neither the URL nor the flags give one. Hosts that accept
/// tokens ignore it.
pub const USERNAME: &str = "x-access-token";

/// Request of git.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRequest {
    protocol: Option<String>,
    host: Option<String>,
    username: Option<String>,
}

impl GitRequest {
    /// Parses a request. Passwords and unknown fields are ignored. Of a repeated field the last one
    /// counts, even if it is not valid text: then the field is missing.
    pub fn read(bytes: &[u8]) -> Self {
        let mut request = GitRequest::default();
        for line in bytes.split(|&b| b == b'\n').take_while(|line| !line.is_empty()) {
            let Some(at) = line.iter().position(|&b| b == b'=') else { continue };
            let address = match &line[..at] {
                b"protocol" => &mut request.protocol,
                b"host" => &mut request.host,
                b"username" => &mut request.username,
                _ => continue,
            };
            *address = std::str::from_utf8(&line[at + 1..]).ok().map(str::to_owned);
        }
        request
    }

    /// Returns `true` if the request is for one of these hosts (a name, or a name and a port, as in
    /// the URL), over https, and for no other user than `username`.
    pub fn is_for(&self, hosts: &[String], username: Option<&str>) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        let user = self.username.as_deref().filter(|user| !user.is_empty());
        self.protocol.as_deref() == Some("https")
            && !host.is_empty()
            && hosts.iter().any(|configured| configured.eq_ignore_ascii_case(host))
            && (user.is_none() || username.is_none() || user == username)
    }

    /// Line that names the requested host and the hosts of the hook.
    pub fn refused(&self, hosts: &[String], username: Option<&str>) -> String {
        let user = |user: Option<&str>| user.filter(|user| !user.is_empty()).map(|user| format!("{user}@"));
        let asked = format!(
            "{}://{}{}",
            self.protocol.as_deref().unwrap_or("?"),
            user(self.username.as_deref()).unwrap_or_default(),
            self.host.as_deref().unwrap_or("?"),
        );
        let own = user(username).unwrap_or_default();
        let own: Vec<String> = hosts.iter().map(|host| format!("https://{own}{host}")).collect();
        line::refused("git", &asked, &own.join(" and "))
    }

    /// Composes the reply: user, password, and expiration in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`keyrack_core::ErrorCode::Usage`] for a value or a user that git's protocol cannot carry:
    /// with a NUL byte, or a line break, which would start another field (CVE-2020-5260,
    /// CVE-2024-52006).
    pub fn answer(&self, username: Option<&str>, key: &CredentialKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        let value = key.secret.expose();
        let is_line = |text: &[u8]| !text.iter().any(|b| matches!(b, b'\0' | b'\n' | b'\r'));
        if !is_line(value) {
            return Err(key.unfit("a git password must be a single line"));
        }
        let asked = self.username.as_deref().filter(|user| !user.is_empty());
        let username = username.or(asked).unwrap_or(USERNAME);
        if !is_line(username.as_bytes()) {
            return Err(key.unfit("a git user name must be a single line"));
        }
        let end = key.expires_at_ms.map(|ms| format!("password_expiry_utc={}\n", ms.div_euclid(1000)));
        let mut out = WipedBuffer::new(usize::MAX);
        let parts: [&[u8]; 7] = [
            b"username=",
            username.as_bytes(),
            b"\n",
            b"password=",
            value,
            b"\n",
            end.as_deref().unwrap_or_default().as_bytes(),
        ];
        let len = parts.iter().map(|part| part.len()).sum();
        out.reserve(len)
            .and_then(|()| parts.iter().try_for_each(|part| out.put(part)))
            .expect("no limit but memory");
        Ok(out.into_inner())
    }
}

/// Reply that makes git stop instead of prompting: the host is ours, but its key is missing.
pub const QUIT: &[u8] = b"quit=1\n";

#[cfg(test)]
mod tests {
    use super::super::held;
    use super::*;

    fn request(text: &str) -> GitRequest {
        GitRequest::read(text.as_bytes())
    }

    #[test]
    fn git_serves_only_its_hosts() {
        let hosts = ["github.com".to_owned(), "git.example.com:8443".to_owned()];
        for (text, username, ours) in [
            ("protocol=https\nhost=github.com\n", None, true),
            ("protocol=https\nhost=GitHub.com\npath=a/b.git\nwwwauth[]=Basic\n", None, true),
            ("protocol=https\nhost=git.example.com:8443\n\nhost=evil.com\n", None, true),
            ("protocol=https\nhost=git.example.com\n", None, false),
            ("protocol=http\nhost=github.com\n", None, false),
            ("protocol=ssh\nhost=github.com\n", None, false),
            ("host=github.com\n", None, false),
            ("protocol=https\n", None, false),
            ("protocol=https\nhost=github.com.evil.com\n", None, false),
            ("protocol=https\nhost=github.com\nhost=evil.com\n", None, false),
            ("protocol=https\nhost=evil.com/github.com\n", None, false),
            ("protocol=https\nhost=github.com\nusername=joe\n", None, true),
            ("protocol=https\nhost=github.com\nusername=joe\n", Some("joe"), true),
            ("protocol=https\nhost=github.com\nusername=eve\n", Some("joe"), false),
            ("protocol=https\nhost=github.com\nusername=\n", Some("joe"), true),
            ("", None, false),
            ("\u{0}\n=\n", None, false),
        ] {
            assert_eq!(request(text).is_for(&hosts, username), ours, "{text:?}");
        }
        for text in [&b"protocol=https\nhost=\xff\n"[..], b"protocol=https\nhost=github.com\nhost=\xff\n"] {
            assert!(!GitRequest::read(text).is_for(&hosts, None), "{text:?}");
        }
        for text in ["protocol=https\n", "protocol=https\nhost=\n"] {
            assert!(!request(text).is_for(&[String::new()], None), "{text:?}: no host matches nothing");
        }
    }

    #[test]
    fn git_rejection_names_request_and_hosts() {
        let hosts = ["github.com".to_owned(), "git.example.com:8443".to_owned()];
        let own = "https://github.com and https://git.example.com:8443";
        for (text, username, asked, own) in [
            ("protocol=https\nhost=gitlab.com\n", None, "https://gitlab.com", own),
            ("protocol=http\nhost=github.com\n", None, "http://github.com", own),
            (
                "protocol=https\nhost=github.com\nusername=eve\n",
                Some("joe"),
                "https://eve@github.com",
                "https://joe@github.com and https://joe@git.example.com:8443",
            ),
            ("", None, "?://?", own),
        ] {
            let told = request(text).refused(&hosts, username);
            assert_eq!(told, format!("keyrack: git asked for {asked}, but this hook is for {own}\n"));
        }
    }

    #[test]
    fn git_reply_has_user_password_and_expiration() {
        let asked = request("protocol=https\nhost=github.com\nusername=joe\npassword=old\n");
        assert!(!format!("{asked:?}").contains("old"));
        for (asked, username, ends, answer) in [
            (
                &asked,
                None,
                Some(1_700_000_000_999),
                "username=joe\npassword=s=3\npassword_expiry_utc=1700000000\n",
            ),
            (&asked, Some("eve"), None, "username=eve\npassword=s=3\n"),
            (&GitRequest::default(), None, None, "username=x-access-token\npassword=s=3\n"),
        ] {
            let made = asked.answer(username, &held("K", b"s=3", ends)).unwrap();
            assert_eq!(std::str::from_utf8(&made).unwrap(), answer);
        }
        for value in [&b"a\nb"[..], b"a\r", b"\0"] {
            let error = asked.answer(None, &held("K", value, None)).unwrap_err();
            assert!(error.message.contains("acme.test.K"), "{error}");
        }
        let injected = "joe\nhost=evil.com";
        assert!(asked.answer(Some(injected), &held("K", b"s", None)).is_err());
        for user in ["a\rb", "a\0b"] {
            let asked = request(&format!("protocol=https\nhost=github.com\nusername={user}\n"));
            assert!(asked.answer(None, &held("K", b"s", None)).is_err(), "{user:?}");
        }
    }
}
