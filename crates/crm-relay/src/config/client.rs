//! The client's configuration out of the layers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri};
use relay_client::{
    Carrier, ReportAnswers, Resigner,
    config::{self, Config, Destination, IdentityFiles, TargetUrl},
};
use relay_core::{limits, name::Name};
use relay_net::tls::Identity;
use relay_providers::{nearest, pasted};

use super::{
    fault::{Faults, Origin},
    kind::{Kind, Value},
    layers::{Environment, Layers},
    proxy,
    raw::{Entry, Section},
    secret,
    settings::{self, Process},
    target::{self, Target},
    text_file,
};
use crate::quantity::{self, Bare};

/// Builds the client's configuration, with what is worth saying once at start.
///
/// # Errors
/// Every fault of every layer.
pub(crate) fn config(mut layers: Layers, env: Environment<'_>) -> Result<(Config, Vec<String>), Faults> {
    let relay_url = relay_url(&mut layers);
    let token = layers.text("RELAY_TOKEN");
    if token.is_none() && layers.given("RELAY_TOKEN").is_none() && !has_fault(&layers, "RELAY_TOKEN") {
        layers.fault("RELAY_TOKEN", "missing: the token that `crm-relay token create` or `invite` printed on the server, or RELAY_TOKEN of its DATA_DIR/credentials");
    }
    let destinations = destinations(&mut layers);
    check_count(&mut layers, &destinations);
    let grace = layers.span("SHUTDOWN_GRACE");
    check_timeouts(&mut layers, &destinations, grace);
    note_idle(&mut layers, &destinations);
    if let Some(url) = &relay_url {
        check_loops(&mut layers, &destinations, url);
    }
    let identity = identity(&mut layers);
    let given_proxy = layers.text("RELAY_PROXY").and_then(|text| proxy::read(&text).ok());
    let proxy = given_proxy.or_else(|| relay_url.as_ref().and_then(|url| proxy::from_environment(url, env)));
    if let Some(url) = &relay_url {
        layers.notes.extend(proxy::note(url, proxy.as_ref(), env));
    }
    let (Some(relay_url), Some(token), true) = (relay_url, token, layers.faults.0.is_empty()) else {
        return Err(layers.faults);
    };
    let config = Config {
        relay_url,
        token,
        destinations,
        buffer_bytes: layers.number("CLIENT_BUFFER"),
        proxy,
        ca_file: layers.text("RELAY_CA_FILE").map(PathBuf::from),
        pins: layers.list("RELAY_PIN").iter().filter_map(|pin| pin.parse().ok()).collect(),
        carrier: layers.text("RELAY_TRANSPORT").and_then(|word| word.parse().ok()).unwrap_or_default(),
        identity,
        listen: listen(&layers, "CLIENT_LISTEN"),
        listen_names: layers.list("CLIENT_HOSTS"),
        shutdown_grace: grace,
        summary_interval: layers.span("HEALTH_CHECK_INTERVAL"),
        label: label(),
    };
    Ok((config, layers.notes))
}

/// That of a client whose server is in the same process, on a Redis that others serve too.
pub(crate) fn beside(layers: &mut Layers) -> Config {
    Config { label: label(), ..joined(layers) }
}

/// The configuration of a client that is joined to a server in the same process: it neither dials nor proves itself.
/// Without a destination it has none; faults stay in `layers`.
pub(crate) fn joined(layers: &mut Layers) -> Config {
    let destinations = destinations(layers);
    check_count(layers, &destinations);
    let grace = layers.span("SHUTDOWN_GRACE");
    check_timeouts(layers, &destinations, grace);
    note_idle(layers, &destinations);
    let port = layers.number("SERVER_PORT");
    if let Ok(here) = format!("ws://localhost:{port}/").parse()
        && port > 0
    {
        check_loops(layers, &destinations, &here);
    }
    Config {
        relay_url: Uri::from_static("ws://localhost/"),
        token: String::new(),
        destinations,
        buffer_bytes: layers.number("CLIENT_BUFFER"),
        proxy: None,
        ca_file: None,
        pins: Vec::new(),
        carrier: Carrier::default(),
        identity: None,
        listen: None,
        listen_names: Vec::new(),
        shutdown_grace: grace,
        summary_interval: layers.span("HEALTH_CHECK_INTERVAL"),
        label: "dev".to_owned(),
    }
}

