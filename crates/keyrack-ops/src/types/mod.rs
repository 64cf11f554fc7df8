//! `types`: the names of the keys a repository declares, as TypeScript declarations, so that an editor completes them and a misspelt one does not
//! compile.
//!
//! What is written is read by a compiler: a name goes in as a string and never as code, whatever `keyrack.yml` holds. A file that this did not
//! write is never overwritten.

mod declarations;
mod tsconfig;

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_client::{Context, manifest};
use keyrack_core::repo_manifest::MANIFEST_PATH;
use keyrack_core::{Error, ErrorCode, Fix};

use crate::init::stays_inside;
use crate::locked_file::LockedFile;

/// The file's name where none is given, in the root of the repository. A `tsconfig.json` beside it takes it in by default, which it would not
/// below a directory that begins with a dot; and it is not called `keyrack.d.ts`, which `baseUrl` would find in place of the package.
pub const DEFAULT_NAME: &str = "keyrack-env.d.ts";

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct TypesRequest {
    /// The file, from where the caller stands; [`DEFAULT_NAME`] in the root if not given.
    pub out: Option<PathBuf>,
    /// Write nothing, and fail if there were something to write.
    pub check: bool,
}

/// What became of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypesOutcome {
    /// It was not there.
    Created,
    /// It said something else.
    Updated,
    /// It said the same.
    Found,
}

impl TypesOutcome {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            TypesOutcome::Created => "created",
            TypesOutcome::Updated => "updated",
            TypesOutcome::Found => "found",
        }
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct TypesReport {
    /// What became of the file.
    pub effect: TypesOutcome,
    /// The file, an absolute path.
    pub path: PathBuf,
    /// The root of the repository.
    pub root: PathBuf,
    /// How many names it declares.
    pub keys: usize,
    /// What there is to add to which `tsconfig.json` before a compiler sees the file, in a sentence.
    pub advice: Option<String>,
    /// What is wrong with single entries of `keyrack.yml`, whose keys are therefore missing.
    pub faults: Vec<Error>,
}

/// Writes the declarations of the repository the caller stands in.
///
/// # Errors
/// [`ErrorCode::NotARepo`], [`ErrorCode::NoManifest`], [`ErrorCode::ManifestInvalid`]; [`ErrorCode::Usage`] and [`ErrorCode::FileUnsafe`] for a
/// file that will not do; [`ErrorCode::OutOfDate`] when it was only to be checked and is not what it should be; [`ErrorCode::Io`].
pub fn types(ctx: &Context, request: &TypesRequest) -> Result<TypesReport, Error> {
    let Some(root) = manifest::find_git_root(&ctx.cwd) else {
        return Err(Error::new(ErrorCode::NotARepo, "this is not in a git repository"));
    };
    let Some(declared) = manifest::load(ctx, &root)? else {
        let message = format!("there is no {MANIFEST_PATH} in {}", root.display());
        return Err(Error::new(ErrorCode::NoManifest, message)
            .fix(Fix::with_owner("init", &ctx.owner, []))
            .hint("in a script: `init --org ORG`"));
    };
    let path = target(&root, ctx, request)?;
    let wanted = declarations::of(&declared);
    let names = declarations::names(&declared).len();
    let advice = tsconfig::advice(&root, &path);
    let done = |effect| TypesReport {
        effect,
        path: path.clone(),
        root: root.clone(),
        keys: names,
        advice,
        faults: declared.faults,
    };

    if request.check {
        let there = read(&path)?;
        return match there {
            Some(there) if declarations::say_the_same(&there, &wanted) => Ok(done(TypesOutcome::Found)),
            Some(_) => Err(out_of_date(&path, &root, request, "does not say what keyrack.yml declares")),
            None => Err(out_of_date(&path, &root, request, "is not there")),
        };
    }
    let held = LockedFile::take(&path)?;
    match read(&path)? {
        Some(there) if declarations::say_the_same(&there, &wanted) => Ok(done(TypesOutcome::Found)),
        Some(_) => held.write(&wanted).map(|()| done(TypesOutcome::Updated)),
        None => held.write(&wanted).map(|()| done(TypesOutcome::Created)),
    }
}

/// The file that is meant: declarations, in the repository by its words and by its links.
fn target(root: &Path, ctx: &Context, request: &TypesRequest) -> Result<PathBuf, Error> {
    let path = match &request.out {
        None => root.join(DEFAULT_NAME),
        Some(out) => plain(&ctx.cwd.join(out)),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if ![".d.ts", ".d.mts", ".d.cts"].iter().any(|end| name.len() > end.len() && name.ends_with(end)) {
        let message = format!("{} cannot hold declarations: its name must end in .d.ts", path.display());
        return Err(
            Error::new(ErrorCode::Usage, message).hint(format!("for example --out src/{DEFAULT_NAME}"))
        );
    }
    let Ok(below) = path.strip_prefix(root) else {
        let message = format!("{} is not in the repository {}", path.display(), root.display());
        return Err(Error::new(ErrorCode::Usage, message));
    };
    stays_inside(root, &below.to_string_lossy())?;
    Ok(path)
}

/// A path without `.` and `..`, by its words alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What the file says; `None` if there is none. One that is not ours is refused.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let foreign = |why: &str| {
        Error::new(ErrorCode::FileUnsafe, format!("{} is left as it is: {why}", path.display()))
            .hint("move it away, or name another file with --out")
    };
    let failed = |error: &std::io::Error| {
        Error::new(ErrorCode::Io, format!("cannot read {}: {error}", path.display()))
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(found) if !found.is_file() => return Err(foreign("it is not a plain file")),
        // Nothing this large was written here.
        Ok(found) if found.len() > 16 << 20 => return Err(foreign("`keyrack types` did not write it")),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|error| failed(&error))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.starts_with(declarations::MARK) => Ok(Some(text)),
        _ => Err(foreign("`keyrack types` did not write it")),
    }
}

fn out_of_date(path: &Path, root: &Path, request: &TypesRequest, what: &str) -> Error {
    let shown = path.strip_prefix(root).unwrap_or(path);
    let mut command = vec!["types".to_owned()];
    if let Some(out) = &request.out {
        command.extend(["--out".to_owned(), out.to_string_lossy().into_owned()]);
    }
    Error::new(ErrorCode::OutOfDate, format!("{} {what}", shown.display())).fix(Fix::command(command))
}

#[cfg(test)]
mod tests;
