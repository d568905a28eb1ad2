//! The first look at a Redis: whether it keeps what it is given, and whether what stands there is a store of ours.

use super::{
    Core,
    address::{Address, Deployment, Login},
    backlog::Urgency,
    check::{self, Finding, Heard, finding},
    client::{Broken, Command, Link},
    keys::Space,
    recount,
    reply::{Fault, Reply, number},
    rights::{self, Trial},
};

/// How keys and rows are laid out; a later one is not read.
const LAYOUT: i64 = 1;
/// Of commands that a user lacks, so many are named.
const LACKS_SHOWN: usize = 6;

/// Why a store is not used. Nothing that was there is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// It cannot be reached, or reads its data still: it may be there later.
    #[error("{0}")]
    Away(String),
    /// It is there, and must not be used so.
    #[error("{}", listed(.0))]
    Refused(Vec<Finding>),
    /// A later version laid it out.
    #[error(
        "what is stored there is of layout {0}, which a later version of crm-relay has made; this one knows {LAYOUT}"
    )]
    Newer(i64),
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Core {
    pub(super) async fn begin(&self) -> Result<(), BeginError> {
        let mut link = self.connected().await?;
        self.check_itself(&mut link).await?;
        self.check_rights(&mut link).await?;
        self.check_keys(&mut link).await?;
        self.check_meta(&mut link).await
    }

    /// A connection to it.
    pub(super) async fn connected(&self) -> Result<Link, BeginError> {
        self.primary.ask_anew().await;
        match self.primary.connect().await {
            Ok(reached) => Ok(reached.link),
            Err(Broken::Away(why)) if self.speaks_no_tls().await => {
                tracing::debug!(why, "no handshake of TLS");
                Err(not_connected(Broken::Unproven("corrupt message".to_owned())))
            }
            Err(broken) => Err(not_connected(broken)),
        }
    }

    /// Whether the port that was to speak TLS answers without: a Redis waits in silence for the rest of what it takes for a line.
    async fn speaks_no_tls(&self) -> bool {
        let address = match &self.options.address {
            Deployment::Node(address) => Some(address),
            Deployment::Sentinel(sentinels) => sentinels.at.first(),
        };
        let Some(Address::Tls { host, port, .. }) = address else { return false };
        let plain = Address::Tcp { host: host.clone(), port: *port };
        // Nobody's password goes there.
        match Link::connect(&plain, &Login::default(), self.options.patience).await {
            Ok(mut link) => link.send(vec![Command::new("PING")]).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn check_itself(&self, link: &mut Link) -> Result<(), BeginError> {
        if self.check_once(link).await?.is_some() {
            // Whoever says which one is the primary is to say so of what was just looked at.
            self.primary.ask_anew().await;
            return self.check_once(link).await?.map_or(Ok(()), |why| Err(BeginError::Away(why.to_owned())));
        }
        Ok(())
    }

    /// Gives why it takes nothing yet, if it does not.
    async fn check_once(&self, link: &mut Link) -> Result<Option<&'static str>, BeginError> {
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
        let checked = self.standing.heard(&Heard::new(info, settings), &self.options, self.primary.steady_since());
        if checked.may_pass {
            // Behind a failover replicas come within seconds, and nobody has to do anything.
            return Err(BeginError::Away(listed(&checked.findings)));
        }
        if checked.findings.is_empty() { Ok(checked.waits) } else { Err(BeginError::Refused(checked.findings)) }
    }

    /// Whether its user may do what a server does.
    pub(super) async fn check_rights(&self, link: &mut Link) -> Result<(), BeginError> {
        let (trial, commands) = Trial::begin(&self.space);
        let lacks = trial.lacks(&asked(link, commands).await?);
        if lacks.is_empty() { Ok(()) } else { Err(self.lacking(&lacks)) }
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

    /// Somebody else's keys under our names are left alone.
    pub(super) async fn check_keys(&self, link: &mut Link) -> Result<(), BeginError> {
        let (name, fixed) = (&self.options.stream_name, self.space.fixed());
        let mut commands = vec![Command::new("TYPE").arg(name)];
        commands.extend(fixed.iter().map(|(key, _)| Command::new("TYPE").arg(key)));
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
        for ((key, want), found) in fixed.iter().zip(types) {
            if found != *want && found != "none" {
                let key = String::from_utf8_lossy(key);
                findings.push(finding(
                    format!("the key {key} there is a {found} and not a {want}, and is left alone"),
                    "remove it if nobody needs it, or choose another STREAM_NAME",
                ));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(BeginError::Refused(findings)) }
    }

    /// What the store is stands there once, and is the same for all servers. Writing it is the first commit, with all that one waits
    /// for.
    async fn check_meta(&self, link: &mut Link) -> Result<(), BeginError> {
        let (meta, partitions) = (self.space.meta(), self.space.partitions().len());
        let ask = || ask_meta(&self.space);
        let known = |told: (Option<i64>, Option<i64>)| match told {
            (Some(layout), _) if layout > LAYOUT => Err(BeginError::Newer(layout)),
            told => apart(told, partitions).map_or(Ok(()), |finding| Err(BeginError::Refused(vec![finding]))),
        };
        known(meta_of(asked(link, vec![ask()]).await?)?)?;
        let mut written = layout(&self.space).map_err(|fault| self.not_committed(fault))?;
        // So that it is a write also where all of it is there.
        written.push(Command::new("HINCRBY").arg(&meta).arg("starts").number(1));
        self.commits.all(Urgency::Other, written).await.map_err(|fault| self.not_committed(fault))?;
        known(meta_of(asked(link, vec![ask()]).await?)?)?;
        self.begin_watch().await.map_err(|fault| self.not_committed(fault))
    }

    fn not_committed(&self, fault: Fault) -> BeginError {
        match fault {
            Fault::Unknown => BeginError::Refused(vec![finding(
                "a first commit was not confirmed by its replicas in time",
                "see that they follow it (INFO replication), or set REDIS_DURABILITY=fsync",
            )]),
            Fault::Damaged(what) | Fault::Unexpected(what) => BeginError::Refused(vec![finding(
                format!("it does not do what Redis does: {what}"),
                "want Redis 7.0.4 or later, or Valkey",
            )]),
            _ => BeginError::Away(self.standing.reasons().pop().unwrap_or_else(|| "it takes nothing".to_owned())),
        }
    }
}

/// Asks what stands there.
pub(super) fn ask_meta(space: &Space) -> Command {
    Command::new("HMGET").arg(space.meta()).arg("layout").arg("partitions")
}

/// Why what stands there by that answer is nothing that this version, or a store in so many partitions, writes into; also where another node
/// has become the primary.
pub(super) fn not_ours(answer: Reply, partitions: usize) -> Option<Finding> {
    apart(meta_of(vec![answer]).ok()?, partitions)
}

fn apart(told: (Option<i64>, Option<i64>), partitions: usize) -> Option<Finding> {
    match told {
        (Some(layout), _) if layout > LAYOUT => Some(finding(
            format!("what is stored there is of layout {layout}, which a later version of crm-relay has made"),
            "start that version",
        )),
        (_, Some(theirs)) if theirs != partitions as i64 => Some(finding(
            format!("what is stored there is in {theirs} partitions and not in {partitions}"),
            format!("set REDIS_PARTITIONS={theirs}"),
        )),
        _ => None,
    }
}

/// Writes down what the store is, where that does not stand there yet, and an epoch, which goes with everything else where somebody empties
/// it.
pub(super) fn layout(space: &Space) -> Result<Vec<Command>, Fault> {
    let put = |field: &str, value: String| Command::new("HSETNX").arg(space.meta()).arg(field).arg(value);
    Ok(vec![
        put("layout", LAYOUT.to_string()),
        put("partitions", space.partitions().len().to_string()),
        put("epoch", recount::fresh_run()?),
    ])
}

fn not_connected(broken: Broken) -> BeginError {
    let refused = |what: String, mend: &str| BeginError::Refused(vec![finding(what, mend)]);
    match broken {
        Broken::Away(why) => BeginError::Away(why),
        Broken::Refused(why) if why.contains("user or the password") => {
            refused(why, "want those of REDIS_URL or REDIS_PASSWORD to be as there (ACL LIST, requirepass)")
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
        Broken::Unproven(why) => {
            refused(in_words(&why), "want a certificate for that host, and REDIS_CA_FILE with who signed it")
        }
    }
}

async fn asked(link: &mut Link, commands: Vec<Command>) -> Result<Vec<Reply>, BeginError> {
    link.send(commands).await.map_err(|broken| BeginError::Away(broken.to_string()))
}

fn meta_of(mut replies: Vec<Reply>) -> Result<(Option<i64>, Option<i64>), BeginError> {
    let away = |fault: Fault| BeginError::Away(format!("{fault:?}"));
    let mut fields = replies.pop().unwrap_or(Reply::Nil).many().map_err(away)?.into_iter();
    let mut next = || match fields.next() {
        Some(Reply::Bytes(text)) => number(&text).ok(),
        _ => None,
    };
    Ok((next(), next()))
}

/// What the certificate or the handshake lacks.
fn in_words(why: &str) -> String {
    if why.contains("UnknownIssuer") {
        "its certificate is signed by nobody that is trusted".to_owned()
    } else if why.contains("not valid for name") {
        "its certificate is for another name than that in REDIS_URL".to_owned()
    } else if why.contains("certificate expired") {
        "its certificate has expired".to_owned()
    } else if why.contains("corrupt message") {
        "that port speaks no TLS (redis:// is without)".to_owned()
    } else {
        format!("TLS with it does not come about: {why}")
    }
}
