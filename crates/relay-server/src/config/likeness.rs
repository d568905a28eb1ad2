//! What the configurations of servers that share a store are compared by: readable, a line for each setting.
//!
//! It goes to the store and to the other servers, so no secret is in it: secrets stand there by keyed digests. Their key is made
//! of the digests of the server's own credentials, which the store holds too: they keep a secret from whoever reads a log, and
//! not from whoever reads the store, which holds the sources' secrets anyway.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::hmac;
use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    quota,
};
use relay_providers::provider;

use super::{
    Config, Credentials, DeclaredAlert, DeclaredRoute, DeclaredSource,
    alert::{Command, Post, Way},
};
use crate::{
    budget,
    document::Likeness,
    network_policy::NetworkPolicy,
    secret::{hex, sha256},
};

/// The largest body, which a server's own memory may bound.
const BODY_BYTES: &str = "MAX_BODY_BYTES";
/// Digits of a secret's digest: enough to tell two apart, which nobody chooses for that.
pub(crate) const DIGITS: usize = 16;

/// A setting that two servers have otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is called.
    pub setting: String,
    /// What it is here.
    pub mine: String,
    /// What it is with the others.
    pub theirs: String,
}

impl Config {
    /// The same with the sources and routes that `other` declares.
    pub(crate) fn redeclared(&self, other: &Self) -> Self {
        Self { sources: other.sources.clone(), routes: other.routes.clone(), ..self.clone() }
    }

    /// What is to be the same at each server: the same for two configurations that say the same, in whatever order. Where a server
    /// listens, what it is called, and what its machine has room for is its own.
    pub(crate) fn likeness(&self) -> Likeness {
        let key = key(&self.credentials);
        let likeness = Likeness { key: hex(&sha256(&key))[..DIGITS].to_owned(), ..Likeness::default() };
        let mut lines = Lines { key: hmac::Key::new(hmac::HMAC_SHA256, &key), likeness };
        lines.put("PUBLIC_URL", self.public_url.as_deref().unwrap_or_default().trim_end_matches('/'));
        lines.put("RELAY_NAME", self.relay_name.as_deref().unwrap_or_default());
        lines.put("MESSAGE_TTL", &span(self.route_defaults.ttl));
        lines.put("MAX_RETRIES, RETRY_DELAY, RETRY_MULTIPLIER", &retry(&self.route_defaults.retry));
        let mut origins = self.cors_origins.clone();
        origins.sort();
        lines.put("CORS_ORIGINS", &origins.join(","));
        lines.put(BODY_BYTES, &self.body_bytes_max.to_string());
        // Where its own memory bounds bodies that is a server's own, and what follows from it is not.
        if self.body_bytes_max >= budget::body_bytes_max(self.inflight_bytes_max) >> 10 << 10 {
            let bound = format!("MAX_INFLIGHT_BYTES ({})", quota::show_bytes(self.inflight_bytes_max));
            lines.likeness.bounds.insert(BODY_BYTES.to_owned(), bound);
        }
        for (name, value) in [
            ("DEDUPE_WINDOW", self.dedupe_window),
            ("RETENTION_DELIVERED", self.retention_delivered),
            ("RETENTION_DEAD", self.retention_dead),
            ("LEASE", self.lease),
            ("RETRY_AFTER_MAX", self.retry_after_max),
            ("CIRCUIT_PAUSE_MAX", self.circuit_pause_max),
        ] {
            lines.put(name, &span(value));
        }
        if let Some(key) = &self.sealed_with {
            lines.put("ENCRYPTION_KEY_FILE", key);
        }
        self.sources.iter().for_each(|source| lines.source(source));
        self.routes.iter().for_each(|route| lines.route(route));
        self.alerts.iter().for_each(|alert| lines.alert(alert));
        lines.likeness
    }
}

impl Likeness {
    /// A digest of all of it.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let Self { key, settings, secrets, bounds: _ } = self;
        let all = serde_json::to_vec(&(key, settings, secrets)).expect("names and values are text");
        sha256(&all)
    }

    /// What is otherwise than with the others, by its name. Digests of secrets that are keyed otherwise say nothing: then the
    /// credentials differ, which is said by itself.
    pub(crate) fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let mut all = differing(&self.settings, &theirs.settings, ToOwned::to_owned);
        for found in all.iter_mut().filter(|found| found.setting == BODY_BYTES) {
            *found = in_sizes(self, theirs);
        }
        if self.key == theirs.key {
            all.extend(differing(&self.secrets, &theirs.secrets, |digest| format!("one with the digest {digest}")));
        }
        all
    }
}

