//! The first look at a Redis: whether it keeps what it is given, and whether what stands there is a store of ours.

use relay_core::fault::{Fault as Whose, Retry};

use super::{
    Core,
    address::{Address, Deployment, Login},
    backlog::Urgency,
    check::{self, Finding, Heard, finding},
    client::{Broken, Command, Link},
    counters::Counters,
    keys::Key,
    meta::{self, Beyond, Laid, layout},
    node::Node,
    reply::{Fault, Reply},
    rights::{self, Trial},
    scripts::Script,
};
use crate::{
    cipher,
    seam::{DocumentKey, DocumentKind},
};

/// Of commands that a user lacks, so many are named.
const LACKS_SHOWN: usize = 6;

/// What connecting to a port without TLS comes to.
const NO_TLS: &str = "corrupt message";

/// Why a store is not used. Nothing that was there is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// It cannot be reached, or reads its data still: it may be there later.
    #[error("{0}")]
    Away(String),
    /// It is there, and must not be used so.
    #[error("{}", listed(.0))]
    Refused(Vec<Finding>),
    /// A later version laid it out, or put something into it.
    #[error(transparent)]
    Newer(Beyond),
}

impl BeginError {
    /// Who has to change something.
    pub const fn fault(&self) -> Whose {
        match self {
            Self::Away(_) => Whose::Resource,
            Self::Refused(_) | Self::Newer(_) => Whose::Operator,
        }
    }

