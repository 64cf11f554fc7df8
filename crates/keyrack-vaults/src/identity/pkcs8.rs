//! Ed25519 private keys in PKCS#8 (RFC 5958, RFC 8410), as `openssl genpkey` writes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use zeroize::Zeroizing;

pub(super) const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// DER of an OCTET STRING of 32 bytes: RFC 8410, section 7 wraps the seed in one.
const SEED_PREFIX: [u8; 2] = [0x04, 0x20];

const DAMAGED: &str = "it is damaged";

/// Reads the key of a text that begins with [`BEGIN`]. `Err` is the reason, as a phrase that
/// follows the path.
pub(super) fn parse(text: &str) -> Result<PrivateKey, String> {
    let body = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(DAMAGED)?;
    let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = Zeroizing::new(BASE64_STANDARD.decode(base64.as_bytes()).map_err(|_| DAMAGED)?);
    let info = PrivateKeyInfo::try_from(&der[..]).map_err(|_| DAMAGED)?;
    match info.algorithm.oid {
        ED25519 => {}
        RSA => return Err("it is an rsa key in PKCS#8; convert it with: ssh-keygen -p -f FILE".to_owned()),
        EC => return Err("only ed25519 and rsa keys open age files, and it is ecdsa".to_owned()),
        _ => return Err("only ed25519 and rsa keys open age files, and it is another kind".to_owned()),
    }
    let seed = info.private_key.strip_prefix(&SEED_PREFIX).ok_or(DAMAGED)?;
    let seed: &[u8; 32] = seed.try_into().map_err(|_| DAMAGED)?;
    if info.algorithm.parameters.is_some() {
        return Err(DAMAGED.to_owned());
    }
    let pair = Ed25519Keypair::from_seed(seed);
    if info.public_key.is_some_and(|stated| stated != pair.public.0) {
        return Err(DAMAGED.to_owned());
    }
    Ok(PrivateKey::from(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: a key alone, and one with attributes and its public half.
    const ALONE: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    const WITH_PUBLIC: &str = "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhCoB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

    fn pem(base64: &str) -> String {
        format!("{BEGIN}\n{base64}\n{END}")
    }

    #[test]
    fn parse_reads_the_keys_of_the_rfc() {
        let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh";
        for base64 in [ALONE, WITH_PUBLIC] {
            assert_eq!(parse(&pem(base64)).unwrap().public_key().to_openssh().unwrap(), public);
        }
    }

    #[test]
    fn parse_rejects_other_text_without_quoting_it() {
        let der = BASE64_STANDARD.decode(ALONE).unwrap();
        let with = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut der = der.clone();
            edit(&mut der);
            pem(&BASE64_STANDARD.encode(der))
        };
        let mut wrong_public = BASE64_STANDARD.decode(WITH_PUBLIC).unwrap();
        *wrong_public.last_mut().unwrap() ^= 1;
        for (text, says) in [
            (BEGIN.to_owned(), "damaged"),
            (pem(""), "damaged"),
            (pem("AAAA"), "damaged"),
            (pem("no base64!"), "damaged"),
            (with(&|der| der.truncate(40)), "damaged"),
            (with(&|der| der.push(0)), "damaged"),
            (with(&|der| der[1] += 1), "damaged"),
            (with(&|der| der[4] = 7), "damaged"),
            // The inner OCTET STRING is not a seed.
            (with(&|der| der[14] = 0x05), "damaged"),
            (with(&|der| der[15] = 0x1f), "damaged"),
            // X25519, which opens nothing as it stands here.
            (with(&|der| der[11] = 0x6e), "another kind"),
            (pem(&BASE64_STANDARD.encode(wrong_public)), "damaged"),
        ] {
            let why = parse(&text).unwrap_err();
            assert!(why.contains(says) && why.len() < 100, "{text}: {why}");
        }
    }
}
