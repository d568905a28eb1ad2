//! The server's configuration out of the layers.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::Uri;
use relay_core::{
    delivery::retry::{RetryPolicy, STANDARD_WEBHOOKS, Schedule},
    limits,
    name::Name,
};
use relay_net::proxies::{Field, Proxies};
use relay_providers::Given;
use relay_server::directory::wrong_with;
use relay_server::{
    budget,
    config::{
        BackupPlan, Config, Credentials, DeclaredRoute, DeclaredSource, Dedupe, Fetching, MarkPath, NetworkPolicy,
        ProxyChoice, ProxyProtocol, RouteDefaults,
    },
};
use relay_store::{
    cipher::{Ciphers, fingerprint_of},
    redis::Options,
};

use super::{
    alert,
    client::{Fields, listen},
    data_dir, encryption,
    fault::{Faults, Origin},
    kind::Value,
    layers::{Flags, Layers},
    proxy,
    raw::Section,
    redis,
    secret::Secret,
    settings::{Process, kind_of},
    target, tls, traces,
};
use crate::{
    place,
    quantity::{self, Bare},
};

/// Everything a server needs but the secrets that may have to be generated first.
#[derive(Debug)]
pub(crate) struct Plan {
    config: Config,
    /// The Redis that the store is in; `None`: the embedded store.
    redis: Option<Options>,
    /// The keys that it is sealed with.
    ciphers: Ciphers,
    /// How long it serves on after it was told to stop.
    stop_delay: Duration,
    /// What is worth saying once at start.
    pub(crate) notes: Vec<String>,
    /// Secrets that were given.
    pub(crate) given: GivenSecrets,
}

#[cfg(test)]
impl Plan {
    /// What it would be built with.
    pub(super) fn circuit_pause_max(&self) -> Duration {
        self.config.circuit_pause_max
    }
}

/// Secrets that were given; what is `None` comes out of the credentials file.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenSecrets {
    /// `API_KEY`.
    pub(crate) api_key: Option<Secret>,
    /// `RELAY_TOKEN`.
    pub(crate) relay_token: Option<Secret>,
    /// `ADMIN_TOKEN`.
    pub(crate) admin_token: Option<Secret>,
}

impl Plan {
    /// The data directory.
    pub(crate) fn data_dir(&self) -> &PathBuf {
        &self.config.data_dir
    }

    /// The Redis that the store is in; `None`: the embedded store.
    pub(crate) fn redis(&self) -> Option<&Options> {
        self.redis.as_ref()
    }

    /// The keys that the store is sealed with.
    pub(crate) fn ciphers(&self) -> &Ciphers {
        &self.ciphers
    }

    /// The same, which is to be shared by all servers on its store from now on.
    pub(crate) fn accepted(self, accepts: bool) -> Self {
        Self { config: Config { accepts, ..self.config }, ..self }
    }

    /// `DISK_RESERVE`.
    pub(crate) fn disk_reserve(&self) -> u64 {
        self.config.disk_reserve_bytes
    }

    /// `STOP_DELAY`.
    pub(crate) const fn stop_delay(&self) -> Duration {
        self.stop_delay
    }

    /// `PUBLIC_URL`.
    pub(crate) fn public_url(&self) -> Option<String> {
        self.config.public_url.clone()
    }

    /// What it declares, for a server that has started: without secrets, which are settled then.
    pub(crate) const fn declared(&self) -> &Config {
        &self.config
    }

    /// With all secrets.
    pub(crate) fn complete(self, credentials: Credentials) -> Config {
        Config { credentials, ..self.config }
    }
}

