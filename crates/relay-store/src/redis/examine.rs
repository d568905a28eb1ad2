//! What a Redis, and the store in it, look like to whoever operates them: for `crm-relay doctor`. Nothing is changed there but a counter
//! of commits, and a store is not made where there is none.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{limits, storage::Presence};
use tokio::time::Instant;

use super::{
    Core,
    backlog::Urgency,
    begin::BeginError,
    check::{self, Finding, Heard},
    client::{Command, Link},
    meta::{self, Laid},
    node::Node,
    presence,
    reply::{Fault, Reply},
};
use crate::seam::Durability;

/// Commits that are timed.
const COMMITS: usize = 5;
/// Hundredths of its memory at which webhooks are refused.
const FULL_AT: u64 = 80;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Each primary that has a part of the store.
    pub nodes: Vec<ExaminedNode>,
    /// What is stored there; `None`: nothing yet.
    pub stored: Option<StoredThere>,
    /// Servers that were heard of lately.
    pub servers: Vec<Presence>,
}

/// What was seen of one primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedNode {
    /// Where it is, or who was asked for it.
    pub address: String,
    /// What it has of the store.
    pub parts: Vec<StorePart>,
    /// Which server, and of which version.
    pub server: String,
    /// Each thing that is looked at, with what it is.
    pub seen: Vec<(&'static str, String)>,
    /// Why it is not used as it is, each with what mends it; empty: it is.
    pub findings: Vec<Finding>,
    /// When a commit is answered.
    pub durability: Durability,
    /// So many replicas confirm a commit.
    pub confirm: u32,
    /// Replicas that are connected, those first that have the most.
    pub replicas: Vec<Replica>,
    /// How long a commit takes with all that it waits for, the median of a few; `None`: none came about, or no store is there.
    pub commit: Option<Duration>,
}

/// A part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorePart {
    /// Which partition; `None`: the registry.
    pub partition: Option<usize>,
    /// Its slot in a cluster.
    pub slot: u16,
}

impl Examined {
    /// Why it is not used as it is, each with what mends it; empty: it is.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.nodes.iter().flat_map(|node| &node.findings)
    }
}

/// A replica as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Where it is.
    pub address: String,
    /// It follows: `online`.
    pub state: String,
    /// Bytes of the history that it has not said to have.
    pub behind: u64,
    /// Seconds since it was heard of.
    pub lag: u64,
}

/// What is stored there, and what that comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredThere {
    /// Partitions.
    pub partitions: usize,
    /// Events.
    pub events: u64,
    /// Bytes that Redis uses.
    pub used: u64,
    /// Bytes that it may use before webhooks are refused; 0: it does not say.
    pub bound: u64,
    /// Bytes for each event, all that goes with it included; `None`: there are none.
    pub bytes_per_event: Option<u64>,
    /// Events a day, by what was accepted in the last one; `None`: it is too early to say.
    pub events_per_day: Option<u64>,
}

impl StoredThere {
    /// Days until webhooks are refused at this rate, if nothing is removed meanwhile.
    pub fn days_until_full(&self) -> Option<u64> {
        let a_day = self.events_per_day? * self.bytes_per_event?;
        (a_day > 0 && self.bound > 0).then(|| self.bound.saturating_sub(self.used) / a_day)
    }
}

impl Core {
    /// Looks at it.
    pub(super) async fn examine(&self) -> Result<Examined, BeginError> {
        self.ask_who().await?;
        let mut examined = Examined { nodes: Vec::new(), stored: None, servers: Vec::new() };
        let mut all = Vec::new();
        for (node, places) in self.nodes.owners() {
            let (seen, said) = self.examine_node(&node, &places).await?;
            examined.nodes.push(seen);
            all.push(said);
        }
        if self.holds_store().await? {
            let unread = |fault: Fault| BeginError::Away(format!("what is stored there does not read: {fault:?}"));
            examined.stored = Some(self.stored_there(&all).await.map_err(unread)?);
            examined.servers = self.servers().await.map_err(unread)?;
            if examined.findings().next().is_none() {
                for node in &mut examined.nodes {
                    let partition = node.parts.iter().find_map(|part| part.partition);
                    node.commit = self.timed_commit(partition).await;
                }
            }
        }
        Ok(examined)
    }

