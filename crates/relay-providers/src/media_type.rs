//! What type a body says it is of.

use crate::{Request, header};

/// Whether the body is of this media type, whatever its parameters. Not where there are two types.
pub(crate) fn is(request: &Request<'_>, name: &str) -> bool {
    let value = header::single(request, "content-type").ok().flatten().unwrap_or_default();
    let found = value.split(|byte| *byte == b';').next().unwrap_or_default();
    found.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}