/// Builds the server's configuration.
///
/// # Errors
/// Every fault of every layer.
pub(crate) fn plan(mut layers: Layers) -> Result<Plan, Faults> {
    let route_defaults = route_defaults(&mut layers);
    let (sources, routes) = declared(&mut layers, &route_defaults);
    let alerts = alert::declared(&mut layers);
    check_sizes(&mut layers);
    check_retention(&mut layers);
    check_places(&mut layers);
    check_ways(&mut layers);
    check_backups(&mut layers);
    check_proxies(&mut layers);
    let acme = tls::acme(&mut layers);
    let tls = tls::pairs(&mut layers, acme.as_ref());
    let redirect_listen = tls::redirect(&mut layers, acme.is_some() || !tls.is_empty());
    let clients = tls::clients(&mut layers, acme.is_some() || !tls.is_empty());
    let traces = traces::config(&mut layers);
    let redis = redis::options(&mut layers);
    let ciphers = match &redis {
        Some(options) => options.ciphers.clone(),
        None => encryption::ciphers(&mut layers),
    };
    if !layers.faults.0.is_empty() {
        return Err(layers.faults);
    }
    let secret = |name: &str| layers.text(name).map(Secret::new);
    let given = GivenSecrets {
        api_key: secret("API_KEY"),
        relay_token: secret("RELAY_TOKEN"),
        admin_token: secret("ADMIN_TOKEN"),
    };
    let nothing = Credentials::from_digests([[0; 32]; 3]);
    let config = Config {
        listen: public_listen(&layers),
        tls,
        acme,
        redirect_listen,
        clients,
        proxies: Arc::new(proxies(&layers)),
        proxy_protocol: proxy_protocol(&layers),
        allowed_hosts: allowed_hosts(&layers),
        admin_listen: listen(&layers, "ADMIN_LISTEN"),
        admin_hosts: admin_hosts(&layers),
        dashboard: layers.text("DASHBOARD").as_deref() != Some("off"),
        admin_url: layers.text("ADMIN_URL").and_then(|url| target::admin_url(&url).ok()).map(|url| url.to_string()),
        server: redis.as_ref().map_or_else(String::new, |_| server_name(&layers)),
        accepts: false,
        relay_name: layers.text("RELAY_NAME"),
        data_dir: data_dir(&layers),
        runtime_dir: runtime_dir(),
        public_url: layers.text("PUBLIC_URL").map(|url| target::public_url(&url)),
        credentials: nothing,
        route_defaults,
        sources,
        routes,
        alerts,
        backups: backups(&layers, &ciphers),
        cors_origins: layers.list("CORS_ORIGINS"),
        // Less memory than the usual limit needs lowers that limit with it.
        body_bytes_max: layers.number("MAX_BODY_BYTES").min(body_bytes_fit(&layers)),
        inflight_bytes_max: layers.number("MAX_INFLIGHT_BYTES"),
        disk_reserve_bytes: layers.number("DISK_RESERVE"),
        dedupe_window: layers.span("DEDUPE_WINDOW"),
        retention_delivered: layers.span("RETENTION_DELIVERED"),
        retention_dead: layers.span("RETENTION_DEAD"),
        lease: layers.span("LEASE"),
        retry_after_max: layers.span("RETRY_AFTER_MAX"),
        circuit_pause_max: circuit_pause_max(&layers),
        shutdown_grace: layers.span("SHUTDOWN_GRACE"),
        summary_interval: layers.span("HEALTH_CHECK_INTERVAL"),
        fetching: fetching(&layers),
        sealed_with: fingerprint_of(&ciphers),
        traces,
    };
    Ok(Plan { config, redis, ciphers, stop_delay: layers.span("STOP_DELAY"), notes: layers.notes, given })
}

/// When and where the store is copied.
fn backups(layers: &Layers, ciphers: &Ciphers) -> Option<BackupPlan> {
    let (dir, ciphers) = (PathBuf::from(layers.text("BACKUP_DIR")?), ciphers.clone());
    Some(BackupPlan { dir, every: layers.span("BACKUP_EVERY"), keep: layers.number("BACKUP_KEEP") as usize, ciphers })
}

/// A copy that goes with the store is none, and a Redis is copied by itself.
fn check_backups(layers: &mut Layers) {
    let Some(dir) = layers.text("BACKUP_DIR").map(PathBuf::from) else {
        for name in ["BACKUP_EVERY", "BACKUP_KEEP"] {
            if layers.given(name).is_some() {
                layers.notes.push(format!("{name} changes nothing: BACKUP_DIR says where to, and is not set"));
            }
        }
        return;
    };
    // As they are written: a disk that hangs keeps nobody from starting. Links are followed by whoever copies.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_default();
    if layers.given("REDIS_URL").is_some() {
        let want = "the store is in a Redis, whose own copies are its backups: replicas, its append-only file and RDB \
                    (docs/operating/redis.md); want it unset";
        layers.fault("BACKUP_DIR", want);
    } else if whole(&dir).starts_with(whole(&data_dir(layers))) {
        layers.fault("BACKUP_DIR", "that is in DATA_DIR, and is lost with it: want a directory on another disk");
    }
}

