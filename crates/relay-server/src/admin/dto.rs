//! The admin API's JSON: the one place that serializes for it. Times are RFC 3339 in UTC, spans end in `_ms`.

use std::collections::BTreeMap;

use relay_core::{
    delivery::{Attempt, Delivery, Reason, State, answer::Answer},
    event::Event,
    hub::{ClientView, DestinationView},
    time::{Now, Wall},
};
use relay_providers::provider;
use relay_store::seam::{EventRow, Promises, SourceStats};
use serde::Serialize;

use crate::{
    clock::rfc3339,
    depth,
    directory::Directory,
    health::{self, Report, Totals},
    ingress::{Refusals, Refused},
    metrics::Metrics,
    registry::{
        Registry,
        document::{self, Retry},
        secret::hex,
    },
};

mod audit;
mod rotation;

pub(crate) use audit::{AuditDto, AuditLineDto};
pub(crate) use rotation::RotationDto;

/// A page of a listing.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// A source. Secrets are never among its parameters: `set` says that there is one.
#[derive(Debug, Serialize)]
pub(crate) struct SourceDto {
    name: String,
    provider: String,
    parameters: Vec<ParameterDto>,
    allow_empty: bool,
    dedupe: &'static str,
    /// The platform is still to hand over its secret.
    awaits_secret: bool,
    /// Until when it may; none: whoever hands one over is refused.
    awaits_secret_until: Option<String>,
    /// Secrets of it that are being replaced.
    rotation: Option<RotationDto>,
    /// What is wrong with its parameters, where they do not read: it takes nothing.
    broken: Option<String>,
    paused: bool,
    declared: Option<String>,
    created_at: String,
    destinations: Vec<String>,
    #[serde(flatten)]
    activity: Option<ActivityDto>,
}

/// What happened at a source; only where one is shown alone.
#[derive(Debug, Serialize)]
pub(crate) struct ActivityDto {
    counters: SourceCountersDto,
    /// Of the newest event that is kept.
    pub(crate) last_received_at: Option<String>,
    refusals: Vec<RefusalDto>,
}

/// The first three are of the store, the others of this process.
#[derive(Debug, Serialize)]
struct SourceCountersDto {
    accepted: u64,
    stored: u64,
    duplicates: u64,
    handshakes: u64,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct RefusalDto {
    at: String,
    check: &'static str,
    detail: String,
    peer: Option<String>,
}

/// A secret that the platform handed over. No `Debug`: it is shown to who asked for it, nowhere else.
#[derive(Serialize)]
pub(crate) struct SecretDto {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Serialize)]
struct ParameterDto {
    name: String,
    secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<bool>,
    /// The platform handed it over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
}

/// A route with the policy that holds: its own or the default one.
#[derive(Debug, Serialize)]
pub(crate) struct RouteDto {
    source: String,
    destination: String,
    ttl_ms: u64,
    max_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_multiplier: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schedule_ms: Vec<u64>,
    paused: bool,
    declared: Option<String>,
    created_at: String,
}

/// A destination with what waits there and who serves it.
#[derive(Debug, Serialize)]
pub(crate) struct DestinationDto {
    name: String,
    paused: bool,
    sources: Vec<String>,
    created: u64,
    deliveries: BTreeMap<&'static str, u64>,
    oldest_due_age_ms: Option<u64>,
    next_expiry_at: Option<String>,
    /// How many client instances serve it.
    clients: usize,
    /// No client gets through to the target.
    circuit_open: bool,
    instances: Vec<ClientDto>,
}

#[derive(Debug, Serialize)]
struct ClientDto {
    instance: String,
    label: String,
    token: String,
    peer: String,
    held: u32,
    slots: u32,
    circuit_open: bool,
    open_since: Option<String>,
    next_try_at: Option<String>,
    error: Option<String>,
}

