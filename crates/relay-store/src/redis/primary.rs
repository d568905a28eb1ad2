//! Which node is the primary, and connections to it.
//!
//! A single node is, as long as it is there. Where sentinels say it (`sentinel`), what most of them say is believed until most say something
//! else: nobody is asked before each connection, and where they are gone a primary that is there goes on. Each time it is another one
//! an era ends, and with it every connection: what is stored, and what is read, is so at one node only.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    Options,
    address::{Address, Deployment, Login},
    awake::Awake,
    client::{Broken, Command, Ear, Link},
    reply::Reply,
};

/// Whoever wants to know it anew waits so long for that.
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// Where nobody has looked for so long who it is, something is wrong with that.
const LATE: Duration = Duration::from_secs(10);

/// The primary.
pub(super) struct Primary {
    deployment: Deployment,
    login: Login,
    patience: Duration,
    believed: watch::Sender<Believed>,
    doubt: Arc<Notify>,
}

/// What is believed of it.
#[derive(Clone, Debug)]
struct Believed {
    /// Where it is; else why that is not known.
    at: Result<Address, Broken>,
    /// How often it has been another one.
    era: u64,
    /// Who says it was asked last then.
    asked: Option<Instant>,
    /// The same, if most of them said so, and none knew of a failover under way.
    steady: Option<Instant>,
}

/// What those who are asked say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// That is the primary.
    Is {
        /// Where it is.
        at: Address,
        /// And no other can have been made one lately.
        is_steady: bool,
    },
    /// Too few agree.
    Open(Broken),
    /// It is none any more.
    Gone,
}

/// A connection to it.
pub(super) struct Reached {
    pub(super) link: Link,
    era: u64,
}

impl Primary {
    /// Nobody was asked yet.
    pub(super) fn of(options: &Options) -> Self {
        let at = match &options.address {
            Deployment::Node(address) => Ok(address.clone()),
            Deployment::Sentinel(_) | Deployment::Cluster(_) => {
                Err(Broken::Away("nobody was asked who it is yet".to_owned()))
            }
        };
        Self {
            deployment: options.address.clone(),
            login: options.login.clone(),
            patience: options.patience,
            believed: watch::Sender::new(Believed { at, era: 0, asked: None, steady: None }),
            doubt: Arc::default(),
        }
    }

    /// One of several, there; what is in doubt about it is in doubt about all.
    pub(super) fn of_part(options: &Options, at: &Address, doubt: &Arc<Notify>) -> Self {
        let believed = Believed { at: Ok(at.clone()), era: 0, asked: None, steady: None };
        Self { believed: watch::Sender::new(believed), doubt: Arc::clone(doubt), ..Self::of(options) }
    }

    /// How it is run.
    pub(super) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Whether others say who it is, and can say something else at any time.
    pub(super) fn is_told(&self) -> bool {
        !matches!(self.deployment, Deployment::Node(_))
    }

    /// Where it is.
    pub(super) fn at(&self) -> Result<Address, Broken> {
        self.believed.borrow().at.clone()
    }

    /// A connection to it. Where others say who it is, it says so itself as well: they may be ahead of it, or behind.
    pub(super) async fn connect(&self) -> Result<Reached, Broken> {
        let Believed { at, era, .. } = self.believed.borrow().clone();
        let connected = async {
            let at = at?;
            let mut link = Link::connect(&at, &self.login, self.patience).await?;
            if self.is_told() && !is_primary(&mut link).await? {
                return Err(Broken::Away(format!("{at} is not the primary yet, or not any more")));
            }
            Ok(Reached { link, era })
        };
        connected.await.inspect_err(|_| self.doubt())
    }

    /// A connection that hears what is said in a channel there.
    pub(super) async fn hear(&self, channel: &[u8]) -> Result<Ear, Broken> {
        let opened = async { Ear::open(&self.at()?, &self.login, self.patience, channel).await };
        opened.await.inspect_err(|_| self.doubt())
    }

    /// Whether a connection still is one to the primary, as far as that is known.
    pub(super) fn holds(&self, reached: &Reached) -> bool {
        reached.era == self.era()
    }

    /// How often it has been another one.
    pub(super) fn era(&self) -> u64 {
        self.believed.borrow().era
    }

