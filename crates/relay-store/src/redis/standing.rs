//! How a Redis stands at the moment: what a commit needs there, and why nothing is committed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Options,
    check::{Checked, Finding, Heard},
    client::Broken,
    following::Following,
    reply::Fault,
};
use crate::seam::Durability;

/// How often a node is asked for the state of its cluster.
const STATE_EVERY: Duration = Duration::from_secs(10);
/// One that was not reached is tried again sooner than this, by whoever looks at it; else one of those who ask does.
const TRIED_WITHIN: Duration = Duration::from_secs(5);

/// How it stands, as it was last heard of.
#[derive(Debug)]
pub(super) struct RedisState {
    seen: Mutex<Seen>,
    of_store: Arc<OfStore>,
}

/// What is known of a store, at whichever node it was found out.
#[derive(Debug, Default)]
pub(super) struct OfStore(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What stands there is nothing of ours.
    another: Option<Finding>,
}

impl OfStore {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// `None`: it was never reached.
    checked: Option<Checked>,
    /// When commits are answered, as of the first look at which it takes anything, or as where it has its parts from; never weaker than that.
    durability: Option<Durability>,
    following: Following,
    /// Why it was not reached when it was last tried, and when that was.
    unreached: Option<(String, Instant)>,
    /// Why the last commit did not come about, if it did not.
    trouble: Option<String>,
    /// It takes its cluster for down, by what it said last.
    is_down: bool,
    /// It was asked for that then.
    asked_state: Option<Instant>,
}

/// What a commit needs before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// So many replicas have it.
    pub(super) replicas: u32,
    /// On their disks.
    pub(super) on_disk: bool,
}

impl RedisState {
    /// That of a node that was never reached.
    pub(super) fn of(of_store: &Arc<OfStore>) -> Self {
        Self { seen: Mutex::default(), of_store: Arc::clone(of_store) }
    }

    /// Takes note of what it says of itself; gives what that comes to. `steady`: as of when it is known to be the primary.
    pub(super) fn heard(&self, heard: &Heard, options: &Options, steady: Option<Instant>) -> Checked {
        let mut seen = self.seen();
        let following = seen.following.look(&heard.primary(), &heard.replicas(), Instant::now(), steady);
        let before = seen.checked.as_ref();
        let checked = heard.check(options, seen.durability, following);
        // What is wrong from the start is told by whoever begins.
        if let Some(before) = before {
            tell(&before.findings, &checked.findings);
        }
        if checked.waits.is_none() {
            let before = seen.durability;
            seen.durability = before.max(Some(checked.durability));
            if let (Some(before), Some(now)) = (before, seen.durability)
                && before != now
            {
                let (before, now) = (before.as_str(), now.as_str());
                let what = "a webhook counts as stored by another measure";
                tracing::info!(event = "redis_durability", before, now, "{what}");
            }
        }
        seen.checked = Some(checked.clone());
        seen.unreached = None;
        checked
    }

    /// Whether what stands where commits go is another store than it was; of whoever has become the primary nobody knows before.
    pub(super) fn holds_another(&self, another: Option<Finding>) {
        let mut known = self.of_store.known();
        tell(known.another.as_slice(), another.as_slice());
        known.another = another;
    }

    /// What a commit needs.
    ///
    /// # Errors
    /// Nothing is given to it.
    pub(super) fn demand(&self) -> Result<Demand, Fault> {
        let seen = self.seen();
        match &seen.checked {
            Some(_) if self.of_store.known().another.is_some() => Err(Fault::Away),
            Some(checked) if checked.findings.is_empty() && checked.waits.is_none() => {
                let on_disk = checked.durability == Durability::FsyncReplicated;
                Ok(Demand { replicas: checked.replicas, on_disk })
            }
            Some(_) | None => Err(Fault::Away),
        }
    }

    /// Whether it is not known yet how many replicas are waited for, and so whether it is the primary.
    pub(super) fn is_unsettled(&self) -> bool {
        self.seen().checked.as_ref().is_some_and(|checked| checked.waits.is_some() && checked.findings.is_empty())
    }

