//! Commands that change many: deliveries, or the events of a replay or an erasure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::is_false;

/// Which deliveries, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkAsk {
    /// These; or else all that match the filters, which then must be asked for with `all`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// All of them, where no filter is given.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Ended for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Of the last try's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of what the last try came to, as screens show it; in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In these groups, by their keys in `dead/groups`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// At most so many in all: dead letters that ended last first, open ones that were made last. More of them under the same job go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where the command before this one ended; only with `status`, `error` or `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// So many a second; only where they become ready again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// With `rate`: when the first of them is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// Only counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// The command's id, to repeat it without doing anything twice; left out: that of the preview, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of the answer to the same with `dry_run`: what has come to match since that was counted is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// Which events are replayed, where to, and how fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayAsk {
    /// All that match, of which there may be many: asked for where nothing else is said.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// From then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Left out: every destination that a route of the event's source leads to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// At most so many in all, the oldest first. More of them under the same job go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where the command before this one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// So many events a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// With `rate`: when the first of them is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// Only counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// The command's id, to repeat it without doing anything twice; left out: that of the preview, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of the answer to the same with `dry_run`: what has come to match since that was counted is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// Which events are erased.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseAsk {
    /// All that match, of which there may be many: asked for where nothing else is said.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// From then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Deliveries that may still go out are cancelled; else an event that has one is left as it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel: bool,
    /// At most so many in all, the oldest first. More of them under the same job go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where the command before this one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only counted: `split` says how many deliveries may still go out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// The command's id, to repeat it without doing anything twice; left out: that of the preview, or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Of the answer to the same with `dry_run`: what has come to match since that was counted is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// What a command that changes many did, with all that was done under its job before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkDto {
    /// Its id.
    pub job: String,
    /// Deliveries; of a replay or an erasure, events.
    pub matched: u64,
    /// Deliveries that were changed, removed or made; of an erasure, events that were erased.
    pub changed: u64,
    /// Nothing was done, it was only counted.
    pub dry_run: bool,
    /// Where the next command goes on that asks for more; `null`: this was all.
    pub next: Option<String>,
    /// With a rate: when what comes next is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    /// Of a dry run: by where they go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitDto>,
    /// Of a dry run: when it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Of a dry run: has the same command do this and no more, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// Of a dry run about what matches: one of those it counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// Of a dry run: so many match too (counted up to 1,000), but ended later than it was counted by the clock of the server that was asked. They
    /// are left, or named by their ids.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub later: u64,
    /// Who stopped the job before it was through; it does no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// Until when the command begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<String>,
}

/// How many deliveries of one destination a dry run counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SplitDto {
    /// Where they go.
    pub destination: String,
    /// How many.
    pub count: u64,
}

/// How far a command is that changes many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobDto {
    /// Its id.
    pub job: String,
    /// Deliveries that it has decided about; of a replay, events.
    pub matched: u64,
    /// Deliveries that it has changed, removed or made.
    pub changed: u64,
    /// It does no more: it is through, or was stopped.
    pub is_over: bool,
    /// Who stopped it before it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
