//! API keys and tokens, and the replacement of secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An API key; `key` only in the answer that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyDto {
    /// Of which source.
    pub source: String,
    /// Who uses it.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// When it was made.
    pub created_at: String,
    /// When it last proved a webhook at the server that was asked, since that began.
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<String>,
    /// The key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<Shown>,
}

/// A key to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAsk {
    /// Of which source.
    pub source: String,
    /// Who uses it.
    pub name: String,
}

/// A token; `token` only in the answer that makes it. `destinations` is `null` for every destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenDto {
    /// Which client uses it.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// What it may serve; `null`: everything.
    pub destinations: Option<Vec<String>>,
    /// Public keys, of one of which the client's certificate is to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// It is being replaced: `prefix` is that of the new one.
    pub rotation: Option<RotationDto>,
    /// When it was made.
    pub created_at: String,
    /// When it last let a client in at the server that was asked, or one that it let in was there, since that began.
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<String>,
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Shown>,
}

/// A token to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAsk {
    /// Which client uses it.
    pub name: String,
    /// Left out: every destination.
    pub destinations: Option<Vec<String>>,
    /// Public keys, of one of which the client's certificate is to be: `sha256/` and base64. Left out: any, and no certificate.
    #[serde(default)]
    pub pins: Vec<String>,
}

/// What a token may serve from now on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenUpdateAsk {
    /// `null`: every destination; that has to be said.
    #[serde(deserialize_with = "Option::deserialize")]
    pub destinations: Option<Vec<String>>,
}

/// A new secret for a token, beside the old one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRotateAsk {
    /// How long the old one stays valid; left out: until told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_old_ms: Option<u64>,
}

/// A rotation that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotationDto {
    /// Of a source: which parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<String>>,
    /// When it began.
    pub since: String,
    /// Until when the old one is valid; `null`: until told.
    pub until: Option<String>,
    /// How the old one is still used.
    pub old: UseDto,
    /// How the new one is used.
    pub new: UseDto,
}

/// Since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UseDto {
    /// Of a token: how it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Of a token: sessions that it let in and that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
    /// How often it was used.
    pub count: u64,
    /// When it was last used.
    pub last_at: Option<String>,
}

/// A secret in the one answer that shows it: not in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shown(pub String);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redacted")
    }
}