/// Where systemd lets a file outlive the service that is started anew: the first of them.
fn runtime_dir() -> Option<PathBuf> {
    let dirs = super::environment("RUNTIME_DIRECTORY")?;
    dirs.split(':').next().filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// What a server is called among those that share its store: the same over restarts, and another one for each data directory of
/// a machine. The embedded store has one owner, whom nobody has to tell from others.
fn server_name(layers: &Layers) -> String {
    layers.text("CONSUMER_NAME").unwrap_or_else(|| {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy().into_owned();
        let dir = data_dir(layers);
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, dir.as_os_str().as_encoded_bytes());
        let digest = digest.as_ref();
        format!("{host}-{:02x}{:02x}", digest[0], digest[1])
    })
}

/// Names under which the admin listener is asked: those that were given, and that of `ADMIN_URL`.
fn admin_hosts(layers: &Layers) -> Vec<String> {
    let mut hosts = layers.list("ADMIN_HOSTS");
    let url = layers.text("ADMIN_URL").and_then(|url| target::admin_url(&url).ok());
    hosts.extend(url.as_ref().and_then(|url| url.host()).map(str::to_owned));
    hosts
}

fn circuit_pause_max(layers: &Layers) -> Duration {
    match (layers.given("CIRCUIT_PAUSE_MAX"), layers.process) {
        (None, Process::Dev) => limits::DEV_CIRCUIT_PAUSE_MAX,
        _ => layers.span("CIRCUIT_PAUSE_MAX"),
    }
}

/// The way out to where providers keep their keys.
fn fetching(layers: &Layers) -> Fetching {
    let given = layers.text("RELAY_PROXY").and_then(|text| proxy::read(&text).ok());
    let choose = move |url: &_| given.clone().or_else(|| proxy::from_environment(url, &super::environment));
    Fetching {
        ca_file: layers.text("RELAY_CA_FILE").map(PathBuf::from),
        proxy: ProxyChoice::new(choose),
        ..Fetching::default()
    }
}

/// Reads a `schedule`: a name, or delays with commas between them.
///
/// # Errors
/// What would be right.
pub(crate) fn schedule(text: &str) -> Result<Vec<Duration>, String> {
    if text == "standard-webhooks" {
        return Ok(STANDARD_WEBHOOKS.to_vec());
    }
    let delays: Result<Vec<Duration>, String> =
        text.split(',').map(|part| quantity::duration(part.trim(), Bare::Seconds)).collect();
    let delays = delays.map_err(|_| "want standard-webhooks, or delays like 5s, 5m, 2h".to_owned())?;
    let most = limits::MAX_RETRIES_MAX;
    if delays.len() > most as usize {
        return Err(format!("{} delays; want {most} at most", delays.len()));
    }
    match delays.iter().find(|delay| **delay > limits::RETRY_DELAY_MAX) {
        Some(long) => Err(format!(
            "a delay of {}; want {} at most",
            quantity::show_duration(*long),
            quantity::show_duration(limits::RETRY_DELAY_MAX)
        )),
        None => Ok(delays),
    }
}

fn public_listen(layers: &Layers) -> SocketAddr {
    let host = layers.text("SERVER_HOST").unwrap_or_default();
    let host = target::host_address(&host).unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    SocketAddr::new(host, layers.number("SERVER_PORT") as u16)
}

/// Who is believed whom he brings.
fn proxies(layers: &Layers) -> Proxies {
    let word = layers.text("FORWARDED_HEADER").unwrap_or_default();
    let field = Field::ALL.into_iter().find(|field| field.as_str() == word).unwrap_or_default();
    let trusted = layers.list("TRUSTED_PROXIES");
    Proxies { trusted: trusted.iter().filter_map(|text| text.parse().ok()).collect(), field }
}

