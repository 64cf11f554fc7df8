//! Native frames in a form that survives mutation. A frame states its own lengths, and one byte
//! more or less makes it invalid. So the bytes of a fuzzer may also be a header and its secrets,
//! divided by a byte that is never in UTF-8.

use keyrack_wire::native::{MAX_HEADER, MAX_LENGTH};

/// Byte between the header and the secrets of a frame without its lengths.
pub const SECRETS: u8 = 0xff;

/// Byte between two messages.
pub const BETWEEN: u8 = 0xfe;

/// Returns the messages of a fuzzer's bytes.
pub(crate) fn messages(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == BETWEEN)
}

/// Returns the frame of a message without its lengths; `None` if the message is not one, or fits no
/// frame.
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