/// What the server is shown of the client.
fn identity(layers: &mut Layers) -> Option<IdentityFiles> {
    let path = |name: &str| layers.text(name).map(PathBuf::from);
    match (path("RELAY_CERT_FILE"), path("RELAY_KEY_FILE")) {
        (None, None) => None,
        (Some(_), None) => {
            layers.fault("RELAY_CERT_FILE", "its key is missing: want RELAY_KEY_FILE too");
            None
        }
        (None, Some(_)) => {
            layers.fault("RELAY_KEY_FILE", "its certificate is missing: want RELAY_CERT_FILE too");
            None
        }
        (Some(certificate), Some(key)) => {
            if let Err(error) = Identity::in_files(&certificate, &key) {
                layers.fault("RELAY_CERT_FILE", error.to_string());
            }
            Some(IdentityFiles { certificate, key })
        }
    }
}

/// The destinations of the command line, the environment and the file; the URL nearest to the command line wins.
fn destinations(layers: &mut Layers) -> Vec<Destination> {
    let defaults = Defaults {
        concurrency: layers.number("CONCURRENCY") as u32,
        forward_timeout: layers.span("FORWARD_TIMEOUT"),
        report_answers: layers.text("REPORT_ANSWERS").and_then(|text| text.parse().ok()).unwrap_or_default(),
    };
    let mut destinations: Vec<Destination> = Vec::new();
    let sections = std::mem::take(&mut layers.file.destinations);
    for section in &sections {
        if let Some(destination) = declared(section, &defaults, &mut layers.faults)
            && destinations.iter().all(|known| known.name != destination.name)
        {
            destinations.push(destination);
        }
    }
    layers.file.destinations = sections;
    for target in listed_targets(layers) {
        match destinations.iter_mut().find(|known| known.name == target.name) {
            Some(known) => known.url = target.url,
            None => destinations.push(defaults.destination(target)),
        }
    }
    let is_told = !layers.file.destinations.is_empty() || has_fault(layers, "LOCAL_WEBHOOK_URL");
    if destinations.is_empty() && layers.process == Process::Client && !is_told {
        layers.fault(
            "LOCAL_WEBHOOK_URL",
            "missing: say where webhooks go, like --to 3000 or --to crm=http://crm.local/hooks",
        );
    }
    destinations
}

/// What a destination has unless it says otherwise.
struct Defaults {
    concurrency: u32,
    forward_timeout: Duration,
    report_answers: ReportAnswers,
}

impl Defaults {
    fn destination(&self, target: Target) -> Destination {
        Destination {
            concurrency: self.concurrency,
            forward_timeout: self.forward_timeout,
            report_answers: self.report_answers,
            ..Destination::new(target.name, target.url)
        }
    }
}