/// The listeners on which they say whom they bring before anything else.
fn proxy_protocol(layers: &Layers) -> ProxyProtocol {
    let named = layers.list("PROXY_PROTOCOL");
    let names = |listener: &str| named.iter().any(|named| named == listener);
    ProxyProtocol { public: names("public"), clients: names("clients"), redirect: names("redirect") }
}

/// What is said of proxies needs proxies, and the listeners that they speak to.
fn check_proxies(layers: &mut Layers) {
    let asked = proxy_protocol(layers);
    for (asked, listen) in [(asked.clients, "CLIENTS_LISTEN"), (asked.redirect, "REDIRECT_LISTEN")] {
        if asked && layers.text(listen).is_none_or(|listen| listen == "off") {
            layers.fault(
                "PROXY_PROTOCOL",
                format!("names a listener that there is none of: want {listen}, or not this word"),
            );
        }
    }
    if layers.given("TRUSTED_PROXIES").is_some() {
        let everybody = |network: &String| network.ends_with("/0");
        if layers.list("TRUSTED_PROXIES").iter().any(everybody) {
            let want =
                "that is everybody, who could say to come from anywhere: want the addresses of your proxies alone";
            layers.fault("TRUSTED_PROXIES", want);
        }
        return;
    }
    if asked != ProxyProtocol::default() {
        let want = "nobody would be heard: want TRUSTED_PROXIES with the addresses of the proxies that speak it";
        layers.fault("PROXY_PROTOCOL", want);
    }
    if layers.given("FORWARDED_HEADER").is_some() {
        layers.notes.push("FORWARDED_HEADER changes nothing: TRUSTED_PROXIES names no proxy".into());
    }
}

/// The names under which the public listener is asked, where that is bounded at all.
fn allowed_hosts(layers: &Layers) -> Vec<String> {
    let mut hosts = layers.list("ALLOWED_HOSTS");
    let url = layers.text("PUBLIC_URL").and_then(|url| target::base_url(&url).ok());
    if !hosts.is_empty() {
        hosts.extend(url.and_then(|url| url.host().map(str::to_owned)));
    }
    hosts
}

/// The largest body that `MAX_INFLIGHT_BYTES` leaves room for, in whole KiB.
fn body_bytes_fit(layers: &Layers) -> u64 {
    budget::body_bytes_max(layers.number("MAX_INFLIGHT_BYTES")) >> 10 << 10
}

/// I4, I16: what is within the limit can come in, at least while nothing else does.
fn check_sizes(layers: &mut Layers) {
    // With less memory hardly two of the largest are under way at a time, in and out.
    const BODIES_MEANT: u64 = 4;
    let (body, inflight) = (layers.number("MAX_BODY_BYTES"), layers.number("MAX_INFLIGHT_BYTES"));
    let (fit, show) = (body_bytes_fit(layers), quantity::show_size);
    let least = budget::inflight_bytes_min(body).next_multiple_of(1 << 20);
    let is_given = layers.given("MAX_BODY_BYTES").is_some();
    // Whichever of the two is what was not to be expected.
    let lacks_room =
        layers.given("MAX_INFLIGHT_BYTES").is_some() && body <= budget::body_bytes_max(limits::MAX_INFLIGHT_BYTES);
    if body > fit && is_given && lacks_room {
        let text = format!(
            "has no room for a body of MAX_BODY_BYTES ({}): half of it is for what comes in, heads included; want at least {}, or \
             MAX_BODY_BYTES at most {}",
            show(body),
            show(least),
            show(fit),
        );
        layers.fault("MAX_INFLIGHT_BYTES", text);
    } else if body > fit && is_given {
        let text = format!(
            "such a body could never come in: half of MAX_INFLIGHT_BYTES ({}) is for what comes in, heads included, so at most {}; \
             or MAX_INFLIGHT_BYTES at least {}",
            show(inflight),
            show(fit),
            show(least),
        );
        layers.fault("MAX_BODY_BYTES", text);
    } else if body > fit {
        layers.notes.push(format!(
            "MAX_BODY_BYTES is {} and not {}: MAX_INFLIGHT_BYTES ({}) has no room for a larger body; {} would have",
            show(fit),
            show(body),
            show(inflight),
            show(least),
        ));
    } else if is_given && body > inflight / BODIES_MEANT {
        layers.notes.push(format!(
            "MAX_BODY_BYTES ({}) is more than a quarter of MAX_INFLIGHT_BYTES ({}): bodies of that size come in one at a time, and \
             others are answered 503 meanwhile",
            show(body),
            show(inflight),
        ));
    }
    if let Some(Value::Text(url)) = layers.value("PUBLIC_URL")
        && target::base_url(&url).is_ok_and(|url| matches!(url.scheme_str(), Some("ws" | "wss")))
    {
        layers.fault("PUBLIC_URL", "senders need http or https");
    }
}

