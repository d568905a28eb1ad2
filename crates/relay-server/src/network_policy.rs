//! Who may come to a source, how often, and how much in a day: as operators write it, and as it is kept to.

use std::net::IpAddr;

use relay_core::{
    limits,
    quota::{self, Quota},
    throttle::Rate,
};
use relay_net::cidr::{Cidr, Cidrs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How an amount is read.
type Read = fn(&str) -> Result<u64, String>;

/// What an operator writes to have none of something that there was.
const NONE: &str = "none";

/// Who may come to a source, how often, and how much in a day, in an operator's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkPolicy {
    /// So many requests in all, like `100/s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// So many from one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_rate: Option<String>,
    /// Only from these networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Not from these networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
    /// So many events in a day of UTC, like `100000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_events: Option<String>,
    /// So many bytes of their bodies, like `5GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_bytes: Option<String>,
}

/// The same, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Of all requests together.
    pub rate: Option<Rate>,
    /// Of those of one address; of this machine, which brings everybody, as many as come.
    pub address_rate: Option<Rate>,
    /// Only from there; `None`: from anywhere.
    pub allow: Option<Cidrs>,
    /// Not from there.
    pub deny: Cidrs,
    /// In a day.
    pub quota: Quota,
}

impl NetworkPolicy {
    /// The keys of a source in the configuration file that are of it, not of its provider.
    pub const KEYS: [&str; 6] = ["rate", "address_rate", "allow", "deny", "daily_events", "daily_bytes"];

