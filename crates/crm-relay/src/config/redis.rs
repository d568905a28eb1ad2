//! The Redis that a server keeps its store in, out of the settings.

use std::path::Path;

use relay_core::limits;
use relay_store::{
    redis::{Address, Cluster, Deployment, Login, Options, Sentinels},
    seam::Durability,
};

use super::{
    encryption,
    kind::Value,
    layers::Layers,
    redis_url::{self, Password, Scheme, Url},
    text_file,
};

/// Longer names of streams are hardly meant, and stand in every key.
const NAME_MAX: usize = 100;
/// Unless something else is set, so that each of up to eight primaries has some of them.
const PARTITIONS_OF_CLUSTER: usize = 16;
/// Of `REDIS_TIMEOUT` so much is for replicas, and as much for their disks.
const OF_REPLICAS: u32 = 2;

/// The store that the settings ask for; `None`: the embedded one. Faults are noted.
pub(super) fn options(layers: &mut Layers) -> Option<Options> {
    let is_told = layers.faults.0.iter().any(|fault| fault.name.starts_with("REDIS_URL"));
    if layers.given("REDIS_URL").is_none() && !is_told {
        return None;
    }
    check_names(layers);
    let Some(url) = layers.text("REDIS_URL").and_then(|text| redis_url::read(&text).ok()) else {
        check_beside(layers);
        return None;
    };
    let in_url = url.password.clone().map(|Password(text)| text);
    let password = one_of(layers, "REDIS_PASSWORD", in_url);
    if url.user.is_some() && password.is_none() {
        layers.fault("REDIS_URL", "a user without a password: want one in the URL, or REDIS_PASSWORD");
    }
    let database = layers.given("REDIS_DB").map(|given| given.value.clone());
    let database = match (database, url.database) {
        (Some(Value::Number(number)), Some(other)) if number != u64::from(other) => {
            layers.fault("REDIS_DB", format!("REDIS_URL names database {other}: want one of them"));
            other
        }
        (Some(Value::Number(number)), _) => number as u32,
        (_, other) => other.unwrap_or_default(),
    };
    if url.is_cluster && database > 0 {
        layers.fault("REDIS_DB", "a cluster has database 0 only");
    }
    let address = deployment(layers, &url)?;
    let partitions = match layers.given("REDIS_PARTITIONS") {
        None if url.is_cluster => PARTITIONS_OF_CLUSTER,
        _ => layers.number("REDIS_PARTITIONS") as usize,
    };
    let patience = layers.span("REDIS_TIMEOUT");
    let text = |name: &str| layers.text(name).unwrap_or_default();
    Some(Options {
        login: Login { user: url.user, password, database },
        stream_name: text("STREAM_NAME"),
        dead_letter_queue: text("DEAD_LETTER_QUEUE"),
        consumer: layers.text("CONSUMER_NAME").unwrap_or_else(|| "relay".to_owned()),
        partitions,
        durability: durability(&text("REDIS_DURABILITY")),
        replicas_min: layers.number("REDIS_MIN_REPLICAS") as u32,
        replicas_within: patience / OF_REPLICAS,
        assume_durable: text("REDIS_ASSUME_DURABLE") == "on",
        patience: patience + patience / OF_REPLICAS,
        ciphers: encryption::ciphers(layers),
        readers: layers.number("REDIS_POOL_SIZE") as usize,
        ..Options::new(address)
    })
}

/// What is wrong with the other settings, where the URL does not read: all faults are told together.
fn check_beside(layers: &mut Layers) {
    let scheme = layers.refused_redis().and_then(Scheme::of);
    let database = layers.given("REDIS_DB").map(|given| given.value.clone());
    if scheme.is_some_and(Scheme::is_cluster) && matches!(database, Some(Value::Number(1..))) {
        layers.fault("REDIS_DB", "a cluster has database 0 only");
    }
    authorities(layers, scheme.is_none_or(|scheme| scheme.is_tls));
    if layers.text("REDIS_SENTINEL_USER").is_some() && layers.text("REDIS_SENTINEL_PASSWORD").is_none() {
        layers.fault("REDIS_SENTINEL_USER", "a user without a password: want REDIS_SENTINEL_PASSWORD, too");
    }
}

