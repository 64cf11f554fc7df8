//! Limits of variables. The kernel refuses to start a program with larger ones, and does not name
//! the variable (execve(2)).

use keyrack_core::{Error, ErrorCode, Slug};
pub use keyrack_sys::process::exec::execution_limit;
use keyrack_sys::process::exec::{COUNTED_PER_STRING, MAX_VARIABLE};

use super::Export;

/// Room for the arguments of the programs that a shell starts. xargs leaves as much (POSIX.1-2024,
/// xargs).
pub const FOR_ARGUMENTS: usize = 2048;

const AS_FILES: &str = "give it to a command as a file: keyrack run --files";

/// Checks that a key and its value can be one variable.
///
/// # Errors
/// [`ErrorCode::ValueTooLarge`], naming the key and both sizes.
pub fn check_variable(export: &Export) -> Result<(), Error> {
    let bytes = export.name.len() + 1 + export.secret.expose().len();
    if bytes <= MAX_VARIABLE {
        return Ok(());
    }
    let message = format!(
        "{} cannot be a variable: with its name it has {bytes} bytes, and the kernel allows {MAX_VARIABLE}",
        export.slug
    );
    Err(Error::new(ErrorCode::ValueTooLarge, message).of(&export.slug).hint(AS_FILES))
}

/// Checks that all variables and arguments are within the kernel's limit. `total` are the bytes it
/// counts, those of the keys included, whose values have `sizes`.
///
/// # Errors
/// [`ErrorCode::ValueTooLarge`], naming the largest keys and all sizes.
pub fn check_total<'a>(
    total: usize,
    limit: usize,
    sizes: impl IntoIterator<Item = (&'a Slug, usize)>,
) -> Result<(), Error> {
    if total <= limit {
        return Ok(());
    }
    let mut sizes: Vec<(&Slug, usize)> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let Some((first, _)) = sizes.first().copied() else { return Ok(()) };
    let largest: Vec<String> =
        sizes.iter().take(3).map(|(slug, size)| format!("{} has {size}", slug.name())).collect();
    let message = format!(
        "the environment and arguments would have {total} bytes, and the kernel allows {limit}: {}",
        largest.join(", ")
    );
    let error = Error::new(ErrorCode::ValueTooLarge, message).of(first);
    Err(error.hint("give large keys to a command as files: keyrack run --files"))
}

/// Bytes that the kernel counts for a variable.
pub fn counted(name: usize, value: usize) -> usize {
    name + 1 + value + COUNTED_PER_STRING
}

/// Sizes of the values of exports.
pub fn sizes<'a>(exports: impl IntoIterator<Item = &'a Export>) -> impl Iterator<Item = (&'a Slug, usize)> {
    exports.into_iter().map(|export| (&export.slug, export.secret.expose().len()))
}

/// Bytes that the kernel counts for exports.
pub fn counted_all<'a>(exports: impl IntoIterator<Item = &'a Export>) -> usize {
    exports.into_iter().map(|export| counted(export.name.len(), export.secret.expose().len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn export(name: &str, bytes: usize) -> Export {
        let slug = Slug::parse(&format!("acme.test.{name}")).unwrap();
        let secret = Secret::copy_of("x".repeat(bytes).as_bytes());
        Export { name: name.to_owned(), slug, ambient: false, secret }
    }

    #[test]
    fn variable_over_the_limit_is_refused() {
        for (name, bytes, fits) in [
            ("K", 131_069, true),
            ("K", 131_070, false),
            ("LONGER", 131_064, true),
            ("LONGER", 131_065, false),
        ] {
            let checked = check_variable(&export(name, bytes));
            assert_eq!(checked.is_ok(), fits, "{name} {bytes}");
            if let Err(error) = checked {
                assert!(error.message.contains(&format!("acme.test.{name}")), "{error}");
                assert!(error.message.contains("131072 bytes") && error.message.contains("131071"));
                assert!(error.hint.unwrap().contains("--files"));
            }
        }
    }

    #[test]
    fn variables_over_the_total_limit_are_refused() {
        let exports = [export("A", 10), export("BIG", 3000), export("MID", 200), export("TINY", 1)];
        let total = counted_all(&exports);
        assert_eq!(total, 10 + 3000 + 200 + 1 + 1 + 3 + 3 + 4 + 4 * (1 + COUNTED_PER_STRING));
        assert!(check_total(total, total, sizes(&exports)).is_ok());
        let error = check_total(total, total - 1, sizes(&exports)).unwrap_err();
        assert!(error.message.ends_with("BIG has 3000, MID has 200, A has 10"), "{error}");
        assert_eq!(error.slug.unwrap().name(), "BIG");
        assert!(check_total(2, 1, []).is_ok(), "no key is to blame");
    }
}
