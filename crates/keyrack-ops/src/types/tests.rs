//! Repositories whose declarations are written, and what is left alone.

use std::os::unix::fs::symlink;

use keyrack_client::Environment;

use super::*;

struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    fn new() -> Self {
        let repo = Repo { dir: tempfile::tempdir().unwrap() };
        for dir in ["repo/.git", "repo/.agent", "repo/src", "outside"] {
            fs::create_dir_all(repo.at(dir)).unwrap();
        }
        repo.declare("env.test: [A]\n");
        repo
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(path)
    }

    fn declare(&self, sections: &str) {
        fs::write(self.at("repo/.agent/keyrack.yml"), format!("org: acme\n{sections}")).unwrap();
    }

    fn run(&self, out: Option<&str>, check: bool) -> Result<TypesReport, Error> {
        let ctx = Context::new(self.at("repo/src"), Environment::default());
        types(&ctx, &TypesRequest { out: out.map(PathBuf::from), check })
    }
}

#[test]
fn types_writes_only_changes() {
    let repo = Repo::new();
    let file = repo.at("repo/keyrack-env.d.ts");
    let stale = repo.run(None, true).unwrap_err();
    assert_eq!(
        (stale.code, stale.message.as_str()),
        (ErrorCode::OutOfDate, "keyrack-env.d.ts does not exist")
    );
    assert!(!file.exists());

    let first = repo.run(None, false).unwrap();
    assert_eq!((first.effect, first.keys, &first.path), (TypesOutcome::Created, 1, &file));
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(repo.run(None, false).unwrap().effect, TypesOutcome::Found);
    assert_eq!(repo.run(None, true).unwrap().effect, TypesOutcome::Found);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);

    repo.declare("env.test: [A]\nenv.prod: [A, B]\n");
    let stale = repo.run(None, true).unwrap_err();
    assert_eq!(stale.code, ErrorCode::OutOfDate);
    assert_eq!(stale.fix.unwrap().render(keyrack_core::Invocation::default()), "keyrack types");
    assert_eq!(repo.run(None, false).unwrap().effect, TypesOutcome::Updated);
    assert!(fs::read_to_string(&file).unwrap().contains("'A': 'prod' | 'test';"));
    assert_eq!(fs::read_dir(repo.at("repo")).unwrap().count(), 4, "no temporary file is left");
}

#[test]
fn types_never_overwrites_other_files() {
    let repo = Repo::new();
    let file = repo.at("repo/keyrack-env.d.ts");
    let refused = |part: &str| {
        for check in [false, true] {
            let error = repo.run(None, check).unwrap_err();
            assert_eq!(error.code, ErrorCode::FileUnsafe);
            assert!(error.message.contains(part), "{error}");
        }
    };
    for text in ["", "export {};\n", " // Written by `keyrack types` from "] {
        fs::write(&file, text).unwrap();
        refused("did not write it");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    fs::write(&file, b"\xff").unwrap();
    refused("did not write it");
    fs::remove_file(&file).unwrap();
    symlink(repo.at("outside/new.d.ts"), &file).unwrap();
    refused("not a regular file");
    assert!(!repo.at("outside/new.d.ts").exists());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("not a regular file");
}

#[test]
fn types_rejects_paths_outside_the_repository() {
    let repo = Repo::new();
    symlink(repo.at("outside"), repo.at("repo/out")).unwrap();
    for (out, written) in [
        ("k.d.ts", Ok("repo/src/k.d.ts")),
        ("../k.d.ts", Ok("repo/k.d.ts")),
        ("./deep/er/k.d.mts", Ok("repo/src/deep/er/k.d.mts")),
        ("k.ts", Err(ErrorCode::Usage)),
        (".d.ts", Err(ErrorCode::Usage)),
        ("..", Err(ErrorCode::Usage)),
        ("../../k.d.ts", Err(ErrorCode::Usage)),
        ("/tmp/k.d.ts", Err(ErrorCode::Usage)),
        ("../out/k.d.ts", Err(ErrorCode::ManifestInvalid)),
    ] {
        let found = repo.run(Some(out), false).map(|done| done.path).map_err(|error| error.code);
        assert_eq!(found, written.map(|path| repo.at(path)), "{out}");
    }
    assert_eq!(fs::read_dir(repo.at("outside")).unwrap().count(), 0);
    let stale = repo.run(Some("it's.d.ts"), true).unwrap_err();
    let fix = stale.fix.unwrap().render(keyrack_core::Invocation::default());
    assert_eq!(fix, r"keyrack types --out 'it'\''s.d.ts'");
}

#[test]
fn types_fails_without_a_manifest() {
    let repo = Repo::new();
    fs::remove_file(repo.at("repo/.agent/keyrack.yml")).unwrap();
    assert_eq!(repo.run(None, false).unwrap_err().code, ErrorCode::NoManifest);
    let ctx = Context::new(repo.at("outside"), Environment::default());
    assert_eq!(types(&ctx, &TypesRequest::default()).unwrap_err().code, ErrorCode::NotARepo);
    repo.declare("env.test:\n  - A\n  - bad name\n");
    let done = repo.run(None, false).unwrap();
    assert_eq!((done.keys, done.faults.len()), (1, 1));
}
