//! Why nothing arrives: what was looked at on the way of a webhook.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was looked at, in the order of a webhook's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyDto {
    /// Nothing of it is wrong.
    pub ok: bool,
    /// When it was looked at.
    pub at: String,
    /// One for each thing that was looked at.
    pub checks: Vec<CheckDto>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckDto {
    /// Where on the way.
    pub hop: Hop,
    /// What was looked at there, in a word.
    pub check: String,
    /// Of which source, destination or alert.
    pub about: Option<String>,
    /// How it was found.
    pub verdict: Verdict,
    /// What was found, in words.
    pub said: String,
    /// What mends it.
    pub remedy: Option<String>,
}

/// A part of the way of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hop {
    /// The server takes and keeps it.
    Server,
    /// The source lets it in.
    Source,
    /// The routes lead it to destinations.
    Route,
    /// A client fetches it.
    Client,
    /// The target takes it.
    Target,
}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Wrong,
    /// It cannot be told from here, or nothing has happened yet.
    Unknown,
}

impl Hop {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Source => "source",
            Self::Route => "route",
            Self::Client => "client",
            Self::Target => "target",
        }
    }
}

impl WhyDto {
    /// Of what was looked at.
    pub fn new(at: String, checks: Vec<CheckDto>) -> Self {
        Self { ok: checks.iter().all(|check| check.verdict != Verdict::Wrong), at, checks }
    }
}

impl CheckDto {
    /// As it should be.
    pub fn ok(hop: Hop, check: &str, said: impl Into<String>) -> Self {
        let (check, said) = (check.to_owned(), said.into());
        Self { hop, check, about: None, verdict: Verdict::Ok, said, remedy: None }
    }

    /// Not as it should be. The words may have the remedy in them already.
    pub fn wrong(hop: Hop, check: &str, said: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, ..Self::ok(hop, check, said) }
    }

    /// Not to be told.
    pub fn unknown(hop: Hop, check: &str, said: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(hop, check, said) }
    }

    /// The same of this source or destination.
    #[must_use]
    pub fn about(self, name: &str) -> Self {
        Self { about: Some(name.to_owned()), ..self }
    }

    /// The same with what mends it.
    #[must_use]
    pub fn mended_by(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}