    /// It is known to be the primary since: whoever says it was asked then. A single node always is.
    pub(super) fn steady_since(&self) -> Option<Instant> {
        if self.is_told() { self.believed.borrow().steady } else { Some(Instant::now()) }
    }

    /// Something is wrong: who it is, is asked anew soon.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Completes when there is doubt.
    pub(super) fn doubted(&self) -> Arc<Notify> {
        Arc::clone(&self.doubt)
    }

    /// Asks anew who it is, from now on, and waits until that is answered, at most a few seconds.
    pub(super) async fn ask_anew(&self) {
        if !self.is_told() {
            return;
        }
        let (from, mut believed) = (Instant::now(), self.believed.subscribe());
        self.doubt();
        let is_answered = |believed: &Believed| believed.asked.is_some_and(|asked| asked >= from);
        // Cancel safety: nothing is taken. Whoever waited looks for himself what is believed by now.
        let _ = timeout(ASKED_WITHIN, believed.wait_for(is_answered)).await;
    }

    /// Takes note of what they say who were asked.
    pub(super) fn told(&self, asked: Instant, verdict: Verdict) {
        self.believed.send_modify(|believed| {
            believed.asked = Some(asked);
            match verdict {
                Verdict::Is { at, is_steady } => {
                    if believed.at.as_ref() != Ok(&at) {
                        if believed.at.is_ok() {
                            tracing::info!(event = "redis_primary", %at, "Redis has another primary");
                        }
                        (believed.era, believed.steady) = (believed.era + 1, None);
                        believed.at = Ok(at);
                    }
                    if is_steady {
                        believed.steady = Some(asked);
                    }
                }
                Verdict::Gone => {
                    (believed.era, believed.steady) = (believed.era + 1, None);
                    believed.at = Err(Broken::Away("that node has no part of the store any more".to_owned()));
                }
                // The one that was the primary may well still be.
                Verdict::Open(_) if believed.at.is_ok() => {}
                Verdict::Open(why) => believed.at = Err(why),
            }
        });
    }

    /// Why it is late that it is looked who it is, if it is.
    pub(super) fn late(&self, awake: &Awake) -> Option<String> {
        let asked = self.believed.borrow().asked.filter(|_| self.is_told())?;
        let since = awake.since(asked);
        (since > LATE).then(|| format!("no sentinel was asked for {} s: restart this server", since.as_secs()))
    }
}

/// What a node says of its role. Sentinels tell of a new primary before it knows itself.
async fn is_primary(link: &mut Link) -> Result<bool, Broken> {
    let info = link.send(vec![Command::new("INFO").arg("replication")]).await?.pop();
    let text = match info {
        Some(Reply::Bytes(text)) => text,
        // Whoever may not ask that is told so elsewhere.
        Some(Reply::Refused { .. }) => return Ok(true),
        _ => Vec::new(),
    };
    Ok(String::from_utf8_lossy(&text).lines().any(|line| line.trim_end() == "role:master"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::address::Sentinels;

    fn node(port: u16) -> Address {
        Address::Tcp { host: "h".into(), port }
    }

    fn told() -> Primary {
        let sentinels = Sentinels {
            at: vec![node(1)],
            master: "main".into(),
            login: Login::default(),
            elsewhere: std::collections::BTreeMap::new(),
        };
        Primary::of(&Options { address: Deployment::Sentinel(sentinels), ..Options::new(node(1)) })
    }

    /// I1: what is known of one primary says nothing of the next, and where nobody knows anything the last one goes on.
    #[test]
    fn another_primary_is_another_era() {
        let primary = told();
        let (first, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let open = || Verdict::Open(Broken::Away("nobody answers".into()));
        primary.told(first, open());
        assert_eq!((primary.at(), primary.era()), (Err(Broken::Away("nobody answers".into())), 0));
        primary.told(first, Verdict::Is { at: node(7), is_steady: true });
        assert_eq!((primary.at(), primary.era(), primary.steady_since()), (Ok(node(7)), 1, Some(first)));
        primary.told(later, open());
        primary.told(later, Verdict::Is { at: node(7), is_steady: false });
        assert_eq!((primary.at(), primary.era(), primary.steady_since()), (Ok(node(7)), 1, Some(first)));
        primary.told(later, Verdict::Is { at: node(8), is_steady: false });
        assert_eq!((primary.at(), primary.era(), primary.steady_since()), (Ok(node(8)), 2, None));
    }
}
