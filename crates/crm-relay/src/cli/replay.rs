//! Old events delivered again: those that are named, or all that match, the oldest first.

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    bulk::{Pacing, confirm},
    collection::not_empty,
    filter::given,
    listing::{Range, route_of, text},
    noun::Asked,
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
        conflicts_with_all = ["all", "source", "since", "until", "limit", "rate", "cursor", "dry_run"]
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
        let mut filters = given([("source", self.source.clone())]);
        let now = time::now();
        filters.extend(self.range.parameters(now)?);
        if !filters.iter().any(|(name, _)| *name == "until") {
            // What comes while this runs is no old event.
            filters.push(("until", time::point("0s", now).map_err(Failure::usage)?));
        }
        let mut body: Map<String, Value> =
            filters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        body.insert("destination".to_owned(), json!(self.destination));
        body.insert("cursor".to_owned(), json!(self.cursor));
        let (matched, known) = count(&api, body.clone(), self.limit).await?;
        if self.dry_run {
            return report(asked, (matched, 0), &known, &format!("would replay {}", events(matched)));
        }
        if matched == 0 {
            return report(asked, (0, 0), &known, "nothing matches: crm-relay event list");
        }
        if !self.yes {
            confirm(&format!("replay {}", events(matched)))?;
        }
        self.pacing.put_into(&mut body);
        self.all_of(asked, &api, body, matched).await
    }

    /// One request after the other. Interrupted, the one under way is waited for, and what goes on from there is told.
    async fn all_of(&self, asked: &Asked, api: &Api, mut body: Map<String, Value>, total: u64) -> Outcome {
        let stop = signals::listen()?;
        let mut progress = Progress::new(total);
        let (mut matched, mut changed, mut last) = (0, 0, Value::Null);
        let mut ended = None;
        while matched < total {
            body.insert("limit".to_owned(), json!(STEP.min(total - matched)));
            let done = match api.call(Method::POST, PATH, Some(&Value::Object(body.clone()))).await {
                Ok(done) => done,
                Err(failure) => {
                    ended = Some(failure);
                    break;
                }
            };
            matched += number(&done, "matched");
            changed += number(&done, "changed");
            progress.reach(matched, Some(total));
            body.insert("cursor".to_owned(), done["next"].clone());
            if self.pacing.is_given() {
                body.insert("start_at".to_owned(), done["next_at"].clone());
            }
            last = done;
            if last["next"].is_null() {
                break;
            }
            ended = stop.is_asked().then(|| Failure::no("interrupted"));
            if ended.is_some() {
                break;
            }
        }
        progress.clear();
        let text = format!("{} replayed: {changed} deliveries made", events(matched));
        let Some(failure) = ended else { return report(asked, (matched, changed), &last, &text) };
        report(asked, (matched, changed), &last, &style::warn(format!("{text}, of {}", events(total))))?;
        let again = again(&body, self.limit.map(|limit| limit.saturating_sub(matched)));
        Err(Failure::new(failure.exit, format!("{failure}; to go on where this ended: {again}")))
    }
}

/// How many match, at most `limit`: counted page by page.
async fn count(api: &Api, mut body: Map<String, Value>, limit: Option<u64>) -> Result<(u64, Value), Failure> {
    let stop = signals::listen()?;
    let mut progress = Progress::endless();
    let (mut matched, mut left) = (0, limit.unwrap_or(u64::MAX));
    body.insert("dry_run".to_owned(), json!(true));
    body.insert("all".to_owned(), json!(true));
    loop {
        body.insert("limit".to_owned(), json!(COUNTED.min(left)));
        let page = api.call(Method::POST, PATH, Some(&Value::Object(body.clone()))).await?;
        matched += number(&page, "matched");
        left = left.saturating_sub(COUNTED);
        progress.reach(matched, None);
        if stop.is_asked() {
            return Err(Failure::no("interrupted while counting; nothing was changed"));
        }
        if page["next"].is_null() || left == 0 {
            return Ok((matched, page));
        }
        body.insert("cursor".to_owned(), page["next"].clone());
    }
}

/// The command that does the rest.
fn again(body: &Map<String, Value>, left: Option<u64>) -> String {
    let mut words = vec!["crm-relay event replay".to_owned()];
    for name in ["source", "since", "until", "destination", "rate", "start_at", "cursor"] {
        match body.get(name) {
            Some(Value::String(value)) => words.push(format!("--{} {value}", name.replace('_', "-"))),
            Some(Value::Number(value)) => words.push(format!("--{name} {value}")),
            _ => {}
        }
    }
    words.extend(left.map(|left| format!("--limit {left}")));
    words.join(" ")
}

async fn named(asked: &Asked, api: &Api, ids: &[String], destination: Option<String>) -> Outcome {
    let (mut items, mut refused, mut broken) = (Vec::new(), Vec::new(), None);
    for (at, id) in ids.iter().enumerate() {
        let body = json!({"destination": destination});
        match api.call(Method::POST, &format!("/api/v1/events/{}/replay", encode(id)), Some(&body)).await {
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
    if asked.is_json() {
        print(&pretty(&json!({"items": items, "next": null})))?;
    } else {
        for item in items.iter().filter_map(|done| done.get("deliveries").and_then(Value::as_array)).flatten() {
            print(&format!("{} {}", text(item, "id"), route_of(item)))?;
        }
    }
    if ids.len() > 1 && !refused.is_empty() {
        say(&style::warn(format!("{} of {} replayed", items.len(), events(ids.len() as u64))));
    }
    broken.map_or_else(|| Ok(mixed(items.is_empty(), &refused)), Err)
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

fn report(asked: &Asked, (matched, changed): (u64, u64), last: &Value, text: &str) -> Outcome {
    let told = json!({"matched": matched, "changed": changed, "next": last["next"], "next_at": last["next_at"]});
    if asked.is_json() { print(&pretty(&told)) } else { tell(text) }?;
    Ok(Exit::Done)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn events(number: u64) -> String {
    if number == 1 { "1 event".to_owned() } else { format!("{number} events") }
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
    fn what_was_interrupted_goes_on_where_it_ended() {
        let body = json!({
            "source": "shop", "until": "2026-01-31T12:00:00Z", "destination": null, "rate": 0.5,
            "start_at": "2026-01-31T14:00:00Z", "cursor": "71", "limit": 2000,
        });
        let Value::Object(body) = body else { unreachable!("it is one") };
        assert_eq!(
            again(&body, Some(9)),
            "crm-relay event replay --source shop --until 2026-01-31T12:00:00Z --rate 0.5 \
             --start-at 2026-01-31T14:00:00Z --cursor 71 --limit 9"
        );
    }
}
