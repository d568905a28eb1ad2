//! Registry documents as they are stored: JSON. The one place that knows their bytes.
//!
//! **Invariant:** a field is never renamed and never changes its meaning; a new one has a default, so that a document of
//! an earlier version still reads. One that is not known here is refused: half a rule is another rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    name::Name,
    time::Wall,
};
use relay_providers::Provider;
pub(crate) use relay_store::seam::{Unread, parse};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[cfg(test)]
pub(crate) mod golden;

use crate::{network_policy::NetworkPolicy, parameters::Parameters};

/// A public intake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    #[serde(with = "text")]
    pub name: Name,
    /// How requests prove themselves: an entry of the provider table.
    pub provider: String,
    /// The provider's parameters, secrets among them; a name given twice: both values are valid.
    #[serde(default)]
    pub parameters: Parameters,
    /// Who may come, and how often.
    #[serde(default, skip_serializing_if = "NetworkPolicy::is_open")]
    pub network: NetworkPolicy,
    /// Key sources take an empty body with POST, PUT and PATCH.
    #[serde(default)]
    pub allow_empty: bool,
    /// What a repeat of something delivered is.
    #[serde(default)]
    pub dedupe: Dedupe,
    /// What its events can be found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkDefinition>,
    /// Parameters that the platform handed over itself: nobody else has seen their values.
    #[serde(default)]
    pub adopted: Vec<String>,
    /// Until when the platform may hand over its secret, in microseconds since the epoch.
    #[serde(default)]
    pub adopts_until: Option<i64>,
    /// Secrets that are being replaced.
    #[serde(default)]
    pub rotation: Option<Rotation<Replaced>>,
    /// The configuration file no longer declares it: nothing is taken in.
    #[serde(default)]
    pub paused: bool,
    /// Where the configuration file declares it, or declared it.
    #[serde(default)]
    pub declared: Option<String>,
    /// The servers whose files declare it, of those that share the store.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub declared_by: BTreeSet<String>,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Wall,
}

/// A value of events that they can be found by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkDefinition {
    /// Its name within the source.
    #[serde(with = "text")]
    pub name: Name,
    /// Where the store has its rows.
    pub slot: u8,
    /// Where it stands: a place of JSON bodies, or a header.
    pub path: String,
}

/// Something that proves its bearer is being replaced: until that is over, the old one is valid beside the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation<T> {
    /// What was there before.
    pub old: T,
    /// Since when.
    #[serde(with = "micros")]
    pub since: Wall,
    /// Until when, in microseconds since the epoch; `None`: until an operator says that it is over.
    #[serde(default)]
    pub until: Option<i64>,
}

/// Parameters that are being replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// Which, as they are called in the provider's table.
    pub names: Vec<String>,
    /// What they were, under the names by which they were given.
    pub values: Parameters,
}

/// What is kept of a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Its SHA-256.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Its first characters, for people.
    pub prefix: String,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Digest").field(&self.prefix).finish()
    }
}

/// The configuration that servers on a store share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedConfiguration {
    /// Whose it was.
    pub(crate) server: String,
    /// The version of the program that wrote it.
    pub(crate) version: String,
    /// What it says.
    pub(crate) likeness: Likeness,
}

/// What the configurations of servers that share a store are compared by: all but `bounds`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Likeness {
    /// What the digests of secrets are keyed with, by a digest: those of servers with other credentials are not comparable.
    pub(crate) key: String,
    /// What is readable, by the name of the setting; what is not set is not there.
    pub(crate) settings: BTreeMap<String, String>,
    /// Digests of secrets, by the names of what they are for.
    pub(crate) secrets: BTreeMap<String, String>,
    /// What made a setting as it is that was to be another, for whoever reads the difference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) bounds: BTreeMap<String, String>,
}

impl PartialEq for Likeness {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, &self.settings, &self.secrets) == (&other.key, &other.settings, &other.secrets)
    }
}

impl Eq for Likeness {}

/// A secret that servers on a store share: what each knows it by, and who has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedSecret {
    /// `API_KEY`, `RELAY_TOKEN` or `ADMIN_TOKEN`.
    pub name: String,
    /// Its SHA-256.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Which server has it.
    pub server: String,
    /// In which file there; `None`: it was given to it.
    #[serde(default)]
    pub kept: Option<String>,
}

impl SharedSecret {
    /// Where it is to be found.
    pub fn whereabouts(&self) -> String {
        let Self { server, kept, .. } = self;
        match kept {
            Some(kept) => format!("that of server {server}, in its {kept}"),
            None => format!("that which server {server} was given"),
        }
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedSecret").field(&self.name).finish()
    }
}

/// What a repeat of something delivered is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dedupe {
    /// What its provider makes of it: from one that never retries by itself it is somebody who pressed Resend.
    #[default]
    Auto,
    /// Always the same webhook once more: it is delivered once.
    Strict,
}

impl Dedupe {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Strict];

    /// Its word in JSON, on the command line and in the configuration file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
        }
    }
}

impl std::fmt::Display for Dedupe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Dedupe {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|dedupe| dedupe.as_str() == text).ok_or("want auto or strict")
    }
}

