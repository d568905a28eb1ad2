//! Commands that change many deliveries: they show the count, ask on a terminal, and else need `--yes`.
//!
//! Each is a job with an id that is made here: whatever breaks off, the same command under that id does the rest.

use std::{
    fmt::Write as _,
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::{Duration, SystemTime},
};

use clap::Args;
use http::Method;
use relay_core::{
    id::{IdMint, JobId},
    time::Wall,
};
use relay_server::api::{BulkAsk, BulkDto, DeliveryDto};
use serde::Serialize;

use super::{collection::not_empty, filter::Ended, ids, listing::text, noun::Asked};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome, reason},
    output::{failed, pretty, print, tell},
    quantity,
    render::{progress::Progress, style, time},
    signals,
};

/// More than so many are changed step by step, so that whoever waits sees how far it is and can stop it in between.
const STEP: u64 = 1_000;
/// Destinations that a question names.
const SPLIT_SHOWN: usize = 5;
/// A step that takes less is followed by one of twice as many.
const STEP_LASTS: Duration = Duration::from_millis(500);

/// Which deliveries, and how carefully.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// Their ids, dlv_...; if one is none, nothing is done; those in no state for it stay, and the command exits with 1
    #[arg(value_name = "ID", value_parser = not_empty(), conflicts_with_all = ["all", "destination", "source", "reason", "status", "error", "limit"])]
    ids: Vec<String>,
    /// Every one that matches the other options
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Ended,
    #[arg(help = "Whose last try was answered with this status", long, value_name = "N", value_parser = status)]
    status: Option<u16>,
    /// Whose last try (no earlier one) came to these words, as dead list and dead summary print them
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// At most so many: of dead letters those that ended last, of open ones those that were made last
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

/// Whether it is a command that was given before.
#[derive(Clone, Debug, Args)]
pub(crate) struct Again {
    /// Do the rest of this job, which was broken off, and nothing twice
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
}

impl Again {
    /// Its id, or a new one.
    pub(crate) fn id(&self) -> JobId {
        self.job.unwrap_or_else(|| {
            let since = time::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            IdMint::new(0, rand::random()).job(Wall::from_micros(since.as_micros() as i64))
        })
    }

    /// Whether it is one.
    pub(crate) const fn is_given(&self) -> bool {
        self.job.is_some()
    }
}

/// How fast what is made ready becomes due.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Pacing {
    /// So many a second: due one after the other, which goes on when this command has ended
    #[arg(long, value_name = "N", value_parser = quantity::rate)]
    pub(crate) rate: Option<f64>,
    #[arg(help = "With --rate: when the first is due", long, value_name = "TIME", requires = "rate", value_parser = time::moment)]
    pub(crate) start_at: Option<String>,
}

/// `422`, or as lists show it: `HTTP 422 no such customer`.
fn status(text: &str) -> Result<u16, String> {
    let text = text.trim();
    let shown = text.get(..5).filter(|begin| begin.eq_ignore_ascii_case("http ")).and_then(|_| text.get(5..));
    let number = shown.map_or(text, |rest| rest.trim_start().split([' ', '…']).next().unwrap_or_default());
    let status = number.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| "want the status of an answer, like 422 or 500".to_owned())
}

impl Selection {
    /// As the admin API takes it, at this pace.
    fn ask(&self, pacing: Pacing) -> Result<BulkAsk, Failure> {
        let filter = self.filter.clone().bounds()?;
        Ok(BulkAsk {
            all: self.ids.is_empty(),
            ids: self.ids.clone(),
            status: self.status,
            error: self.error.clone(),
            limit: self.limit,
            rate: pacing.rate,
            start_at: pacing.start_at,
            ..filter
        })
    }
}

/// What a bulk command does.
pub(crate) struct Bulk {
    /// Where the admin API has it.
    pub(crate) path: &'static str,
    /// As it is typed.
    pub(crate) command: &'static str,
    /// `redrive`.
    pub(crate) verb: &'static str,
    /// `redriven`.
    pub(crate) done: &'static str,
    /// What it takes: `dead and expired`.
    pub(crate) takes: &'static str,
    /// The command that lists what it takes.
    pub(crate) list: &'static str,
    /// Where the admin API has the newest of what it takes: `last`.
    pub(crate) newest: &'static str,
}

