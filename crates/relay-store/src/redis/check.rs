//! Whether a Redis keeps what it is given: what it says of itself, compared with what was asked of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Options, address::Deployment, client::Command, reply::Reply};
use crate::seam::Durability;

/// A replica that has said nothing for longer, in seconds, is none: no commit waits for it.
const LAG_MAX: u64 = 10;
/// What scripts with flags need; before it replicas could be given half a script.
const VERSION_MIN: Version = Version(7, 0, 4);
/// WAITAOF came with it.
const VERSION_WAITAOF: Version = Version(7, 2, 0);
/// What `CONFIG GET` is asked for.
const SETTINGS: [&str; 5] =
    ["appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy", "min-replicas-to-write", FULL_COVERAGE];
/// Whether all nodes of a cluster refuse everything while one slot is nobody's. No fault: nothing is lost by it.
pub(super) const FULL_COVERAGE: &str = "cluster-require-full-coverage";

/// Something about a Redis for which nothing is given to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, in words.
    pub what: String,
    /// What mends it: a command for `redis-cli`, a setting of ours, or words.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.mend)
    }
}

/// A finding.
pub(super) fn finding(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { what: what.into(), mend: mend.into() }
}

/// What a Redis said of itself.
pub(super) struct Heard {
    info: BTreeMap<String, String>,
    /// `None`: it does not tell this user.
    settings: Option<BTreeMap<String, String>>,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// When a commit is answered.
    pub(super) durability: Durability,
    /// So many replicas confirm one.
    pub(super) replicas: u32,
    /// Why it takes nothing for now, though nobody has to mend anything.
    pub(super) waits: Option<&'static str>,
    /// Why nothing is given to it; empty: it keeps what it is given.
    pub(super) findings: Vec<Finding>,
    /// The only one of them is that too few replicas follow, where sentinels have others follow whoever becomes the primary.
    pub(super) may_pass: bool,
}

/// What it is asked.
pub(super) fn asks() -> [Command; 2] {
    [Command::new("INFO"), Command::new("CONFIG").arg("GET").args(SETTINGS)]
}

