//! kubectl's exec credential plugin (Kubernetes, "client-go credential plugins"): a request in
//! `KUBERNETES_EXEC_INFO`, an `ExecCredential` on stdout.

use keyrack_core::{Error, ErrorCode, timestamp};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{CredentialKey, first_end};
use keyrack_json::JsonWriter;

/// Supported versions of the reply. The first is the default.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// Request of kubectl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubectlRequest {
    version: &'static str,
    server: Option<String>,
}

impl KubectlRequest {
    /// Parses `KUBERNETES_EXEC_INFO`. It holds no secret.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] for invalid JSON or an unsupported version.
    pub fn read(info: Option<&str>) -> Result<Self, Error> {
        let usage = |message: String| Error::new(ErrorCode::Usage, message);
        let Some(info) = info else { return Ok(KubectlRequest { version: VERSIONS[0], server: None }) };
        let info: Value = serde_json::from_str(info)
            .map_err(|_| usage("KUBERNETES_EXEC_INFO is not valid JSON".to_owned()))?;
        let asked = info["apiVersion"].as_str().unwrap_or_default();
        let version = VERSIONS.into_iter().find(|version| *version == asked).ok_or_else(|| {
            usage(format!("unsupported apiVersion {asked:?}"))
                .hint(format!("set `apiVersion: {}` for the user in the kubeconfig", VERSIONS[0]))
        })?;
        let server = info["spec"]["cluster"]["server"].as_str().map(str::to_owned);
        Ok(KubectlRequest { version, server })
    }

    /// Checks that the request is for the configured cluster, if one is configured. kubectl sends
    /// its address only with `provideClusterInfo: true`.
    ///
    /// # Errors
    /// [`ErrorCode::Blocked`] if it is for another cluster, or kubectl sends no address.
    pub fn check(&self, server: Option<&str>) -> Result<(), Error> {
        let Some(wanted) = server else { return Ok(()) };
        match self.server.as_deref() {
            Some(asked) if is_same(asked, wanted) => Ok(()),
            Some(_) => Err(Error::new(
                ErrorCode::Blocked,
                format!("this key is only for {wanted}, but kubectl asked for another cluster"),
            )),
            None => Err(Error::new(
                ErrorCode::Blocked,
                format!("this key is only for {wanted}, but kubectl does not name its cluster"),
            )
            .hint("set `provideClusterInfo: true` for the user in the kubeconfig")),
        }
    }

    /// Composes the reply with a token.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] for a value that is not text.
    pub fn token(&self, token: &CredentialKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        // A trailing newline would end the header that the token is sent in.
        let text = token.text()?.trim_end_matches(['\n', '\r']);
        Ok(self.compose(first_end(&[token]), &[("token", text)]))
    }

    /// The answer with a certificate and its key, both PEM.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub fn certificate(
        &self,
        certificate: &CredentialKey,
        key: &CredentialKey,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let data = [("clientCertificateData", certificate.text()?), ("clientKeyData", key.text()?)];
        Ok(self.compose(first_end(&[certificate, key]), &data))
    }

    fn compose(&self, ends: Option<i64>, data: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
        let mut json = JsonWriter::new();
        json.object(|json| {
            json.member("apiVersion", self.version);
            json.member("kind", "ExecCredential");
            json.name("status");
            json.object(|json| {
                if let Some(ms) = ends {
                    json.member("expirationTimestamp", &timestamp::format_ms(ms));
                }
                data.iter().for_each(|(name, text)| json.member(name, text));
            });
        });
        json.into_bytes()
    }
}

/// Returns `true` if two addresses are of the same cluster. Letter case matters in the path, but
/// not in scheme and host: one host may serve several clusters (RFC 3986, 6.2.2.1).
fn is_same(one: &str, other: &str) -> bool {
    let split = |address: &str| {
        let address = address.trim_end_matches('/');
        let authority = address.find("://").map_or(0, |at| at + 3);
        let path = address[authority..].find('/').map_or(address.len(), |at| authority + at);
        (address[..path].to_ascii_lowercase(), address[path..].to_owned())
    };
    split(one) == split(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::held;
    use super::*;

    fn info(version: &str, server: Option<&str>) -> String {
        let cluster = server.map(|server| json!({ "server": server }));
        json!({ "kind": "ExecCredential", "apiVersion": version, "spec": { "interactive": false, "cluster": cluster } }).to_string()
    }

    #[test]
    fn kubectl_reply_has_the_requested_version() {
        for version in VERSIONS {
            let request = KubectlRequest::read(Some(&info(version, None))).unwrap();
            let made = request.token(&held("K", b"tok\"en\n", Some(1000))).unwrap();
            assert_eq!(
                serde_json::from_slice::<Value>(&made).unwrap(),
                json!({ "apiVersion": version, "kind": "ExecCredential",
                    "status": { "token": "tok\"en", "expirationTimestamp": "1970-01-01T00:00:01.000Z" } })
            );
        }
        assert_eq!(KubectlRequest::read(None).unwrap().version, VERSIONS[0]);
        for bad in ["", "{", "{}", "[]", "null", &info("client.authentication.k8s.io/v1alpha1", None)] {
            assert_eq!(KubectlRequest::read(Some(bad)).unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
    }

    #[test]
    fn kubectl_reply_has_certificate_and_key() {
        let request = KubectlRequest::read(None).unwrap();
        let made =
            request.certificate(&held("C", b"--cert\n--", None), &held("K", b"--key--", Some(5))).unwrap();
        let value: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(
            value["status"],
            json!({ "clientCertificateData": "--cert\n--", "clientKeyData": "--key--",
                "expirationTimestamp": "1970-01-01T00:00:00.005Z" })
        );
        assert!(request.token(&held("K", b"\xff", None)).is_err());
    }

    #[test]
    fn kubectl_serves_only_its_cluster() {
        let server = "https://k8s.example.com:6443";
        for (asked, configured, ours) in [
            (Some(server), None, true),
            (None, None, true),
            (Some(server), Some(server), true),
            (Some("https://K8S.example.com:6443/"), Some(server), true),
            (Some("https://evil.com"), Some(server), false),
            (
                Some("HTTPS://k8s.example.com:6443/Clusters/a"),
                Some("https://k8s.example.com:6443/Clusters/a/"),
                true,
            ),
            (
                Some("https://k8s.example.com:6443/Clusters/a"),
                Some("https://k8s.example.com:6443/clusters/a"),
                false,
            ),
            (None, Some(server), false),
        ] {
            let request = KubectlRequest::read(Some(&info(VERSIONS[0], asked))).unwrap();
            assert_eq!(request.check(configured).is_ok(), ours, "{asked:?} {configured:?}");
        }
    }
}
