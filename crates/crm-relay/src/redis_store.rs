//! What operators ask of a store in a Redis: `store check`, `doctor`, and what there is in the place of a backup.

use std::{sync::Arc, time::Duration};

use relay_store::{
    copy::BackupError,
    redis::{self, Examined, ExaminedNode, Finding, Inspected, Mended, RedisStore, StoredThere},
    seam::Upkeep as _,
    watch::Watch,
};
use serde_json::{Value, json};

use crate::{
    exit::{Exit, Failure, Outcome},
    migrate, opening,
    output::{pretty, print, tell},
    render::{human_duration, progress::Progress, style, table},
    runtime::block_on,
    signals,
};

/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Faults that are listed for people; JSON has all.
const FAULTS_SHOWN: usize = 50;
/// A clock that is off by more, in microseconds, is named.
const CLOCK_OFF: u64 = 1_000_000;

/// What a check does beside reading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mending {
    /// Indexes are put right.
    pub(crate) repair: bool,
    /// What does not read is taken out.
    pub(crate) accept_loss: bool,
}

/// Reads everything, and mends what is to be.
///
/// # Errors
/// The Redis cannot be used, or does not answer; or it was interrupted.
pub(crate) fn check(options: &redis::Options, json: bool, mending: Mending) -> Outcome {
    block_on(async {
        let at = options.address.to_string();
        let store = opening::there(options).await?;
        opening::begin(&store, &at, opening::REDIS_WITHIN_OF_COMMAND).await?;
        let failed = |error| Failure::new(Exit::StoreFailed, format!("the store in the Redis at {at}: {error}"));
        let mended = if mending.repair { Some(store.mend().await.map_err(failed)?) } else { None };
        let mut inspected = read(&store).await?.map_err(failed)?;
        let mut accepted = Vec::new();
        if mending.accept_loss && !inspected.is_healthy() {
            accepted = store.accept_loss().await.map_err(failed)?;
            // The one that met it all would name it on.
            inspected = read(&opening::there(options).await?).await?.map_err(failed)?;
        }
        if json {
            let mut value = check_json(&inspected, mended, &accepted);
            value["sealed_with"] = json!(store.promises().sealed_with);
            print(&pretty(&value))
        } else {
            let sealed =
                store.promises().sealed_with.map_or_else(String::new, |key| format!("\nSealed with key {key}"));
            tell(&(in_words(&at, &inspected, mended, &accepted) + &sealed))
        }?;
        Ok(if inspected.is_healthy() { Exit::Done } else { Exit::No })
    })
}

/// Reads all of it, which nobody has interrupted.
async fn read(store: &RedisStore) -> Result<Result<Inspected, relay_core::storage::StoreError>, Failure> {
    let inspected = inspected(store).await?;
    if let Ok(Inspected { is_whole: false, events, faults, apart, .. }) = &inspected {
        let found = faults.len() + apart.len();
        return Err(Failure::no(format!("interrupted: {events} events were read by then, and {found} faults found")));
    }
    Ok(inspected)
}

/// Tells how far it is, and ends early when somebody asks for that.
async fn inspected(store: &RedisStore) -> Result<Result<Inspected, relay_core::storage::StoreError>, Failure> {
    let (stop, watch, mut progress) = (signals::listen()?, Arc::new(Watch::default()), Progress::new(0));
    let mut inspecting = store.inspect(Arc::clone(&watch));
    loop {
        tokio::select! {
            done = &mut inspecting => return Ok(done),
            () = tokio::time::sleep(LOOK_EVERY) => {
                let (done, total) = watch.progress();
                progress.reach(done, Some(total));
                if stop.is_asked() {
                    watch.stop();
                }
            }
        }
    }
}

fn check_json(inspected: &Inspected, mended: Option<Mended>, accepted: &[String]) -> Value {
    json!({
        "ok": inspected.is_healthy(),
        "events": inspected.events,
        "deliveries": inspected.deliveries,
        "faults": inspected.faults,
        "apart": inspected.apart,
        "accepted": accepted,
        "mended": mended.map(|mended| json!({
            "mended": mended.mended,
            "strays": mended.strays,
            "lost": mended.lost,
            "orphans": mended.orphans,
            "aside": mended.aside,
            "kept": mended.kept,
            "counters": mended.counters,
        })),
    })
}