impl Heard {
    /// Its answers to [`asks`].
    pub(super) fn new(info: Reply, settings: Reply) -> Self {
        let text = info.bytes().unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).into_owned();
        let fields = lines.lines().filter_map(|line| line.trim_end().split_once(':'));
        let info = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { info, settings: pairs(settings) }
    }

    /// What of it is a number; 0 for what it does not say.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn version(&self) -> Version {
        let mut parts = self.text("redis_version").split('.').map(|part| part.parse().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        Version(next(), next(), next())
    }

    /// The primary that it is, as long as nothing happens to it: another process, or one that was a replica in between, is another.
    pub(super) fn primary(&self) -> String {
        format!("{} {}", self.text("run_id"), self.text("master_replid"))
    }

    /// Where replicas are that follow, and were heard of lately.
    pub(super) fn replicas(&self) -> BTreeSet<String> {
        let followers = self
            .info
            .iter()
            .filter(|(name, _)| name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u32>().is_ok()));
        let online = |said: &str| {
            let field = |name: &str| said.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            let lag = field("lag").and_then(|lag| lag.parse::<u64>().ok());
            let follows = field("state") == Some("online") && lag.is_some_and(|lag| lag <= LAG_MAX);
            follows.then(|| format!("{}:{}", field("ip").unwrap_or_default(), field("port").unwrap_or_default()))
        };
        followers.filter_map(|(_, said)| online(said)).collect()
    }

    /// What it comes to, for a store with these options. `decided`: how it was used until now; `following`: so many replicas are waited
    /// for, if that can be told yet.
    pub(super) fn check(&self, options: &Options, decided: Option<Durability>, following: Option<u32>) -> Checked {
        let online = self.replicas().len() as u32;
        let durability = options.durability.unwrap_or_else(|| self.usual(options, decided));
        let is_replicated = durability >= Durability::Replicated;
        let least = if is_replicated { options.replicas_min.max(1) } else { 0 };
        let replicas = if is_replicated { following.unwrap_or(online).max(least) } else { 0 };
        let mut findings = Vec::new();
        self.check_itself(options, durability, &mut findings);
        self.check_settings(options, durability, &mut findings);
        let may_pass = findings.is_empty() && online < least && matches!(options.address, Deployment::Sentinel(_));
        if online < least {
            findings.push(finding(
                format!("{online} of {least} replicas follow it"),
                "start one, or lower REDIS_MIN_REPLICAS; REDIS_DURABILITY=fsync waits for none",
            ));
        }
        let waits = if self.is_loading() {
            Some("it reads its data")
        } else if self.is_replica() {
            Some("it is a replica by now; its primary is asked for")
        } else if is_replicated && following.is_none() {
            Some(match options.address {
                Deployment::Node(_) | Deployment::Sentinel(_) => {
                    "most sentinels do not hear this primary, or take another one"
                }
                Deployment::Cluster(_) => "most primaries of the cluster do not hear this one, or take another one",
            })
        } else {
            None
        };
        Checked { durability, replicas, waits, findings, may_pass }
    }

    /// How it is used where nobody says how: replicas are waited for where there are some, or were, or shall be. A look that comes before
    /// they have found it does not decide that there are none.
    fn usual(&self, options: &Options, decided: Option<Durability>) -> Durability {
        let replicas = self.replicas();
        let is_one_of_several = matches!(options.address, Deployment::Sentinel(_));
        // Whoever only copies what is there, as `redis-cli --replica` does, is listed as well, and has no port.
        let later = || replicas.iter().any(|at| !at.ends_with(":0"));
        let has_some = if decided.is_some() { later() } else { !replicas.is_empty() };
        let seen = if is_one_of_several || has_some { Durability::Replicated } else { Durability::Fsync };
        decided.map_or(seen, |decided| decided.max(seen))
    }

    /// It is one.
    pub(super) fn is_replica(&self) -> bool {
        self.text("role") != "master"
    }

    fn is_loading(&self) -> bool {
        self.number("loading") > 0 || self.number("async_loading") > 0
    }

    fn check_itself(&self, options: &Options, durability: Durability, findings: &mut Vec<Finding>) {
        let (version, least) = (self.version(), version_min(durability));
        if version < least {
            let what = match self.text("redis_version") {
                "" => "it does not say which version it is, as Redis and Valkey do".to_owned(),
                version => format!("it is version {version}"),
            };
            findings.push(finding(what, format!("want Redis {least} or later, or Valkey")));
            return;
        }
        if self.number("cluster_enabled") > 0 && !matches!(options.address, Deployment::Cluster(_)) {
            findings.push(finding("it is a node of a cluster", "want redis+cluster:// (rediss+cluster:// with TLS)"));
        }
        // Elsewhere others say which one is.
        if self.is_replica() && matches!(options.address, Deployment::Node(_)) {
            let primary = format!("REDIS_URL={}:{}", self.text("master_host"), self.text("master_port"));
            findings.push(finding("it is a replica, which takes no writes; its primary", primary));
        }
        // While it reads its file it says that it has none.
        if self.number("aof_enabled") == 0 && !self.is_loading() {
            findings.push(finding("appendonly is no: what it holds is gone with it", "CONFIG SET appendonly yes"));
        } else if self.text("aof_last_write_status") != "ok" {
            let mend = "make room on its disk; it goes on by itself";
            findings.push(finding("its append-only file cannot be written", mend));
        }
    }

    fn check_settings(&self, options: &Options, durability: Durability, findings: &mut Vec<Finding>) {
        let policy = self.text("maxmemory_policy");
        if !matches!(policy, "" | "noeviction") {
            let what = format!("maxmemory-policy is {policy}: it throws away what it has no memory for");
            findings.push(finding(what, "CONFIG SET maxmemory-policy noeviction"));
        }
        let Some(settings) = &self.settings else {
            if !options.assume_durable && self.version() >= version_min(durability) {
                findings.push(finding(
                    "CONFIG GET is refused, so appendfsync cannot be looked at",
                    "give the user +config|get, or set REDIS_ASSUME_DURABLE=on where its provider says that appendfsync is always",
                ));
            }
            return;
        };
        let setting = |name: &str| settings.get(name).map_or("", String::as_str);
        let fsync = setting("appendfsync");
        let is_enough = fsync == "always" || durability == Durability::Everysec && fsync == "everysec";
        if !is_enough {
            let what = format!("appendfsync is {fsync}: what was answered in the last second is lost with its power");
            let mend = if durability == Durability::Everysec { "everysec" } else { "always" };
            findings.push(finding(what, format!("CONFIG SET appendfsync {mend}")));
        }
        if setting("no-appendfsync-on-rewrite") != "no" {
            let what = "no-appendfsync-on-rewrite is yes: while it rewrites its file, nothing is synced";
            findings.push(finding(what, "CONFIG SET no-appendfsync-on-rewrite no"));
        }
        let least = setting("min-replicas-to-write").parse::<u32>().unwrap_or_default();
        if durability >= Durability::Replicated && least == 0 {
            let what = "min-replicas-to-write is 0: cut off from its replicas it goes on alone";
            findings.push(finding(what, "CONFIG SET min-replicas-to-write 1"));
        }
    }
}