/// Source to destination, with its own policy where it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// From.
    #[serde(with = "text")]
    pub source: Name,
    /// To.
    #[serde(with = "text")]
    pub destination: Name,
    /// Its own TTL.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// Its own retry policy.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// The configuration file no longer declares it: it makes no new deliveries.
    #[serde(default)]
    pub paused: bool,
    /// Where the configuration file declares it, or declared it.
    #[serde(default)]
    pub declared: Option<String>,
    /// The servers whose files declare it, of those that share the store.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub declared_by: BTreeSet<String>,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Wall,
}

/// A retry policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Counted tries after the first.
    pub max_retries: u32,
    /// The delays; empty: reckoned from the next two.
    #[serde(default)]
    pub schedule_ms: Vec<u64>,
    /// First delay.
    #[serde(default)]
    pub delay_ms: u64,
    /// Factor for each further one.
    #[serde(default = "one")]
    pub multiplier: f64,
}

/// What an operator said of a destination. One without a document is not paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its name.
    #[serde(with = "text")]
    pub name: Name,
    /// Nothing of it is leased.
    #[serde(default)]
    pub paused: bool,
}

/// An API key of a key source. The key itself was shown once and is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose.
    #[serde(with = "text")]
    pub source: Name,
    /// Its name within the source.
    #[serde(with = "text")]
    pub name: Name,
    /// SHA-256 of the key.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Its first characters, for people.
    pub prefix: String,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Wall,
    /// When it was revoked, in microseconds since the epoch.
    #[serde(default)]
    pub revoked_at: Option<i64>,
}

/// A client's token. The token itself was shown once and is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its name.
    #[serde(with = "text")]
    pub name: Name,
    /// SHA-256 of the token.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Its first characters, for people.
    pub prefix: String,
    /// What it may serve; `None`: every destination.
    #[serde(default)]
    pub destinations: Option<Vec<String>>,
    /// Public keys, of one of which the client's certificate is to be (`sha256/...`); none: it may come with any, and without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// The secret that this one replaces.
    #[serde(default)]
    pub rotation: Option<Rotation<Digest>>,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Wall,
    /// When it was revoked, in microseconds since the epoch.
    #[serde(default)]
    pub revoked_at: Option<i64>,
}

/// Whether a later version wrote that text: it is not written over, for what stands there may be what it is about.
pub(crate) fn is_later<T: DeserializeOwned>(body: &str) -> bool {
    matches!(parse::<T>(body), Err(Unread::Later(_)))
}

impl<T> Rotation<T> {
    /// Until when the old one is valid; `None`: until told.
    pub fn until(&self) -> Option<Wall> {
        self.until.map(Wall::from_micros)
    }

    /// Whether the old one is still valid.
    pub fn goes_on(&self, now: Wall) -> bool {
        self.until().is_none_or(|until| now < until)
    }
}

impl Source {
    /// Its parameters as they were before the rotation that is under way.
    pub(crate) fn old_parameters(&self, provider: &Provider) -> Option<Vec<(String, String)>> {
        let Replaced { names, values } = &self.rotation.as_ref()?.old;
        let stays = |(name, _): &&(String, String)| !names.iter().any(|replaced| replaced == provider.known_as(name));
        Some(self.parameters.iter().filter(stays).chain(values.iter()).cloned().collect())
    }

    /// Until when the platform may hand over its secret, if it still may.
    pub(crate) fn adopts_until(&self, now: Wall) -> Option<Wall> {
        self.adopts_until.map(Wall::from_micros).filter(|until| now < *until)
    }
}

/// To the text that is stored.
pub(crate) fn render<T: Serialize>(document: &T) -> String {
    serde_json::to_string(document).expect("registry documents have string keys and finite numbers only")
}

impl Retry {
    /// As the core knows it.
    pub fn policy(&self) -> RetryPolicy {
        let schedule = if self.schedule_ms.is_empty() {
            Schedule::Exponential { delay: Duration::from_millis(self.delay_ms), multiplier: self.multiplier }
        } else {
            Schedule::Listed(self.schedule_ms.iter().copied().map(Duration::from_millis).collect())
        };
        RetryPolicy { max_retries: self.max_retries, schedule }
    }

    /// From what the core knows.
    pub fn of(policy: &RetryPolicy) -> Self {
        let (schedule_ms, delay_ms, multiplier) = match &policy.schedule {
            Schedule::Exponential { delay, multiplier } => (Vec::new(), millis(*delay), *multiplier),
            Schedule::Listed(delays) => (delays.iter().copied().map(millis).collect(), 0, 1.0),
        };
        Self { max_retries: policy.max_retries, schedule_ms, delay_ms, multiplier }
    }
}

/// Whole milliseconds of a span.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn one() -> f64 {
    1.0
}

/// What an alert has told and not told as over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertMemory {
    /// When it last said anything.
    #[serde(with = "micros")]
    pub at: Wall,
    /// Between that and the next reminder.
    pub interval_ms: u64,
    /// What it told.
    pub told: Vec<AlertTold>,
}

