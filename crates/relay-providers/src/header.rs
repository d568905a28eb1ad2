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

/// A refusal for a field that is missing, which names all of these that are: whoever sets up a sender, or a proxy that takes
/// them away, is to see them at once.
pub(crate) fn all_missing(refusal: Refusal, request: &Request<'_>, fields: &[&str]) -> Refusal {
    let is_missing = |name: &&str| first(request.headers, name).is_none();
    let mut missing: Vec<&str> = Vec::new();
    for name in fields.iter().copied().filter(is_missing) {
        if !missing.contains(&name) {
            missing.push(name);
        }
    }
    match missing.split_last() {
        Some((last, others)) if !others.is_empty() && refusal.check.starts_with("missing_") => {
            let detail = format!("no {} and {last} header fields", others.join(", "));
            Refusal { detail, ..refusal }
        }
        Some(_) | None => refusal,
    }
}

/// The first value of a field, without the spaces around it.
pub(crate) fn first<'a>(headers: &'a [(Bytes, Bytes)], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(n, _)| &n[..] == name.as_bytes()).map(|(_, value)| value.trim_ascii())
}

/// Whether this can be the name of a header field.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
