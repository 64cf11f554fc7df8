//! Native frames, read as requests and as replies. What is decoded reads the same after encoding,
//! and the fast path agrees with serde.

use keyrack_wire::native::{
    Decoded, Frame, GetItem, GetKey, GetOk, HelloOk, MAX_HEADER, MAX_LENGTH, NothingOk, Op, RelockOk, Reply,
    Request, StatusOk, UnlockItem, UnlockOk, decode, decode_reply, encode_error, encode_get_reply,
    encode_relock_reply, encode_reply, encode_unlock, get_slugs_that_fit, reply_id, unlock_keys_that_fit,
};
use keyrack_wire::{EncodeError, WipedBuffer};

use crate::messages::framed;

/// Takes a frame with its lengths, or a header and secrets without them.
pub fn native(data: &[u8]) {
    let made = framed(data);
    let bytes = made.as_deref().unwrap_or(data);
    match decode(bytes) {
        Ok(Decoded::Frame(frame)) => {
            assert!(frame.consumed <= bytes.len(), "a frame ends within its bytes");
            for cut in [0, 3, 7, frame.consumed / 2, frame.consumed - 1] {
                let cut = cut.min(frame.consumed - 1);
                assert!(
                    matches!(decode(&bytes[..cut]), Ok(Decoded::Need(need)) if need > cut && need <= frame.consumed),
                    "the beginning of a frame is awaited"
                );
            }
            request(&frame);
            replies(&frame);
        }
        Ok(Decoded::Need(need)) => {
            assert!(need > bytes.len() && need <= 4 + MAX_LENGTH, "what is needed is more, and bounded");
            assert!(made.is_none(), "a frame that was made here is whole");
        }
        Err(error) => {
            assert!(made.is_none(), "a frame that was made here is one: {error}");
            let early = &bytes[..bytes.len().min(8)];
            assert_eq!(decode(early), Err(error), "a wrong length is told from the lengths alone");
        }
    }
}

/// Calls `check` with the same frame and a space before its header, which the fast path leaves to
/// serde.
fn with_space<R>(frame: &Frame<'_>, check: impl FnOnce(&Frame<'_>) -> R) -> Option<R> {
    if frame.header.len() == MAX_HEADER {
        return None;
    }
    let header = [b" ", frame.header].concat();
    Some(check(&Frame { header: &header, ..*frame }))
}

fn encoded(encode: impl FnOnce(&mut WipedBuffer) -> Result<(), EncodeError>) -> Option<Vec<u8>> {
    let mut writer = WipedBuffer::new(MAX_LENGTH + 4);
    match encode(&mut writer) {
        Ok(()) => Some(writer.as_slice().to_vec()),
        Err(EncodeError::TooLarge { .. }) => None,
        Err(error) => panic!("what was read is not composed: {error}"),
    }
}

/// Encodes a message. An encoded header may be longer than the one that was read, so a long one may
/// not fit.
const LONG: usize = 8 << 10;

fn again<'a>(bytes: Option<&'a Vec<u8>>, frame: &Frame<'_>) -> Option<Frame<'a>> {
    let Some(bytes) = bytes else {
        assert!(frame.header.len() > LONG, "a short message is composed again");
        return None;
    };
    match decode(bytes) {
        Ok(Decoded::Frame(frame)) if frame.consumed == bytes.len() => Some(frame),
        _ => panic!("what was composed is one whole frame"),
    }
}

fn request(frame: &Frame<'_>) {
    let read = Request::decode(frame);
    with_space(frame, |spaced| match (&read, Request::decode(spaced)) {
        (Ok(read), Ok(spaced)) => assert_eq!(*read, spaced, "both readers agree"),
        (Err(error), Err(spaced)) => {
            assert_eq!((error.code(), error.id()), (spaced.code(), spaced.id()), "both readers agree");
        }
        (read, spaced) => panic!("one reader reads it: {read:?}, {spaced:?}"),
    });
    let Ok(read) = read else { return };
    let mut secrets: Vec<&[u8]> = Vec::new();
    if let Op::Unlock(unlock) = &read.op {
        for key in &unlock.keys {
            secrets.push(frame.secret(key.secret).expect("a range of a request leads somewhere"));
        }
        assert_eq!(secrets.concat(), frame.secrets, "the ranges cover the secrets");
        let items: Vec<UnlockItem<'_, &[u8]>> = unlock
            .keys
            .iter()
            .zip(&secrets)
            .map(|(key, secret)| UnlockItem {
                slug: &key.slug,
                grade: key.grade.clone(),
                source: key.source.clone(),
                ttl_ms: key.ttl_ms,
                credential_expires_at: key.credential_expires_at.as_deref(),
                life_ms: key.life_ms,
                life_by: key.life_by.as_deref(),
                secret: *secret,
            })
            .collect();
        let fit = unlock_keys_that_fit(&items);
        assert!(
            encoded(|writer| encode_unlock(writer, read.id, &items[..fit])).is_some(),
            "what fits is composed"
        );
    }
    if let Op::Get(get) = &read.op {
        let slugs: Vec<&str> = get.slugs.iter().map(AsRef::as_ref).collect();
        let fit = get_slugs_that_fit(&slugs);
        let some = keyrack_wire::native::Get { slugs: get.slugs[..fit].to_vec() };
        let request = Request { id: read.id, op: Op::Get(some) };
        assert!(encoded(|writer| request.encode(writer)).is_some(), "what fits is composed");
    }
    let bytes = encoded(|writer| read.encode_with(writer, &secrets));
    if let Some(frame) = again(bytes.as_ref(), frame) {
        assert_eq!(Request::decode(&frame).as_ref(), Ok(&read), "it reads as the same again");
        assert_eq!(frame.secrets, secrets.concat(), "its secrets are the same again");
    }
}