fn in_words(at: &str, inspected: &Inspected, mended: Option<Mended>, accepted: &[String]) -> String {
    let Inspected { events, deliveries, faults, apart, .. } = inspected;
    let mut lines = Vec::new();
    if let Some(Mended { mended, strays, lost, orphans, aside, kept, .. }) = mended {
        lines.push(format!(
            "{mended} places in indexes were missing, {strays} led nowhere, {lost} of them to what is gone; {orphans} bodies were nobody's, \
             {aside} keys are put aside, and {kept} are not going to expire any more"
        ));
    }
    if !accepted.is_empty() {
        let some = accepted.iter().take(FAULTS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        lines.push(format!(
            "the loss is accepted: {} things that did not read, or led to such, are taken out and counted as lost, and the audit log names \
             them: {some}",
            accepted.len()
        ));
    }
    let read = format!("{at}: {events} events and {deliveries} deliveries read");
    if inspected.is_healthy() {
        lines.push(format!("{read}: {}", style::good("the store is healthy")));
        return lines.join("\n");
    }
    lines.push(format!("{read}:"));
    let all = faults.iter().chain(apart);
    lines.extend(all.take(FAULTS_SHOWN).map(|fault| style::bad(format!("- {fault}"))));
    let more = (faults.len() + apart.len()).saturating_sub(FAULTS_SHOWN);
    if more > 0 {
        lines.push(format!("... and {more} more: --json shows all"));
    }
    if !faults.is_empty() {
        lines.push(
            "What does not read is passed over, and cannot be made again: put a copy of the Redis back where it matters; or go on without it: \
             crm-relay store check --accept-loss"
                .into(),
        );
    }
    if !apart.is_empty() && mended.is_none() {
        lines.push(
            "Indexes are made of rows again: a server does so by itself, or crm-relay store check --repair".into(),
        );
    }
    lines.join("\n")
}

/// There is another way.
pub(crate) fn no_copy() -> Failure {
    Failure::usage(BackupError::NotHere.to_string())
}

/// What was found at a Redis and of the store in it.
pub(crate) struct Found {
    /// Nothing is wrong.
    pub(crate) is_well: bool,
    /// As JSON, an object.
    pub(crate) json: serde_json::Map<String, Value>,
    /// In words.
    pub(crate) words: String,
}

/// Looks at the Redis and at the store in it.
///
/// # Errors
/// It is not there.
pub(crate) async fn examine(options: &redis::Options) -> Result<Found, Failure> {
    let at = options.address.to_string();
    let store = opening::redis(options.clone());
    let examined = examined(&store, &at).await?;
    let mut findings: Vec<(String, String)> = examined
        .nodes
        .iter()
        .flat_map(|node| node.findings.iter().map(|finding| named(&examined, node, finding)))
        .collect();
    if examined.stored.is_some()
        && let Err(failure) = migrate::refuse_moved(&store, &at).await
    {
        findings.push((failure.text, "crm-relay store migrate".into()));
    }
    let is_tried = examined.stored.is_some() && examined.findings().next().is_none();
    for node in examined.nodes.iter().filter(|node| is_tried && has_partition(node) && node.commit.is_none()) {
        let (what, mend) = ("a commit was not confirmed in time", "see its log, and INFO replication");
        findings.push((of_several(&examined, node, what), mend.into()));
    }
    let (json, words) = (doctor_json(&examined, &findings), told(&examined, &findings));
    Ok(Found { is_well: findings.is_empty(), json, words })
}

async fn examined(store: &RedisStore, at: &str) -> Result<Examined, Failure> {
    store.examine().await.map_err(|error| opening::not_begun(&error, at))
}

/// What is said of one of several primaries.
fn of_several(examined: &Examined, node: &ExaminedNode, what: &str) -> String {
    if examined.nodes.len() > 1 { format!("{}: {what}", node.address) } else { what.to_owned() }
}

fn named(examined: &Examined, node: &ExaminedNode, finding: &Finding) -> (String, String) {
    (of_several(examined, node, &finding.what), finding.mend.clone())
}

/// Whether anything is committed there but what servers say of themselves.
fn has_partition(node: &ExaminedNode) -> bool {
    node.parts.iter().any(|part| part.partition.is_some())
}

fn node_json(node: &ExaminedNode) -> serde_json::Map<String, Value> {
    let ExaminedNode { server, seen, durability, confirm, replicas, commit, .. } = node;
    let seen: serde_json::Map<String, Value> =
        seen.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.clone()))).collect();
    let mut of_node = serde_json::Map::new();
    let replica = |replica: &redis::Replica| {
        let redis::Replica { address, state, behind, lag } = replica;
        json!({"address": address, "state": state, "behind": behind, "lag_s": lag})
    };
    of_node.insert("server".into(), json!(server));
    of_node.insert("seen".into(), seen.into());
    of_node.insert("durability".into(), json!(durability.as_str()));
    of_node.insert("confirm".into(), json!(confirm));
    of_node.insert("replicas".into(), replicas.iter().map(replica).collect());
    of_node.insert("commit_us".into(), json!(commit.map(|took| took.as_micros() as u64)));
    of_node
}

