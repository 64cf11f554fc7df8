//! The notations of people and files: slugs, durations, times, envs, orgs, owners, vaults,
//! mechanisms. What is read is written in a form that reads as the same, and the token check takes
//! any bytes.

use keyrack_core::slug::check_known_name;
use keyrack_core::ttl::{TtlRequest, clamp_ttl, resolve_ttl};
use keyrack_core::{Clock, Env, Mechanism, Org, Owner, Slug, Ttl, VaultId, firewall, timestamp};
use keyrack_vaults::recipient_key::{self, StanzaKind};

/// Takes one word.
pub fn words(data: &[u8]) {
    for mech in [Mechanism::Replica, Mechanism::Reference, Mechanism::GithubApp, Mechanism::AwsSso] {
        let _ = firewall::check(data, &mech);
    }
    let _ = firewall::blob_mech(data);
    let text = String::from_utf8_lossy(data);
    slug(&text);
    ttl(&text);
    time(&text);
    let _ = text.parse::<Env>().map(|env| assert_eq!(env.as_str(), text, "an env is its word"));
    let _ = text.parse::<Org>().map(|org| assert_eq!(org.as_str().parse::<Org>().as_ref(), Ok(&org)));
    if let Ok(owner) = text.parse::<Owner>() {
        assert_eq!(owner.as_str().parse::<Owner>().as_ref(), Ok(&owner), "an owner reads as the same again");
        let name = owner.as_str();
        let leads_out = name.contains(['/', '\0']) || name.contains("..") || name.starts_with('.');
        assert!(!leads_out, "no owner leaves its directory");
    }
    assert_eq!(VaultId::parse(&text).as_str(), text, "a vault is its word");
    assert_eq!(Mechanism::parse(Mechanism::parse(&text).as_str()), Mechanism::parse(&text));
    for stanza in [StanzaKind::Age, StanzaKind::Ssh] {
        let _ = recipient_key::parse(&text, stanza);
    }
    let _ = recipient_key::from_ssh_public_key(&text);
}

fn slug(text: &str) {
    let _ = Slug::looks_full(text);
    let Ok(slug) = Slug::parse_stored(text) else {
        assert!(Slug::parse(text).is_err(), "a name that no file may hold cannot be requested");
        return;
    };
    assert_eq!(slug.as_str(), text, "a slug is its text");
    assert_eq!(format!("{}.{}.{}", slug.org(), slug.env(), slug.name()), text, "and its parts");
    assert!(!slug.org().contains('.') && !slug.env().contains('.'), "only a name may hold dots");
    assert_eq!(Slug::parse(text).is_ok(), slug.env_kind().is_some(), "one of the six envs");
    let hash = slug.hash16();
    assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "a name for a file");
    assert!(slug.answers(&slug), "a key answers to its own slug");
    if let Some(fallback) = slug.fallback() {
        assert!(fallback.answers(&slug) && !slug.answers(&fallback), "the key for all envs answers");
        assert_eq!((fallback.org(), fallback.name()), (slug.org(), slug.name()), "of the same org and name");
        assert!(!slug.is_sudo(), "no other key answers for sudo");
    }
    if check_known_name(slug.name()).is_ok()
        && let Some(env) = slug.env_kind()
    {
        assert_eq!(Slug::new(slug.org(), env, slug.name()).as_ref(), Ok(&slug), "built of its parts");
    }
}

fn ttl(text: &str) {
    let Ok(ttl) = text.parse::<Ttl>() else { return };
    assert_eq!(ttl.to_string().parse::<Ttl>(), Ok(ttl), "a duration reads as the same again");
    let now = Clock { boot_ns: u64::from(u32::MAX), wall_ms: 1_767_225_600_000 };
    for sudo in [false, true] {
        let ask = TtlRequest { requested: Some(ttl), sudo, ..TtlRequest::default() };
        let clamped = clamp_ttl(ask, now).0;
        assert!(clamped <= Ttl::ceiling_of(sudo), "no life passes the ceiling");
        match resolve_ttl(ask, now) {
            Ok((granted, _)) => assert_eq!(granted, clamped, "both ways agree"),
            Err(_) => assert!(ttl > Ttl::ceiling_of(sudo), "only too long a life is refused"),
        }
    }
}

fn time(text: &str) {
    let Some(ms) = timestamp::parse_ms(text) else { return };
    let written = timestamp::format_ms(ms);
    assert_eq!(timestamp::parse_ms(&written), Some(ms), "a time reads as the same again: {written}");
}