/// Where it listens and keeps its things, as far as that can be told beforehand.
fn check_places(layers: &mut Layers) {
    if let Err(want) = place::fits_a_socket(&data_dir(layers)) {
        layers.fault("DATA_DIR", want);
    }
    let (public, admin) = (public_listen(layers), listen(layers, "ADMIN_LISTEN"));
    if let Some(admin) = admin.filter(|admin| is_same_port(public, *admin)) {
        let name = if layers.given("ADMIN_LISTEN").is_some() { "ADMIN_LISTEN" } else { "SERVER_PORT" };
        let text = format!("{public} and ADMIN_LISTEN {admin} are the same port; want two");
        layers.fault(name, text);
    }
    let mut taken: Vec<SocketAddr> = [Some(public), admin].into_iter().flatten().collect();
    for name in ["REDIRECT_LISTEN", "CLIENTS_LISTEN"] {
        let Some(own) = listen(layers, name) else { continue };
        if taken.iter().any(|other| is_same_port(*other, own)) {
            layers.fault(name, format!("{own} is the port of another listener; want one of its own"));
        }
        taken.push(own);
    }
}

/// Whether one of two addresses could not be listened at beside the other.
fn is_same_port(one: SocketAddr, other: SocketAddr) -> bool {
    let (first, second) = (one.ip(), other.ip());
    let is_any = first.is_unspecified() || second.is_unspecified();
    one.port() != 0 && one.port() == other.port() && (first == second || first.is_ipv4() == second.is_ipv4() && is_any)
}

/// What works and is hardly meant.
fn check_ways(layers: &mut Layers) {
    // Shorter than the shortest webhook of any platform: somebody forgot the unit.
    const BODY_BYTES_MEANT: u64 = 256;
    const NAME_BYTES_MAX: usize = 63;
    let body = layers.number("MAX_BODY_BYTES");
    if body < BODY_BYTES_MEANT {
        layers
            .notes
            .push(format!("MAX_BODY_BYTES is {body} bytes: nearly every webhook is longer; MiB are written 25MiB"));
    }
    let public = layers.text("PUBLIC_URL").and_then(|url| target::base_url(&url).ok());
    if let Some(want) = public.as_ref().and_then(target::wrong_path) {
        layers.notes.push(format!("PUBLIC_URL: {want}, unless a proxy before it takes that part away"));
    }
    if layers.text("RELAY_NAME").is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        layers
            .fault("RELAY_NAME", format!("it is part of what names an incident: want at most {NAME_BYTES_MAX} bytes"));
    }
    // Any host that a provider may keep its keys at stands for all.
    let elsewhere = Uri::from_static("https://keys.invalid/");
    let given = layers.text("RELAY_PROXY").and_then(|text| proxy::read(&text).ok());
    let proxy = given.or_else(|| proxy::from_environment(&elsewhere, &super::environment));
    layers.notes.extend(proxy::note(&elsewhere, proxy.as_ref(), &super::environment));
}

/// I20: what is gone before its key cannot be found by a repeat.
fn check_retention(layers: &mut Layers) {
    let window = layers.span("DEDUPE_WINDOW");
    for name in ["RETENTION_DELIVERED", "RETENTION_DEAD"] {
        if layers.span(name) < window {
            let text = format!(
                "less than DEDUPE_WINDOW ({}): a webhook that is sent again by then would be taken for a new one; keep \
                 deliveries longer, or lower DEDUPE_WINDOW",
                quantity::show_duration(window)
            );
            layers.fault(name, text);
        }
    }
}