/// An API key; `key` only in the answer that makes it.
#[derive(Debug, Serialize)]
pub(crate) struct KeyDto {
    source: String,
    name: String,
    prefix: String,
    created_at: String,
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A token; `token` only in the answer that makes it. `destinations` is `null` for every destination.
#[derive(Debug, Serialize)]
pub(crate) struct TokenDto {
    name: String,
    prefix: String,
    destinations: Option<Vec<String>>,
    /// It is being replaced: `prefix` is that of the new one.
    rotation: Option<RotationDto>,
    created_at: String,
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// What an invitation made; `key`, `token` and what was generated are shown this once.
#[derive(Serialize)]
pub(crate) struct InviteDto {
    pub(crate) source: SourceDto,
    pub(crate) key: Option<KeyDto>,
    pub(crate) token: TokenDto,
    /// What the sender is given; `null` without `PUBLIC_URL`.
    pub(crate) url: Option<String>,
    pub(crate) path: String,
    /// Where clients connect; `null` without `PUBLIC_URL`.
    pub(crate) relay_url: Option<String>,
    /// Parameters that the server made up, for the platform's form.
    pub(crate) generated: Vec<SecretDto>,
}

/// A request as it is to be sent.
#[derive(Debug, Serialize)]
pub(crate) struct DraftDto {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    /// In base64.
    body: String,
}

/// A delivery.
#[derive(Debug, Serialize)]
pub(crate) struct DeliveryDto {
    id: String,
    event_id: String,
    source: String,
    destination: String,
    state: &'static str,
    reason: Option<&'static str>,
    replay: bool,
    attempts: u32,
    tries: u32,
    losses: u32,
    body_size: u64,
    ready_at: String,
    due_at: String,
    expires_at: String,
    changed_at: String,
    lease: Option<LeaseDto>,
    last: Option<AttemptDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<AttemptDto>>,
}

#[derive(Debug, Serialize)]
struct LeaseDto {
    instance: String,
    since: String,
    until: String,
}

/// One try.
#[derive(Debug, Serialize)]
struct AttemptDto {
    number: u32,
    outcome: &'static str,
    counted: bool,
    status: Option<u16>,
    error: Option<String>,
    /// What the target said with its refusal, if its client tells.
    answer: Option<AnswerDto>,
    duration_ms: u64,
    at: String,
}

/// The words of a refusal: a target's own.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerDto {
    /// The reason phrase, where it is not the usual one.
    reason: Option<String>,
    location: Option<String>,
    /// How the body begins, if that is text.
    body: Option<String>,
    /// There was more of it.
    cut: bool,
}

/// An event without its body.
#[derive(Debug, Serialize)]
pub(crate) struct EventDto {
    id: String,
    source: String,
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<HeaderDto>,
    body_size: u64,
    body_sha256: String,
    received_at: String,
    deliveries: Vec<DeliveryDto>,
}

/// `[name, value]`; of a value that is no UTF-8, `[name, readable, hex]` with all its bytes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum HeaderDto {
    Text(String, String),
    Bytes(String, String, String),
}

/// The deliveries that a replay made.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayDto {
    pub(crate) event_id: String,
    pub(crate) deliveries: Vec<DeliveryDto>,
}

/// What a replay of many events did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ReplayedDto {
    /// Events.
    pub(crate) matched: u64,
    /// Deliveries that were made.
    pub(crate) changed: u64,
    pub(crate) dry_run: bool,
    /// Where the next command goes on; `null`: at none, this was all.
    pub(crate) next: Option<String>,
    /// With a rate: when what comes next is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_at: Option<String>,
}

/// What a command that changes many did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BulkDto {
    pub(crate) job: String,
    pub(crate) matched: u64,
    pub(crate) changed: u64,
    pub(crate) dry_run: bool,
    /// Where the next command goes on that asks for so many more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// With a rate: when what comes next is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_at: Option<String>,
}

/// Dead letters in groups; `next` where there are more than one request looks through.
#[derive(Debug, Serialize)]
pub(crate) struct SummaryDto {
    pub(crate) items: Vec<GroupDto>,
    pub(crate) next: Option<String>,
}

/// Dead letters that failed alike. In `error` numbers and ids are `#`.
#[derive(Debug, Serialize)]
pub(crate) struct GroupDto {
    pub(crate) destination: String,
    pub(crate) reason: Option<&'static str>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) count: u64,
    pub(crate) oldest: String,
    pub(crate) newest: String,
    /// The latest of them.
    pub(crate) example: String,
    /// What the target said to it, if its client tells.
    pub(crate) answer: Option<AnswerDto>,
}

/// `/health`; `reasons` only for those who may know them.
#[derive(Debug, Serialize)]
pub(crate) struct HealthDto {
    status: &'static str,
    version: &'static str,
    store: StoreDto,
    #[serde(flatten)]
    totals: TotalsDto,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct StoreDto {
    backend: &'static str,
    durability: &'static str,
    survives_kill: bool,
    survives_power_loss: bool,
}

#[derive(Debug, Serialize)]
struct TotalsDto {
    webhooks_received: u64,
    webhooks_processed: u64,
    webhooks_failed: u64,
    webhooks_retried: u64,
    queue_depth: u64,
}

/// Everything that `crm-relay status` shows.
#[derive(Debug, Serialize)]
pub(crate) struct StatusDto {
    #[serde(flatten)]
    health: HealthDto,
    pub(crate) pid: u32,
    pub(crate) public: String,
    pub(crate) admin: Option<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) uptime_ms: u64,
    pub(crate) last_received_at: Option<String>,
    store_bytes: u64,
    disk_free_bytes: Option<u64>,
    full: bool,
    sources: Vec<SourceCountsDto>,
    destinations: Vec<DestinationDto>,
    pub(crate) missed: Vec<MissedDto>,
    /// What is worth a look although it works, in words.
    pub(crate) hints: Vec<String>,
}