/// A single node is told of at the top, several each by itself.
fn doctor_json(examined: &Examined, findings: &[(String, String)]) -> serde_json::Map<String, Value> {
    let Examined { nodes, stored, servers } = examined;
    let mut told = match &nodes[..] {
        [node] => node_json(node),
        several => {
            let with_parts = |node: &ExaminedNode| {
                let mut of_node = node_json(node);
                let part = |part: &redis::StorePart| json!({"partition": part.partition, "slot": part.slot});
                of_node.insert("address".into(), json!(node.address));
                of_node.insert("parts".into(), node.parts.iter().map(part).collect());
                Value::from(of_node)
            };
            serde_json::Map::from_iter([("nodes".into(), several.iter().map(with_parts).collect())])
        }
    };
    told.insert("ok".into(), json!(findings.is_empty()));
    let findings = findings.iter().map(|(what, mend)| json!({"what": what, "mend": mend}));
    told.insert("findings".into(), findings.collect());
    let stored = stored.as_ref().map(|stored| {
        json!({
            "partitions": stored.partitions,
            "events": stored.events,
            "used_bytes": stored.used,
            "bound_bytes": stored.bound,
            "bytes_per_event": stored.bytes_per_event,
            "events_per_day": stored.events_per_day,
            "days_until_full": stored.days_until_full(),
        })
    });
    told.insert("stored".into(), json!(stored));
    let server = |server: &relay_core::storage::Presence| {
        json!({
            "name": &*server.server.name,
            "address": &*server.server.address,
            "version": &*server.server.version,
            "stopping": server.stopping,
            "clock_ahead_us": server.clock.map(|clock| clock.ahead),
        })
    };
    told.insert("servers".into(), servers.iter().map(server).collect());
    told
}

fn told(examined: &Examined, findings: &[(String, String)]) -> String {
    let mut lines = Vec::new();
    for node in &examined.nodes {
        lines.push(checks(node));
        lines.extend((examined.nodes.len() > 1).then(|| parts(node)));
        lines.push(String::new());
    }
    if findings.is_empty() {
        lines.pop();
    }
    for (what, mend) in findings {
        lines.push(style::bad(format!("! {what}")));
        lines.push(format!("      {mend}"));
    }
    if findings.is_empty() {
        lines.push(style::good("it keeps what it is given"));
    }
    lines.push(String::new());
    lines.extend(examined.nodes.iter().map(|node| replicas(examined, node)));
    if let Some(stored) = &examined.stored {
        lines.push(room(stored, examined.nodes.len()));
        lines.push(servers(examined));
    } else {
        lines.push("no store is there yet: the first server makes it".to_owned());
    }
    lines.join("\n")
}

/// What of the store is at one of several.
fn parts(node: &ExaminedNode) -> String {
    let part = |part: &redis::StorePart| match part.partition {
        Some(partition) => format!("partition {partition} (slot {})", part.slot),
        None => format!("the registry (slot {})", part.slot),
    };
    format!("it has {}", node.parts.iter().map(part).collect::<Vec<_>>().join(", "))
}