/// The policy of routes without one of their own, for a command that reads the store of a server that does not run.
pub(crate) fn policy(path: Option<&Path>) -> RouteDefaults {
    route_defaults(&mut Layers::collect(Process::Server, path, &Flags::new(), &super::environment))
}

fn route_defaults(layers: &mut Layers) -> RouteDefaults {
    let ttl = layers.span("MESSAGE_TTL");
    let retry = RetryPolicy {
        max_retries: layers.number("MAX_RETRIES") as u32,
        schedule: Schedule::Exponential {
            delay: layers.span("RETRY_DELAY"),
            multiplier: layers.factor("RETRY_MULTIPLIER"),
        },
    };
    // A TTL shortened on its own is a wish of its own; the two contradict each other only where both were chosen.
    let chosen =
        ["MAX_RETRIES", "RETRY_DELAY", "RETRY_MULTIPLIER"].into_iter().find(|name| layers.given(name).is_some());
    if let Some(name) = chosen
        && let Some(text) = too_long(&retry, ttl)
    {
        layers.fault(name, text);
    }
    RouteDefaults { ttl, retry }
}

/// I10: a schedule longer than its TTL would promise tries that never come.
fn too_long(retry: &RetryPolicy, ttl: Duration) -> Option<String> {
    let total = retry.span();
    (total > ttl).then(|| {
        let seconds = Duration::from_secs(total.as_secs());
        format!(
            "the retries take {} in all, longer than the TTL of {}; raise the TTL or retry less",
            crate::render::human_duration(seconds),
            quantity::show_duration(ttl),
        )
    })
}

/// The sources and routes of the file. A source without a route leads to the destination `default`.
fn declared(layers: &mut Layers, defaults: &RouteDefaults) -> (Vec<DeclaredSource>, Vec<DeclaredRoute>) {
    let known = Known { url: layers.given("PUBLIC_URL").is_some(), memory: layers.span("DEDUPE_WINDOW") };
    let file = std::mem::take(&mut layers.file);
    let sources: Vec<DeclaredSource> =
        file.sources.iter().filter_map(|section| source(section, known, &mut layers.faults)).collect();
    let names: BTreeSet<&Name> = sources.iter().map(|source| &source.name).collect();
    let (mut routes, mut pairs): (Vec<DeclaredRoute>, BTreeSet<(Name, Name)>) = Default::default();
    for section in &file.routes {
        let Some(route) = route(section, defaults, &mut layers.faults) else { continue };
        let is_known = route.source == Name::fallback() || names.contains(&route.source);
        if !is_known && !file.sources.is_empty() {
            let fallback = Name::fallback();
            let names = relay_server::registry::listed(sources.iter().map(|source| &source.name).chain([&fallback]));
            layers.notes.push(format!(
                "{}: source {} is not in the file (there: {}); it must exist in the store",
                section.origin, route.source, names
            ));
        }
        if !pairs.insert((route.source.clone(), route.destination.clone())) {
            let text = format!("the route {} -> {} is declared twice", route.source, route.destination);
            layers.faults.add("route", None, &section.origin, text);
            continue;
        }
        routes.push(route);
    }
    let routed: BTreeSet<Name> = routes.iter().map(|route| route.source.clone()).collect();
    for source in &sources {
        if !routed.contains(&source.name) {
            routes.push(DeclaredRoute {
                source: source.name.clone(),
                destination: Name::fallback(),
                ttl: None,
                retry: None,
                at: source.at.clone(),
            });
        }
    }
    layers.file = file;
    (sources, routes)
}

/// What of the server a source has to fit to.
#[derive(Clone, Copy)]
struct Known {
    /// It knows its own URL.
    url: bool,
    /// How long ids are remembered.
    memory: Duration,
}

