//! Names of sources, destinations, keys and tokens.

use std::{fmt, str::FromStr, sync::Arc};

use crate::limits;

/// A name that people choose: `[a-z0-9][a-z0-9_-]{0,62}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: want 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit")]
pub struct NameError(String);

impl Name {
    /// The name of the source and the destination that exist out of the box: `default`.
    pub fn fallback() -> Self {
        Self(Arc::from("default"))
    }

    /// The name that a text is, if it is one. Nothing is copied.
    pub fn of(text: Arc<str>) -> Option<Self> {
        is_name(&text).then_some(Self(text))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_name(text) { Ok(Self(Arc::from(text))) } else { Err(NameError(text.chars().take(80).collect())) }
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    first && rest && bytes.len() <= limits::NAME_BYTES_MAX
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}
