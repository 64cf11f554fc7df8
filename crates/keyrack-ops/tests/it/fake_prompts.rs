//! Scripted prompts, and a home with a rack.

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_client::{Context, Environment};
use keyrack_core::{Error, Owner, Slug};
use keyrack_ops::init::{InitRequest, init};
use keyrack_ops::{OpContext, Prompts, prompt_needed};
use keyrack_testkit::Home;
use zeroize::Zeroizing;

/// The wall clock of these tests, in milliseconds since the Unix epoch.
pub(crate) const NOW: i64 = 1_800_000_000_000;

/// Prompts that answer from lists and record what was prompted for.
#[derive(Default)]
pub(crate) struct FakePrompts {
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) yes: Option<bool>,
    /// First words of the options to choose, the last one first. A word that matches no option
    /// chooses the default.
    pub(crate) choices: Vec<&'static str>,
    pub(crate) asked: Vec<&'static str>,
}

impl Prompts for FakePrompts {
    fn is_interactive(&self) -> bool {
        self.secret.is_some()
    }

    fn secret(&mut self, _: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.asked.push("secret");
        let none = || prompt_needed("the secret?", "it on stdin");
        self.secret.clone().map(Zeroizing::new).ok_or_else(none)
    }

    fn passphrase(&mut self, _: &Path, _: bool) -> Result<Zeroizing<String>, Error> {
        self.asked.push("passphrase");
        Ok(Zeroizing::new("correct horse".to_owned()))
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        self.asked.push("confirm");
        self.yes.ok_or_else(|| prompt_needed(question, flag))
    }

    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        default: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        self.asked.push("choose");
        let word = self.choices.pop().ok_or_else(|| prompt_needed(question, flag))?;
        let at = options.iter().position(|option| option.split(' ').next() == Some(word));
        at.or(default).ok_or_else(|| prompt_needed(question, flag))
    }
}

/// A home with an ssh key and a repository of `acme` in it.
pub(crate) struct World {
    pub(crate) home: Home,
}

impl World {
    pub(crate) fn new(manifest: &str) -> Self {
        let home = Home::new();
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyrack-cli/tests/keys");
        for dir in [".ssh", "project/.git", "project/.agent"] {
            fs::create_dir_all(home.home().join(dir)).unwrap();
        }
        for name in ["id_ed25519", "id_ed25519.pub"] {
            fs::copy(keys.join(name), home.home().join(".ssh").join(name)).unwrap();
        }
        let world = World { home };
        fs::write(world.manifest(), manifest).unwrap();
        world
    }

    /// As [`World::new`], with a rack.
    pub(crate) fn with_rack(manifest: &str) -> Self {
        let world = World::new(manifest);
        world.with(&mut FakePrompts::default(), |ctx| init(ctx, &InitRequest::default())).unwrap();
        world
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.home.home().join("project/.agent/keyrack.yml")
    }

    pub(crate) fn rack(&self) -> PathBuf {
        self.home.home().join(".rhachet/keyrack")
    }

    pub(crate) fn with<T>(&self, person: &mut FakePrompts, operation: impl FnOnce(&OpContext<'_>) -> T) -> T {
        self.with_prompts(person, operation)
    }

    pub(crate) fn with_prompts<T>(
        &self,
        prompts: &mut dyn Prompts,
        operation: impl FnOnce(&OpContext<'_>) -> T,
    ) -> T {
        let variables = [("HOME", self.home.home()), ("XDG_RUNTIME_DIR", self.home.runtime())];
        let environment: Environment = variables.into_iter().collect();
        let context = Context::new(self.home.home().join("project"), environment).with_owner(Owner::DEFAULT);
        // No test of this crate starts a daemon: that is the command's to try.
        operation(&OpContext::new(context, PathBuf::from("/nonexistent/keyrackd"), NOW, prompts))
    }

    /// Every file of the rack and of the repository with its content, in order.
    pub(crate) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut dirs = vec![self.rack(), self.home.home().join("project")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                // Locks are made when they are first taken, and hold nothing.
                let is_lock =
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".lock"));
                match path.is_dir() {
                    true => dirs.push(path),
                    false if is_lock => {}
                    false => files.push((path.clone(), fs::read(&path).unwrap())),
                }
            }
        }
        files.sort();
        files
    }
}