    /// Whether it was not reached when it was last tried: nobody is to wait for it, but for whoever [may try](Self::may_try) it.
    pub(super) fn is_unreached(&self) -> bool {
        self.seen().unreached.is_some()
    }

    /// Whether one that was not reached is to be tried by whoever asks this, for nobody has tried it for long. He is the only one who is told
    /// so: to be asked once for an operation, right before it is sent there.
    pub(super) fn may_try(&self) -> bool {
        let mut seen = self.seen();
        let Some((_, tried)) = &mut seen.unreached else { return false };
        let is_due = tried.elapsed() >= TRIED_WITHIN;
        if is_due {
            *tried = Instant::now();
        }
        is_due
    }

    /// It was reached.
    pub(super) fn reached(&self) {
        self.seen().unreached = None;
    }

    /// Whether the last commit did not come about.
    pub(super) fn is_in_trouble(&self) -> bool {
        let seen = self.seen();
        seen.trouble.is_some() || seen.is_down
    }

    /// Whether replicas are waited for, or may be: one that was never looked at may have become the primary just now.
    pub(super) fn waits_for_replicas(&self) -> bool {
        self.seen().checked.as_ref().is_none_or(|checked| checked.replicas > 0)
    }

    /// What came of a commit.
    pub(super) fn came_of(&self, fault: Option<&Fault>) {
        let mut seen = self.seen();
        let Some(fault) = fault else {
            (seen.trouble, seen.unreached) = (None, None);
            return;
        };
        let what = match fault {
            // Why it is not even asked is known already.
            Fault::Away | Fault::Elsewhere => return,
            Fault::Unknown => "Redis does not answer, or too few replicas confirm".to_owned(),
            Fault::Full => "Redis has no memory left".to_owned(),
            other => format!("{other:?}"),
        };
        seen.trouble.get_or_insert(what);
    }

    /// Whether it is to be asked again for the state of its cluster: sooner while that is down.
    pub(super) fn asks_state(&self) -> bool {
        let mut seen = self.seen();
        let is_due = seen.is_down || seen.asked_state.is_none_or(|asked| asked.elapsed() >= STATE_EVERY);
        if is_due {
            seen.asked_state = Some(Instant::now());
        }
        is_due
    }

    /// Whether it takes its cluster for down, and so does nothing.
    pub(super) fn is_down(&self, is_down: bool) {
        self.seen().is_down = is_down;
    }

    /// Why it is not reached.
    pub(super) fn unreached(&self, broken: &Broken) {
        self.seen().unreached = Some((format!("Redis cannot be reached: {broken}"), Instant::now()));
    }

    /// When a commit is answered; as it is meant to be, where it was never reached.
    pub(super) fn durability(&self, options: &Options) -> Durability {
        self.seen().durability.or(options.durability).unwrap_or(Durability::Fsync)
    }

    /// A part has come here from there, where commits may have waited for more: they do here.
    pub(super) fn is_never_weaker_than(&self, before: &Self) {
        let known = before.seen().durability;
        let mut seen = self.seen();
        if known > seen.durability {
            // It is looked at by that before anything is committed.
            (seen.durability, seen.checked) = (known, None);
        }
    }