/// Decodes a reply of one kind with both readers, encodes it, and decodes that. It is a macro
/// because each decoded reply borrows from its frame and has a type of its own.
macro_rules! reply {
    ($frame:expr, $body:ty, $encode:expr) => {{
        let read = decode_reply::<$body>($frame);
        with_space($frame, |spaced| match (&read, decode_reply::<$body>(spaced)) {
            (Ok(read), Ok(spaced)) => assert_eq!(*read, spaced, "both readers agree"),
            (Err(_), Err(_)) => {}
            (read, spaced) => panic!("one reader reads it: {read:?}, {spaced:?}"),
        });
        if let Ok(read) = &read {
            assert_eq!(reply_id($frame).ok(), Some(read.id), "the id alone is the same");
            let encode: fn(&mut WipedBuffer, u64, &$body) -> Result<(), EncodeError> = $encode;
            let bytes = encoded(|writer| match &read.outcome {
                Ok(ok) => encode(writer, read.id, ok),
                Err(error) => encode_error(writer, read.id, error),
            });
            if let Some(frame) = again(bytes.as_ref(), $frame) {
                assert_eq!(decode_reply::<$body>(&frame).as_ref(), Ok(read), "it reads as the same again");
            }
        }
    }};
}

fn replies(frame: &Frame<'_>) {
    reply!(frame, NothingOk, |writer, id, ok| encode_reply(writer, id, ok));
    reply!(frame, HelloOk<'_>, |writer, id, ok| encode_reply(writer, id, ok));
    reply!(frame, UnlockOk<'_>, |writer, id, ok| encode_reply(writer, id, ok));
    reply!(frame, StatusOk<'_>, |writer, id, ok| encode_reply(writer, id, ok));
    reply!(frame, RelockOk<'_>, |writer, id, ok| {
        if ok.unnamed > 0 {
            return encode_reply(writer, id, ok);
        }
        let slugs: Vec<&str> = ok.relocked.iter().map(AsRef::as_ref).collect();
        encode_relock_reply(writer, id, &slugs)
    });
    get_reply(frame);
}

fn get_reply(frame: &Frame<'_>) {
    let read = decode_reply::<GetOk<'_>>(frame);
    with_space(frame, |spaced| match (&read, decode_reply::<GetOk<'_>>(spaced)) {
        (Ok(read), Ok(spaced)) => assert_eq!(*read, spaced, "both readers agree"),
        (Err(_), Err(_)) => {}
        (read, spaced) => panic!("one reader reads it: {read:?}, {spaced:?}"),
    });
    let Ok(Reply { id, outcome: Ok(ok) }) = read else { return };
    let secret = |key: &GetKey<'_>| frame.secret(key.secret).expect("a range of a reply leads somewhere");
    let whole: Vec<u8> = ok.keys.iter().flat_map(|key| secret(key).to_vec()).collect();
    assert_eq!(whole, frame.secrets, "the ranges cover the secrets");
    let items: Vec<GetItem<'_, &[u8]>> = ok
        .keys
        .iter()
        .map(|key| GetItem {
            asked: &key.slug,
            slug: &key.slug,
            protection: &key.grade.protection,
            duration: &key.grade.duration,
            vault: &key.source.vault,
            mech: &key.source.mech,
            env: &key.env,
            org: &key.org,
            expires_at: &key.expires_at,
            ttl_ms: key.ttl_ms,
            secret: secret(key),
        })
        .collect();
    let mut put = 0;
    let bytes = encoded(|writer| {
        put = encode_get_reply(writer, id, &items)?;
        Ok(())
    });
    let Some(frame) = again(bytes.as_ref(), frame) else { return };
    let again = decode_reply::<GetOk<'_>>(&frame).expect("what was composed is read");
    let again = again.outcome.expect("it is not an error");
    assert_eq!(again.keys, ok.keys[..put], "it reads as the same again");
    assert_eq!(again.rest.len(), ok.keys.len() - put, "the others are put off");
}
