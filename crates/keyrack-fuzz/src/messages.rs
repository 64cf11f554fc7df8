//! Native frames in a form that survives mutation: a frame says its own lengths, and a byte more or less anywhere would make it none. So the
//! bytes of a fuzzer may also be a header and its secrets with a byte between them that no UTF-8 has.

use keyrack_wire::native::{MAX_HEADER, MAX_LENGTH};

/// Stands between the header and the secrets of a frame that is written without its lengths.
pub const SECRETS: u8 = 0xff;

/// Stands between one message and the next.
pub const BETWEEN: u8 = 0xfe;

/// The messages of a fuzzer's bytes.
pub(crate) fn messages(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == BETWEEN)
}

/// The frame of a message that is written without its lengths; `None` for one that is not, or fits no frame.
pub fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let at = message.iter().position(|byte| *byte == SECRETS)?;
    let (header, secrets) = (&message[..at], &message[at + 1..]);
    let body = 4 + header.len() + secrets.len();
    if header.is_empty() || header.len() > MAX_HEADER || body > MAX_LENGTH {
        return None;
    }
    let mut frame = Vec::with_capacity(4 + body);
    frame.extend(u32::try_from(body).ok()?.to_be_bytes());
    frame.extend(u32::try_from(header.len()).ok()?.to_be_bytes());
    frame.extend(header);
    frame.extend(secrets);
    Some(frame)
}
