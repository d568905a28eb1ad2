//! What the configurations of servers that share a store are compared by.
//!
//! It goes to the store and to the other servers, so no secret is in it, nor anything that one could be tried against: it is
//! a keyed digest, whose key are the server's own credentials.

use std::time::Duration;

use aws_lc_rs::hmac;
use relay_core::delivery::retry::{RetryPolicy, Schedule};

use super::{Config, Credentials, DeclaredRoute, DeclaredSource};
use crate::{network_policy::NetworkPolicy, registry::secret::sha256};

impl Config {
    /// The same with the sources and routes that `other` declares.
    pub(crate) fn redeclared(&self, other: &Self) -> Self {
        Self { sources: other.sources.clone(), routes: other.routes.clone(), ..self.clone() }
    }

    /// A digest of all that is to be the same at each server: the same for two configurations that say the same, in whatever
    /// order. Where a server listens, what it is called, and what its machine has room for is its own.
    pub(crate) fn likeness(&self) -> [u8; 32] {
        let mut text = Fields(hmac::Context::with_key(&key(&self.credentials)));
        text.field(self.public_url.as_deref().unwrap_or_default().trim_end_matches('/').as_bytes());
        text.span(self.route_defaults.ttl);
        text.retry(&self.route_defaults.retry);
        let mut origins: Vec<&String> = self.cors_origins.iter().collect();
        origins.sort();
        text.number(origins.len() as u64);
        for origin in origins {
            text.field(origin.as_bytes());
        }
        text.number(self.body_bytes_max);
        let spans = [self.dedupe_window, self.retention_delivered, self.retention_dead, self.lease];
        for span in spans.into_iter().chain([self.retry_after_max, self.circuit_pause_max]) {
            text.span(span);
        }
        let mut sources: Vec<&DeclaredSource> = self.sources.iter().collect();
        sources.sort_by_key(|source| &source.name);
        text.number(sources.len() as u64);
        for source in sources {
            text.source(source);
        }
        let mut routes: Vec<&DeclaredRoute> = self.routes.iter().collect();
        routes.sort_by_key(|route| (&route.source, &route.destination));
        text.number(routes.len() as u64);
        for route in routes {
            text.route(route);
        }
        text.0.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

fn key(credentials: &Credentials) -> hmac::Key {
    let Credentials { api_key, relay_token, admin_token } = credentials;
    let digests = [api_key, relay_token, admin_token].map(|secret| sha256(secret.as_bytes()));
    hmac::Key::new(hmac::HMAC_SHA256, digests.as_flattened())
}

/// Fields, each behind its length: no two lists of them are the same bytes.
struct Fields(hmac::Context);

impl Fields {
    fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    fn source(&mut self, source: &DeclaredSource) {
        // Where it stands is its file's.
        let DeclaredSource { name, provider, parameters, network, allow_empty, dedupe, at: _ } = source;
        self.field(name.as_str().as_bytes());
        self.field(provider.as_bytes());
        self.number(parameters.len() as u64);
        for (parameter, value) in parameters.iter() {
            self.field(parameter.as_bytes());
            self.field(value.as_bytes());
        }
        self.network(network);
        self.number(u64::from(*allow_empty));
        self.field(dedupe.as_str().as_bytes());
    }

    fn network(&mut self, network: &NetworkPolicy) {
        let NetworkPolicy { rate, address_rate, allow, deny, daily_events, daily_bytes } = network;
        let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
        let list = |texts: &Option<Vec<String>>| texts.clone().unwrap_or_default();
        // A list that is there is not empty.
        for texts in [one(rate), one(address_rate), list(allow), list(deny), one(daily_events), one(daily_bytes)] {
            self.number(texts.len() as u64);
            for text in &texts {
                self.field(text.as_bytes());
            }
        }
    }

    fn route(&mut self, route: &DeclaredRoute) {
        let DeclaredRoute { source, destination, ttl, retry, at: _ } = route;
        self.field(source.as_str().as_bytes());
        self.field(destination.as_str().as_bytes());
        self.number(u64::from(ttl.is_some()));
        if let Some(ttl) = ttl {
            self.span(*ttl);
        }
        self.number(u64::from(retry.is_some()));
        if let Some(retry) = retry {
            self.retry(retry);
        }
    }

    fn retry(&mut self, policy: &RetryPolicy) {
        self.number(policy.max_retries.into());
        match &policy.schedule {
            Schedule::Exponential { delay, multiplier } => {
                self.number(0);
                self.span(*delay);
                self.number(multiplier.to_bits());
            }
            Schedule::Listed(delays) => {
                self.number(1 + delays.len() as u64);
                for delay in delays {
                    self.span(*delay);
                }
            }
        }
    }
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
        assert_eq!(one.likeness(), other.likeness());
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
        let changes: [fn(&mut Config); 15] = [
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
            |config| config.credentials.relay_token.push('x'),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = sample();
            change(&mut other);
            assert_ne!(one, other.likeness(), "change {number}");
        }
    }
}
