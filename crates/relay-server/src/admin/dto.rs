//! Makes what the admin API answers of what is stored and known: the one place for it.

use relay_core::{
    delivery::{Attempt, Delivery, State},
    event::Event,
    hub::{ClientView, DestinationView, ServerView},
    quota::{self, Day},
    time::{Now, Wall},
};
use relay_providers::provider;
use relay_store::seam::{EventRow, Indexed, NameCount, NameCounts, Promises, SourceStats};

use crate::{
    api::{
        ActivityDto, AnswerDto, AttemptDto, BackupDto, ClientDto, DeliveryDto, DestinationDto, DraftDto, EventDto,
        EventNameDto, HeaderDto, HealthDto, KeyDto, LeaseDto, MarkDto, MissedDto, ParameterDto, QuotaDto, RefusalDto,
        RotationDto, RouteDto, ServerDto, Shown, SourceCountersDto, SourceCountsDto, SourceDto, StatusDto, StoreDto,
        TokenDto, TotalsDto,
    },
    backups::CopiesShown,
    clock::rfc3339,
    cure::cure,
    depth,
    directory::Directory,
    document::{self, Retry},
    health::{self, Report, Totals},
    marks::Standing,
    metrics::Metrics,
    quotas::Quotas,
    refusals::{KeptRefusal, Missed, Refusals},
    registry::Registry,
    secret::hex,
    state::State as Server,
};

mod alert;
mod audit;
mod people;
mod rotation;
pub(super) mod withheld;

impl MissedDto {
    pub(crate) fn new(missed: &Missed) -> Self {
        Self {
            at: rfc3339(missed.at),
            method: missed.method.clone(),
            path: missed.path.clone(),
            peer: missed.origin.ip().map(|ip| ip.to_string()),
            proxy: missed.origin.proxy(),
            status: missed.status,
        }
    }
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
            url: registry.url_of(&source.name),
            provider: source.provider.clone(),
            parameters: parameters(source),
            network: source.network.clone(),
            allow_empty: source.allow_empty,
            dedupe: source.dedupe,
            marks: source.marks.iter().map(MarkDto::of).collect(),
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

impl MarkDto {
    fn of(mark: &document::MarkDefinition) -> Self {
        Self { name: mark.name.to_string(), path: mark.path.clone(), indexed_from: None, indexed_to: None }
    }

    /// The same, and how far it goes.
    pub(crate) fn standing(standing: Standing) -> Self {
        let Standing { name, path, indexed } = standing;
        let (indexed_from, indexed_to) = indexed_between(indexed.as_ref());
        Self { name: name.to_string(), path, indexed_from, indexed_to }
    }
}

/// How far a mark goes, as it is told: all that is kept has no beginning, and what goes nowhere yet no end.
pub(crate) fn indexed_between(indexed: Option<&Indexed>) -> (Option<String>, Option<String>) {
    let from = indexed.filter(|indexed| indexed.from > Wall::MIN).map(|indexed| rfc3339(indexed.from));
    (from, indexed.map(|indexed| rfc3339(indexed.to)))
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
            refused: metrics.refused_of(name).into_iter().map(|(check, count)| (check.to_owned(), count)).collect(),
        };
        let refusals = refusals.of(name).into_iter().filter(|refused| refused.at >= source.created_at);
        let refusals = refusals.map(RefusalDto::new).collect();
        let quotas = Vec::new();
        Self { counters, quotas, last_received_at: None, names: Vec::new(), names_since: None, refusals }
    }

    /// The same with what it took today of what it takes in a day.
    pub(crate) fn with_quotas(self, source: &document::Source, quotas: &Quotas, now: Wall) -> Self {
        let bounds = source.network.terms().unwrap_or_default().quota;
        let quotas = bounds.bounds().map(|(measure, quota)| {
            let used = quotas.used(&source.name, measure, now);
            QuotaDto {
                measure: measure.as_str().to_owned(),
                used,
                quota,
                near: quota::is_near(used, quota),
                resets_in_ms: Day::left(now).as_millis() as u64,
            }
        });
        Self { quotas: quotas.collect(), ..self }
    }

    /// The same with the names of its events.
    pub(crate) fn with_names(self, counts: NameCounts) -> Self {
        let named = |NameCount { name, events, last }: NameCount| EventNameDto {
            name: name.as_deref().map(str::to_owned),
            events,
            last_at: rfc3339(last),
        };
        let names = counts.names.into_iter().map(named).collect();
        Self { names, names_since: counts.since.map(rfc3339), ..self }
    }
}

