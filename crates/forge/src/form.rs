//! `application/x-www-form-urlencoded` as GitHub, Gitea, Forgejo and Gogs send it: one field, `payload`, that holds the JSON.

use std::borrow::Cow;

/// What a body in form mode begins with. JSON never does, so the signed bytes themselves say which
/// of the two they are; the `Content-Type` header, which nothing signs, is not asked.
const PAYLOAD: &[u8] = b"payload=";

/// The JSON within `body`: decoded where it is a form, the body itself where it is not.
///
/// # Errors
/// What is wrong with the form.
pub(crate) fn json_of(body: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let Some(value) = body.strip_prefix(PAYLOAD) else {
        return Ok(Cow::Borrowed(body));
    };
    let mut json = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        json.push(match byte {
            b'+' => b' ',
            b'%' => escaped(&mut rest).ok_or("`%` without two hexadecimal digits after it")?,
            b'&' => return Err("it has more than the one field `payload`"),
            other => *other,
        });
    }
    Ok(Cow::Owned(json))
}

fn escaped<'a>(rest: &mut impl Iterator<Item = &'a u8>) -> Option<u8> {
    let mut digit = || char::from(*rest.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}