/// The server's URL with a scheme of the session, `ws` or `wss`.
fn relay_url(layers: &mut Layers) -> Option<Uri> {
    let Some(text) = layers.text("RELAY_URL") else {
        if !has_fault(layers, "RELAY_URL") {
            layers.fault("RELAY_URL", "missing: the URL of the server, like --url https://relay.example.com");
        }
        return None;
    };
    let url = target::base_url(&text).ok()?;
    if let Some(want) = target::wrong_path(&url) {
        layers.fault("RELAY_URL", want);
        return None;
    }
    let (length, most) = (url.path().len(), limits::URI_BYTES_MAX - "/connect".len());
    if length > most {
        layers.fault("RELAY_URL", format!("its path is {length} bytes long; no server takes more than {most}"));
        return None;
    }
    let is_plain = matches!(url.scheme_str(), Some("http" | "ws"));
    if is_plain && !target::is_loopback(&url) {
        let read_along = format!("{url} is not encrypted: whoever is on the way reads token and webhooks");
        if layers.text("ALLOW_HTTP").as_deref() == Some("yes") {
            layers.notes.push(read_along);
        } else {
            let want = "want https://, or --allow-http (ALLOW_HTTP=yes) where all of the way is your own";
            layers.fault("RELAY_URL", format!("{read_along}; {want}"));
        }
    }
    if is_plain && layers.given("RELAY_PIN").is_some() {
        layers.fault("RELAY_PIN", "without TLS the server shows no key: want a RELAY_URL with https://");
    }
    let mut parts = url.into_parts();
    parts.scheme = if is_plain { "ws".parse().ok() } else { "wss".parse().ok() };
    parts.path_and_query = parts.path_and_query.or_else(|| Some(uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// `LOCAL_WEBHOOK_URL`, one target after the other.
fn listed_targets(layers: &mut Layers) -> Vec<Target> {
    let Some(text) = layers.text("LOCAL_WEBHOOK_URL") else { return Vec::new() };
    let mut targets: Vec<Target> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match target::target(part) {
            Ok(target) if targets.iter().any(|known| known.name == target.name) => {
                let text = format!(
                    "destination {} is given twice; name them: crm=3000,erp=3001 (a comma in a URL is written %2C)",
                    target.name
                );
                layers.fault("LOCAL_WEBHOOK_URL", text);
            }
            Ok(target) => targets.push(target),
            Err(want) => {
                let hint = if part.contains(';') { "; several have commas between them" } else { "" };
                layers.fault("LOCAL_WEBHOOK_URL", format!("{}: {want}{hint}", target::without_query(part)));
            }
        }
    }
    targets
}

/// A `[destination.NAME]`.
fn declared(section: &Section, defaults: &Defaults, faults: &mut Faults) -> Option<Destination> {
    let mut fields = Fields { section, faults };
    let name = fields.name()?;
    fields.only(&[
        "url",
        "concurrency",
        "forward_timeout",
        "ca_file",
        "cert_file",
        "key_file",
        "resign_secret",
        "headers",
        "username",
        "password",
        "report_answers",
        "trace",
    ]);
    let url = fields.url("url");
    let (count, timeout) = (settings::kind_of("CONCURRENCY"), settings::kind_of("FORWARD_TIMEOUT"));
    let concurrency = fields.optional("concurrency", |text| match count.read(text)? {
        Value::Number(number) => Ok(number as u32),
        Value::Text(_) | Value::Factor(_) | Value::Span(_) => Err("want a whole number".to_owned()),
    });
    let forward_timeout = fields.optional("forward_timeout", |text| {
        timeout.read(text)?;
        quantity::duration(text, Bare::Seconds)
    });
    let ca_file = fields.file("ca_file", Kind::Certificates);
    let shown = (fields.file("cert_file", Kind::Certificates), fields.file("key_file", Kind::PrivateKey));
    let identity = fields.identity(shown);
    let resign = fields
        .secret("resign_secret", |text| Resigner::new(&secret::of_resigning(text)).map_err(|fault| fault.to_string()));
    let headers = fields.headers(resign.is_some());
    let report_answers = fields.optional("report_answers", str::parse);
    let trace = fields.optional("trace", quantity::flag);
    Some(Destination {
        concurrency: concurrency.unwrap_or(defaults.concurrency),
        forward_timeout: forward_timeout.unwrap_or(defaults.forward_timeout),
        report_answers: report_answers.unwrap_or(defaults.report_answers),
        ca_file,
        identity,
        resign,
        headers,
        trace: trace.unwrap_or(false),
        ..Destination::new(name, url?)
    })
}

/// More destinations than a session may serve: no server would let it in.
fn check_count(layers: &mut Layers, destinations: &[Destination]) {
    let (count, most) = (destinations.len(), limits::SESSION_DESTINATIONS_MAX);
    if count > most {
        let text = format!("{count} destinations; one client serves {most} at most: start another one for the rest");
        let origin = layers.file.destinations.first().map_or(layers.origin("LOCAL_WEBHOOK_URL"), |s| s.origin.clone());
        layers.faults.add("destination", None, &origin, text);
    }
}

/// A target that is the relay server itself would get each webhook back as a new one, for ever.
fn check_loops(layers: &mut Layers, destinations: &[Destination], server: &Uri) {
    let place = |url: &Uri| {
        let is_encrypted = matches!(url.scheme_str(), Some("https" | "wss"));
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let host = if target::is_loopback(url) { "localhost".to_owned() } else { host };
        (host, url.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }))
    };
    for destination in destinations {
        let uri = destination.url.uri();
        let is_its_intake = uri.path().split('/').any(|segment| segment == "webhook");
        // Where the relay is at the root, so is whatever path a sender puts behind the name of a source.
        let is_its_root = uri.path().trim_end_matches('/') == server.path().trim_end_matches('/');
        if place(uri) == place(server) && (is_its_intake || is_its_root) {
            let text = format!("{} is the relay server itself: each webhook would come back to it", destination.url);
            layers.fault("LOCAL_WEBHOOK_URL", text);
        } else if place(uri) == place(server) {
            let text = format!("{} is at the relay server's own address; is that meant?", destination.url);
            layers.notes.push(text);
        }
    }
}