    /// Why it commits nothing at the moment; empty: it does.
    pub(super) fn reasons(&self) -> Vec<String> {
        let seen = self.seen();
        let findings: &[Finding] = seen.checked.as_ref().map_or(&[], |checked| &checked.findings);
        if let Some(another) = &self.of_store.known().another {
            return vec![another.to_string()];
        }
        let waits = seen.checked.as_ref().and_then(|checked| checked.waits);
        if let Some((why, _)) = &seen.unreached {
            vec![why.clone()]
        } else if !findings.is_empty() {
            findings.iter().map(ToString::to_string).collect()
        } else if seen.is_down {
            vec!["it takes its cluster for down (CLUSTERDOWN): see CLUSTER INFO and CLUSTER NODES there".to_owned()]
        } else if let Some(why) = waits {
            vec![format!("Redis takes nothing for now: {why}")]
        } else {
            seen.trouble.iter().cloned().collect()
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line for each finding that is new, and one when the last is over.
fn tell(before: &[Finding], now: &[Finding]) {
    for finding in now.iter().filter(|finding| !before.contains(finding)) {
        tracing::error!(
            event = "redis_not_durable",
            mend = finding.mend,
            "Redis gets nothing any more: {}",
            finding.what
        );
    }
    if now.is_empty() && !before.is_empty() {
        tracing::info!(event = "redis_durable", "Redis keeps what it is given again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::{Address, Cluster, Deployment, reply::Reply};

    /// What a primary with so many replicas says.
    fn says(replicas: usize) -> Heard {
        let of = "redis_version:7.0.15\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrole:master\r\nrun_id:a\r\n";
        let one = |at| format!("slave{at}:ip=h,port={at},state=online,offset=1,lag=0\r\n");
        let info = (0..replicas).fold(of.to_owned(), |info, at| info + &one(at + 1));
        let set = ["appendfsync", "always", "no-appendfsync-on-rewrite", "no", "min-replicas-to-write", "1"];
        let set = set.map(|text| Reply::Bytes(text.as_bytes().to_vec()));
        Heard::new(Reply::Bytes(info.into_bytes()), Reply::Many(set.to_vec()))
    }

    /// I1: in a cluster each primary waits for the replicas that it has, or that parts of it had where they come from; the replica
    /// of one keeps no other from being used.
    #[test]
    fn each_primary_waits_for_its_own() {
        let at = vec![Address::Tcp { host: "h".into(), port: 1 }];
        let cluster = Cluster { at, elsewhere: std::collections::BTreeMap::new() };
        let options = Options { durability: None, ..Options::new(Deployment::Cluster(cluster)) };
        let of_store = Arc::default();
        let [one, other, next] = [(); 3].map(|()| RedisState::of(&of_store));
        let steady = || Some(Instant::now() + Duration::from_secs(1));
        assert!(one.waits_for_replicas(), "nobody has looked at it: it may be the primary since a moment ago");
        one.heard(&says(1), &options, steady());
        other.heard(&says(0), &options, steady());
        assert_eq!(one.demand(), Ok(Demand { replicas: 1, on_disk: false }));
        assert_eq!(other.demand(), Ok(Demand { replicas: 0, on_disk: false }));
        assert!(one.waits_for_replicas() && !other.waits_for_replicas());
        assert_eq!((one.durability(&options), other.durability(&options)), (Durability::Replicated, Durability::Fsync));
        // The replica takes the place of the first, and has none itself.
        next.is_never_weaker_than(&one);
        next.heard(&says(0), &options, steady());
        assert_eq!(next.demand(), Err(Fault::Away), "nothing is confirmed by less than before");
        // Parts go to one that has none.
        other.is_never_weaker_than(&one);
        assert_eq!(other.demand(), Err(Fault::Away), "it is looked at first");
    }

    /// I24: one that nobody has tried for long is tried by one of those who ask, however often others asked how it stands.
    #[test]
    fn one_tries_what_was_not_reached() {
        let standing = RedisState::of(&Arc::default());
        let was_tried_long_ago = || {
            let mut seen = standing.seen();
            let (_, tried) = seen.unreached.as_mut().expect("it was not reached");
            *tried = tried.checked_sub(TRIED_WITHIN).expect("this machine has run for so long");
        };
        assert!(!standing.is_unreached() && !standing.may_try(), "nothing is known against it");
        standing.unreached(&Broken::Away("it is gone".to_owned()));
        assert!(standing.is_unreached() && !standing.may_try(), "it was tried just now");
        was_tried_long_ago();
        assert!(standing.is_unreached() && standing.is_unreached(), "to ask for that changes nothing");
        assert!(standing.may_try());
        assert!(!standing.may_try(), "one does already");
        was_tried_long_ago();
        assert!(standing.may_try(), "he has come to nothing");
        standing.reached();
        assert!(!standing.is_unreached() && !standing.may_try());
    }
}