impl RefusalDto {
    fn new(refused: KeptRefusal) -> Self {
        let KeptRefusal { check, detail, at, origin } = refused;
        Self {
            at: rfc3339(at),
            check: check.to_owned(),
            detail,
            remedy: cure(check).to_owned(),
            peer: origin.ip().map(|ip| ip.to_string()),
            proxy: origin.proxy(),
        }
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
        let is_left = |state: &State| state.is_open() || state.is_dead_letter();
        let left = State::ALL.iter().zip(&self.deliveries).filter(|(state, _)| is_left(state)).map(|(_, count)| count);
        !self.sources.is_empty() || self.paused || self.clients > 0 || left.sum::<u64>() > 0
    }

    pub(crate) fn new(name: &str, directory: &Directory, report: &Report, now: Now) -> Self {
        let stats = report.stats.destinations.iter().find(|stats| stats.destination.as_str() == name);
        let view = report.hub.destinations.iter().find(|view| view.destination.as_str() == name);
        let routes = directory.routes.values().map(|entry| &entry.document);
        let routes = routes.filter(|route| !route.paused && route.destination.as_str() == name);
        Self {
            name: name.to_owned(),
            paused: directory.routing.paused.contains(name),
            sources: routes.map(|route| route.source.to_string()).collect(),
            created: stats.map_or(0, |stats| stats.created),
            deliveries: State::ALL.map(|state| stats.map_or(0, |stats| depth::count(stats, state))),
            oldest_due_age_ms: stats.and_then(|stats| health::age(stats.oldest_due, now.wall)).map(document::millis),
            next_expiry_at: stats.and_then(|stats| stats.next_expiry).map(rfc3339),
            clients: view.map_or(0, |view| view.clients.len() + view.elsewhere as usize),
            elsewhere: view.map_or(0, |view| view.elsewhere as usize),
            circuit_open: view.is_some_and(is_down),
            instances: view.map_or_else(Vec::new, |view| instances(view, now)),
        }
    }
}

/// Whether it has clients, and none of them, at whatever server, gets through.
fn is_down(view: &DestinationView) -> bool {
    let anybody = !view.clients.is_empty() || view.elsewhere > 0;
    anybody && view.clients.iter().all(|client| client.circuit_open) && view.elsewhere_down == view.elsewhere
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
    pub(crate) fn new(key: &document::Key, registry: &Registry) -> Self {
        let used = registry.uses().key_used(&key.source, key.name.as_str()).filter(|at| *at >= key.created_at);
        Self {
            source: key.source.to_string(),
            name: key.name.to_string(),
            prefix: key.prefix.clone(),
            created_at: rfc3339(key.created_at),
            last_used_at: used.map(rfc3339),
            revoked_at: key.revoked_at.map(Wall::from_micros).map(rfc3339),
            key: None,
        }
    }

    /// The one answer that shows the key itself.
    pub(crate) fn showing(self, key: String) -> Self {
        Self { key: Some(Shown(key)), ..self }
    }
}

impl TokenDto {
    pub(crate) fn new(token: &document::Token, registry: &Registry) -> Self {
        let used = registry.token_used(&token.name).filter(|at| *at >= token.created_at);
        Self {
            name: token.name.to_string(),
            prefix: token.prefix.clone(),
            destinations: token.destinations.clone(),
            pins: token.pins.clone(),
            rotation: RotationDto::of_token(token, registry),
            created_at: rfc3339(token.created_at),
            last_used_at: used.map(rfc3339),
            revoked_at: token.revoked_at.map(Wall::from_micros).map(rfc3339),
            token: None,
        }
    }