    /// Whether anybody may come as often as he likes.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// The same as this relay writes it.
    ///
    /// # Errors
    /// Every fault, by its key: what would be right.
    pub fn checked(&self) -> Result<Self, Vec<(&'static str, String)>> {
        let (mut faults, keys) = (Vec::new(), Self::KEYS);
        let mut rate = |key, text: &Option<String>| {
            let read = text.as_deref().map(str::parse::<Rate>).transpose();
            read.map_err(|want| faults.push((key, want))).ok().flatten().map(|rate| rate.to_string())
        };
        let (all, address) = (rate(keys[0], &self.rate), rate(keys[1], &self.address_rate));
        let mut list = |key, texts: &Option<Vec<String>>| {
            let read = texts.as_deref().map(networks).transpose();
            let read = read.map_err(|want| faults.push((key, want))).ok().flatten();
            read.map(|read| read.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let (allow, deny) = (list(keys[2], &self.allow), list(keys[3], &self.deny));
        let mut amount = |key, text: &Option<String>, read: Read, show: fn(u64) -> String| {
            let read = text.as_deref().map(read).transpose();
            read.map_err(|want| faults.push((key, want))).ok().flatten().map(show)
        };
        let daily_events = amount(keys[4], &self.daily_events, quota::events, |events| events.to_string());
        let daily_bytes = amount(keys[5], &self.daily_bytes, quota::bytes, quota::show_bytes);
        let checked = Self { rate: all, address_rate: address, allow, deny, daily_events, daily_bytes };
        if faults.is_empty() { Ok(checked) } else { Err(faults) }
    }

    /// The same with what `changes` says of it; `none` takes away what there was.
    #[must_use]
    pub fn changed(mut self, changes: Self) -> Self {
        let is_none = |text: &String| text.trim() == NONE;
        for (present, change) in [
            (&mut self.rate, changes.rate),
            (&mut self.address_rate, changes.address_rate),
            (&mut self.daily_events, changes.daily_events),
            (&mut self.daily_bytes, changes.daily_bytes),
        ] {
            if change.is_some() {
                *present = change.filter(|text| !is_none(text));
            }
        }
        for (present, change) in [(&mut self.allow, changes.allow), (&mut self.deny, changes.deny)] {
            if change.is_some() {
                *present = change.filter(|texts| !matches!(&texts[..], [text] if is_none(text)));
            }
        }
        self
    }

    /// What it comes to.
    ///
    /// # Errors
    /// What of it does not read, in words: nobody may come then.
    pub fn terms(&self) -> Result<Terms, String> {
        let rate = |text: &Option<String>| text.as_deref().map(str::parse::<Rate>).transpose();
        let list = |texts: &Option<Vec<String>>| texts.as_deref().map(networks).transpose();
        let amount = |text: &Option<String>, read: Read| text.as_deref().map(read).transpose();
        Ok(Terms {
            rate: rate(&self.rate)?,
            address_rate: rate(&self.address_rate)?,
            allow: list(&self.allow)?,
            deny: list(&self.deny)?.unwrap_or_default(),
            quota: Quota {
                events: amount(&self.daily_events, quota::events)?,
                bytes: amount(&self.daily_bytes, quota::bytes)?,
            },
        })
    }
}

impl Terms {
    /// Whether somebody of this address may come. Whose address is not known may come where anybody may: not by a list that has the
    /// network of the proxy that brings him and names nobody.
    pub fn admit(&self, address: Option<IpAddr>) -> bool {
        let is_of = |networks: &Cidrs| address.is_some_and(|address| networks.contain(address));
        !is_of(&self.deny) && self.allow.as_ref().is_none_or(is_of)
    }
}

/// Networks, each by itself or several with commas between them.
///
/// # Errors
/// What would be right: a list that is there has something in it.
fn networks(texts: &[String]) -> Result<Cidrs, String> {
    let parts = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|part| !part.is_empty());
    let read: Cidrs = parts.map(str::parse::<Cidr>).collect::<Result<_, _>>()?;
    match read.len() {
        0 => {
            Err("the list is empty, and whether that is nobody or anybody is a guess; want networks like 10.0.0.0/8"
                .into())
        }
        found if found > limits::POLICY_NETWORKS_MAX => {
            Err(format!("{found} networks; want {} at most", limits::POLICY_NETWORKS_MAX))
        }
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// S35
    #[test]
    fn who_may_come_is_decided_by_both_lists() {
        let terms = |allow: Option<Vec<String>>, deny: Option<Vec<String>>| {
            NetworkPolicy { allow, deny, ..NetworkPolicy::default() }.terms().unwrap()
        };
        let admitted = |terms: &Terms, address: &str| terms.admit(Some(address.parse().unwrap()));
        let both = terms(Some(list(&["10.0.0.0/8", "2001:db8::/32"])), Some(list(&["10.9.0.0/16, 2001:db8:9::/48"])));
        for (address, may) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.9.1.1", false),
            ("::ffff:10.9.1.1", false),
            ("192.0.2.7", false),
            ("2001:db8::1", true),
            ("2001:db8:9::1", false),
        ] {
            assert_eq!(admitted(&both, address), may, "{address}");
        }
        assert!(!both.admit(None) && Terms::default().admit(None));
        let denying = terms(None, Some(list(&["10.9.0.0/16"])));
        assert!(admitted(&denying, "192.0.2.7") && !admitted(&denying, "10.9.0.1"));
    }

    /// S35: an empty list is a fault, and never anybody.
    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        for empty in [list(&[]), list(&[""]), list(&[" , "])] {
            let (one, other) = (Some(empty.clone()), Some(empty));
            for policy in [
                NetworkPolicy { allow: one, ..NetworkPolicy::default() },
                NetworkPolicy { deny: other, ..NetworkPolicy::default() },
            ] {
                assert_eq!(policy.checked().unwrap_err().len(), 1);
                assert!(policy.terms().is_err());
            }
        }
        let wrong = NetworkPolicy {
            rate: Some("often".into()),
            address_rate: Some("0/s".into()),
            allow: Some(list(&["10.1.2.3/8"])),
            deny: Some(list(&vec!["192.0.2.7"; limits::POLICY_NETWORKS_MAX + 1])),
            daily_events: Some("many".into()),
            daily_bytes: Some("0".into()),
        };
        let keys: Vec<_> = wrong.checked().unwrap_err().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, NetworkPolicy::KEYS);
    }

    #[test]
    fn a_change_leaves_the_rest_and_none_takes_away() {
        let whole = NetworkPolicy {
            rate: Some("100/s".into()),
            address_rate: Some("10 / s".into()),
            allow: Some(list(&["::ffff:10.0.0.0/104", "192.0.2.7/32"])),
            deny: Some(list(&["10.9.0.0/16"])),
            daily_events: Some(" 1000".into()),
            daily_bytes: Some("2048 mb".into()),
        };
        let whole = whole.checked().unwrap();
        assert_eq!((whole.daily_events.as_deref(), whole.daily_bytes.as_deref()), (Some("1000"), Some("2GiB")));
        assert_eq!(whole.terms().unwrap().quota, Quota { events: Some(1_000), bytes: Some(2 << 30) });
        assert_eq!(
            (whole.address_rate.as_deref(), &whole.allow),
            (Some("10/s"), &Some(list(&["10.0.0.0/8", "192.0.2.7"])))
        );
        let (rate, daily_bytes) = (Some(NONE.into()), Some(NONE.into()));
        let change = NetworkPolicy { rate, daily_bytes, deny: Some(list(&[NONE])), ..NetworkPolicy::default() };
        let left = NetworkPolicy { rate: None, deny: None, daily_bytes: None, ..whole.clone() };
        assert_eq!(whole.clone().changed(change), left);
        assert_eq!(whole.clone().changed(NetworkPolicy::default()), whole);
    }

    /// A key of ours that a provider knows too would take its parameter away.
    #[test]
    fn no_provider_has_a_parameter_of_these_names() {
        for provider in relay_providers::providers() {
            for parameter in provider.parameters {
                assert!(!NetworkPolicy::KEYS.contains(&parameter.name), "{}: {}", provider.name, parameter.name);
            }
        }
    }
}
