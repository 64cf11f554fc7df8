//! Traces of keys that were set on this machine: inventory markers, and the files of the two vaults
//! that keep one file or one entry for each key. Nothing is decrypted or written, and secrets stay
//! in wiped memory.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use keyrack_core::Slug;
use keyrack_core::layout::RackPaths;
use keyrack_core::layout::variables::HOME;
use zeroize::Zeroizing;

use crate::context::Context;
use keyrack_json::Object;

/// Size limit of an os.direct file that is read, in bytes.
const STORE: u64 = 8 << 20;

/// Returns `true` if the context's owner has set this key, or the `all` key of the same name.
/// Without a home, no key is known.
pub fn knows(ctx: &Context, slug: &Slug) -> bool {
    Inventory::of(ctx).is_some_and(|inventory| inventory.knows(slug))
}

/// Traces of one owner's keys in a home.
#[derive(Debug)]
pub struct Inventory {
    paths: RackPaths,
    /// Names in the os.direct file. Read on first use.
    direct: OnceCell<Vec<String>>,
}

impl Inventory {
    /// Returns the inventory of the context's owner. `None` without a home.
    pub fn of(ctx: &Context) -> Option<Self> {
        let paths = RackPaths::new(ctx.env.get(HOME), ctx.owner.clone()).ok()?;
        Some(Inventory { paths, direct: OnceCell::new() })
    }

    /// Returns `true` if the key, or the `all` key of the same name, was set.
    pub fn knows(&self, slug: &Slug) -> bool {
        self.holds(slug) || slug.fallback().is_some_and(|fallback| self.holds(&fallback))
    }

    /// Returns `true` if exactly this key was set.
    pub fn holds(&self, slug: &Slug) -> bool {
        exists(&self.paths.inventory_path(slug))
            || exists(&self.paths.secure_path(slug))
            || self.direct().iter().any(|name| name == slug.as_str())
    }

    fn direct(&self) -> &[String] {
        self.direct.get_or_init(|| names_in(&self.paths.direct_path()).unwrap_or_default())
    }
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Returns the top-level names of a JSON file. `None` if it cannot be read or is not a JSON object.
fn names_in(path: &Path) -> Option<Vec<String>> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok().filter(|found| found.is_file() && found.len() <= STORE)?.len();
    // Values are secrets: one wiped buffer of the exact size, which never grows.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(size).ok()?]);
    file.read_exact(&mut bytes).ok()?;
    let object = Object::parse(&bytes).ok()?;
    let names = object.members.into_iter().map(|member| member.name.into_owned()).collect();
    Some(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use keyrack_testkit::Home;

    use super::*;

    fn put(home: &Home, path: &str, content: &str) {
        let path = home.home().join(".rhachet/keyrack").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn inventory_knows_keys_by_their_files() {
        let slug = |text: &str| Slug::parse(text).unwrap();
        let hash = |text: &str| slug(text).hash16();
        for (trace, content, asked, known) in [
            (format!("inventory/owner=default/{}.stocked", hash("a.test.K")), "", "a.test.K", true),
            (format!("inventory/owner=default/{}.stocked", hash("a.all.K")), "", "a.test.K", true),
            (format!("inventory/owner=default/{}.stocked", hash("a.all.K")), "", "a.sudo.K", false),
            (format!("inventory/owner=default/{}.stocked", hash("a.test.K")), "", "a.all.K", false),
            (format!("inventory/owner=other/{}.stocked", hash("a.test.K")), "", "a.test.K", false),
            (format!("vault/os.secure/owner=default/{}.age", hash("a.test.K")), "x", "a.test.K", true),
            (format!("vault/os.secure/owner=default/{}.age", hash("a.all.K")), "x", "a.prod.K", true),
            (
                "vault/os.direct/owner=default/keyrack.direct.json".into(),
                r#"{"a.test.K":{"value":"v"}}"#,
                "a.test.K",
                true,
            ),
            (
                "vault/os.direct/owner=default/keyrack.direct.json".into(),
                r#"{"a.all.K":{"value":"v"}}"#,
                "a.test.K",
                true,
            ),
            (
                "vault/os.direct/owner=default/keyrack.direct.json".into(),
                r#"{"b":{"a.test.K":1}}"#,
                "a.test.K",
                false,
            ),
            (
                "vault/os.direct/owner=default/keyrack.direct.json".into(),
                r#"{"b":"a.test.K"}"#,
                "a.test.K",
                false,
            ),
            (
                "vault/os.direct/owner=default/keyrack.direct.json".into(),
                r#"{"a.test.K":"#,
                "a.test.K",
                false,
            ),
            ("vault/os.direct/owner=default/keyrack.direct.json".into(), "", "a.test.K", false),
            ("nothing".into(), "", "a.test.K", false),
        ] {
            let home = Home::new();
            put(&home, &trace, content);
            let ctx = Context::new("/", [("HOME", home.home())].into_iter().collect());
            assert_eq!(knows(&ctx, &slug(asked)), known, "{trace} {content} {asked}");
            let homeless = Context::new("/", crate::Environment::default());
            assert!(!knows(&homeless, &slug(asked)));
        }
    }
}