/// A condition that somebody was told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertTold {
    /// What kind, by its word.
    pub kind: String,
    /// Of which destination, source or alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How bad, by its word.
    pub severity: String,
    /// What was said.
    pub words: String,
    /// Since when it is so.
    #[serde(with = "micros")]
    pub since: Wall,
    /// How many.
    #[serde(default)]
    pub count: u64,
    /// It was told to come and go.
    #[serde(default)]
    pub is_flapping: bool,
    /// The message that says so has left.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub is_sent: bool,
    /// It stood in a message by itself.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub is_named: bool,
    /// As of which relay it was told; empty: an earlier version told it, which knew of none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub relay: String,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
const fn is_yes(word: &bool) -> bool {
    *word
}

pub(crate) mod text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(input: D) -> Result<T, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

pub(crate) mod micros {
    use relay_core::time::Wall;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
    pub(crate) fn serialize<S: Serializer>(value: &Wall, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(value.as_micros())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Wall, D::Error> {
        i64::deserialize(input).map(Wall::from_micros)
    }
}

pub(crate) mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(value: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&crate::secret::hex(value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(input)?;
        crate::secret::unhex(&text).ok_or_else(|| D::Error::custom("not a SHA-256 in hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_an_earlier_version_still_reads() {
        let source: Source = parse(r#"{"name":"crm","provider":"api-key","created_at":5}"#).unwrap();
        assert!(!source.paused && source.parameters.is_empty() && source.declared.is_none());
        assert!(source.dedupe == Dedupe::Auto && source.adopted.is_empty());
        assert_eq!(parse::<Source>(&render(&source)).unwrap(), source);
    }

    /// A field that is not known here may be what a document is about: in each kind, and in all that is in it.
    #[test]
    fn a_document_of_a_later_version_is_refused_as_such() {
        let mut later = Vec::new();
        for kind in relay_store::seam::DocumentKind::ALL {
            later.extend(of_a_later_version(kind));
        }
        for unread in later {
            assert!(matches!(unread, Some(Unread::Later(_))), "{unread:?}");
        }
        assert!(matches!(parse::<Route>("{"), Err(Unread::Damaged(_))));
    }

    /// What comes of texts of a later version's.
    fn of_a_later_version(kind: relay_store::seam::DocumentKind) -> Vec<Option<Unread>> {
        use relay_store::seam::DocumentKind;

        match kind {
            DocumentKind::Source => vec![
                parse::<Source>(r#"{"name":"crm","provider":"api-key","created_at":5,"sealed":true}"#).err(),
                parse::<Source>(r#"{"name":"crm","provider":"api-key","created_at":5,"dedupe":"fuzzy"}"#).err(),
                parse::<Source>(
                    r#"{"name":"crm","provider":"api-key","created_at":5,"marks":[{"name":"a","slot":1,"path":"$.a","kind":"id"}]}"#,
                )
                .err(),
            ],
            DocumentKind::Route => vec![
                parse::<Route>(r#"{"source":"in","destination":"crm","created_at":5,"when":"invoice.*"}"#).err(),
                parse::<Route>(
                    r#"{"source":"in","destination":"crm","created_at":5,"retry":{"max_retries":3,"jitter":0.5}}"#,
                )
                .err(),
            ],
            DocumentKind::Destination => vec![parse::<Destination>(r#"{"name":"crm","rate":"5/s"}"#).err()],
            DocumentKind::Key => {
                vec![parse::<Key>(r#"{"source":"in","name":"a","prefix":"k","created_at":5,"scopes":[]}"#).err()]
            }
            DocumentKind::Token => vec![parse::<Token>(r#"{"name":"a","until":5}"#).err()],
            DocumentKind::Alert => vec![
                parse::<AlertMemory>(r#"{"at":1,"interval_ms":2,"told":[],"muted":true}"#).err(),
                parse::<AlertMemory>(
                    r#"{"at":1,"interval_ms":2,"told":[{"kind":"a","severity":"b","words":"c","since":1,"by":"x"}]}"#,
                )
                .err(),
            ],
            DocumentKind::Shared => vec![
                parse::<SharedConfiguration>(r#"{"regions":[]}"#).err(),
                parse::<SharedSecret>(r#"{"name":"API_KEY","algorithm":"x"}"#).err(),
            ],
            // Their texts are read in rooms of their own, and judged there: `people::document`, `fetch::shelf`; and what is the store's own in
            // relay-store, `migrate::mark` and `cipher::registered`.
            DocumentKind::User
            | DocumentKind::Session
            | DocumentKind::FetchedKey
            | DocumentKind::Migration
            | DocumentKind::Cipher => Vec::new(),
        }
    }

    #[test]
    fn a_retry_policy_survives_its_document() {
        for schedule in [
            Schedule::Exponential { delay: Duration::from_millis(250), multiplier: 1.5 },
            Schedule::Listed(vec![Duration::from_secs(5), Duration::from_mins(5)]),
        ] {
            let policy = RetryPolicy { max_retries: 2, schedule };
            assert_eq!(Retry::of(&policy).policy(), policy);
        }
    }
}