/// A request that found no source, or nothing at all.
#[derive(Debug, Serialize)]
pub(crate) struct MissedDto {
    at: String,
    method: String,
    path: String,
    peer: Option<String>,
    status: u16,
}

impl MissedDto {
    pub(crate) fn new(missed: &crate::ingress::Missed) -> Self {
        Self {
            at: rfc3339(missed.at),
            method: missed.method.clone(),
            path: missed.path.clone(),
            peer: missed.peer.map(|peer| peer.to_string()),
            status: missed.status,
        }
    }
}

#[derive(Debug, Serialize)]
struct SourceCountsDto {
    name: String,
    accepted: u64,
    stored: u64,
    retired: u64,
    duplicates: u64,
}

impl SourceDto {
    pub(crate) fn new(source: &document::Source, registry: &Registry) -> Self {
        let directory = registry.directory();
        let intake = directory.intakes.get(&source.name);
        let awaits_secret = intake.is_some_and(|intake| intake.verifier.awaits_secret());
        let awaits_another = !source.adopted.is_empty();
        let until = source.adopts_until(registry.now()).filter(|_| awaits_secret || awaits_another);
        let routes = directory.routing.routes.get(&source.name).into_iter().flatten();
        Self {
            name: source.name.to_string(),
            provider: source.provider.clone(),
            parameters: parameters(source),
            allow_empty: source.allow_empty,
            dedupe: source.dedupe.as_str(),
            awaits_secret,
            awaits_secret_until: until.map(rfc3339),
            rotation: RotationDto::of_source(source, registry),
            broken: intake.and_then(|intake| intake.broken.clone()),
            paused: source.paused,
            declared: source.declared.clone(),
            created_at: rfc3339(source.created_at),
            destinations: routes.map(|route| route.destination.to_string()).collect(),
            activity: None,
        }
    }

    /// The same with what happened there.
    pub(crate) fn with(mut self, activity: ActivityDto) -> Self {
        self.activity = Some(activity);
        self
    }
}

impl ActivityDto {
    /// `stats` are those of the store, if it has seen anything of the source; older refusals were another source's of that
    /// name.
    pub(crate) fn new(
        source: &document::Source,
        stats: Option<&SourceStats>,
        metrics: &Metrics,
        refusals: &Refusals,
    ) -> Self {
        let name = source.name.as_str();
        let counters = SourceCountersDto {
            accepted: stats.map_or(0, |stats| stats.accepted),
            stored: stats.map_or(0, |stats| stats.stored),
            duplicates: stats.map_or(0, |stats| stats.duplicates),
            handshakes: metrics.handshakes_of(name),
            refused: metrics.refused_of(name),
        };
        let refusals = refusals.of(name).into_iter().filter(|refused| refused.at >= source.created_at);
        Self { counters, last_received_at: None, refusals: refusals.map(RefusalDto::new).collect() }
    }
}

impl RefusalDto {
    fn new(refused: Refused) -> Self {
        let Refused { check, detail, at, peer } = refused;
        Self { at: rfc3339(at), check, detail, peer: peer.map(|peer| peer.to_string()) }
    }
}

/// A parameter is shown only if the provider's table says that it is no secret.
fn parameters(source: &document::Source) -> Vec<ParameterDto> {
    let known = provider(&source.provider).map_or(&[][..], |provider| provider.parameters);
    let show = |(name, value): &(String, String)| {
        let open = known.iter().any(|parameter| parameter.name == name && !parameter.secret);
        ParameterDto {
            name: name.clone(),
            secret: !open,
            value: open.then(|| value.clone()),
            set: (!open).then_some(true),
            adopted: source.adopted.contains(name),
        }
    };
    source.parameters.iter().map(show).collect()
}

