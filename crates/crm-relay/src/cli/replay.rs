//! Old events delivered again: those that are named, or all that match, the oldest first.

use std::collections::BTreeMap;

use clap::Args;
use http::Method;
use relay_server::api::{BulkDto, List, ReplayAsk, ReplayDto, ReplayOneAsk, SplitDto};
use serde::Serialize;

use super::{
    bulk::{Again, Pacing, confirm, goes_on_with, of_whom, stopped, typed_again},
    collection::not_empty,
    ids,
    listing::{Range, route_of, text},
    noun::Asked,
    steps::{self, events},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome, typed},
    output::{failed, pretty, print, say, tell},
    quantity,
    render::{progress::Progress, style, time},
    signals,
};

const PATH: &str = "/api/v1/events/replay";
/// Events of one request, so that whoever waits sees how far it is and can stop it in between.
const STEP: u64 = 2_000;
/// As much of an id as the server repeats of one that it does not take.
const ID_SHOWN: usize = 40;
/// What a question says of more than one request counts: nothing holds them to what it says.
const MANY: &str = ", which go along the routes that there are then";
/// Events that one request counts.
const COUNTED: u64 = 20_000;

/// Which events, and how carefully.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Their ids, evt_...
    #[arg(
        value_name = "ID",
        value_parser = not_empty(),
        required_unless_present_any = ["all", "source", "since", "until"],
        conflicts_with_all = ["all", "source", "since", "until", "limit", "rate", "cursor", "job", "dry_run"]
    )]
    ids: Vec<String>,
    /// Every one that matches the other options
    #[arg(long)]
    all: bool,
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    range: Range,
    /// To this destination only
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = quantity::whole(1..=u64::MAX))]
    limit: Option<u64>,
    #[command(flatten)]
    pacing: Pacing,
    #[arg(help = "Where a command before this one ended: its next", long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    job: Again,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

impl Replay {
    /// Runs it.
    ///
    /// # Errors
    /// Nobody agreed, or those of the admin API.
    pub(super) async fn run(self, asked: &Asked) -> Outcome {
        let api = asked.running().await?;
        if !self.ids.is_empty() {
            return named(asked, &api, &self.ids, self.destination).await;
        }
        let now = time::now();
        let (since, until) = self.range.bounds(now)?;
        // What comes while this runs is no old event.
        let until = until.map_or_else(|| time::point("0s", now).map_err(Failure::usage), Ok)?;
        let ask = ReplayAsk {
            all: true,
            source: self.source,
            since,
            until: Some(until),
            destination: self.destination,
            limit: self.limit,
            cursor: self.cursor,
            job: Some(self.job.id().to_string()),
            ..ReplayAsk::default()
        };
        let counted = count(&api, &ask).await?;
        if self.dry_run {
            return report(asked, &counted, &format!("would replay {}", events(counted.matched)));
        }
        if counted.matched == 0 {
            return report(asked, &counted, "nothing matches: crm-relay event list");
        }
        if !self.yes {
            let beyond = if counted.preview.is_none() { MANY } else { "" };
            confirm(&format!("replay {}{}{beyond}", events(counted.matched), of_whom(&counted)))?;
        }
        let Pacing { rate, start_at } = self.pacing;
        let ask = ReplayAsk { rate, start_at, preview: counted.preview.clone(), ..ask };
        all_of(asked, &api, &ask, counted.matched).await
    }
}

/// One request after the other, each for more of the same job. Interrupted, the one under way is waited for, and what goes
/// on from there is told.
async fn all_of(asked: &Asked, api: &Api, ask: &ReplayAsk, total: u64) -> Outcome {
    let job = ask.job.as_deref();
    let (done, ended) =
        steps::take(api, PATH, (total, STEP), job, |upto| ReplayAsk { limit: Some(upto), ..ask.clone() }).await?;
    let text = format!("{} replayed: {} deliveries made", events(done.matched), done.changed);
    let Some(failure) = ended else {
        report(asked, &done, &text)?;
        return stopped(&done, &text).map_or(Ok(Exit::Done), Err);
    };
    report(asked, &done, &style::warn(format!("{text}, of {}", events(total))))?;
    Err(goes_on_with(failure, &again(ask)))
}

async fn post(api: &Api, ask: &ReplayAsk) -> Result<BulkDto, Failure> {
    api.ask(Method::POST, PATH, ask).await
}

/// How many match, at most as many as are asked for: counted page by page. What one request counts has a preview.
async fn count(api: &Api, ask: &ReplayAsk) -> Result<BulkDto, Failure> {
    let stop = signals::listen()?;
    let mut progress = Progress::endless();
    let (mut matched, limit) = (0, ask.limit.unwrap_or(u64::MAX));
    let mut split = BTreeMap::<String, u64>::new();
    let mut ask = ReplayAsk { dry_run: true, ..ask.clone() };
    loop {
        let wanted = COUNTED.min(limit - matched);
        ask.limit = Some(wanted);
        let page = post(api, &ask).await?;
        matched += page.matched;
        for part in &page.split {
            *split.entry(part.destination.clone()).or_default() += part.count;
        }
        progress.reach(matched, None);
        if stop.is_asked() {
            return Err(Failure::no("stopped while counting; nothing was changed"));
        }
        if page.next.is_none() || matched >= limit || page.matched < wanted {
            let preview = page.preview.filter(|_| page.matched == matched);
            let part = |(destination, count)| SplitDto { destination, count };
            return Ok(BulkDto { matched, preview, split: split.into_iter().map(part).collect(), ..page });
        }
        ask.cursor = page.next;
    }
}