/// One node, or who knows it. Faults are noted.
fn deployment(layers: &mut Layers, url: &Url) -> Option<Deployment> {
    let authorities = authorities(layers, url.is_tls);
    let mut at = url.hosts.iter().map(|(host, port)| {
        let (host, port) = (host.clone(), *port);
        if url.is_tls {
            Address::Tls { host, port, authorities: authorities.clone() }
        } else {
            Address::Tcp { host, port }
        }
    });
    let elsewhere = layers.text("REDIS_ADDRESS_MAP").and_then(|text| redis_url::read_map(&text).ok());
    let (user, password) = (layers.text("REDIS_SENTINEL_USER"), layers.text("REDIS_SENTINEL_PASSWORD"));
    let Some(master) = url.master.clone() else {
        for name in ["REDIS_SENTINEL_USER", "REDIS_SENTINEL_PASSWORD"] {
            if layers.given(name).is_some() {
                layers.fault(name, "REDIS_URL names no sentinels: want redis+sentinel://, or leave it out");
            }
        }
        if url.is_cluster {
            return Some(Deployment::Cluster(Cluster { at: at.collect(), elsewhere: elsewhere.unwrap_or_default() }));
        }
        if layers.given("REDIS_ADDRESS_MAP").is_some() {
            let want = "REDIS_URL names a node, and nobody who knows others: want redis+sentinel:// or redis+cluster://, or leave it out";
            layers.fault("REDIS_ADDRESS_MAP", want);
        }
        return at.next().map(Deployment::Node);
    };
    if user.is_some() && password.is_none() {
        layers.fault("REDIS_SENTINEL_USER", "a user without a password: want REDIS_SENTINEL_PASSWORD, too");
    }
    let login = Login { user, password, database: 0 };
    let elsewhere = elsewhere.unwrap_or_default();
    Some(Deployment::Sentinel(Sentinels { at: at.collect(), master, login, elsewhere }))
}

fn durability(word: &str) -> Option<Durability> {
    Durability::ALL.into_iter().find(|durability| durability.as_str() == word)
}

/// A value that may stand in the URL or be given by itself.
fn one_of(layers: &mut Layers, name: &str, in_url: Option<String>) -> Option<String> {
    let given = layers.text(name);
    if let (Some(given), Some(in_url)) = (&given, &in_url)
        && given != in_url
    {
        layers.fault(name, "REDIS_URL has another: want one of them");
    }
    given.or(in_url)
}

/// What keys are made of.
fn check_names(layers: &mut Layers) {
    for name in ["STREAM_NAME", "DEAD_LETTER_QUEUE", "CONSUMER_NAME"] {
        let Some(text) = layers.text(name) else { continue };
        if text.len() > NAME_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\\"'".contains(&byte))
        {
            let want = format!(
                "stands in the names of keys: want up to {NAME_MAX} printable ASCII characters without blanks, quotes, \\ and \
                 any of {{}}[]*?"
            );
            layers.fault(name, want);
        }
    }
    if layers.given("CONSUMER_GROUP").is_some() {
        layers
            .notes
            .push("CONSUMER_GROUP has no effect: each stream of the store has a group of its own, relay".to_owned());
    }
}

fn authorities(layers: &mut Layers, is_tls: bool) -> Option<Vec<u8>> {
    let path = layers.text("REDIS_CA_FILE")?;
    if !is_tls {
        layers.fault("REDIS_CA_FILE", "REDIS_URL is without TLS: want rediss://, or none");
        return None;
    }
    match text_file::bytes(Path::new(&path), limits::CONFIGURATION_FILE_BYTES_MAX) {
        Ok(bytes) => Some(bytes),
        Err(want) => {
            layers.fault("REDIS_CA_FILE", want);
            None
        }
    }
}
