//! `types`: writes the names of the keys that a repository declares as TypeScript declarations, so
//! that an editor completes them and a misspelled name does not compile.
//!
//! A compiler reads the result: a name is written as a string and never as code, whatever
//! `keyrack.yml` holds. A file that `keyrack types` did not write is never overwritten.

mod declarations;
mod tsconfig;

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_client::{Context, manifest};
use keyrack_core::repo_manifest::MANIFEST_PATH;
use keyrack_core::{Error, ErrorCode, Fix};

use crate::init::check_inside;
use crate::locked_file::LockedFile;

/// Default name of the file, in the root of the repository. A `tsconfig.json` there includes it by
/// default, unlike a file below a directory that begins with a dot. It is not called
/// `keyrack.d.ts`, which `baseUrl` would resolve instead of the package.
pub const DEFAULT_NAME: &str = "keyrack-env.d.ts";

/// File to write.
#[derive(Clone, Debug, Default)]
pub struct TypesRequest {
    /// Path of the file, relative to the working directory; `None` for [`DEFAULT_NAME`] in the
    /// root.
    pub out: Option<PathBuf>,
    /// Write nothing, and fail if there were something to write.
    pub check: bool,
}

/// Outcome for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypesOutcome {
    /// It was not there.
    Created,
    /// Its content has changed.
    Updated,
    /// Its content is up to date.
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

/// Result of `types`.
#[derive(Clone, Debug)]
pub struct TypesReport {
    /// Outcome for the file.
    pub effect: TypesOutcome,
    /// The file, an absolute path.
    pub path: PathBuf,
    /// The root of the repository.
    pub root: PathBuf,
    /// Number of declared names.
    pub keys: usize,
    /// Advice on what to add to which `tsconfig.json`, in a sentence.
    pub advice: Option<String>,
    /// Faults of single entries of `keyrack.yml`, whose keys are missing from the file.
    pub faults: Vec<Error>,
}

/// Writes the declarations of the current repository.
///
/// # Errors
/// [`ErrorCode::NotARepo`], [`ErrorCode::NoManifest`], [`ErrorCode::ManifestInvalid`];
/// [`ErrorCode::Usage`] and [`ErrorCode::FileUnsafe`] for an unsuitable file;
/// [`ErrorCode::OutOfDate`] if the file was only to be checked and differs; [`ErrorCode::Io`].
pub fn types(ctx: &Context, request: &TypesRequest) -> Result<TypesReport, Error> {
    let Some(root) = manifest::find_git_root(&ctx.cwd) else {
        return Err(Error::new(ErrorCode::NotARepo, "not in a git repository"));
    };
    let Some(declared) = manifest::load(ctx, &root)? else {
        let message = format!("{MANIFEST_PATH} not found in {}", root.display());
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
            Some(there) if declarations::is_equivalent(&there, &wanted) => Ok(done(TypesOutcome::Found)),
            Some(_) => Err(out_of_date(&path, &root, request, "is out of date: keyrack.yml has changed")),
            None => Err(out_of_date(&path, &root, request, "does not exist")),
        };
    }
    let file = LockedFile::lock(&path)?;
    match read(&path)? {
        Some(there) if declarations::is_equivalent(&there, &wanted) => Ok(done(TypesOutcome::Found)),
        Some(_) => file.write(&wanted).map(|()| done(TypesOutcome::Updated)),
        None => file.write(&wanted).map(|()| done(TypesOutcome::Created)),
    }
}

/// Resolves the path of the file: it must be a declaration file inside the repository, also after
/// symbolic links are followed.
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
    check_inside(root, &below.to_string_lossy())?;
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

/// Reads the file; `None` if it does not exist. A file of other origin is rejected.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let foreign = |why: &str| {
        Error::new(ErrorCode::FileUnsafe, format!("{} was not changed: {why}", path.display()))
            .hint("move it away, or choose another file with --out")
    };
    let failed = |error: &std::io::Error| {
        Error::new(ErrorCode::Io, format!("cannot read {}: {error}", path.display()))
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
        Ok(found) if !found.is_file() => return Err(foreign("it is not a regular file")),
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
