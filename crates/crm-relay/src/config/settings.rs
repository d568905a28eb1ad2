//! Every setting, in one table: the command line's flags, the environment's names, the file's keys, the checks and the
//! reference page all come from here.

use std::time::Duration;

use relay_client::{Carrier, ReportAnswers};
use relay_core::limits;
use relay_net::proxies;

use super::{
    fault::Origin,
    kind::{Kind, Value},
    redis_url, target,
};
use crate::quantity::Bare;

/// One setting. Its flag is `--x-y`, its variable `X_Y`, its key in the file `x_y`.
#[derive(Debug)]
pub struct Setting {
    /// `X_Y`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value when nothing else is given, as one would write it; empty: none.
    pub default: &'static str,
    /// Which process reads it.
    pub role: Role,
    /// One sentence.
    pub meaning: &'static str,
}

/// Which process reads a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `crm-relay server`.
    Server,
    /// `crm-relay client`.
    Client,
    /// Both.
    Both,
    /// The commands that talk to a running server.
    Command,
}

/// What a process is; `dev` is both at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// `crm-relay server`.
    Server,
    /// `crm-relay client`.
    Client,
    /// `crm-relay dev`.
    Dev,
    /// Any other command.
    Command,
}

impl Setting {
    /// `x_y`.
    pub(crate) fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// `x-y`.
    pub(crate) fn flag(&self) -> String {
        self.key().replace('_', "-")
    }