/// Runs a bulk command.
///
/// # Errors
/// Nothing was selected, nobody agreed, or those of the admin API.
pub(crate) async fn run(asked: &Asked, bulk: &Bulk, selection: Selection, pacing: Pacing) -> Outcome {
    let (api, as_json) = (asked.running().await?, asked.is_json());
    let ids = ids::deliveries(&api, &selection.ids, bulk.newest).await;
    let selection = Selection { ids, ..selection };
    let ask = selection.ask(pacing)?;
    let unpaced = BulkAsk { rate: None, start_at: None, all: false, ..ask.clone() };
    if !selection.all && unpaced == BulkAsk::default() {
        return Err(Failure::usage(format!(
            "say which: {} ID..., or --all, or a filter like --destination NAME",
            bulk.verb
        )));
    }
    let job = selection.job.id();
    let ask = BulkAsk { job: Some(job.to_string()), ..ask };
    if !selection.ids.is_empty() && !selection.dry_run {
        return named(&api, bulk, &selection.ids, &ask, as_json).await;
    }
    let preview = bulk.post(&api, &BulkAsk { dry_run: true, ..ask.clone() }).await?;
    let counted = format!("{} {}", bulk.verb, counted(&preview));
    if selection.dry_run {
        return report(&preview, &format!("would {counted}"), as_json);
    }
    let goes_on = selection.job.is_given();
    if preview.matched == 0 && !goes_on {
        return report(&preview, &format!("{}{}", bulk.nothing(), later_of(&preview)), as_json);
    }
    if !selection.yes {
        confirm(&counted)?;
    }
    // What has come to match by now is left.
    let ask = BulkAsk { preview: preview.preview.clone(), ..ask };
    if preview.matched > STEP || goes_on {
        let total = preview.matched;
        return Steps { api: &api, bulk, total, limit: ask.limit.unwrap_or(u64::MAX), ask }.run(as_json).await;
    }
    let done = bulk.post(&api, &ask).await.map_err(|failure| goes_on_with(failure, &bulk.again(&ask)))?;
    bulk.ended(&done, as_json)
}

/// What is named is done without a preview: nobody has to be shown it, and no clock hides it.
async fn named(api: &Api, bulk: &Bulk, ids: &[String], ask: &BulkAsk, as_json: bool) -> Outcome {
    let done = bulk.post(api, ask).await.map_err(|failure| goes_on_with(failure, &bulk.again(ask)))?;
    if done.matched > 0 {
        bulk.ended(&done, as_json)?;
        return Ok(bulk.left_out(ids, done.changed));
    }
    let words = match ids {
        [id] => {
            // That there is none is an error of its own.
            let found: DeliveryDto = api.get(&format!("/api/v1/deliveries/{}", encode(id))).await?;
            let (id, state) = (text(&found.id), found.state.as_str());
            format!("{id} is {state}; only {} deliveries can be {}: {}", bulk.takes, bulk.done, bulk.list)
        }
        _ => bulk.nothing(),
    };
    report(&done, &words, as_json)?;
    Ok(Exit::No)
}

impl Bulk {
    async fn post(&self, api: &Api, ask: &BulkAsk) -> Result<BulkDto, Failure> {
        api.ask(Method::POST, self.path, ask).await
    }

    fn nothing(&self) -> String {
        format!("nothing matches; only {} deliveries can be {}: {}", self.takes, self.done, self.list)
    }

    /// How it ended: through, or because somebody stopped it.
    fn ended(&self, done: &BulkDto, as_json: bool) -> Outcome {
        let text = format!("{} {}", count(done.changed), self.done);
        report(done, &text, as_json)?;
        stopped(done, &text).map_or(Ok(Exit::Done), Err)
    }

    /// How it ends for those that were named: no, if some of them are in no state for it. What was done is not taken back.
    fn left_out(&self, ids: &[String], changed: u64) -> Exit {
        let named = ids.len() as u64;
        if changed >= named {
            return Exit::Done;
        }
        failed(&format!(
            "{} of {} left as they were; only {} deliveries can be {}: {}",
            named - changed,
            count(named),
            self.takes,
            self.done,
            self.list
        ));
        Exit::No
    }