    /// Looks at one of the primaries.
    async fn examine_node(&self, node: &Node, places: &[usize]) -> Result<(ExaminedNode, Said), BeginError> {
        let mut link = self.connected(node).await?;
        let asked = link.send(check::asks().to_vec()).await.map_err(|broken| BeginError::Away(broken.to_string()))?;
        let mut asked = asked.into_iter();
        let (info, settings) = (asked.next().unwrap_or(Reply::Nil), asked.next().unwrap_or(Reply::Nil));
        let said = Said::of(&info, &settings);
        let heard = Heard::new(info, settings);
        let checked = node.standing.heard(&heard, &self.options, node.primary.steady_since());
        let mut findings = checked.findings.clone();
        let of_rights = self.check_rights(&mut link).await;
        let of_scripts = self.check_scripts(&mut link).await;
        for looked in [of_rights, of_scripts, self.check_keys(places, &mut link).await] {
            match looked {
                Err(BeginError::Refused(more)) => findings.extend(more),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        if places.contains(&self.space.registry_place()) {
            findings.extend(self.looked_at_meta(&mut link).await?);
        }
        let address = match node.primary.at() {
            Ok(at) if self.nodes.is_cluster() => at.to_string(),
            Ok(_) | Err(_) => self.options.address.to_string(),
        };
        let part = |place: &usize| StorePart {
            partition: Some(*place).filter(|place| *place != self.space.registry_place()),
            slot: self.space.slot(*place),
        };
        let mut all = said.seen(address.clone());
        if self.nodes.is_cluster() {
            let coverage = match said.text(check::FULL_COVERAGE) {
                "yes" => "yes: while one primary is gone, all refuse everything".to_owned(),
                other => other.to_owned(),
            };
            all.push((check::FULL_COVERAGE, coverage));
        }
        let seen = ExaminedNode {
            parts: places.iter().map(part).collect(),
            server: said.server(),
            seen: all,
            address,
            durability: checked.durability,
            confirm: checked.replicas,
            replicas: said.replicas(),
            findings,
            commit: None,
        };
        Ok((seen, said))
    }

    /// Why what stands there is not used with these settings.
    async fn looked_at_meta(&self, link: &mut Link) -> Result<Option<Finding>, BeginError> {
        let told = link.send(meta::asks(&self.space).to_vec()).await;
        let mut told = told.map_err(|broken| BeginError::Away(broken.to_string()))?.into_iter();
        let mut next = || told.next().unwrap_or(Reply::Nil);
        let laid = Laid::read([next(), next()]);
        let laid = laid.map_err(|fault| BeginError::Away(format!("its layout does not read: {fault:?}")))?;
        Ok(laid.not_ours(self.space.partitions().len()))
    }

    async fn holds_store(&self) -> Result<bool, BeginError> {
        let exists = self.nodes.one(Command::new("EXISTS").arg(self.space.meta())).await;
        let away = |fault| BeginError::Away(format!("the registry does not answer: {fault:?}"));
        Ok(exists.and_then(Reply::number).map_err(away)? == 1)
    }

    /// As any commit is: on its connection, with all that it waits for.
    async fn timed_commit(&self, partition: Option<usize>) -> Option<Duration> {
        // Where the registry alone is, nothing is written for this.
        let counters = self.space.partitions()[partition?].counters();
        let mut took = Vec::with_capacity(COMMITS);
        for _ in 0..COMMITS {
            let began = Instant::now();
            let again = Command::new("HINCRBY").arg(&counters).arg("again").number(1);
            self.nodes.commit(Urgency::Other, again).await.ok()?;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        Some(took[COMMITS / 2])
    }

    /// Those that said something lately. To ask as one of them would be to be one, for a while.
    async fn servers(&self) -> Result<Vec<Presence>, Fault> {
        let now = self.clock().await?;
        let mut said = self.nodes.one(Command::new("HGETALL").arg(self.space.runs())).await?.many()?.into_iter();
        let mut servers = Vec::new();
        while let (Some(run), Some(words)) = (said.next(), said.next()) {
            let Ok(run) = <[u8; 8]>::try_from(run.bytes()?) else { continue };
            let run = u64::from_be_bytes(run);
            servers.extend(
                self.damage.passed(&format_args!("words of run {run:x}"), presence::read(run, &words.bytes()?)),
            );
        }
        servers.retain(|server| server.at + limits::PRESENCE_GONE > now);
        Ok(servers)
    }

    async fn stored_there(&self, all: &[Said]) -> Result<StoredThere, Fault> {
        let counters = self.counters().await?;
        let events = counters.iter().flat_map(|counters| counters.sources.values()).map(|tally| tally.stored).sum();
        let sum = |of: &dyn Fn(&Said) -> u64| all.iter().map(of).sum::<u64>();
        let of_data = sum(&|said| said.number("used_memory_dataset"));
        let bound = sum(&|said| match said.number("maxmemory") {
            0 => said.number("total_system_memory"),
            bound => bound,
        });
        Ok(StoredThere {
            partitions: self.space.partitions().len(),
            events,
            used: sum(&|said| said.number("used_memory")),
            bound: bound / 100 * FULL_AT,
            bytes_per_event: of_data.checked_div(events),
            events_per_day: self.pace_now().await?,
        })
    }
}

/// What a Redis said of itself, by name.
struct Said(BTreeMap<String, String>);

impl Said {
    fn of(info: &Reply, settings: &Reply) -> Self {
        let mut said = BTreeMap::new();
        if let Reply::Bytes(text) = info {
            let text = String::from_utf8_lossy(text);
            let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
            said.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        if let Reply::Many(pairs) = settings {
            let texts = pairs.iter().map(|reply| match reply {
                Reply::Bytes(text) => String::from_utf8_lossy(text).into_owned(),
                Reply::Nil | Reply::Number(_) | Reply::Many(_) | Reply::Refused { .. } => String::new(),
            });
            let texts: Vec<String> = texts.collect();
            said.extend(texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())));
        }
        Self(said)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn server(&self) -> String {
        match (self.text("server_name"), self.text("valkey_version")) {
            ("", "") => format!("Redis {}", self.text("redis_version")),
            (_, "") => format!("{} {}", self.text("server_name"), self.text("redis_version")),
            (_, version) => format!("Valkey {version}"),
        }
    }

    /// What is looked at, in the order of the checks.
    fn seen(&self, address: String) -> Vec<(&'static str, String)> {
        let is_on = |name: &str| if self.number(name) > 0 { "yes" } else { "no" };
        let shown = |name: &str| match self.text(name) {
            "" => "not told".to_owned(),
            text => text.to_owned(),
        };
        vec![
            ("address", address),
            ("version", self.server()),
            ("role", shown("role")),
            ("appendonly", is_on("aof_enabled").to_owned()),
            ("append-only file", shown("aof_last_write_status")),
            ("appendfsync", shown("appendfsync")),
            ("no-appendfsync-on-rewrite", shown("no-appendfsync-on-rewrite")),
            ("maxmemory-policy", shown("maxmemory_policy")),
            ("min-replicas-to-write", shown("min-replicas-to-write")),
        ]
    }

    /// Those first that have the most: of such with the same priority, Sentinel takes the first.
    fn replicas(&self) -> Vec<Replica> {
        let offset = self.number("master_repl_offset");
        let of_replica = |(name, said): (&String, &String)| {
            name.strip_prefix("slave")?.parse::<u32>().ok()?;
            let field = |name: &str| said.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            let number = |name: &str| field(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
            Some(Replica {
                address: format!("{}:{}", field("ip").unwrap_or_default(), field("port").unwrap_or_default()),
                state: field("state").unwrap_or_default().to_owned(),
                behind: offset.saturating_sub(number("offset")),
                lag: number("lag"),
            })
        };
        let mut replicas: Vec<Replica> = self.0.iter().filter_map(of_replica).collect();
        replicas.sort_by_key(|replica| replica.behind);
        replicas
    }
}