fn version_min(durability: Durability) -> Version {
    if durability == Durability::FsyncReplicated { VERSION_WAITAOF } else { VERSION_MIN }
}

fn pairs(reply: Reply) -> Option<BTreeMap<String, String>> {
    let texts: Result<Vec<Vec<u8>>, _> = reply.many().ok()?.into_iter().map(Reply::bytes).collect();
    let texts: Vec<String> = texts.ok()?.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
    let pairs = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    Some(pairs.collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::{Address, Login, Sentinels};

    const WELL: &str = "redis_version:7.0.15\r\nloading:0\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrole:master\r\n\
                        maxmemory_policy:noeviction\r\ncluster_enabled:0\r\n";
    const SET: [(&str, &str); 4] = [
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
        ("min-replicas-to-write", "1"),
    ];

    fn options(durability: Option<Durability>) -> Options {
        Options { durability, ..Options::new(Address::Tcp { host: "h".into(), port: 1 }) }
    }

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec())
    }

    fn heard(info: &str, set: &[(&str, &str)]) -> Heard {
        let known = set.iter().chain(SET.iter().filter(|(name, _)| set.iter().all(|(other, _)| other != name)));
        let settings = known.flat_map(|(name, value)| [bytes(name), bytes(value)]).collect();
        Heard::new(bytes(info), Reply::Many(settings))
    }

    fn checked(info: &str, set: &[(&str, &str)], durability: Durability) -> Checked {
        check(&heard(info, set), &options(Some(durability)), None)
    }

    /// With what follows it.
    fn check(heard: &Heard, options: &Options, decided: Option<Durability>) -> Checked {
        heard.check(options, decided, Some(heard.replicas().len() as u32))
    }

    fn mends(checked: &Checked) -> Vec<&str> {
        checked.findings.iter().map(|finding| &*finding.mend).collect()
    }

    /// I1: each setting that would lose what was answered is named with what mends it.
    #[test]
    fn each_fault_has_the_line_that_mends_it() {
        let fsync = Durability::Fsync;
        assert_eq!(checked(WELL, &[], fsync).findings, []);
        for (info, set, durability, mend) in [
            (WELL.replace("enabled:1", "enabled:0"), &[][..], fsync, "CONFIG SET appendonly yes"),
            (WELL.into(), &[("appendfsync", "everysec")], fsync, "CONFIG SET appendfsync always"),
            (WELL.into(), &[("appendfsync", "no")], Durability::Everysec, "CONFIG SET appendfsync everysec"),
            (WELL.into(), &[("no-appendfsync-on-rewrite", "yes")], fsync, "CONFIG SET no-appendfsync-on-rewrite no"),
            (WELL.replace("noeviction", "allkeys-lru"), &[], fsync, "CONFIG SET maxmemory-policy noeviction"),
            (WELL.replace("7.0.15", "6.2.14"), &[], fsync, "want Redis 7.0.4 or later, or Valkey"),
            (WELL.replace("redis_version", "x"), &[], fsync, "want Redis 7.0.4 or later, or Valkey"),
            (WELL.replace("status:ok", "status:err"), &[], fsync, "make room on its disk; it goes on by itself"),
            (
                WELL.replace("role:master", "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379"),
                &[],
                fsync,
                "REDIS_URL=10.0.0.1:6379",
            ),
            (
                WELL.replace("cluster_enabled:0", "cluster_enabled:1"),
                &[],
                fsync,
                "want redis+cluster:// (rediss+cluster:// with TLS)",
            ),
        ] {
            let checked = checked(&info, set, durability);
            assert_eq!(mends(&checked), [mend], "{info}");
        }
        assert_eq!(checked(WELL, &[("appendfsync", "everysec")], Durability::Everysec).findings, []);
    }

    /// A Redis that still reads its file says that it has none: it takes nothing for now, and nobody has to mend that.
    #[test]
    fn one_that_reads_its_file_has_no_fault() {
        let reads =
            checked(&WELL.replace("loading:0", "loading:1").replace("enabled:1", "enabled:0"), &[], Durability::Fsync);
        assert!(reads.waits.is_some());
        assert_eq!(reads.findings, []);
    }

    /// I1: as many replicas confirm as follow, and never fewer than are asked for.
    #[test]
    fn replicas_that_follow_are_those_waited_for() {
        let with = |slaves: &str| format!("{WELL}{slaves}");
        let one = "slave0:ip=1,port=2,state=online,offset=3,lag=0\r\n";
        let two = format!("{one}slave1:ip=1,port=3,state=online,offset=3,lag=10\r\n");
        let late = format!("{one}slave1:ip=1,port=2,state=online,offset=3,lag=11\r\n");
        let syncing = format!("{one}slave1:ip=1,port=2,state=wait_bgsave,offset=3,lag=0\r\n");
        for (slaves, replicas) in [(one, 1), (&two, 2), (&late, 1), (&syncing, 1)] {
            let checked = checked(&with(slaves), &[], Durability::Replicated);
            assert_eq!((checked.replicas, checked.findings), (replicas, vec![]), "{slaves}");
        }
        let alone = checked(WELL, &[], Durability::Replicated);
        assert_eq!(alone.replicas, 1);
        assert!(alone.findings[0].what.starts_with("0 of 1 replicas"), "{alone:?}");
        let goes_on = checked(&with(one), &[("min-replicas-to-write", "0")], Durability::Replicated);
        assert_eq!(mends(&goes_on), ["CONFIG SET min-replicas-to-write 1"]);
        let old = checked(&with(one), &[], Durability::FsyncReplicated);
        assert_eq!(mends(&old), ["want Redis 7.2.0 or later, or Valkey"]);
    }

    /// I1: nobody says how: replicas are waited for as soon as there are some, and that stays so when they are gone. One that comes later
    /// than the first look is one as well; who only copies what is there is none.
    #[test]
    fn what_is_usual_never_gets_weaker() {
        let with = |port| format!("{WELL}slave0:ip=1,port={port},state=online,offset=3,lag=0\r\n");
        let durability = |info: &str, decided| check(&heard(info, &[]), &options(None), decided).durability;
        assert_eq!(durability(WELL, None), Durability::Fsync);
        assert_eq!(durability(&with(2), None), Durability::Replicated);
        assert_eq!(durability(&with(0), Some(Durability::Fsync)), Durability::Fsync);
        assert_eq!(durability(WELL, Some(Durability::Replicated)), Durability::Replicated);
        assert_eq!(durability(&with(2), Some(Durability::Fsync)), Durability::Replicated);
    }

    /// I1: sentinels are there for replicas, though none follows at the moment, as behind a failover: that passes by itself.
    #[test]
    fn with_sentinels_replicas_are_waited_for() {
        let at = vec![Address::Tcp { host: "s".into(), port: 1 }];
        let sentinels = Sentinels { at, master: "m".into(), login: Login::default(), elsewhere: BTreeMap::new() };
        let options = Options { address: Deployment::Sentinel(sentinels), ..options(None) };
        let alone = check(&heard(WELL, &[]), &options, None);
        assert_eq!((alone.durability, alone.replicas, alone.may_pass), (Durability::Replicated, 1, true));
        assert_eq!(alone.findings[0].what, "0 of 1 replicas follow it");
        let other = check(&heard(WELL, &[("appendfsync", "no")]), &options, None);
        assert_eq!((other.findings.len(), other.may_pass), (2, false));
    }

    /// Where CONFIG is forbidden, its operator's word counts, and only for what cannot be looked at.
    #[test]
    fn what_cannot_be_looked_at_is_refused_or_assumed() {
        let refused = || Reply::Refused { word: "NOPERM".into(), text: "no".into() };
        let findings = |info: &str, assume_durable| {
            let options = Options { assume_durable, ..options(Some(Durability::Fsync)) };
            check(&Heard::new(bytes(info), refused()), &options, None).findings
        };
        assert!(findings(WELL, false)[0].mend.contains("REDIS_ASSUME_DURABLE"));
        assert_eq!(findings(WELL, true), []);
        assert_eq!(findings(&WELL.replace("enabled:1", "enabled:0"), true).len(), 1);
    }
}