    /// The command that does the rest.
    fn again(&self, ask: &BulkAsk) -> String {
        typed_again(
            &[&[self.command.to_owned()], &ask.ids[..]].concat(),
            ask.all,
            &[
                ("destination", ask.destination.clone()),
                ("source", ask.source.clone()),
                ("reason", ask.reason.clone()),
                ("since", ask.since.clone()),
                ("until", ask.until.clone()),
                ("status", ask.status.map(|status| status.to_string())),
                ("error", ask.error.clone()),
                ("limit", ask.limit.map(|limit| limit.to_string())),
                ("rate", ask.rate.map(|rate| rate.to_string())),
                ("start-at", ask.start_at.clone()),
                ("job", ask.job.clone()),
            ],
        )
    }
}

/// A command line of these words and options.
pub(super) fn typed_again(words: &[String], all: bool, options: &[(&str, Option<String>)]) -> String {
    let mut line = words.join(" ");
    if all {
        line.push_str(" --all");
    }
    for (name, value) in options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/+,@".contains(&byte);
        let is_safe = value.bytes().all(is_plain) && !value.is_empty();
        let shown = if is_safe { value.clone() } else { format!("'{}'", value.replace('\'', r"'\''")) };
        // Writing to a string cannot fail.
        let _ = write!(line, " --{name} {shown}");
    }
    line
}

/// What broke off, with the command that does the rest. What was refused was not begun.
pub(super) fn goes_on_with(failure: Failure, again: &str) -> Failure {
    match failure.exit {
        Exit::Usage | Exit::TokenRefused => failure,
        Exit::No if !failure.text.starts_with("interrupted") => failure,
        exit => Failure::new(exit, format!("{failure}\nTo go on: {again}")),
    }
}

/// A command about so many deliveries that it takes a while.
struct Steps<'a> {
    api: &'a Api,
    bulk: &'a Bulk,
    /// What is asked for.
    ask: BulkAsk,
    /// How many it was about when it began.
    total: u64,
    /// At most so many.
    limit: u64,
}

impl Steps<'_> {
    /// One request after the other, each for more of the same job. Interrupted, the one under way is waited for and what
    /// was done is told.
    async fn run(self, as_json: bool) -> Outcome {
        let Self { api, bulk, ask, total, limit } = self;
        let stop = signals::listen()?;
        let mut progress = Progress::new(total);
        let mut done = BulkDto { job: ask.job.clone().unwrap_or_default(), ..BulkDto::default() };
        let (mut step, mut ended) = (STEP, None);
        while ended.is_none() {
            let upto = done.matched.saturating_add(step).min(limit);
            let began = tokio::time::Instant::now();
            match bulk.post(api, &BulkAsk { limit: Some(upto), ..ask.clone() }).await {
                Ok(now) => done = now,
                Err(failure) => {
                    ended = Some(failure);
                    break;
                }
            }
            if began.elapsed() < STEP_LASTS {
                step *= 2;
            }
            progress.reach(done.matched, Some(total.max(done.matched)));
            if done.next.is_none() || done.matched < upto || done.matched >= limit {
                break;
            }
            ended = stop.is_asked().then(|| Failure::no("interrupted"));
        }
        progress.clear();
        let text = format!("{} {}", count(done.changed), bulk.done);
        let Some(failure) = ended else { return bulk.ended(&done, as_json) };
        let text = format!("{text} of {}; the rest stays as it was", total.max(done.matched));
        report(&done, &style::warn(text), as_json)?;
        Err(goes_on_with(failure, &bulk.again(&ask)))
    }
}

/// That somebody stopped it, which is not as if it had come through.
pub(super) fn stopped(done: &BulkDto, what: &str) -> Option<Failure> {
    let who = done.stopped_by.as_deref()?;
    Some(Failure::no(format!("stopped by {} after {what}; the rest stays as it was", text(who))))
}

/// What a preview leaves since it ended later, where that is told.
fn later_of(preview: &BulkDto) -> String {
    match preview.later {
        0 => String::new(),
        later => format!(
            "\n{} ended later than the server's clock says it is: name them by ID, or come again when it is",
            count(later)
        ),
    }
}

/// Asks on a terminal; elsewhere nobody can agree.
///
/// # Errors
/// Nobody agreed.
pub(crate) fn confirm(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("this would {what}; nobody is here to ask: add --yes")));
    }
    let mut screen = anstream::stderr();
    let asked = write!(screen, "{what}? [y/N] ").and_then(|()| screen.flush());
    asked.map_err(|error| Failure::no(format!("nobody can be asked ({}); nothing was changed", reason(&error))))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::no("nothing was changed")) }
}

