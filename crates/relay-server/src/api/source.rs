//! Sources, and what they are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyDto, RotationDto, TokenDto, is_false, words};
use crate::{document::Dedupe, network_policy::NetworkPolicy, parameters::Parameters};

/// A source. Secrets are never among its parameters: `set` says that there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceDto {
    /// Webhooks go to `/webhook/NAME`.
    pub name: String,
    /// Where senders reach it: `PUBLIC_URL` and that path; `null` without `PUBLIC_URL`.
    pub url: Option<String>,
    /// Who judges them.
    pub provider: String,
    /// Of the provider.
    pub parameters: Vec<ParameterDto>,
    /// Who may come, and how often.
    pub network: NetworkPolicy,
    /// Empty bodies are taken.
    pub allow_empty: bool,
    /// What a repeat of something delivered is.
    #[schema(schema_with = dedupes)]
    pub dedupe: Dedupe,
    /// What its events can be found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkDto>,
    /// The platform is still to hand over its secret.
    pub awaits_secret: bool,
    /// Until when it may; none: whoever hands one over is refused.
    pub awaits_secret_until: Option<String>,
    /// Secrets of it that are being replaced.
    pub rotation: Option<RotationDto>,
    /// What is wrong with its parameters, where they do not read: it takes nothing.
    pub broken: Option<String>,
    /// The configuration file no longer declares it.
    pub paused: bool,
    /// Where the configuration file declares it.
    pub declared: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Where its webhooks go.
    pub destinations: Vec<String>,
    /// Only where one is shown alone.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<ActivityDto>,
}

/// A parameter of a source: one that is no secret with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParameterDto {
    /// As the provider's table has it.
    pub name: String,
    /// Its value is not shown.
    pub secret: bool,
    /// Of one that is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a secret: there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
    /// The platform handed it over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub adopted: bool,
}

/// A value of events that they can be found by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarkDto {
    /// What it is called.
    pub name: String,
    /// Where it stands: a place of JSON bodies (`$.data.object.customer`), or a header (`header:X-GitHub-Delivery`).
    pub path: String,
    /// Where a source is shown alone: from then on its events can be found by it; `null`: all that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed_from: Option<String>,
    /// And those before then; `null`: none can yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed_to: Option<String>,
}

/// What happened at a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivityDto {
    /// How often.
    pub counters: SourceCountersDto,
    /// What it bounds in a day.
    #[serde(default)]
    pub quotas: Vec<QuotaDto>,
    /// Of the newest event that is kept.
    pub last_received_at: Option<String>,
    /// The names of the events that are kept, those with the most events first. Those without a name are not among them.
    pub names: Vec<EventNameDto>,
    /// Events from before then were not counted by name, because there are too many.
    pub names_since: Option<String>,
    /// The last ones, the newest first.
    pub refusals: Vec<RefusalDto>,
}

/// How much a source takes in a day (UTC), at the server that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaDto {
    /// `events` or `bytes`.
    pub measure: String,
    /// How much it took today.
    pub used: u64,
    /// How much it takes.
    pub quota: u64,
    /// Four fifths of that, or more, are used.
    pub near: bool,
    /// How long until the next day.
    pub resets_in_ms: u64,
}

/// How many events of a name are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventNameDto {
    /// In the platform's words; `null`: all names that came after the first 250.
    pub name: Option<String>,
    /// So many.
    pub events: u64,
    /// The minute of the latest.
    pub last_at: String,
}

/// The first three are of the store, the others of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceCountersDto {
    /// Events that were ever accepted.
    pub accepted: u64,
    /// Events that are kept.
    pub stored: u64,
    /// Webhooks that were sent again.
    pub duplicates: u64,
    /// Answered, and nothing to be delivered.
    pub handshakes: u64,
    /// By the check that refused.
    pub refused: BTreeMap<String, u64>,
}