impl RouteDto {
    pub(crate) fn new(route: &document::Route, directory: &Directory, defaults: &crate::config::RouteDefaults) -> Self {
        let present = directory.routing.route(&route.source, &route.destination);
        let retry = Retry::of(present.map_or(&defaults.retry, |present| &present.retry));
        let listed = !retry.schedule_ms.is_empty();
        Self {
            source: route.source.to_string(),
            destination: route.destination.to_string(),
            ttl_ms: document::millis(present.map_or(defaults.ttl, |present| present.ttl)),
            max_retries: retry.max_retries,
            retry_delay_ms: (!listed).then_some(retry.delay_ms),
            retry_multiplier: (!listed).then_some(retry.multiplier),
            schedule_ms: retry.schedule_ms,
            paused: route.paused,
            declared: route.declared.clone(),
            created_at: rfc3339(route.created_at),
        }
    }
}

impl DestinationDto {
    /// Those that are something: a route leads there, an operator paused it, something of it waits or is dead, or a client
    /// serves it. One whose last route and last delivery are gone is not listed for good.
    pub(crate) fn all(directory: &Directory, report: &Report, now: Now) -> Vec<Self> {
        let mut names = directory.destination_names();
        names.extend(report.stats.destinations.iter().map(|stats| stats.destination.clone()));
        let all = names.iter().map(|name| Self::new(name.as_str(), directory, report, now));
        all.filter(Self::is_something).collect()
    }

    fn is_something(&self) -> bool {
        const OVER: [State; 2] = [State::Delivered, State::Cancelled];
        let is_open = |state: &&State| !OVER.contains(*state);
        let left = State::ALL.iter().filter(is_open).filter_map(|state| self.deliveries.get(state.as_str()));
        !self.sources.is_empty() || self.paused || self.clients > 0 || left.sum::<u64>() > 0
    }

    pub(crate) fn new(name: &str, directory: &Directory, report: &Report, now: Now) -> Self {
        let stats = report.stats.destinations.iter().find(|stats| stats.destination.as_str() == name);
        let view = report.view.iter().find(|view| view.destination.as_str() == name);
        let routes = directory.routes.values().map(|entry| &entry.document);
        let routes = routes.filter(|route| !route.paused && route.destination.as_str() == name);
        Self {
            name: name.to_owned(),
            paused: directory.routing.paused.contains(name),
            sources: routes.map(|route| route.source.to_string()).collect(),
            created: stats.map_or(0, |stats| stats.created),
            deliveries: State::ALL
                .iter()
                .map(|s| (s.as_str(), stats.map_or(0, |stats| depth::count(stats, *s))))
                .collect(),
            oldest_due_age_ms: stats.and_then(|stats| health::age(stats.oldest_due, now.wall)).map(document::millis),
            next_expiry_at: stats.and_then(|stats| stats.next_expiry).map(rfc3339),
            clients: view.map_or(0, |view| view.clients.len()),
            circuit_open: view
                .is_some_and(|view| !view.clients.is_empty() && view.clients.iter().all(|client| client.circuit_open)),
            instances: view.map_or_else(Vec::new, |view| instances(view, now)),
        }
    }
}

fn instances(view: &DestinationView, now: Now) -> Vec<ClientDto> {
    let show = |client: &ClientView| ClientDto {
        instance: client.instance.to_string(),
        label: client.label.clone(),
        token: client.token.to_string(),
        peer: client.peer.clone(),
        held: client.held,
        slots: client.slots,
        circuit_open: client.circuit_open,
        open_since: client.open_since.map(|at| rfc3339(now.wall - now.mono.since(at))),
        next_try_at: client.next_try.map(|at| rfc3339(now.wall + at.since(now.mono))),
        error: client.error.clone(),
    };
    view.clients.iter().map(show).collect()
}

impl KeyDto {
    pub(crate) fn new(key: &document::Key) -> Self {
        Self {
            source: key.source.to_string(),
            name: key.name.to_string(),
            prefix: key.prefix.clone(),
            created_at: rfc3339(key.created_at),
            revoked_at: key.revoked_at.map(Wall::from_micros).map(rfc3339),
            key: None,
        }
    }

    /// The one answer that shows the key itself.
    pub(crate) fn showing(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }
}

impl TokenDto {
    pub(crate) fn new(token: &document::Token, registry: &Registry) -> Self {
        Self {
            name: token.name.to_string(),
            prefix: token.prefix.clone(),
            destinations: token.destinations.clone(),
            rotation: RotationDto::of_token(token, registry),
            created_at: rfc3339(token.created_at),
            revoked_at: token.revoked_at.map(Wall::from_micros).map(rfc3339),
            token: None,
        }
    }

    /// The one answer that shows the token itself.
    pub(crate) fn showing(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }
}

impl DraftDto {
    pub(crate) fn new(draft: &relay_providers::Draft) -> Self {
        use base64::{Engine as _, prelude::BASE64_STANDARD};

        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            method: draft.method.clone(),
            url: draft.url.clone(),
            headers: draft.headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
            body: BASE64_STANDARD.encode(&draft.body),
        }
    }
}