    /// The one answer that shows the token itself.
    pub(crate) fn showing(self, token: String) -> Self {
        Self { token: Some(Shown(token)), ..self }
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
            state: delivery.state,
            reason: delivery.reason,
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
            url: None,
        }
    }

    /// With its page in the dashboard at this URL.
    pub(crate) fn linked(self, dashboard: Option<&str>) -> Self {
        let url = dashboard.map(|base| format!("{base}deliveries/{}", self.id));
        Self { url, ..self }
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
            outcome: attempt.class,
            counted: attempt.counted,
            status: attempt.status,
            error: attempt.error.as_deref().map(str::to_owned),
            answer: attempt.answer.as_deref().map(AnswerDto::from),
            duration_ms: attempt.duration_ms,
            at: rfc3339(attempt.at),
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

    /// With the pages of it and of its deliveries in the dashboard at this URL.
    pub(crate) fn linked(self, dashboard: Option<&str>) -> Self {
        let url = dashboard.map(|base| format!("{base}events/{}", self.id));
        let deliveries = self.deliveries.into_iter().map(|delivery| delivery.linked(dashboard)).collect();
        Self { deliveries, url, ..self }
    }

    pub(crate) fn new(event: &Event, body_size: u64, deliveries: &[Delivery]) -> Self {
        let is_erased = event.is_erased();
        let text = |bytes: &[u8]| if is_erased { String::new() } else { String::from_utf8_lossy(bytes).into_owned() };
        let header = |name: &[u8], value: &[u8]| {
            let named = || HeaderDto::Withheld([String::from_utf8_lossy(name).into_owned()]);
            if is_erased { named() } else { HeaderDto::new(name, value) }
        };
        Self {
            id: event.id.to_string(),
            erased: is_erased,
            source: event.source.to_string(),
            name: event.name.as_deref().map(str::to_owned),
            key: event.key.as_ref().map(ToString::to_string),
            method: text(&event.method),
            path: text(&event.path),
            query: event.query.as_deref().filter(|_| !is_erased).map(text),
            headers: event.headers.iter().map(|(name, value)| header(name, value)).collect(),
            body_size,
            body_sha256: if is_erased { String::new() } else { hex(&event.body_sha256) },
            received_at: rfc3339(event.received_at),
            deliveries: deliveries.iter().map(DeliveryDto::new).collect(),
            url: None,
        }
    }
}

impl HealthDto {
    /// Of a server; `with_reasons` only for those who may know them.
    pub(crate) fn of(state: &Server, report: &Report, with_reasons: bool) -> Self {
        let relay = state.relay.clone().filter(|_| with_reasons);
        Self { relay, ..Self::new(report, &state.promises, with_reasons) }
    }

    fn new(report: &Report, promises: &Promises, with_reasons: bool) -> Self {
        let Totals { received, processed, failed, retried, queue_depth } = report.totals();
        Self {
            status: if report.reasons.is_empty() { "ok" } else { "degraded" }.to_owned(),
            relay: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: StoreDto {
                backend: promises.backend.to_owned(),
                durability: promises.durability.to_owned(),
                survives_kill: promises.survives_kill,
                survives_power_loss: promises.survives_power_loss,
                sealed_with: promises.sealed_with.filter(|_| with_reasons),
                commits: report.condition.commits,
                profile: report.condition.durability.as_str().to_owned(),
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

impl BackupDto {
    pub(crate) fn new(shown: CopiesShown) -> Self {
        let newest = shown.newest.as_ref();
        Self {
            dir: shown.dir,
            newest_at: newest.map(|copy| rfc3339(copy.at)),
            path: newest.map(|copy| copy.path.display().to_string()),
            events: newest.map(|copy| copy.events),
            bytes: newest.map(|copy| copy.bytes),
            error: shown.trouble,
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
            backup: None,
            tls: false,
            host: None,
            proxy_protocol: false,
            admin: None,
            public_url: None,
            uptime_ms: 0,
            last_received_at: None,
            store_bytes: report.stats.store_bytes,
            disk_free_bytes: report.stats.disk_free_bytes,
            full: report.stats.full,
            sources: report.stats.sources.iter().map(source).collect(),
            destinations: DestinationDto::all(directory, report, now),
            servers: report.hub.servers.iter().map(ServerDto::new).collect(),
            missed: Vec::new(),
            hints: Vec::new(),
        }
    }
}

impl ServerDto {
    fn new(server: &ServerView) -> Self {
        Self {
            run: format!("{:016x}", server.run),
            name: server.about.name.to_string(),
            address: server.about.address.to_string(),
            version: server.about.version.to_string(),
            clients: server.clients,
            clock_ahead_ms: server.clock.map(|clock| clock.ahead / 1_000),
            same_configuration: server.same_config,
        }
    }
}