/// A request that a source refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalDto {
    /// When.
    pub at: String,
    /// Which check.
    pub check: String,
    /// What was wrong; nothing of what the request held.
    pub detail: String,
    /// What to look at.
    #[serde(default)]
    pub remedy: String,
    /// From where: the address that a trusted proxy named, else that of the socket.
    pub peer: Option<String>,
    /// The trusted proxy at the socket that brought it; the same as `peer` where it named nobody.
    #[serde(default)]
    pub proxy: Option<String>,
}

/// A secret that the platform handed over, or that was made up for it. No `Debug`: it is shown to who asked for it, nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretDto {
    /// The parameter.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A source to be made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceAsk {
    /// Its name.
    pub name: String,
    /// Who judges its webhooks.
    pub provider: String,
    /// Name and value; a name given twice: both values are valid.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub parameters: Parameters,
    /// Who may come, and how often.
    #[serde(default, skip_serializing_if = "NetworkPolicy::is_open")]
    pub network: NetworkPolicy,
    /// Empty bodies are taken.
    #[serde(default)]
    pub allow_empty: bool,
    /// What a repeat of something delivered is.
    #[serde(default)]
    #[schema(schema_with = dedupes)]
    pub dedupe: Dedupe,
    /// The platform is about to hand over its secret.
    #[serde(default)]
    pub await_secret: bool,
    /// Where its webhooks go; left out: to `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// What is to change of a source; the rest stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceUpdateAsk {
    /// Another one, with all of its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// All of them anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<String>>>)]
    pub parameters: Option<Parameters>,
    /// These anew; the others stay.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub set: Parameters,
    /// These go.
    #[serde(default)]
    pub unset: Vec<String>,
    /// What is to change of that; `none` takes away what there was.
    #[serde(default, skip_serializing_if = "NetworkPolicy::is_open")]
    pub network: NetworkPolicy,
    /// Empty bodies are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
    /// What a repeat of something delivered is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dedupe: Option<Dedupe>,
    /// These marks, name and path, anew; the others stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Vec<String>>)]
    pub mark: Vec<(String, String)>,
    /// These marks go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmark: Vec<String>,
}

/// New secrets of a source, beside the old ones.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceRotateAsk {
    /// The new values.
    #[schema(value_type = Vec<Vec<String>>)]
    pub set: Parameters,
    /// How long the old ones stay valid; left out: until told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_old_ms: Option<u64>,
}

/// A request that is to be signed as the source's provider would.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsignedAsk {
    /// Its method.
    pub method: String,
    /// As the receiver knows it: providers may sign it.
    pub url: String,
    /// Names and values.
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Vec<(String, String)>,
    /// In base64.
    pub body: String,
    /// What identifies the webhook.
    pub id: String,
    /// As of when it is signed, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// A sample of a source's provider to be sent.
// What proves it stands in it, so it has no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleAsk {
    /// At a source of keys: the key that proves it, which the server does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a sample was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampleDto {
    /// The status.
    pub status: u16,
    /// The event that it became, where the answer says so.
    pub event_id: Option<String>,
    /// Why it was refused.
    pub detail: Option<String>,
}

/// A request as it is to be sent.
// What proves it stands in it, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct DraftDto {
    /// Its method.
    pub method: String,
    /// As the receiver knows it.
    pub url: String,
    /// Names and values.
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Vec<(String, String)>,
    /// In base64.
    pub body: String,
}

/// What an invitation made; `key`, `token` and what was generated are shown this once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct InviteDto {
    /// Made with its route.
    pub source: SourceDto,
    /// Where senders present one.
    pub key: Option<KeyDto>,
    /// Of the client.
    pub token: TokenDto,
    /// What the sender is given; `null` without `PUBLIC_URL`.
    pub url: Option<String>,
    /// The path of it.
    pub path: String,
    /// Where clients connect; `null` without `PUBLIC_URL`.
    pub relay_url: Option<String>,
    /// Parameters that the server made up, for the platform's form.
    pub generated: Vec<SecretDto>,
}

/// The words of [`Dedupe`].
fn dedupes() -> utoipa::openapi::Schema {
    words::schema(Dedupe::ALL.map(Dedupe::as_str), false)
}