/// A `[source.NAME]`: every key that is not ours is a parameter of the provider.
fn source(section: &Section, known: Known, faults: &mut Faults) -> Option<DeclaredSource> {
    let mut fields = Fields { section, faults };
    let name = fields.name();
    let provider = fields.required("provider", |text| Ok(text.to_owned()));
    let allow_empty = fields.optional("allow_empty", quantity::flag);
    let dedupe = fields.optional("dedupe", |text| text.parse::<Dedupe>().map_err(str::to_owned));
    let network = network_policy(section, fields.faults);
    let marks = marks(section, fields.faults);
    let is_ours = |key: &str| {
        matches!(key, "provider" | "allow_empty" | "dedupe" | "marks") || NetworkPolicy::KEYS.contains(&key)
    };
    let is_parameter = |key: &str| !is_ours(key);
    let parameters: Vec<(String, String)> = section
        .entries
        .iter()
        .filter(|entry| is_parameter(&entry.key))
        .flat_map(|entry| entry.values.iter().map(|value| (entry.key.clone(), value.clone())))
        .collect();
    let (name, provider) = (name?, provider?);
    // Whoever wrote the file can be asked, so that what only looks wrong is a fault too.
    let (parameters, found) = match Given::read(&provider, &parameters) {
        Ok(given) => (given.parameters, given.doubts),
        Err(found) => (parameters, found),
    };
    if found.is_empty()
        && let Some(what) = wrong_with(&provider, &parameters, known.memory)
    {
        let entry = section.entry("tolerance");
        let origin = entry.map_or(&section.origin, |entry| &entry.origin);
        faults.add(format!("source.{name}"), None, origin, what);
    }
    let is_told = |parameter: &str| {
        section.entries.iter().any(|entry| entry.is_broken && (entry.key == parameter || entry.key == "secret"))
    };
    for fault in found {
        // What was given and could not be read is not missing.
        if fault.parameter.as_deref().is_some_and(is_told) {
            continue;
        }
        let entry = fault.parameter.as_deref().and_then(|key| section.entry(key));
        let origin = entry.map_or(&section.origin, |entry| &entry.origin);
        faults.add(format!("source.{name}"), None, origin, fault.to_string());
    }
    if !known.url && relay_providers::provider(&provider).is_some_and(|provider| provider.signs_url) {
        let text = format!("{provider} signs the URL it calls, so the server must know its own: set PUBLIC_URL");
        faults.add(format!("source.{name}"), None, &section.origin, text);
    }
    Some(DeclaredSource {
        name,
        provider,
        parameters: parameters.into(),
        network,
        allow_empty: allow_empty.unwrap_or(false),
        dedupe: dedupe.unwrap_or_default(),
        marks,
        at: section.origin.to_string(),
    })
}

/// Who may come to it, and how often.
fn network_policy(section: &Section, faults: &mut Faults) -> NetworkPolicy {
    let values = |key: &str| section.entry(key).filter(|entry| !entry.is_broken).map(|entry| entry.values.clone());
    // Two rates are none.
    let one = |key: &str| values(key).map(|values| values.join(","));
    let [rate, address_rate, allow, deny, daily_events, daily_bytes] = NetworkPolicy::KEYS;
    let policy = NetworkPolicy {
        rate: one(rate),
        address_rate: one(address_rate),
        allow: values(allow),
        deny: values(deny),
        daily_events: one(daily_events),
        daily_bytes: one(daily_bytes),
    };
    policy.checked().unwrap_or_else(|found| {
        for (key, want) in found {
            if let Some(entry) = section.entry(key) {
                faults.add(key, Some(entry.text()), &entry.origin, want);
            }
        }
        NetworkPolicy::default()
    })
}

/// What its events can be found by: `NAME=PATH` each.
fn marks(section: &Section, faults: &mut Faults) -> Vec<(Name, MarkPath)> {
    let Some(entry) = section.entry("marks").filter(|entry| !entry.is_broken) else { return Vec::new() };
    let mut found: Vec<(Name, MarkPath)> = Vec::new();
    for text in &entry.values {
        match mark(text) {
            Ok((name, _)) if found.iter().any(|(known, _)| *known == name) => {
                faults.add(
                    "marks",
                    Some(text.clone()),
                    &entry.origin,
                    "its name is there twice; each stands for one place",
                );
            }
            Ok(mark) => found.push(mark),
            Err(want) => faults.add("marks", Some(text.clone()), &entry.origin, want),
        }
    }
    if found.len() > limits::MARKS_MAX {
        let want = format!("want {} marks at most", limits::MARKS_MAX);
        faults.add("marks", Some(entry.text()), &entry.origin, want);
        found.clear();
    }
    found
}

