//! What was received is erased: of events that are named, or of all that match, the oldest first.

use clap::Args;
use http::Method;
use relay_server::api::{BulkDto, EraseAsk, EraseOneAsk, EventDto, List};
use serde::Serialize;

use crate::{
    admin_client::{Api, encode},
    cli::{
        bulk::{Again, confirm, goes_on_with, stopped, typed_again},
        collection::not_empty,
        ids,
        listing::{Range, text},
        noun::Asked,
        steps::{self, events},
    },
    exit::{Exit, Failure, Outcome},
    output::{failed, pretty, print, say, tell},
    quantity,
    render::{style, time},
};

const PATH: &str = "/api/v1/events/erase";
/// Events of one request, so that whoever waits sees how far it is and can stop it in between.
const STEP: u64 = 500;

/// Which events, and how carefully.
#[derive(Debug, Args)]
pub(in crate::cli) struct Erase {
    /// Their ids, evt_...
    #[arg(
        value_name = "ID",
        value_parser = not_empty(),
        required_unless_present_any = ["all", "source", "since", "until"],
        conflicts_with_all = ["all", "source", "since", "until", "limit", "job"]
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
    /// Cancel what of them may still go out; else such an event is left as it is
    #[arg(long)]
    cancel: bool,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = quantity::whole(1..=u64::MAX))]
    limit: Option<u64>,
    #[command(flatten)]
    job: Again,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

impl Erase {
    /// Runs it.
    ///
    /// # Errors
    /// Nobody agreed, an event has deliveries that may still go out, or those of the admin API.
    pub(super) async fn run(self, asked: &Asked) -> Outcome {
        let api = asked.running().await?;
        if !self.ids.is_empty() {
            return self.named(asked, &api).await;
        }
        let now = time::now();
        let (since, until) = self.range.bounds(now)?;
        let job = Some(self.job.id().to_string());
        let ask = EraseAsk {
            all: true,
            source: self.source,
            since,
            until,
            cancel: self.cancel,
            limit: self.limit,
            job,
            ..EraseAsk::default()
        };
        let counted = post(&api, &EraseAsk { dry_run: true, ..ask.clone() }).await?;
        let what = format!("{}{}", events(counted.matched), in_the_way(&counted, ask.cancel));
        if self.dry_run {
            return report(asked, &counted, &format!("would erase {what}"));
        }
        if counted.matched == 0 {
            return report(asked, &counted, "nothing matches that is not erased already: crm-relay event list");
        }
        if !self.yes {
            confirm(&format!("erase for good what was received of {what}"))?;
        }
        let ask = EraseAsk { preview: counted.preview.clone(), ..ask };
        all_of(asked, &api, &ask, counted.matched).await
    }

    async fn named(&self, asked: &Asked, api: &Api) -> Outcome {
        let mut whole = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            whole.push(ids::event(api, id).await);
        }
        if self.dry_run {
            tell(&format!("would erase {}", events(whole.len() as u64)))?;
            return Ok(Exit::Done);
        }
        if !self.yes {
            confirm(&format!("erase for good what was received of {}", whole.join(", ")))?;
        }
        let (mut items, mut refused) = (Vec::<EventDto>::new(), None);
        for id in &whole {
            let path = format!("/api/v1/events/{}/erase", encode(id));
            match api.ask(Method::POST, &path, &EraseOneAsk { cancel: self.cancel }).await {
                Ok(erased) => items.push(erased),
                // Those after it are not to blame.
                Err(failure) if matches!(failure.exit, Exit::No | Exit::Usage) => {
                    failed(&failure.to_string());
                    refused = Some(failure.exit);
                }
                Err(failure) => return Err(failure),
            }
        }
        if asked.is_json() {
            print(&pretty(&List { items, next: None }))?;
        } else if !items.is_empty() {
            let erased: Vec<String> = items.iter().map(|event| text(&event.id)).collect();
            tell(&format!("erased {}", erased.join(", ")))?;
        }
        Ok(refused.unwrap_or(Exit::Done))
    }
}

/// One request after the other, each for more of the same job. Interrupted, the one under way is waited for, and what goes on from there is
/// told.
async fn all_of(asked: &Asked, api: &Api, ask: &EraseAsk, total: u64) -> Outcome {
    let job = ask.job.as_deref();
    let (done, ended) =
        steps::take(api, PATH, (total, STEP), job, |upto| EraseAsk { limit: Some(upto), ..ask.clone() }).await?;
    let words = format!("{} erased", events(done.changed));
    if let Some(failure) = ended {
        report(asked, &done, &style::warn(format!("{words}, of {}", events(total))))?;
        return Err(goes_on_with(failure, &again(ask)));
    }
    report(asked, &done, &words)?;
    if let Some(failure) = stopped(&done, &words) {
        return Err(failure);
    }
    let left = done.matched - done.changed.min(done.matched);
    if left > 0 {
        say(&format!(
            "{} left as they were: a delivery of each may still go out (cancel it, or ask with --cancel), or it does not read",
            events(left)
        ));
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

async fn post(api: &Api, ask: &EraseAsk) -> Result<BulkDto, Failure> {
    api.ask(Method::POST, PATH, ask).await
}

/// The command that does the rest.
fn again(ask: &EraseAsk) -> String {
    let cancel = if ask.cancel { "crm-relay event erase --cancel" } else { "crm-relay event erase" };
    let is_filtered = ask.source.is_some() || ask.since.is_some() || ask.until.is_some();
    typed_again(
        &[cancel.to_owned()],
        !is_filtered,
        &[
            ("source", ask.source.clone()),
            ("since", ask.since.clone()),
            ("until", ask.until.clone()),
            ("limit", ask.limit.map(|limit| limit.to_string())),
            ("job", ask.job.clone()),
        ],
    )
}

/// What may still go out, as a preview counts it.
fn in_the_way(counted: &BulkDto, cancels: bool) -> String {
    let open: u64 = counted.split.iter().map(|part| part.count).sum();
    let deliveries = if open == 1 { "1 delivery".to_owned() } else { format!("{open} deliveries") };
    match (open, cancels) {
        (0, _) => String::new(),
        (_, true) => format!(", and cancel {deliveries}"),
        (_, false) => format!("; those of {deliveries} that may still go out are left (--cancel ends them)"),
    }
}

fn report(asked: &Asked, done: &BulkDto, words: &str) -> Outcome {
    /// What a script is told.
    #[derive(Serialize)]
    struct Sums<'a> {
        job: &'a str,
        matched: u64,
        changed: u64,
    }
    let BulkDto { job, matched, changed, .. } = done;
    let sums = Sums { job, matched: *matched, changed: *changed };
    if asked.is_json() { print(&pretty(&sums)) } else { tell(words) }?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_interrupted_goes_on_with_words_that_are_taken() {
        let all = EraseAsk { all: true, cancel: true, job: Some("job_1".into()), ..EraseAsk::default() };
        assert_eq!(again(&all), "crm-relay event erase --cancel --all --job job_1");
        let some = EraseAsk { source: Some("shop".into()), limit: Some(9), cancel: false, ..all };
        assert_eq!(again(&some), "crm-relay event erase --source shop --limit 9 --job job_1");
    }
}