/// The difference in the largest body, with what bounds it on either side, and what would not.
fn in_sizes(mine: &Likeness, theirs: &Likeness) -> Difference {
    let bytes =
        |of: &Likeness| of.settings.get(BODY_BYTES).and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    let shown = |of: &Likeness, other: u64| {
        let size = quota::show_bytes(bytes(of));
        match of.bounds.get(BODY_BYTES).filter(|_| bytes(of) < other) {
            None => size,
            Some(bound) => {
                let least = quota::show_bytes(budget::inflight_bytes_min(other).next_multiple_of(1 << 20));
                format!("{size}, all that {bound} has room for ({least} would have for {}),", quota::show_bytes(other))
            }
        }
    };
    let (mine_shown, theirs_shown) = (shown(mine, bytes(theirs)), shown(theirs, bytes(mine)));
    Difference { setting: BODY_BYTES.to_owned(), mine: mine_shown, theirs: theirs_shown }
}

fn differing(
    mine: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    shown: impl Fn(&str) -> String,
) -> Vec<Difference> {
    let names = mine.keys().chain(theirs.keys().filter(|name| !mine.contains_key(*name)));
    let otherwise = names.filter(|name| mine.get(*name) != theirs.get(*name));
    let of = |all: &BTreeMap<String, String>, name: &String| match all.get(name).map(String::as_str) {
        None => "not set".to_owned(),
        Some(value) => shown(value),
    };
    let difference =
        |name: &String| Difference { setting: name.clone(), mine: of(mine, name), theirs: of(theirs, name) };
    otherwise.map(difference).collect()
}

fn key(credentials: &Credentials) -> [u8; 96] {
    let Credentials { api_key, relay_token, admin_token } = credentials;
    let mut key = [0; 96];
    key.copy_from_slice([*api_key, *relay_token, *admin_token].as_flattened());
    key
}

/// A likeness that is being made.
struct Lines {
    key: hmac::Key,
    likeness: Likeness,
}

impl Lines {
    /// What is not set is not there.
    fn put(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.likeness.settings.insert(name.to_owned(), value.to_owned());
        }
    }

    fn source(&mut self, source: &DeclaredSource) {
        // Where it stands is its file's.
        let DeclaredSource { name, provider: of, parameters, network, allow_empty, dedupe, marks, at: _ } = source;
        self.put(&format!("source {name}: provider"), of);
        self.put(&format!("source {name}: allow_empty"), if *allow_empty { "true" } else { "" });
        self.put(&format!("source {name}: dedupe"), dedupe.as_str());
        for (mark, path) in marks {
            self.put(&format!("source {name}: mark {mark}"), path.as_str());
        }
        let NetworkPolicy { rate, address_rate, allow, deny, daily_events, daily_bytes } = network;
        self.put(&format!("source {name}: rate"), rate.as_deref().unwrap_or_default());
        self.put(&format!("source {name}: address_rate"), address_rate.as_deref().unwrap_or_default());
        self.put(&format!("source {name}: allow"), &allow.clone().unwrap_or_default().join(","));
        self.put(&format!("source {name}: deny"), &deny.clone().unwrap_or_default().join(","));
        self.put(&format!("source {name}: daily_events"), daily_events.as_deref().unwrap_or_default());
        self.put(&format!("source {name}: daily_bytes"), daily_bytes.as_deref().unwrap_or_default());
        let known = provider(of).map_or(&[][..], |provider| provider.parameters);
        for (parameter, value) in parameters.iter() {
            let is_open = known.iter().any(|known| known.name == parameter && !known.secret);
            let line = format!("source {name}: {parameter}");
            let shown = if is_open { value.clone() } else { self.digest(value) };
            let lines = if is_open { &mut self.likeness.settings } else { &mut self.likeness.secrets };
            // A name given twice: both values are valid, and which came first does not matter much but to whoever reads it.
            lines.entry(line).and_modify(|values| *values = format!("{values}, {shown}")).or_insert(shown);
        }
    }

    fn digest(&self, secret: &str) -> String {
        hex(hmac::sign(&self.key, secret.as_bytes()).as_ref())[..DIGITS].to_owned()
    }

    /// One of all servers tells what is of the store, so that it is all the same who.
    fn alert(&mut self, alert: &DeclaredAlert) {
        let DeclaredAlert { name, way, kinds, severity, .. } = alert;
        self.put(&format!("alert {name}: format"), way.as_str());
        self.put(&format!("alert {name}: severity"), severity.as_str());
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        self.put(&format!("alert {name}: kinds"), &kinds.join(","));
        // Where it goes is a secret with some, and may be in an argument.
        let whole = match way {
            Way::Post(Post { url, secret, allow_private, .. }) => format!("{url} {secret:?} {allow_private}"),
            Way::Command(Command { program, arguments }) => format!("{program} {arguments:?}"),
        };
        let digest = self.digest(&whole);
        self.likeness.secrets.insert(format!("alert {name}: url, secret or command"), digest);
    }

    fn route(&mut self, route: &DeclaredRoute) {
        let DeclaredRoute { source, destination, ttl, retry: policy, at: _ } = route;
        self.put(&format!("route {source} -> {destination}"), "declared");
        self.put(&format!("route {source} -> {destination}: ttl"), &ttl.map_or_else(String::new, span));
        self.put(
            &format!("route {source} -> {destination}: retries"),
            &policy.as_ref().map_or_else(String::new, retry),
        );
    }
}