/// What has no effect where it stands.
fn note_idle(layers: &mut Layers, destinations: &[Destination]) {
    for destination in destinations.iter().filter(|found| found.url.uri().scheme_str() == Some("http")) {
        let set = [("ca_file", destination.ca_file.is_some()), ("cert_file", destination.identity.is_some())];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            let (name, url) = (&destination.name, &destination.url);
            let note = format!("{key} of destination {name} has no effect: {url} is not encrypted; is https meant?");
            layers.notes.push(note);
        }
    }
}

/// I22: a forward that is under way at a stop can end within the grace, and its outcome be confirmed.
fn check_timeouts(layers: &mut Layers, destinations: &[Destination], grace: Duration) {
    let most = relay_client::forwards_within(grace);
    let why = format!(
        "not less than {}, which SHUTDOWN_GRACE ({}) leaves for it: a stop would cut forwards off; raise SHUTDOWN_GRACE",
        quantity::show_duration(most),
        quantity::show_duration(grace),
    );
    let all = layers.span("FORWARD_TIMEOUT");
    if all >= most {
        layers.fault("FORWARD_TIMEOUT", format!("{} is {why}", quantity::show_duration(all)));
        return;
    }
    for destination in destinations.iter().filter(|d| d.forward_timeout >= most) {
        let section = layers.file.destinations.iter().find(|s| s.name == destination.name.as_str());
        let origin = section.and_then(|s| s.entry("forward_timeout")).map_or(Origin::Default, |e| e.origin.clone());
        layers.faults.add(
            format!("destination.{}.forward_timeout", destination.name),
            Some(quantity::show_duration(destination.forward_timeout)),
            &origin,
            why.clone(),
        );
    }
}

/// The entries of one section, checked.
pub(crate) struct Fields<'a> {
    /// Of which section.
    pub(crate) section: &'a Section,
    /// Where faults go.
    pub(crate) faults: &'a mut Faults,
}

