//! Header fields as a signature needs them: one value each, or a refusal.

use bytes::Bytes;

use crate::{Refusal, Request};

/// The value of a field that must be there.
pub(crate) fn required<'a>(request: &Request<'a>, name: &str, check: &'static str) -> Result<&'a [u8], Refusal> {
    single(request, name)?.ok_or_else(|| Refusal::new(check, format!("no {name} header field")))
}

/// The value of a field that must not have two different ones, without the spaces around it.
pub(crate) fn single<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = request.headers.iter().filter(|(n, _)| &n[..] == name.as_bytes()).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(Refusal::new("ambiguous_header", format!("{name} is given twice with different values")));
    }
    Ok(Some(value.trim_ascii()))
}

/// The first value of a field, without the spaces around it.
pub(crate) fn first<'a>(headers: &'a [(Bytes, Bytes)], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(n, _)| &n[..] == name.as_bytes()).map(|(_, value)| value.trim_ascii())
}

/// Whether this can be the name of a header field.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