fn retry(policy: &RetryPolicy) -> String {
    let delays = match &policy.schedule {
        Schedule::Exponential { delay, multiplier } => format!("{} x {multiplier}", span(*delay)),
        Schedule::Listed(delays) => delays.iter().map(|delay| span(*delay)).collect::<Vec<_>>().join(" "),
    };
    format!("{} of {delays}", policy.max_retries)
}

/// A span in its largest unit that leaves no rest: `24h`, `90s`.
fn span(span: Duration) -> String {
    let micros = span.as_micros();
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    let whole = units.into_iter().find(|(unit, _)| micros.is_multiple_of(*unit) && (micros > 0 || *unit == 1_000_000));
    whole.map_or_else(|| format!("{micros}us"), |(unit, name)| format!("{}{name}", micros / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        let source = |name: &str| DeclaredSource {
            name: name.parse().unwrap(),
            provider: "github".into(),
            parameters: vec![("secret".to_owned(), "s3cret".to_owned())].into(),
            network: NetworkPolicy::default(),
            allow_empty: false,
            marks: Vec::new(),
            dedupe: super::super::Dedupe::Auto,
            at: format!("a file line {}", name.len()),
        };
        let route = |to: &str| DeclaredRoute {
            source: "github".parse().unwrap(),
            destination: to.parse().unwrap(),
            ttl: None,
            retry: None,
            at: "a file".into(),
        };
        Config {
            sources: vec![source("github"), source("stripe")],
            routes: vec![route("crm"), route("erp")],
            alerts: vec![DeclaredAlert {
                name: "ops".parse().unwrap(),
                way: Way::Command(Command { program: "/a".into(), arguments: vec!["x".into()] }),
                kinds: std::collections::BTreeSet::new(),
                severity: relay_core::alert::Severity::Warning,
            }],
            ..Config::sample("/nonexistent".into())
        }
    }

    #[test]
    fn what_is_a_servers_own_and_the_order_of_its_file_do_not_count() {
        let (one, mut other) = (sample(), sample());
        other.sources.reverse();
        other.routes.reverse();
        other.sources[0].at = "elsewhere".into();
        (other.server, other.data_dir) = ("b".into(), "/elsewhere".into());
        (other.inflight_bytes_max, other.shutdown_grace) = (1, Duration::ZERO);
        assert_eq!(one.likeness().digest(), other.likeness().digest());
    }

    #[test]
    fn what_is_declared_anew_counts_and_nothing_else_of_that_file() {
        let started = sample();
        let mut file = sample();
        file.sources.truncate(1);
        let anew = started.redeclared(&Config { lease: started.lease * 2, ..file.clone() });
        assert_eq!(anew.likeness(), file.likeness());
        assert_ne!(anew.likeness(), started.likeness());
    }

    #[test]
    fn whatever_all_servers_are_to_have_counts() {
        let one = sample().likeness();
        let changes: [fn(&mut Config); 18] = [
            |config| config.relay_name = Some("staging".into()),
            |config| config.lease *= 2,
            |config| config.retention_dead *= 2,
            |config| config.route_defaults.ttl *= 2,
            |config| config.route_defaults.retry.max_retries += 1,
            |config| config.public_url = Some("https://relay.example.com".into()),
            |config| config.cors_origins.push("https://a.example.com".into()),
            |config| config.sources[1].parameters[0].1.push('x'),
            |config| config.sources[0].provider = "stripe".into(),
            |config| config.sources[0].network.rate = Some("1/s".into()),
            |config| config.sources[0].network.deny = Some(vec!["192.0.2.7".into()]),
            |config| config.sources[0].network.daily_bytes = Some("1GiB".into()),
            |config| config.sources.truncate(1),
            |config| config.routes[0].ttl = Some(Duration::from_mins(1)),
            |config| config.routes[0].retry = Some(RetryPolicy::default()),
            |config| config.credentials.relay_token[0] ^= 1,
            |config| config.alerts.clear(),
            |config| config.alerts[0].way = Way::Command(Command { program: "/a".into(), arguments: vec!["y".into()] }),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = sample();
            change(&mut other);
            assert_ne!(one, other.likeness(), "change {number}");
            assert_ne!(one.digest(), other.likeness().digest(), "change {number}");
        }
    }

    /// S27: what differs is named with both values, and of secrets only that they do.
    #[test]
    fn what_differs_is_named_with_both_values() {
        let mine = sample();
        let mut theirs = sample();
        theirs.route_defaults.ttl = Duration::from_mins(90);
        theirs.sources[0].parameters[0].1.push('x');
        theirs.routes.truncate(1);
        let found = mine.likeness().differences(&theirs.likeness());
        let said: Vec<(&str, &str, &str)> =
            found.iter().map(|found| (&*found.setting, &*found.mine, &*found.theirs)).collect();
        assert_eq!(said[0], ("MESSAGE_TTL", "1d", "90m"));
        assert_eq!(said[1], ("route github -> erp", "declared", "not set"));
        assert!(said[2].0 == "source github: secret" && said[2].1.starts_with("one with the digest "), "{said:?}");
        assert_eq!(said.len(), 3);
        assert!(!format!("{:?}", mine.likeness()).contains("s3cret"));
        theirs.credentials.admin_token[0] ^= 1;
        assert_eq!(
            mine.likeness().differences(&theirs.likeness()).len(),
            2,
            "by other keys nothing is known of secrets"
        );
    }

    /// Where a server's memory bounds bodies, that is named on whichever side it is, with what would be right; it is no difference itself.
    #[test]
    fn what_memory_makes_of_the_largest_body_is_named() {
        let of = |inflight: u64, body: u64| {
            let fit = budget::body_bytes_max(inflight) >> 10 << 10;
            Config { inflight_bytes_max: inflight, body_bytes_max: body.min(fit), ..sample() }.likeness()
        };
        let (large, small) = (of(256 << 20, 25 << 20), of(32 << 20, 25 << 20));
        let bounded = "16352KiB, all that MAX_INFLIGHT_BYTES (32MiB) has room for (51MiB would have for 25MiB),";
        let said = |one: &Likeness, other: &Likeness| {
            let found = one.differences(other);
            assert_eq!(found.len(), 1);
            (found[0].mine.clone(), found[0].theirs.clone())
        };
        assert_eq!(said(&small, &large), (bounded.to_owned(), "25MiB".to_owned()));
        assert_eq!(said(&large, &small), ("25MiB".to_owned(), bounded.to_owned()));
        assert_eq!(said(&of(256 << 20, 1 << 20), &large), ("1MiB".to_owned(), "25MiB".to_owned()), "as it was given");
        assert_eq!((of(256 << 20, 16352 << 10), of(256 << 20, 16352 << 10).digest()), (small.clone(), small.digest()));
    }

    #[test]
    fn spans_are_said_in_their_largest_unit() {
        for (millis, said) in [(86_400_000, "1d"), (90_000, "90s"), (3_600_000, "1h"), (1_500, "1500ms"), (0, "0s")] {
            assert_eq!(span(Duration::from_millis(millis)), said);
        }
    }
}
