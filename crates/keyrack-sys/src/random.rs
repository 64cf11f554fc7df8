//! Random bytes from the kernel.
#![expect(unsafe_code, reason = "nix wraps getrandom only in a feature that nothing else needs")]

use std::io;

/// Returns random bytes fit for a key (`getrandom(2)`).
///
/// # Errors
/// Those of `getrandom(2)`; [`io::ErrorKind::UnexpectedEof`] if the kernel gives fewer than asked
/// for.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the kernel writes at most N bytes to a buffer of N bytes.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    match usize::try_from(count) {
        Ok(count) if count == N => Ok(bytes),
        // Up to 256 bytes come at once and whole, and no signal interrupts them.
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ_each_time() {
        assert_ne!(random_bytes::<32>().unwrap(), random_bytes::<32>().unwrap());
    }
}