    /// Whether its value is never shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.kind.is_secret()
    }

    /// A value as it may be shown.
    pub(crate) fn show(&self, text: &str) -> String {
        self.kind.show(text)
    }

    /// A value as it was given, without what editors and shells put around it, and as read.
    ///
    /// # Errors
    /// What would be right; never the value.
    pub(crate) fn read(&self, text: &str, origin: &Origin) -> Result<(String, Value), String> {
        let text = self.kind.clean(self.name, text, origin)?;
        let value = self.kind.read(&text)?;
        if self.name == "ADMIN_URL" {
            target::admin_url(&text)?;
        }
        Ok((text, value))
    }

    /// The value in `process` when nothing else is given; empty: none.
    pub fn default_in(&self, process: Process) -> &'static str {
        let of_dev = DEV_DEFAULTS.iter().find(|(name, _)| *name == self.name);
        of_dev.filter(|_| process == Process::Dev).map_or(self.default, |(_, default)| default)
    }

    /// Whether `process` reads it.
    pub(crate) fn concerns(&self, process: Process) -> bool {
        match (self.role, process) {
            (Role::Both, _)
            | (Role::Server, Process::Server | Process::Dev)
            | (Role::Client, Process::Client | Process::Dev)
            | (Role::Command, Process::Command) => true,
            (_, Process::Command) => {
                matches!(self.name, "DATA_DIR" | "ADMIN_TOKEN" | "API_KEY" | "RELAY_CA_FILE" | "ENCRYPTION_KEY_FILE")
            }
            (Role::Server, Process::Client) | (Role::Client, Process::Server) => self.name == "RELAY_TOKEN",
            // Links to the dashboard begin with it.
            (Role::Command, Process::Server | Process::Dev) => self.name == "ADMIN_URL",
            (Role::Command, Process::Client) => false,
        }
    }
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What values the setting of this name takes, for a key of the file that takes the same.
pub(crate) fn kind_of(name: &str) -> Kind {
    find(name).map_or(Kind::Text, |setting| setting.kind)
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const TEN_YEARS: Duration = Duration::from_secs(3_650 * 86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const KIB: u64 = 1 << 10;
const TIB: u64 = 1 << 40;

const fn span(min: Duration, max: Duration) -> Kind {
    Kind::Span(Bare::Seconds, min, max)
}

const fn setting(name: &'static str, kind: Kind, default: &'static str, role: Role, meaning: &'static str) -> Setting {
    Setting { name, kind, default, role, meaning }
}

/// The words of `FORWARDED_HEADER`.
const FORWARDED_HEADERS: [&str; 2] = [proxies::Field::XForwardedFor.as_str(), proxies::Field::Forwarded.as_str()];

/// All settings, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    // Where the server listens and keeps its things.
    setting("SERVER_HOST", Kind::Host, "0.0.0.0", Role::Server, "Address of the public listener."),
    setting("SERVER_PORT", Kind::Port, "8080", Role::Server, "Port of the public listener; 0 takes any free one."),
    setting(
        "PUBLIC_URL",
        Kind::Url,
        "",
        Role::Server,
        "URL under which senders reach the public listener; may carry a path. Needed by providers that sign it.",
    ),
    setting(
        "RELAY_NAME",
        Kind::Text,
        "",
        Role::Server,
        "What this relay is called in messages of alerts, where several tell the same people; the same at all servers on a store. Default: the \
         host of PUBLIC_URL.",
    ),
    setting(
        "DATA_DIR",
        Kind::Dir,
        "",
        Role::Server,
        "Directory of store, credentials and admin socket. Default: $STATE_DIRECTORY, else ./crm-relay-data (dev: ./crm-relay-dev).",
    ),
    setting(
        "ENCRYPTION_KEY_FILE",
        Kind::EncryptionKeys,
        "",
        Role::Server,
        "File with the keys that webhooks, answers of targets and secrets are sealed with in the store: a number and 32 bytes \
         (openssl rand -base64 32) on each line. The highest number seals, all of them open. Unset: they are stored as they are.",
    ),
    setting(
        "BACKUP_DIR",
        Kind::Dir,
        "",
        Role::Server,
        "Directory that the server copies its store to by itself, whole copies that were read through; on another disk than DATA_DIR. Unset: \
         it takes none. Not for a store in a Redis.",
    ),
    setting("BACKUP_EVERY", span(MINUTE, YEAR), "24h", Role::Server, "Between two copies to BACKUP_DIR."),
    setting("BACKUP_KEEP", Kind::Count(1, 1_000), "7", Role::Server, "How many copies stay in BACKUP_DIR."),
    setting(
        "TLS_CERT_FILE",
        Kind::Certificates,
        "",
        Role::Server,
        "PEM file with the certificate of the public listener, the server's own first. With it that listener speaks TLS alone. Read again when it changes.",
    ),
    setting("TLS_KEY_FILE", Kind::PrivateKey, "", Role::Server, "PEM file with the key to it, without a passphrase."),
    setting(
        "ACME_DOMAIN",
        Kind::Hosts,
        "",
        Role::Server,
        "Names for which a certificate is obtained by ACME, with commas between them; setting it agrees to the authority's terms.",
    ),
    setting("ACME_EMAIL", Kind::Text, "", Role::Server, "Whom the authority may write to about it."),
    setting("ACME_DIRECTORY", Kind::Url, target::LETS_ENCRYPT, Role::Server, "URL of the authority's directory."),
    setting(
        "REDIRECT_LISTEN",
        Kind::Listen,
        "off",
        Role::Server,
        "Address where whoever asks without TLS is sent to PUBLIC_URL (308); nothing is taken in there. off: nobody listens.",
    ),
    setting(
        "CLIENTS_LISTEN",
        Kind::Listen,
        "off",
        Role::Server,
        "Address of a listener that takes clients alone, each with a certificate of its own (mTLS); then the public listener takes none. \
         off: the public one does.",
    ),
    setting(
        "CLIENTS_CA_FILE",
        Kind::Certificates,
        "",
        Role::Server,
        "PEM file of the authorities that sign the clients' certificates, with their lists of revoked ones (X509 CRL). Read again when it \
         changes.",
    ),
    // Behind a proxy.
    setting(
        "TRUSTED_PROXIES",
        Kind::Networks,
        "",
        Role::Server,
        "Networks and addresses of the proxies in front, with commas between them: they are believed from where a request comes, and \
         have no share of connections.",
    ),
    setting(
        "FORWARDED_HEADER",
        Kind::Word(&FORWARDED_HEADERS),
        "x-forwarded-for",
        Role::Server,
        "Header field in which these say so; it is read from the right, past trusted ones. No other is looked at.",
    ),
    setting(
        "PROXY_PROTOCOL",
        Kind::Words(&["off", "public", "clients", "redirect"]),
        "off",
        Role::Server,
        "Listeners (public, that of CLIENTS_LISTEN, that of REDIRECT_LISTEN) on which each connection begins with a header of the PROXY \
         protocol (v1 or v2) from a trusted proxy; what comes without is closed.",
    ),
    setting(
        "ALLOWED_HOSTS",
        Kind::Hosts,
        "",
        Role::Server,
        "Names under which the public listener may be asked, with commas between them, beside that of PUBLIC_URL; other ones are \
         answered 421, but for /livez, /readyz and /health. Empty: any.",
    ),
    setting(
        "ADMIN_LISTEN",
        Kind::Listen,
        "127.0.0.1:8081",
        Role::Server,
        "Address of the admin API and of /metrics; off leaves only the socket DATA_DIR/admin.sock.",
    ),
    setting(
        "ADMIN_HOSTS",
        Kind::Hosts,
        "",
        Role::Server,
        "Names under which the admin API is asked over TCP, with commas between them. Addresses, localhost and names \
         without a dot always are.",
    ),
    setting(
        "DASHBOARD",
        Kind::Word(&["on", "off"]),
        "on",
        Role::Server,
        "Pages for browsers on ADMIN_LISTEN, for users who sign in.",
    ),
    // Secrets.
    setting(
        "API_KEY",
        Kind::Secret,
        "",
        Role::Server,
        "API key of the source default. Generated into DATA_DIR/credentials when not given.",
    ),
    setting(
        "RELAY_TOKEN",
        Kind::Secret,
        "",
        Role::Client,
        "Token with which the client joins; on the server a token for every destination, generated when not given.",
    ),
    setting(
        "ADMIN_TOKEN",
        Kind::Secret,
        "",
        Role::Server,
        "Token of the admin API over TCP. Generated into DATA_DIR/credentials when not given.",
    ),
    setting(
        "ADMIN_URL",
        Kind::Url,
        "",
        Role::Command,
        "Admin API that the commands use, instead of the socket; for the server the URL under which browsers reach the dashboard, \
         which may carry a path.",
    ),
    // What is accepted.
    setting(
        "CORS_ORIGINS",
        Kind::Origins,
        "",
        Role::Server,
        "Origins that may post from a browser, with commas between them.",
    ),
    setting(
        "MAX_BODY_BYTES",
        Kind::Size(1, limits::GRANT_BYTES_MAX),
        "25MiB",
        Role::Server,
        "Largest body, at most half of MAX_INFLIGHT_BYTES; more is answered 413.",
    ),
    setting(
        "MAX_INFLIGHT_BYTES",
        Kind::Size(64 * KIB, TIB),
        "256MiB",
        Role::Server,
        "Bodies coming in, queued and going out, together; more is answered 503.",
    ),
    setting("DISK_RESERVE", Kind::Size(0, TIB), "256MiB", Role::Server, "Free disk that webhooks never fill."),
    setting(
        "DEDUPE_WINDOW",
        span(Duration::ZERO, TEN_YEARS),
        "3d",
        Role::Server,
        "How long a repeat of a webhook is recognised by its key (on Redis: 24h).",
    ),
    // What becomes of it.
    setting(
        "MESSAGE_TTL",
        span(SECOND, limits::MESSAGE_TTL_MAX),
        "24h",
        Role::Server,
        "How long a delivery may take before it expires; expired ones are kept and can be redriven.",
    ),
    setting(
        "MAX_RETRIES",
        Kind::Count(0, limits::MAX_RETRIES_MAX as u64),
        "3",
        Role::Server,
        "Retries of a delivery that its destination rejects.",
    ),
    setting(
        "RETRY_DELAY",
        Kind::Span(Bare::Millis, Duration::from_millis(1), limits::RETRY_DELAY_MAX),
        "1000ms",
        Role::Server,
        "Delay before the first retry; a bare number is milliseconds.",
    ),
    setting("RETRY_MULTIPLIER", Kind::Factor, "2.0", Role::Server, "Factor of the delay from retry to retry."),
    setting(
        "RETRY_AFTER_MAX",
        span(Duration::ZERO, DAY),
        "1h",
        Role::Server,
        "Longest Retry-After of a target that is honoured.",
    ),
    setting(
        "CIRCUIT_PAUSE_MAX",
        span(SECOND, HOUR),
        "60s",
        Role::Server,
        "Longest pause between tries of a target that is down (dev: 2s).",
    ),
    setting(
        "LEASE",
        span(SECOND, HOUR),
        "60s",
        Role::Server,
        "How long a client may hold a delivery without word of it.",
    ),
    setting(
        "RETENTION_DELIVERED",
        span(Duration::ZERO, TEN_YEARS),
        "7d",
        Role::Server,
        "How long delivered and cancelled deliveries are kept; not less than DEDUPE_WINDOW (on Redis: 24h).",
    ),
    setting(
        "RETENTION_DEAD",
        span(Duration::ZERO, TEN_YEARS),
        "30d",
        Role::Server,
        "How long dead and expired deliveries are kept; not less than DEDUPE_WINDOW.",
    ),
    // The client.
    setting(
        "RELAY_URL",
        Kind::Url,
        "",
        Role::Client,
        "Base URL of the server: https (or none), http, wss, ws; may carry a path.",
    ),
    setting(
        "ALLOW_HTTP",
        Kind::Word(&["no", "yes"]),
        "no",
        Role::Client,
        "yes: RELAY_URL may begin with http:// where it leads to another machine; token and webhooks can be read on the way.",
    ),
    setting(
        "RELAY_PIN",
        Kind::Pins,
        "",
        Role::Client,
        "Public keys of which the server must have one, beside a certificate that is trusted: sha256/ and the base64 of the SHA-256 of          its SubjectPublicKeyInfo, with commas between them.",
    ),
    setting(
        "RELAY_TRANSPORT",
        Kind::Word(&Carrier::WORDS),
        "auto",
        Role::Client,
        "What carries the session: websocket; poll (requests, for proxies that cut WebSockets); or auto, the first that comes through.",
    ),
    setting(
        "RELAY_CERT_FILE",
        Kind::Certificates,
        "",
        Role::Client,
        "PEM file with the client's own certificate, for a server that asks who comes (CLIENTS_LISTEN). Read again when it changes.",
    ),
    setting("RELAY_KEY_FILE", Kind::PrivateKey, "", Role::Client, "PEM file with the key to it, without a passphrase."),
    setting(
        "LOCAL_WEBHOOK_URL",
        Kind::Targets,
        "",
        Role::Client,
        "Where webhooks go: [NAME=]URL, several with commas; 3000 and localhost:3000 are URLs too.",
    ),
    setting(
        "FORWARD_TIMEOUT",
        span(Duration::from_millis(100), limits::FORWARD_TIMEOUT_MAX),
        "25s",
        Role::Client,
        "How long the target may take to answer; less than SHUTDOWN_GRACE.",
    ),
    setting(
        "CONCURRENCY",
        Kind::Count(1, limits::CONCURRENCY_MAX as u64),
        "8",
        Role::Client,
        "Requests to a destination at the same time.",
    ),
    setting(
        "CLIENT_BUFFER",
        Kind::Size(64 * KIB, TIB),
        "64MiB",
        Role::Client,
        "Bodies the client holds at the same time.",
    ),
    setting(
        "REPORT_ANSWERS",
        Kind::Word(&ReportAnswers::WORDS),
        "status",
        Role::Client,
        "What of a target's refusal the server keeps with the attempt: off, status (reason phrase, Location) or body (these, \
         and up to 2 KiB of a text; dev: body).",
    ),
    setting("CLIENT_LISTEN", Kind::Listen, "off", Role::Client, "Address of the client's own health and metrics."),
    setting(
        "CLIENT_HOSTS",
        Kind::Hosts,
        "",
        Role::Client,
        "Names under which these are asked, with commas between them. Addresses, localhost and names without a dot always \
         are.",
    ),
    // Both.
    setting(
        "RELAY_PROXY",
        Kind::Proxy,
        "",
        Role::Both,
        "Proxy on the way to the server, and to keys of providers: http://, socks5:// or socks5h:// (which looks names up itself); else HTTPS_PROXY and NO_PROXY. Targets are dialled directly.",
    ),
    setting(
        "RELAY_CA_FILE",
        Kind::Certificates,
        "",
        Role::Both,
        "PEM file of further certificate authorities, for the server's certificate and for keys of providers.",
    ),
    setting(
        "STOP_DELAY",
        span(Duration::ZERO, HOUR),
        "0s",
        Role::Server,
        "How long it serves on after SIGTERM while /readyz says that it stops, for balancers to see that; a second signal ends it. \
         SHUTDOWN_GRACE begins then.",
    ),
    setting(
        "SHUTDOWN_GRACE",
        span(SECOND, DAY),
        "30s",
        Role::Both,
        "How long a stop may take to finish what is under way.",
    ),
    setting(
        "HEALTH_CHECK_INTERVAL",
        span(SECOND, DAY),
        "30s",
        Role::Both,
        "Pause between the summary lines in the log.",
    ),
    setting("LOG_FORMAT", Kind::Word(&["text", "json"]), "text", Role::Both, "Format of the log on stderr."),
    setting(
        "LOG_LEVEL",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        Role::Both,
        "Least severity that is logged; RUST_LOG, if set, decides instead (a level alone reaches crm-relay's own lines).",
    ),
    // Traces.
    setting(
        "TRACES_URL",
        Kind::Url,
        "",
        Role::Server,
        "Where a collector of OpenTelemetry takes traces over OTLP/HTTP, as http://127.0.0.1:4318 (without a path: /v1/traces). Unset: nothing is traced.",
    ),
    setting(
        "TRACES_HEADERS",
        Kind::Foreign,
        "",
        Role::Server,
        "Header fields of what is sent there, such as its token: name=value, with commas between them and %2C in them.",
    ),
    setting(
        "TRACES_SAMPLED",
        Kind::Share,
        "0.01",
        Role::Server,
        "Share of webhooks that are traced, of those that say nothing of it; whose traceparent says yes or no is, or is not.",
    ),
    // The Redis store.
    setting(
        "REDIS_URL",
        Kind::Redis,
        "",
        Role::Server,
        "Keeps the store in a Redis and not in DATA_DIR: host:port, redis://user:password@host:port/db, rediss:// for TLS; \
         redis+sentinel://host,host,host/NAME or redis+cluster://host,host,host, with rediss for TLS.",
    ),
    setting("REDIS_PASSWORD", Kind::Foreign, "", Role::Server, "Password of the Redis, if it is not in REDIS_URL."),
    setting(
        "REDIS_DB",
        Kind::Count(0, redis_url::DATABASE_MAX as u64),
        "0",
        Role::Server,
        "Number of the Redis's database, if it is not in REDIS_URL.",
    ),
    setting(
        "REDIS_CA_FILE",
        Kind::Certificates,
        "",
        Role::Server,
        "PEM file of the authorities that sign the Redis's certificate; else whom the system trusts.",
    ),
    setting(
        "REDIS_SENTINEL_USER",
        Kind::Text,
        "",
        Role::Server,
        "User at the sentinels, where they ask for one; that in REDIS_URL is the user at the Redis.",
    ),
    setting(
        "REDIS_SENTINEL_PASSWORD",
        Kind::Foreign,
        "",
        Role::Server,
        "Password at the sentinels, where they ask for one.",
    ),
    setting(
        "REDIS_ADDRESS_MAP",
        Kind::AddressMap,
        "",
        Role::Server,
        "Where nodes are reached that sentinels, or others of a cluster, know at another address: 10.0.0.1:6379=redis-1.example:6379, with commas \
         between them.",
    ),
    setting(
        "REDIS_DURABILITY",
        Kind::Word(redis_url::DURABILITIES),
        "auto",
        Role::Server,
        "When a webhook counts as stored: fsync (its disk has it), replicated (replicas have heard of it too), \
         fsync-replicated (their disks have it too), everysec (for trying out: a loss of power loses a second); auto: replicated \
         with sentinels, and from the moment on at which a replica follows, else fsync.",
    ),
    setting(
        "REDIS_MIN_REPLICAS",
        Kind::Count(1, 16),
        "1",
        Role::Server,
        "With fewer replicas than this nothing is accepted, where REDIS_DURABILITY waits for replicas.",
    ),
    setting("REDIS_POOL_SIZE", Kind::Count(1, 64), "2", Role::Server, "Connections to the Redis for reading."),
    setting(
        "REDIS_TIMEOUT",
        span(Duration::from_millis(100), Duration::from_secs(60)),
        "2s",
        Role::Server,
        "How long the Redis may take to answer; its replicas have half of that on top.",
    ),
    setting(
        "REDIS_PARTITIONS",
        Kind::Count(1, 16),
        "1",
        Role::Server,
        "Parts that the store is made in, the same for all servers and for good; 1 is fastest on a single node. On a cluster 16 \
         unless set.",
    ),
    setting(
        "REDIS_ASSUME_DURABLE",
        Kind::Word(&["off", "on"]),
        "off",
        Role::Server,
        "on: where the Redis does not let its settings be looked at, its provider answers for them.",
    ),
    setting("STREAM_NAME", Kind::Text, "webhook-stream", Role::Server, "What all keys in the Redis begin with."),
    setting(
        "CONSUMER_GROUP",
        Kind::Text,
        "relay-group",
        Role::Server,
        "Without effect; kept for existing environments.",
    ),
    setting(
        "CONSUMER_NAME",
        Kind::Text,
        "",
        Role::Server,
        "Names this server among those on the Redis; else the name of the machine.",
    ),
    setting(
        "DEAD_LETTER_QUEUE",
        Kind::Text,
        "webhook-dlq",
        Role::Server,
        "Stream in the Redis that dead letters are in too.",
    ),
];

/// What is otherwise in `dev`: what is tried out stays on this machine, and a port that nobody asked for is nobody's
/// hindrance.
pub(crate) const DEV_DEFAULTS: &[(&str, &str)] =
    &[("SERVER_HOST", "127.0.0.1"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("REPORT_ANSWERS", "body")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_its_setting_takes() {
        for setting in SETTINGS.iter().filter(|s| !s.default.is_empty()) {
            for process in [Process::Server, Process::Dev] {
                assert!(setting.kind.read(setting.default_in(process)).is_ok(), "{}", setting.name);
            }
        }
        assert!(DEV_DEFAULTS.iter().all(|(name, _)| find(name).is_some()));
    }

    #[test]
    fn names_are_unique_and_in_capitals() {
        let mut names: Vec<_> = SETTINGS.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    }

    #[test]
    fn the_table_agrees_with_the_limits_of_the_core() {
        let check = |name: &str, value: Value| {
            let setting = find(name).expect("in the table");
            assert_eq!(setting.kind.read(setting.default), Ok(value), "{name}");
        };
        check("MESSAGE_TTL", Value::Span(limits::MESSAGE_TTL));
        check("LEASE", Value::Span(limits::LEASE));
        check("FORWARD_TIMEOUT", Value::Span(limits::FORWARD_TIMEOUT));
        check("CONCURRENCY", Value::Number(u64::from(limits::CONCURRENCY)));
        check("CLIENT_BUFFER", Value::Number(limits::CLIENT_BUFFER));
        check("MAX_INFLIGHT_BYTES", Value::Number(limits::MAX_INFLIGHT_BYTES));
        check("MAX_BODY_BYTES", Value::Number(limits::MAX_BODY_BYTES));
        check("RETRY_AFTER_MAX", Value::Span(limits::RETRY_AFTER_MAX));
        check("CIRCUIT_PAUSE_MAX", Value::Span(limits::CIRCUIT_PAUSE_MAX));
        check("MAX_RETRIES", Value::Number(u64::from(limits::MAX_RETRIES)));
        check("RETRY_DELAY", Value::Span(limits::RETRY_DELAY));
        check("RETRY_MULTIPLIER", Value::Factor(limits::RETRY_MULTIPLIER));
        check("DEDUPE_WINDOW", Value::Span(limits::DEDUPE_WINDOW));
    }
}