/// Each check with what was seen; a finding that is about one names it.
fn checks(node: &ExaminedNode) -> String {
    // As findings begin that are about it.
    let begins = |name: &str| match name {
        "version" => "it is version".to_owned(),
        "role" => "it is a replica".to_owned(),
        "append-only file" => "its append-only file".to_owned(),
        name => name.to_owned(),
    };
    let is_named = |name: &str| node.findings.iter().any(|finding| finding.what.starts_with(&begins(name)));
    let mark = |name: &str, value: &str| {
        if is_named(name) { style::bad(format!("{value}  !")) } else { format!("{value}  ok") }
    };
    let mut rows: Vec<(&str, String)> = node.seen.iter().map(|(name, value)| (*name, mark(name, value))).collect();
    let rights = if node.findings.iter().any(|finding| finding.mend.starts_with("ACL SETUSER")) {
        "too few  !"
    } else {
        "enough  ok"
    };
    rows.push(("rights", rights.to_owned()));
    rows.push(("durability", node.durability.as_str().to_owned()));
    rows.push((
        "a commit",
        node.commit.map_or_else(|| "not tried".to_owned(), |took| format!("{:.1} ms", took.as_secs_f64() * 1_000.0)),
    ));
    table::fields(&rows)
}

fn replicas(examined: &Examined, node: &ExaminedNode) -> String {
    let mut lines = vec![match (node.confirm, node.replicas.len()) {
        (0, 0) => "no replica follows it, and no commit waits for one: what its disk loses is lost".to_owned(),
        (0, count) => format!("{count} replicas are connected, and no commit waits for one"),
        (confirm, count) => format!("{confirm} of {count} replicas confirm each commit"),
    }];
    if examined.nodes.len() > 1 {
        lines[0] = format!("{}: {}", node.address, lines[0]);
    }
    for (place, replica) in node.replicas.iter().enumerate() {
        let elected = match (place, examined.nodes.len()) {
            (0, 1) => "; with equal priorities Sentinel would elect it",
            (0, _) => "; it would stand for election first",
            _ => "",
        };
        lines.push(format!(
            "  {} {}, {} bytes behind, heard of {} s ago{elected}",
            replica.address, replica.state, replica.behind, replica.lag
        ));
    }
    lines.join("\n")
}

fn room(stored: &StoredThere, nodes: usize) -> String {
    let partitions = match stored.partitions {
        1 => "one partition".to_owned(),
        count => format!("{count} partitions"),
    };
    let on = match nodes {
        1 => "one node, which has all 16384 slots".to_owned(),
        count => format!("{count} primaries"),
    };
    let mut lines = vec![format!("{} events in {partitions}, on {on}", stored.events)];
    if let Some(bytes) = stored.bytes_per_event {
        let rate = stored
            .events_per_day
            .map_or_else(|| "too young for a rate".to_owned(), |rate| format!("{rate} events a day"));
        lines.push(format!("{bytes} bytes for each event; {rate}"));
    }
    if stored.bound > 0 {
        let full = match stored.days_until_full() {
            Some(days) => format!("at this rate that is reached in {days} days, unless retention removes as much"),
            None => "when that is reached, nobody can tell yet".to_owned(),
        };
        lines.push(format!(
            "{} of {} bytes are used; webhooks are refused from there on: {full}",
            stored.used, stored.bound
        ));
    }
    lines.join("\n")
}

fn servers(examined: &Examined) -> String {
    if examined.servers.is_empty() {
        return "no server is heard of".to_owned();
    }
    let line = |server: &relay_core::storage::Presence| {
        let clock = match server.clock {
            None => "its clock is not known".to_owned(),
            Some(clock) if clock.ahead.unsigned_abs() > CLOCK_OFF => style::bad(format!(
                "its clock is off by {}",
                human_duration(Duration::from_micros(clock.ahead.unsigned_abs()))
            )),
            Some(clock) => format!("its clock is off by {:.1} ms", clock.ahead as f64 / 1_000.0),
        };
        let stopping = if server.stopping { ", stopping" } else { "" };
        let about = &server.server;
        format!("server {} at {}, version {}, {clock}{stopping}", about.name, about.address, about.version)
    };
    examined.servers.iter().map(line).collect::<Vec<_>>().join("\n")
}