fn report(done: &BulkDto, text: &str, as_json: bool) -> Outcome {
    /// What a script is told.
    #[derive(Serialize)]
    struct Told<'a> {
        job: &'a str,
        matched: u64,
        changed: u64,
    }
    let BulkDto { job, matched, changed, .. } = done;
    let told = Told { job, matched: *matched, changed: *changed };
    if as_json { print(&pretty(&told)) } else { tell(text) }?;
    Ok(Exit::Done)
}

/// How many a preview counts, and of whom if not all are of one.
fn counted(preview: &BulkDto) -> String {
    format!("{}{}", count(preview.matched), of_whom(preview))
}

/// Whose they are, if not all are of one.
pub(super) fn of_whom(preview: &BulkDto) -> String {
    if preview.split.len() < 2 {
        return String::new();
    }
    let parts =
        preview.split.iter().take(SPLIT_SHOWN).map(|part| format!("{} of {}", part.count, text(&part.destination)));
    let mut parts: Vec<String> = parts.collect();
    if preview.split.len() > SPLIT_SHOWN {
        parts.push(format!("the rest of {} others", preview.split.len() - SPLIT_SHOWN));
    }
    format!(" ({})", parts.join(", "))
}

fn count(number: u64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{number} deliveries") }
}

#[cfg(test)]
mod tests {
    use relay_server::api::SplitDto;

    use super::*;

    #[test]
    fn a_status_is_taken_as_it_is_shown() {
        for text in ["422", "HTTP 422", "http 422 no such customer", " HTTP 422\u{2026}"] {
            assert_eq!(status(text), Ok(422), "{text}");
        }
        for text in ["", "HTTP", "HTTP x", "42", "4220", "422 what", "-1", "é"] {
            assert!(status(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_question_says_whose_they_are() {
        let of = |counts: &[u64]| {
            let part = |(at, count): (usize, &u64)| SplitDto { destination: format!("d{at}"), count: *count };
            let split = counts.iter().enumerate().map(part).collect();
            counted(&BulkDto { matched: counts.iter().sum(), split, ..BulkDto::default() })
        };
        assert_eq!((of(&[]), of(&[1])), ("0 deliveries".into(), "1 delivery".into()));
        assert_eq!(of(&[31, 5]), "36 deliveries (31 of d0, 5 of d1)");
        assert!(of(&[1; 8]).ends_with("1 of d4, the rest of 3 others)"));
    }

    #[test]
    fn who_stopped_it_is_said() {
        let done = BulkDto { stopped_by: Some("user:alice".into()), ..BulkDto::default() };
        let told = stopped(&done, "3 deliveries redriven").unwrap();
        assert_eq!(told.text, "stopped by user:alice after 3 deliveries redriven; the rest stays as it was");
        assert!(stopped(&BulkDto::default(), "").is_none(), "it is through");
        let later = |later| later_of(&BulkDto { later, ..BulkDto::default() });
        assert!(later(0).is_empty() && later(2).contains("2 deliveries ended later"));
    }

    #[test]
    fn what_broke_off_names_the_command_that_does_the_rest() {
        let bulk =
            Bulk { path: "", command: "crm-relay dead redrive", verb: "", done: "", takes: "", list: "", newest: "" };
        let ask = BulkAsk {
            all: true,
            since: Some("2026-01-31T12:00:00Z".into()),
            error: Some("it's # late".into()),
            rate: Some(0.5),
            job: Some("job_1".into()),
            ..BulkAsk::default()
        };
        let again = "crm-relay dead redrive --all --since 2026-01-31T12:00:00Z --error 'it'\\''s # late' --rate 0.5 --job job_1";
        assert_eq!(bulk.again(&ask), again);
        let named = BulkAsk { ids: vec!["dlv_1".into(), "dlv_2".into()], ..BulkAsk::default() };
        assert_eq!(bulk.again(&named), "crm-relay dead redrive dlv_1 dlv_2");
        let told = |exit, text: &str| goes_on_with(Failure::new(exit, text), "again").to_string();
        assert_eq!(told(Exit::Unreachable, "gone"), "gone\nTo go on: again");
        assert_eq!(told(Exit::No, "interrupted"), "interrupted\nTo go on: again");
        assert_eq!((told(Exit::Usage, "wrong"), told(Exit::No, "no")), ("wrong".into(), "no".into()));
    }
}