/// The command that does the rest.
fn again(ask: &ReplayAsk) -> String {
    let is_filtered = ask.source.is_some() || ask.since.is_some() || ask.until.is_some();
    typed_again(
        &["crm-relay event replay".to_owned()],
        !is_filtered,
        &[
            ("source", ask.source.clone()),
            ("since", ask.since.clone()),
            ("until", ask.until.clone()),
            ("destination", ask.destination.clone()),
            ("limit", ask.limit.map(|limit| limit.to_string())),
            ("rate", ask.rate.map(|rate| rate.to_string())),
            ("start-at", ask.start_at.clone()),
            ("cursor", ask.cursor.clone()),
            ("job", ask.job.clone()),
        ],
    )
}

async fn named(asked: &Asked, api: &Api, ids: &[String], destination: Option<String>) -> Outcome {
    let (mut items, mut refused, mut broken) = (Vec::<ReplayDto>::new(), Vec::new(), None);
    let ask = ReplayOneAsk { destination };
    let mut whole = Vec::with_capacity(ids.len());
    for id in ids {
        whole.push(ids::event(api, id).await);
    }
    let ids = &whole;
    for (at, id) in ids.iter().enumerate() {
        match api.ask(Method::POST, &format!("/api/v1/events/{}/replay", encode(id)), &ask).await {
            Ok(done) => items.push(done),
            // Those after it are not to blame.
            Err(failure) if matches!(failure.exit, Exit::No | Exit::Usage) => {
                let (words, id) = (failure.to_string(), typed(id));
                let is_named = words.contains(id.get(..ID_SHOWN).unwrap_or(&id));
                failed(&if is_named { words } else { format!("{id}: {words}") });
                refused.push(failure.exit);
            }
            Err(failure) => {
                let rest: Vec<String> = ids[at..].iter().map(|id| typed(id)).collect();
                let again = format!("{failure}; to go on: crm-relay event replay {}", rest.join(" "));
                broken = Some(Failure::new(failure.exit, again));
                break;
            }
        }
    }
    let done = items.len();
    if asked.is_json() {
        print(&pretty(&List { items, next: None }))?;
    } else {
        for made in items.iter().flat_map(|done| &done.deliveries) {
            print(&format!("{} {}", text(&made.id), route_of(&made.source, &made.destination)))?;
        }
    }
    if ids.len() > 1 && !refused.is_empty() {
        say(&style::warn(format!("{done} of {} replayed", events(ids.len() as u64))));
    }
    broken.map_or_else(|| Ok(mixed(done == 0, &refused)), Err)
}

/// How a command about several things ends of which some were refused: what was done is not taken back, and the answer is
/// no. Where nothing was done and nothing could have been, for none of the words made sense, it is wrong usage.
fn mixed(is_nothing_done: bool, refused: &[Exit]) -> Exit {
    match refused {
        [] => Exit::Done,
        _ if is_nothing_done && refused.iter().all(|exit| *exit == Exit::Usage) => Exit::Usage,
        _ => Exit::No,
    }
}

fn report(asked: &Asked, done: &BulkDto, text: &str) -> Outcome {
    /// What a script is told.
    #[derive(Serialize)]
    struct Told<'a> {
        job: &'a str,
        matched: u64,
        changed: u64,
        next: &'a Option<String>,
        next_at: &'a Option<String>,
    }
    let BulkDto { job, matched, changed, next, next_at, .. } = done;
    let told = Told { job, matched: *matched, changed: *changed, next, next_at };
    if asked.is_json() { print(&pretty(&told)) } else { tell(text) }?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_which_a_part_was_refused_ends_with_no() {
        assert_eq!(mixed(false, &[]), Exit::Done);
        assert_eq!(mixed(false, &[Exit::Usage]), Exit::No);
        assert_eq!(mixed(true, &[Exit::Usage, Exit::No]), Exit::No);
        assert_eq!(mixed(true, &[Exit::Usage, Exit::Usage]), Exit::Usage);
    }

    #[test]
    fn what_was_interrupted_goes_on_under_its_job() {
        let ask = ReplayAsk {
            all: true,
            source: Some("shop".into()),
            until: Some("2026-01-31T12:00:00Z".into()),
            rate: Some(0.5),
            start_at: Some("2026-01-31T14:00:00Z".into()),
            limit: Some(9),
            job: Some("job_1".into()),
            ..ReplayAsk::default()
        };
        assert_eq!(
            again(&ask),
            "crm-relay event replay --source shop --until 2026-01-31T12:00:00Z --limit 9 --rate 0.5 \
             --start-at 2026-01-31T14:00:00Z --job job_1"
        );
    }
}