    /// Whether it may be used later as it is.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Away(_) => Retry::Backoff,
            Self::Refused(_) | Self::Newer(_) => Retry::Never,
        }
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Core {
    /// In a cluster all begins with the primaries that are there, if the one that has the registry is.
    pub(super) async fn begin(&self) -> Result<(), BeginError> {
        self.ask_who().await?;
        for (node, places) in self.nodes.owners() {
            let is_needed = !self.nodes.is_cluster() || places.contains(&self.space.registry_place());
            let reached = async {
                let mut link = self.connected(&node).await?;
                self.check_itself(&node, &mut link).await.map_err(|error| self.at(&node, error))?;
                Ok(link)
            };
            let mut link = match reached.await {
                Ok(link) => link,
                Err(BeginError::Away(why)) if !is_needed => {
                    // What it has waits for it. It is looked at before anything is committed there.
                    tracing::warn!(
                        event = "redis_waiting",
                        why,
                        "a primary of the cluster is not there; the others are"
                    );
                    node.standing.unreached(&Broken::Away(why));
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.check_rights(&mut link).await.map_err(|error| self.at(&node, error))?;
            self.check_scripts(&mut link).await.map_err(|error| self.at(&node, error))?;
            self.check_keys(&places, &mut link).await?;
        }
        self.check_meta().await?;
        let Some((key, body)) = self.fit().await? else { return Ok(()) };
        // Where another server was faster it stands there all the same.
        let put = self.put_document(key.clone(), 0, Some(body), Vec::new()).await;
        put.map_err(|fault| self.not_committed(fault))?;
        tracing::info!(event = "store_key", number = key.name, "what is written from now on is sealed with it");
        self.fit().await.map(drop)
    }

    /// Whether what is stored is sealed with keys that are here; gives the document of the newest one, if that is not there yet.
    pub(super) async fn fit(&self) -> Result<Option<(DocumentKey, String)>, BeginError> {
        let registered = self.documents(DocumentKind::Cipher).await.map_err(|fault| self.not_committed(fault))?;
        cipher::judge(self.ciphers(), &registered).map_err(|why| {
            let what = format!("the store there cannot be used: {why}");
            BeginError::Refused(vec![finding(what, "see ENCRYPTION_KEY_FILE")])
        })
    }

    /// Asks who has which part; all have to be somebody's.
    pub(super) async fn ask_who(&self) -> Result<(), BeginError> {
        self.nodes.ask_anew().await;
        match self.nodes.missing() {
            Some(Broken::Away(_)) if self.speaks_no_tls().await => {
                Err(self.not_connected(Broken::Unproven(NO_TLS.to_owned())))
            }
            Some(broken) => Err(self.not_connected(broken)),
            None => Ok(()),
        }
    }

    /// A connection to one of those who have a part.
    pub(super) async fn connected(&self, node: &Node) -> Result<Link, BeginError> {
        match node.primary.connect().await {
            Ok(reached) => Ok(reached.link),
            Err(Broken::Away(why)) if self.speaks_no_tls().await => {
                tracing::debug!(why, "no handshake of TLS");
                Err(self.not_connected(Broken::Unproven(NO_TLS.to_owned())))
            }
            Err(broken) => Err(self.not_connected(broken)),
        }
    }

    /// Says of which of several it is.
    fn at(&self, node: &Node, error: BeginError) -> BeginError {
        let named = |finding: Finding| match node.primary.at() {
            Ok(at) => Finding { what: format!("{at}: {}", finding.what), ..finding },
            Err(_) => finding,
        };
        match error {
            BeginError::Refused(findings) if self.nodes.is_cluster() => {
                BeginError::Refused(findings.into_iter().map(named).collect())
            }
            error => error,
        }
    }

    /// Whether the port that was to speak TLS answers without: a Redis waits in silence for the rest of what it takes for a line.
    async fn speaks_no_tls(&self) -> bool {
        let address = match &self.options.address {
            Deployment::Node(address) => Some(address),
            Deployment::Sentinel(sentinels) => sentinels.at.first(),
            Deployment::Cluster(cluster) => cluster.at.first(),
        };
        let Some(Address::Tls { host, port, .. }) = address else { return false };
        let plain = Address::Tcp { host: host.clone(), port: *port };
        // Nobody's password goes there.
        match Link::connect(&plain, &Login::default(), self.options.patience).await {
            Ok(mut link) => link.send(vec![Command::new("PING")]).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn check_itself(&self, node: &Node, link: &mut Link) -> Result<(), BeginError> {
        if self.check_once(node, link).await?.is_some() {
            // Whoever says which one is the primary is to say so of what was just looked at.
            node.primary.ask_anew().await;
            return self.check_once(node, link).await?.map_or(Ok(()), |why| Err(BeginError::Away(why.to_owned())));
        }
        Ok(())
    }

    /// Gives why it takes nothing yet, if it does not.
    async fn check_once(&self, node: &Node, link: &mut Link) -> Result<Option<&'static str>, BeginError> {
        let mut replies = asked(link, check::asks().to_vec()).await?.into_iter();
        let (Some(info), Some(settings)) = (replies.next(), replies.next()) else {
            return Err(BeginError::Away("an answer that is cut short".to_owned()));
        };
        if let Reply::Refused { word, text } = &info {
            return Err(match &**word {
                "NOAUTH" => BeginError::Refused(vec![finding(
                    "it wants a password",
                    "set REDIS_PASSWORD, or put it into REDIS_URL",
                )]),
                "NOPERM" => self.lacking(&["info"]),
                _ => BeginError::Away(text.to_string()),
            });
        }
        let checked = node.standing.heard(&Heard::new(info, settings), &self.options, node.primary.steady_since());
        if checked.may_pass {
            // Behind a failover replicas come within seconds, and nobody has to do anything.
            return Err(BeginError::Away(listed(&checked.findings)));
        }
        if checked.findings.is_empty() { Ok(checked.waits) } else { Err(BeginError::Refused(checked.findings)) }
    }

    /// Whether its user may do what a server does.
    pub(super) async fn check_rights(&self, link: &mut Link) -> Result<(), BeginError> {
        let (trial, commands) = Trial::begin(&self.space, &self.options);
        let lacks = trial.lacks(&asked(link, commands).await?);
        if lacks.is_empty() { Ok(()) } else { Err(self.lacking(&lacks)) }
    }

    /// Whether it runs scripts as Redis does, whatever it calls itself. Where its slots are elsewhere, or it takes nothing now, that is said by
    /// others.
    pub(super) async fn check_scripts(&self, link: &mut Link) -> Result<(), BeginError> {
        let commands = vec![Script::Trial.load(), Script::Trial.call(&[self.space.trial()], [""; 0])];
        match asked(link, commands).await?.iter().find_map(Reply::refusal) {
            Some(Fault::Damaged(what) | Fault::Unexpected(what)) => Err(unlike_redis(&what)),
            _ => Ok(()),
        }
    }

    fn lacking(&self, lacks: &[&str]) -> BeginError {
        let more = lacks.len().saturating_sub(LACKS_SHOWN);
        let shown = lacks.iter().take(LACKS_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let rest = match more {
            0 => String::new(),
            more => format!(" and {more} more, or the keys of {}:*", self.options.stream_name),
        };
        let mend = rights::acl_line(&self.options);
        BeginError::Refused(vec![finding(format!("its user may not use {shown}{rest}"), mend)])
    }

    /// Somebody else's keys under our names are left alone; of these parts, which are there.
    pub(super) async fn check_keys(&self, places: &[usize], link: &mut Link) -> Result<(), BeginError> {
        let (name, mut fixed) = (&self.options.stream_name, self.space.fixed());
        fixed.retain(|(place, ..)| places.contains(place));
        fixed.extend(self.keys_of_destinations(places, link).await?);
        let mut commands = vec![Command::new("TYPE").arg(name)];
        commands.extend(fixed.iter().map(|(_, key, _)| Command::new("TYPE").arg(key)));
        let mut types = asked(link, commands)
            .await?
            .into_iter()
            .map(|reply| reply.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default());
        let mut findings = Vec::new();
        if types.next().is_some_and(|found| found == "stream") {
            let length = asked(link, vec![Command::new("XLEN").arg(name)]).await?.pop();
            let length = length.and_then(|length| length.number().ok()).unwrap_or_default();
            findings.push(finding(
                format!("the stream {name} there is another program's, with {length} entries, and is left alone"),
                "let that program finish and rename or delete its stream, or choose another STREAM_NAME",
            ));
        }
        for ((_, key, want), found) in fixed.iter().zip(types) {
            // Nothing is said of one whose slot is being moved.
            if found != *want && !matches!(&*found, "none" | "") {
                let key = String::from_utf8_lossy(key);
                findings.push(finding(
                    format!("the key {key} there is a {found} and not a {want}, and is left alone"),
                    "remove it if nobody needs it, or choose another STREAM_NAME",
                ));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(BeginError::Refused(findings)) }
    }

    /// Indexes of all destinations that were counted in these parts, each with its type.
    async fn keys_of_destinations(
        &self,
        places: &[usize],
        link: &mut Link,
    ) -> Result<Vec<(usize, Key, &'static str)>, BeginError> {
        let here = self.space.partitions().iter().enumerate().filter(|(place, _)| places.contains(place));
        let here: Vec<_> = here.collect();
        let counters = here.iter().map(|(_, keys)| Command::new("HGETALL").arg(keys.counters())).collect();
        let mut found = Vec::new();
        for ((place, keys), counters) in here.iter().zip(asked(link, counters).await?) {
            // Counters of another type are found by that, and say nothing.
            let Ok(counters) = Counters::read(counters) else { continue };
            for name in counters.destinations.keys() {
                found.extend(keys.of_destination(name).map(|(key, of_type)| (*place, key, of_type)));
            }
        }
        Ok(found)
    }

    /// What the store is stands there once, and is the same for all servers. Writing it is the first commit, with all that one waits
    /// for.
    async fn check_meta(&self) -> Result<(), BeginError> {
        let (meta, partitions) = (self.space.meta(), self.space.partitions().len());
        let known = async || {
            let [of_meta, of_documents] = meta::asks(&self.space);
            let asked = async |ask| self.nodes.one(ask).await.map_err(|fault| self.not_committed(fault));
            let laid = Laid::read([asked(of_meta).await?, asked(of_documents).await?])
                .map_err(|fault| BeginError::Away(format!("{fault:?}")))?;
            match (laid.beyond(), laid.not_ours(partitions)) {
                (Some(beyond), _) => Err(BeginError::Newer(beyond)),
                (None, Some(finding)) => Err(BeginError::Refused(vec![finding])),
                (None, None) => Ok(()),
            }
        };
        known().await?;
        let mut written = layout(&self.space).map_err(|fault| self.not_committed(fault))?;
        // So that it is a write also where all of it is there.
        written.push(Command::new("HINCRBY").arg(&meta).arg("starts").number(1));
        self.nodes.all(Urgency::Other, written).await.map_err(|fault| self.not_committed(fault))?;
        known().await?;
        self.begin_watch().await.map_err(|fault| self.not_committed(fault))
    }

    fn not_committed(&self, fault: Fault) -> BeginError {
        match fault {
            Fault::Unknown => BeginError::Refused(vec![finding(
                "a first commit was not confirmed by its replicas in time",
                "see that they follow it (INFO replication), or set REDIS_DURABILITY=fsync",
            )]),
            Fault::Damaged(what) | Fault::Unexpected(what) => unlike_redis(&what),
            _ => BeginError::Away(self.nodes.reasons().1.pop().unwrap_or_else(|| "it takes nothing".to_owned())),
        }
    }

    fn not_connected(&self, broken: Broken) -> BeginError {
        let refused = |what: String, mend: &str| BeginError::Refused(vec![finding(what, mend)]);
        match broken {
            Broken::Away(why) => BeginError::Away(why),
            Broken::Refused(why) if why.contains("user or the password") => {
                let line = rights::acl_line(&self.options);
                let mend = "want those of REDIS_URL or REDIS_PASSWORD to be as there (ACL LIST, requirepass), or a user made by";
                refused(why, &format!("{mend} {line}"))
            }
            Broken::Refused(why) => refused(why, "want another REDIS_DB, or a user that may use it"),
            Broken::Unnamed(why) => {
                refused(why, "want its name as it stands behind `sentinel monitor`, at the end of REDIS_URL")
            }
            Broken::Turned(why) => refused(
                why,
                "set REDIS_SENTINEL_USER and REDIS_SENTINEL_PASSWORD; it needs +sentinel|get-master-addr-by-name +sentinel|master \
                 +subscribe &+switch-master",
            ),
            Broken::NoCluster => refused(
                "what REDIS_URL names is no node of a cluster".to_owned(),
                "want redis:// for a single node (rediss:// with TLS), or cluster-enabled yes in its file",
            ),
            Broken::Unproven(why) => {
                refused(in_words(&why), "want a certificate for that host, and REDIS_CA_FILE with who signed it")
            }
        }
    }
}

fn unlike_redis(what: &str) -> BeginError {
    let mend = "want Redis 7.0.4 or later, or Valkey";
    BeginError::Refused(vec![finding(format!("it does not do what Redis does: {what}"), mend)])
}

async fn asked(link: &mut Link, commands: Vec<Command>) -> Result<Vec<Reply>, BeginError> {
    link.send(commands).await.map_err(|broken| BeginError::Away(broken.to_string()))
}

/// What the certificate or the handshake lacks.
fn in_words(why: &str) -> String {
    if why.contains("UnknownIssuer") {
        "its certificate is signed by nobody that is trusted".to_owned()
    } else if why.contains("not valid for name") {
        "its certificate is for another name than that in REDIS_URL".to_owned()
    } else if why.contains("certificate expired") {
        "its certificate has expired".to_owned()
    } else if why.contains(NO_TLS) {
        "that port speaks no TLS (redis:// is without)".to_owned()
    } else {
        format!("TLS with it does not come about: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server waits for a Redis that is away, and for no other: what is wrong with it, and who made it, time does not change.
    #[test]
    fn only_a_redis_that_is_away_is_waited_for() {
        for (error, expected) in [
            (BeginError::Away("no route".into()), (Whose::Resource, Retry::Backoff)),
            (BeginError::Refused(vec![finding("appendonly is no", "CONFIG SET")]), (Whose::Operator, Retry::Never)),
            (BeginError::Newer(Beyond::Documents), (Whose::Operator, Retry::Never)),
        ] {
            assert_eq!((error.fault(), error.retry()), expected, "{error}");
        }
    }
}
