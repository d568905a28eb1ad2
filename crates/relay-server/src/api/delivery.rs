//! Deliveries and their tries.

use relay_core::delivery::{Reason, State, answer::Answer, outcome::Class};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words;

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDto {
    /// `dlv_...`.
    pub id: String,
    /// `evt_...`: what is delivered.
    pub event_id: String,
    /// From.
    pub source: String,
    /// To.
    pub destination: String,
    /// Where it is in its life.
    #[serde(with = "words")]
    #[schema(schema_with = words::states)]
    pub state: State,
    /// Why it ended, if it ended without success.
    #[serde(with = "words::opt")]
    #[schema(schema_with = words::reasons)]
    pub reason: Option<Reason>,
    /// Of an old event, because somebody asked for it.
    pub replay: bool,
    /// Tries that counted.
    pub attempts: u32,
    /// All tries that were reported.
    pub tries: u32,
    /// Leases that were lost.
    pub losses: u32,
    /// Length of the body.
    pub body_size: u64,
    /// From when on its TTL runs.
    pub ready_at: String,
    /// When it may be tried.
    pub due_at: String,
    /// When its TTL ends.
    pub expires_at: String,
    /// When it last changed; of one that has ended: when that was.
    pub changed_at: String,
    /// Who holds it.
    pub lease: Option<LeaseDto>,
    /// Its last try.
    pub last: Option<AttemptDto>,
    /// All tries, the oldest first; only where one is shown alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<AttemptDto>>,
    /// Its page in the dashboard, where `ADMIN_URL` says where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Who holds a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseDto {
    /// The client's instance.
    pub instance: String,
    /// Since when.
    pub since: String,
    /// Until when, without word of it.
    pub until: String,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptDto {
    /// The first is 1.
    pub number: u32,
    /// What it came to.
    #[serde(with = "words")]
    #[schema(schema_with = words::classes)]
    pub outcome: Class,
    /// It was an attempt: so many there are.
    pub counted: bool,
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What the target said with its refusal, if its client tells.
    pub answer: Option<AnswerDto>,
    /// How long it took.
    pub duration_ms: u64,
    /// When it was reported.
    pub at: String,
}

/// The words of a refusal: a target's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerDto {
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<String>,
    /// Where it points.
    pub location: Option<String>,
    /// How the body begins, if that is text.
    pub body: Option<String>,
    /// There was more of it.
    pub cut: bool,
}

impl From<&Answer> for AnswerDto {
    fn from(answer: &Answer) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            reason: text(&answer.reason),
            location: text(&answer.location),
            body: text(&answer.body),
            cut: answer.cut,
        }
    }
}

/// Dead letters in groups; `next` where there are more than one request looks through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SummaryDto {
    /// The largest first.
    pub items: Vec<GroupDto>,
    /// Where the next request goes on.
    pub next: Option<String>,
}

/// Dead letters that failed alike. In `error` numbers and ids are `#`, and what was quoted is `…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupDto {
    /// Of `dead/groups`: has a command be about this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where they did not arrive.
    pub destination: String,
    /// Why they ended.
    #[serde(with = "words::opt")]
    #[schema(schema_with = words::reasons)]
    pub reason: Option<Reason>,
    /// Of the last try's answer.
    pub status: Option<u16>,
    /// What the last try came to.
    pub error: Option<String>,
    /// How many.
    pub count: u64,
    /// When the first of them ended.
    pub oldest: String,
    /// When the last of them ended.
    pub newest: String,
    /// The latest of them.
    pub example: String,
    /// What the target said to it, if its client tells.
    pub answer: Option<AnswerDto>,
}

/// The newest dead letters, in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupsDto {
    /// The largest first.
    pub items: Vec<GroupDto>,
    /// So many dead letters were looked at, the newest.
    pub looked_at: u64,
    /// So many of them are in none of the groups, of which there are too many.
    pub others: u64,
    /// There are no older ones.
    pub is_all: bool,
    /// When.
    pub as_of: String,
}