impl DeliveryDto {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event_id: delivery.event.to_string(),
            source: delivery.source.to_string(),
            destination: delivery.destination.to_string(),
            state: delivery.state.as_str(),
            reason: delivery.reason.map(Reason::as_str),
            replay: delivery.replay,
            attempts: delivery.attempts,
            tries: delivery.tries,
            losses: delivery.losses,
            body_size: delivery.body_bytes,
            ready_at: rfc3339(delivery.ready_at),
            due_at: rfc3339(delivery.due_at),
            expires_at: rfc3339(delivery.expires_at),
            changed_at: rfc3339(delivery.changed_at),
            lease: delivery.lease.map(|lease| LeaseDto {
                instance: lease.instance.to_string(),
                since: rfc3339(lease.since),
                until: rfc3339(lease.until),
            }),
            last: delivery.last.as_ref().map(AttemptDto::new),
            history: None,
        }
    }

    /// With all tries, oldest first.
    pub(crate) fn with_history(self, history: &[Attempt]) -> Self {
        Self { history: Some(history.iter().map(AttemptDto::new).collect()), ..self }
    }
}

impl AttemptDto {
    fn new(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            outcome: attempt.class.as_str(),
            counted: attempt.counted,
            status: attempt.status,
            error: attempt.error.as_deref().map(str::to_owned),
            answer: attempt.answer.as_deref().map(AnswerDto::new),
            duration_ms: attempt.duration_ms,
            at: rfc3339(attempt.at),
        }
    }
}

impl AnswerDto {
    pub(crate) fn new(answer: &Answer) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            reason: text(&answer.reason),
            location: text(&answer.location),
            body: text(&answer.body),
            cut: answer.cut,
        }
    }
}

impl HeaderDto {
    fn new(name: &[u8], value: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name).into_owned();
        match std::str::from_utf8(value) {
            Ok(text) => Self::Text(name, text.to_owned()),
            Err(_) => Self::Bytes(name, String::from_utf8_lossy(value).into_owned(), hex(value)),
        }
    }
}

impl EventDto {
    pub(crate) fn of_row(row: &EventRow) -> Self {
        Self::new(&row.event, row.body_bytes, &row.deliveries)
    }

    pub(crate) fn new(event: &Event, body_size: u64, deliveries: &[Delivery]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            id: event.id.to_string(),
            source: event.source.to_string(),
            method: text(&event.method),
            path: text(&event.path),
            query: event.query.as_deref().map(text),
            headers: event.headers.iter().map(|(name, value)| HeaderDto::new(name, value)).collect(),
            body_size,
            body_sha256: hex(&event.body_sha256),
            received_at: rfc3339(event.received_at),
            deliveries: deliveries.iter().map(DeliveryDto::new).collect(),
        }
    }
}

impl HealthDto {
    pub(crate) fn new(report: &Report, promises: &Promises, with_reasons: bool) -> Self {
        let Totals { received, processed, failed, retried, queue_depth } = report.totals();
        Self {
            status: if report.reasons.is_empty() { "ok" } else { "degraded" },
            version: env!("CARGO_PKG_VERSION"),
            store: StoreDto {
                backend: promises.backend,
                durability: promises.durability,
                survives_kill: promises.survives_kill,
                survives_power_loss: promises.survives_power_loss,
            },
            totals: TotalsDto {
                webhooks_received: received,
                webhooks_processed: processed,
                webhooks_failed: failed,
                webhooks_retried: retried,
                queue_depth,
            },
            reasons: with_reasons.then(|| report.reasons.iter().map(ToString::to_string).collect()),
        }
    }
}

impl StatusDto {
    pub(crate) fn new(report: &Report, promises: &Promises, directory: &Directory, now: Now) -> Self {
        let source = |stats: &SourceStats| SourceCountsDto {
            name: stats.source.to_string(),
            accepted: stats.accepted,
            stored: stats.stored,
            retired: stats.retired,
            duplicates: stats.duplicates,
        };
        Self {
            health: HealthDto::new(report, promises, true),
            pid: std::process::id(),
            public: String::new(),
            admin: None,
            public_url: None,
            uptime_ms: 0,
            last_received_at: None,
            store_bytes: report.stats.store_bytes,
            disk_free_bytes: report.stats.disk_free_bytes,
            full: report.stats.full,
            sources: report.stats.sources.iter().map(source).collect(),
            destinations: DestinationDto::all(directory, report, now),
            missed: Vec::new(),
            hints: Vec::new(),
        }
    }
}