/// `customer=$.data.object.customer`.
///
/// # Errors
/// What would be right.
pub(crate) fn mark(text: &str) -> Result<(Name, MarkPath), String> {
    let parts = text
        .split_once('=')
        .ok_or("want a name and a place: customer=$.data.object.customer, delivery=header:X-GitHub-Delivery");
    let (name, path) = parts?;
    let name = name.trim().parse::<Name>().map_err(|error| error.to_string())?;
    Ok((name, path.trim().parse()?))
}

/// A `[[route]]`.
fn route(section: &Section, defaults: &RouteDefaults, faults: &mut Faults) -> Option<DeclaredRoute> {
    let mut fields = Fields { section, faults };
    fields.only(&["source", "destination", "ttl", "max_retries", "retry_delay", "retry_multiplier", "schedule"]);
    let name = |text: &str| text.parse::<Name>().map_err(|error| error.to_string());
    let source = fields.required("source", name);
    let destination = fields.required("destination", name);
    let ttl = fields.optional("ttl", |text| span_of("MESSAGE_TTL", text));
    let retry = retry(&mut fields, &defaults.retry);
    if let Some(retry) = &retry
        && let Some(text) = too_long(retry, ttl.unwrap_or(defaults.ttl))
    {
        faults.add("route", None, &section.origin, text);
    }
    Some(DeclaredRoute { source: source?, destination: destination?, ttl, retry, at: section.origin.to_string() })
}

/// The retry policy of a route, if it says anything about it.
fn retry(fields: &mut Fields<'_>, defaults: &RetryPolicy) -> Option<RetryPolicy> {
    let max_retries = fields.optional("max_retries", |text| match kind_of("MAX_RETRIES").read(text)? {
        Value::Number(number) => Ok(number as u32),
        Value::Text(_) | Value::Factor(_) | Value::Span(_) => Err("want a whole number".to_owned()),
    });
    let delay = fields.optional("retry_delay", |text| span_of("RETRY_DELAY", text));
    let multiplier = fields.optional("retry_multiplier", |text| match kind_of("RETRY_MULTIPLIER").read(text)? {
        Value::Factor(factor) => Ok(factor),
        Value::Text(_) | Value::Number(_) | Value::Span(_) => Err("want a number".to_owned()),
    });
    let listed = fields.optional("schedule", schedule);
    if let (Some(_), true, Some(entry)) =
        (&listed, delay.is_some() || multiplier.is_some(), fields.section.entry("schedule"))
    {
        let origin: Origin = entry.origin.clone();
        fields.faults.add("schedule", Some(entry.text()), &origin, "does not go with retry_delay and retry_multiplier");
    }
    if max_retries.is_none() && delay.is_none() && multiplier.is_none() && listed.is_none() {
        return None;
    }
    let (usual_delay, usual_multiplier) = match &defaults.schedule {
        Schedule::Exponential { delay, multiplier } => (*delay, *multiplier),
        Schedule::Listed(delays) => (delays.first().copied().unwrap_or_default(), 1.0),
    };
    Some(match listed {
        Some(delays) => {
            RetryPolicy { max_retries: max_retries.unwrap_or(delays.len() as u32), schedule: Schedule::Listed(delays) }
        }
        None => RetryPolicy {
            max_retries: max_retries.unwrap_or(defaults.max_retries),
            schedule: Schedule::Exponential {
                delay: delay.unwrap_or(usual_delay),
                multiplier: multiplier.unwrap_or(usual_multiplier),
            },
        },
    })
}

fn span_of(setting: &str, text: &str) -> Result<Duration, String> {
    match kind_of(setting).read(text)? {
        Value::Span(span) => Ok(span),
        Value::Text(_) | Value::Number(_) | Value::Factor(_) => Err("want a duration".to_owned()),
    }
}
