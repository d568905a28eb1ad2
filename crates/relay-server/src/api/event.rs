//! Events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DeliveryDto, is_false};

/// An event without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDto {
    /// `evt_...`.
    pub id: String,
    /// An operator had it erased: method, path, query, values of headers, body and its digest are gone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub erased: bool,
    /// Where it came in.
    pub source: String,
    /// What happened, in the platform's words: `invoice.paid`; `null`: it says none.
    pub name: Option<String>,
    /// The named API key that proved it; `null`: `API_KEY`, or no key at all.
    pub key: Option<String>,
    /// As it was received; empty: it is erased.
    pub method: String,
    /// As it was received.
    pub path: String,
    /// As it was received; `null`: there was none.
    pub query: Option<String>,
    /// Those of one name in their order.
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Vec<HeaderDto>,
    /// Length of the body.
    pub body_size: u64,
    /// Digest of the body, in hex.
    pub body_sha256: String,
    /// When it was received.
    pub received_at: String,
    /// Its deliveries, the newest first.
    pub deliveries: Vec<DeliveryDto>,
    /// Its page in the dashboard, where `ADMIN_URL` says where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What one look through bodies found, and how far it came. Counts are from its beginning on, over all that went on from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanDto {
    /// Those that have what was looked for, the newest first.
    pub items: Vec<EventDto>,
    /// Where it goes on; `null`: all was read.
    pub next: Option<String>,
    /// Events that were read.
    pub read: u64,
    /// Those of them that nobody could look into: damaged, no JSON although they begin so, or compressed in a way that is not read.
    pub unread: u64,
    /// Events that are stored, of the source or of all; `null` where only those of a name or a time are looked through.
    pub of: Option<u64>,
    /// When the last one was received that was read; `null`: none was.
    pub looked_back_to: Option<String>,
}

/// Events that have a value at a mark, and between which moments that is all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarkedDto {
    /// The newest first. A page may be short, or empty, and have a next one.
    pub items: Vec<EventDto>,
    /// So many that the mark leads to do not read.
    #[serde(default)]
    pub unread: u64,
    /// Where the next page starts; `null`: this was the last.
    pub next: Option<String>,
    /// Events stored from then on are looked through; `null`: all that are kept.
    pub indexed_from: Option<String>,
    /// And those before then, over all pages of a walk; `null`: none is yet.
    pub indexed_to: Option<String>,
}

/// `[name, value]`; of a value that is no UTF-8, `[name, readable, hex]` with all its bytes; `[name]` for who may not see values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderDto {
    /// Name and value.
    Text(String, String),
    /// Name, what of the value can be read, and all its bytes in hex.
    Bytes(String, String, String),
    /// Name alone.
    Withheld([String; 1]),
}

impl HeaderDto {
    /// Its name.
    pub fn name(&self) -> &str {
        let (Self::Text(name, _) | Self::Bytes(name, ..) | Self::Withheld([name])) = self;
        name
    }

    /// Its value, as far as it can be read.
    pub fn value(&self) -> &str {
        match self {
            Self::Text(_, value) | Self::Bytes(_, value, _) => value,
            Self::Withheld(_) => "",
        }
    }
}

/// How one event is erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseOneAsk {
    /// What of it may still go out is cancelled; else it keeps the event as it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel: bool,
}

/// Where one event is delivered again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayOneAsk {
    /// Left out: every destination that a route of the event's source leads to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// The deliveries that a replay made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayDto {
    /// Of this event.
    pub event_id: String,
    /// One for each route.
    pub deliveries: Vec<DeliveryDto>,
}