impl Fields<'_> {
    /// The section's name.
    pub(crate) fn name(&mut self) -> Option<Name> {
        match self.section.name.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let error: relay_core::name::NameError = error;
                self.faults.add(self.section.name.clone(), None, &self.section.origin, error.to_string());
                None
            }
        }
    }

    /// Every key but these is a fault.
    pub(crate) fn only(&mut self, known: &[&str]) {
        for entry in self.section.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let text = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("no such key here; did you mean {near}?"),
                None => format!("no such key here; known: {}", known.join(", ")),
            };
            self.faults.add(entry.key.clone(), None, &entry.origin, text);
        }
    }

    /// A key that must be there.
    pub(crate) fn required<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.section.entry(key).is_none() {
            self.faults.add(key, None, &self.section.origin, "missing");
            return None;
        }
        self.optional(key, read)
    }

    /// A key that may be there.
    pub(crate) fn optional<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(key, read, shown)
    }

    /// A file, relative to the one that names it, that holds what it should.
    fn file(&mut self, key: &str, kind: Kind) -> Option<PathBuf> {
        let origin = self.section.entry(key).map_or(Origin::Default, |entry| entry.origin.clone());
        self.optional(key, |text| {
            let path = origin.beside(&text_file::path(text)?);
            kind.check_file(&path).map(|()| path)
        })
    }

    /// A certificate and its key, which are there both or neither, and belong together.
    fn identity(&mut self, (certificate, key): (Option<PathBuf>, Option<PathBuf>)) -> Option<IdentityFiles> {
        let has = |key: &str| self.section.entry(key).is_some();
        let missing = match (has("cert_file"), has("key_file")) {
            (true, false) => Some(("cert_file", "its key is missing: want key_file too")),
            (false, true) => Some(("key_file", "its certificate is missing: want cert_file too")),
            (true, true) | (false, false) => None,
        };
        if let Some((key, want)) = missing {
            self.faults.add(key, None, &self.section.origin, want);
        }
        let (certificate, key) = (certificate?, key?);
        if let Err(error) = Identity::in_files(&certificate, &key) {
            self.faults.add("cert_file", None, &self.section.origin, error.to_string());
        }
        Some(IdentityFiles { certificate, key })
    }

    /// The URL of a target, shown without its query.
    fn url(&mut self, key: &str) -> Option<TargetUrl> {
        if self.section.entry(key).is_none() {
            self.faults.add(key, None, &self.section.origin, "missing");
            return None;
        }
        self.read(key, target::target_url, |entry| target::without_query(&shown(entry)))
    }

    /// The header fields that the target gets, those of `username` and `password` among them.
    fn headers(&mut self, is_signed: bool) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        let section = self.section;
        for entry in section.entry("headers").into_iter().flat_map(|entry| &entry.fields) {
            for value in &entry.values {
                match config::field(&entry.key, value) {
                    Ok((name, _)) if is_signed && name.as_str().starts_with("webhook-") => {
                        let text = "resign_secret sets it; want one of both";
                        self.faults.add(entry.key.clone(), Some("redacted".to_owned()), &entry.origin, text);
                    }
                    Ok((name, _)) if headers.iter().any(|(known, _)| *known == name) && entry.values.len() < 2 => {
                        let text = "stands there twice, in another spelling; several values of a field are an array";
                        self.faults.add(entry.key.clone(), Some("redacted".to_owned()), &entry.origin, text);
                    }
                    Ok(field) => headers.push(field),
                    Err(want) => self.faults.add(entry.key.clone(), Some("redacted".to_owned()), &entry.origin, want),
                }
            }
        }
        if let Some(entry) = section.entry("headers").filter(|entry| !entry.values.is_empty()) {
            self.faults.add("headers", None, &entry.origin, "want a table: headers = { \"X-Name\" = \"value\" }");
        }
        let (username, password) = (section.entry("username"), section.entry("password"));
        match (username, password) {
            (Some(username), Some(password)) => match login(username, password) {
                Ok(_) if headers.iter().any(|(name, _)| name == http::header::AUTHORIZATION) => {
                    let text = "headers has Authorization too; want one of both";
                    self.faults.add("username", None, &username.origin, text);
                }
                Ok(field) => headers.push(field),
                Err(want) => self.faults.add("username", None, &username.origin, want),
            },
            (Some(only), None) | (None, Some(only)) => {
                self.faults.add(only.key.clone(), None, &only.origin, "want username and password together");
            }
            (None, None) => {}
        }
        headers
    }

    /// A key that may be there, and whose value is never shown.
    fn secret<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.read(key, read, |_| "redacted".to_owned())
    }

    fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
        shown: impl FnOnce(&Entry) -> String,
    ) -> Option<T> {
        let entry = self.section.entry(key).filter(|entry| !entry.is_broken)?;
        match read(entry.text().trim()) {
            Ok(value) => Some(value),
            Err(want) => {
                self.faults.add(key, Some(shown(entry)), &entry.origin, want);
                None
            }
        }
    }
}

/// The field of HTTP Basic. What comes out of a file is read as a header's value is; what stands here is as it stands.
fn login(username: &Entry, password: &Entry) -> Result<(HeaderName, HeaderValue), String> {
    let text = |entry: &Entry| {
        let text = entry.text();
        if entry.from_file {
            return secret::of_target(&entry.key, &text).map_err(|want| format!("{}: {want}", entry.key));
        }
        if text.contains(char::is_control) {
            return Err(format!("{} holds a control character", entry.key));
        }
        if pasted::is_placeholder(&text) {
            return Err(format!("{} is a placeholder that nobody filled in; want {{ file = \"PATH\" }}", entry.key));
        }
        Ok(text)
    };
    config::basic(&text(username)?, &text(password)?)
}

/// The address of a `Listen` setting.
pub(crate) fn listen(layers: &Layers, name: &str) -> Option<SocketAddr> {
    layers.text(name).and_then(|text| target::listen_address(&text).ok()).flatten()
}

/// Whether a setting was given but refused, so that "missing" would mislead.
fn has_fault(layers: &Layers, name: &str) -> bool {
    let is_of = |fault: &str| fault.eq_ignore_ascii_case(name) || fault == format!("{name}_FILE");
    layers.faults.0.iter().any(|fault| is_of(&fault.name))
}

fn shown(entry: &Entry) -> String {
    if entry.from_file { "redacted".to_owned() } else { entry.text() }
}

/// The host's name: what people see in `status`.
fn label() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "client".to_owned() } else { name }
}
