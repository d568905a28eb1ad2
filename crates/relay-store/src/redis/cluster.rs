//! What nodes of a cluster are asked: who has which slot.
//!
//! Those of the URL and all primaries are asked once a second, and at once where there is doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    address::{Address, Cluster, Deployment},
    claims::{self, Told, Word},
    client::{Broken, Command, Link},
    nodes::Nodes,
    shared::Shared,
};

/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// And not more often than this, whatever is in doubt.
const ASK_APART: Duration = Duration::from_millis(50);
/// One that takes longer is one that does not answer: the others are not kept waiting.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// Begins to follow what they say.
pub(super) fn begin(nodes: &Arc<Nodes>) {
    if nodes.is_cluster() {
        tokio::spawn(follow(Arc::downgrade(nodes)));
    }
}

/// Asks them, as long as somebody wants to know.
async fn follow(nodes: Weak<Nodes>) {
    let mut links: BTreeMap<Address, Option<Link>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    while let Some(known) = nodes.upgrade() {
        let Deployment::Cluster(cluster) = &known.shared().options.address else { return };
        let primaries = known.addresses();
        let asked: Vec<&Address> = cluster.at.iter().chain(&primaries).collect();
        links.retain(|at, _| asked.contains(&at));
        for at in asked {
            links.entry(at.clone()).or_default();
        }
        let began = Instant::now();
        let shared = known.shared();
        let answers = join_all(links.iter_mut().map(|(at, link)| ask(shared, cluster, at, link))).await;
        known.told(began, verdict(shared, answers, &mut ids));
        let doubted = known.doubted();
        drop(known);
        sleep(ASK_APART).await;
        // Cancel safety: a doubt that is not waited for stays.
        let _ = timeout(ASK_EVERY, doubted.notified()).await;
    }
}

/// Asks one of them, over a connection that is kept while it answers.
async fn ask(shared: &Shared, cluster: &Cluster, at: &Address, kept: &mut Option<Link>) -> Result<Word, Broken> {
    let link = kept.take();
    let asked = async {
        let mut link = match link {
            Some(link) => link,
            None => Link::connect(at, &shared.options.login, ANSWERS_WITHIN).await?,
        };
        let ask = |what: &str| Command::new("CLUSTER").arg(what);
        let replies = link.send(vec![ask("NODES"), ask("SLOTS")]).await?;
        Ok((link, replies))
    };
    let (link, replies) = match timeout(ANSWERS_WITHIN, asked).await {
        Ok(answer) => answer?,
        Err(_) => return Err(Broken::Away(format!("no answer within {ANSWERS_WITHIN:?}"))),
    };
    *kept = Some(link);
    Word::read(cluster, at, replies)
}

/// What their words come to, where one of them says something. `ids`: of the nodes that were known before.
fn verdict(shared: &Shared, answers: Vec<Result<Word, Broken>>, ids: &mut BTreeSet<String>) -> Result<Told, Broken> {
    let asked = answers.len();
    let (mut words, mut silent) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(word) => words.push(word),
            Err(broken) => silent.push(broken),
        }
    }
    if words.is_empty() {
        let refused = silent.iter().find(|broken| !matches!(broken, Broken::Away(_)));
        return Err(refused.or(silent.first()).cloned().unwrap_or_else(|| Broken::Away("nobody was asked".to_owned())));
    }
    let words = claims::of_one(words, asked, ids);
    if words.is_empty() {
        return Err(Broken::Away("who answers is of another cluster than before".to_owned()));
    }
    Ok(claims::together(&words, (0..shared.space.parts()).map(|place| shared.space.slot(place))))
}
