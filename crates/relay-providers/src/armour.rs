//! Keys and certificates as platforms publish them: base64, in PEM or bare.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What stands between the first `-----BEGIN label-----` and its end, decoded.
pub(crate) fn unarmoured(pem: &[u8], label: &str) -> Option<Vec<u8>> {
    let (_, rest) = str::from_utf8(pem).ok()?.split_once(&format!("-----BEGIN {label}-----"))?;
    let (content, _) = rest.split_once(&format!("-----END {label}-----"))?;
    decode(content)
}

/// Base64, however it is broken into lines.
pub(crate) fn decode(base64: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = base64.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}
