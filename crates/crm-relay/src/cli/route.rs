//! `crm-relay route`.

use std::time::Duration;

use clap::{Args, Subcommand};
use relay_core::limits;
use relay_server::api::{List, PolicyAsk, RouteAsk, RouteDto};

use super::{
    collection::{Collection, not_empty, nothing_to_change},
    listing::{Column, View, activity, route_of, text, when},
    noun::{self, Asked},
};
use crate::{
    config::server,
    exit::{Exit, Failure, Outcome},
    output::say,
    quantity::{self, Bare},
    render::{style, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Lead a source to one more destination
    Create(Revision),
    /// List routes
    List,
    /// Show a route
    Show(Ends),
    /// Give a route another policy
    Update(Revision),
    /// Delete a route; what is under way goes on
    Delete(Ends),
}

#[derive(Debug, Args)]
pub(crate) struct Revision {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    policy: Policy,
}

#[derive(Debug, Args)]
pub(crate) struct Ends {
    /// From
    #[arg(value_parser = not_empty())]
    source: String,
    /// To
    #[arg(value_parser = not_empty())]
    destination: String,
}

#[derive(Debug, Args)]
struct Policy {
    #[arg(help = "Its own MESSAGE_TTL", long, value_name = "DURATION")]
    ttl: Option<String>,
    #[arg(help = "Its own MAX_RETRIES", long, value_name = "N", value_parser = quantity::whole(0..=limits::MAX_RETRIES_MAX.into()))]
    max_retries: Option<u64>,
    #[arg(help = "Its own RETRY_DELAY", long, value_name = "DURATION")]
    retry_delay: Option<String>,
    #[arg(help = "Its own RETRY_MULTIPLIER", long, value_name = "FACTOR", value_parser = multiplier)]
    retry_multiplier: Option<f64>,
    /// The delays themselves, like 5s,5m,2h, or standard-webhooks
    #[arg(long, value_name = "DELAYS", conflicts_with_all = ["retry_delay", "retry_multiplier"])]
    schedule: Option<String>,
}

const COLUMNS: &[Column<RouteDto>] = &[
    ("source", |route| text(&route.source)),
    ("destination", |route| text(&route.destination)),
    ("ttl", |route| duration(route.ttl_ms)),
    ("retries", |route| text(&route.max_retries)),
    ("status", |route| activity(route.paused)),
    ("declared", |route| text(&route.declared)),
    ("created", |route| when(&route.created_at)),
];

const ROUTES: Collection<RouteDto> =
    Collection { view: View { path: "/api/v1/routes", columns: COLUMNS, nothing: "no routes" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => ROUTES.list(asked, Vec::new()).await,
            Self::Show(ends) => ROUTES.show(asked, &ends.names()).await,
            Self::Create(Revision { ends, policy }) => {
                let PolicyAsk { ttl_ms, max_retries, retry_delay_ms, retry_multiplier, schedule_ms } = policy.ask()?;
                let (source, destination) = (ends.source.clone(), ends.destination.clone());
                let ask = RouteAsk {
                    source,
                    destination,
                    ttl_ms,
                    max_retries,
                    retry_delay_ms,
                    retry_multiplier,
                    schedule_ms,
                };
                let made = ROUTES.create(asked, &ask).await?;
                asked.tell(&made, in_words)?;
                if !asked.is_json() {
                    say_others(asked, &ends).await?;
                }
                Ok(Exit::Done)
            }
            Self::Update(Revision { ends, policy }) => {
                let policy = policy.ask()?;
                if policy == PolicyAsk::default() {
                    return Err(nothing_to_change(
                        "--ttl, --max-retries, --retry-delay, --retry-multiplier, --schedule",
                    ));
                }
                ROUTES.update(asked, &ends.names(), &policy).await
            }
            Self::Delete(ends) => {
                ROUTES.delete(&asked.running().await?, &ends.names()).await?;
                say(&format!("route {} -> {} is deleted", ends.source, ends.destination));
                Ok(Exit::Done)
            }
        }
    }
}

/// A second route is a second delivery of each webhook, which not everybody wants who makes one.
async fn say_others(asked: &Asked, ends: &Ends) -> Result<(), Failure> {
    let listed: List<RouteDto> = asked.running().await?.get(ROUTES.view.path).await?;
    let of_source = listed.items.iter().filter(|route| route.source == ends.source);
    let others: Vec<String> =
        of_source.map(|route| text(&route.destination)).filter(|to| *to != ends.destination).collect();
    if let Some(other) = others.first() {
        let source = &ends.source;
        say(&style::warn(format!(
            "each webhook of {source} goes to {} as well; if it shall not: crm-relay route delete {source} {other}",
            others.join(" and ")
        )));
    }
    Ok(())
}

impl Ends {
    fn names(&self) -> [&str; 2] {
        [&self.source, &self.destination]
    }
}

fn multiplier(text: &str) -> Result<f64, String> {
    let max = limits::RETRY_MULTIPLIER_MAX;
    let number = text.trim().parse().ok().filter(|number| (1.0..=max).contains(number));
    number.ok_or_else(|| format!("want a number from 1 to {max}, like 2 or 1.5"))
}

impl Policy {
    fn ask(&self) -> Result<PolicyAsk, Failure> {
        let span = |flag: &str, text: &Option<String>, bare| {
            let read = |text: &String| quantity::duration(text, bare).map_err(|want| Failure::option(flag, text, want));
            Ok::<_, Failure>(text.as_ref().map(read).transpose()?.map(|span| span.as_millis() as u64))
        };
        let delays = |text: &String| {
            let delays = server::schedule(text).map_err(|want| Failure::option("--schedule", text, want))?;
            Ok::<_, Failure>(delays.iter().map(|delay| delay.as_millis() as u64).collect())
        };
        Ok(PolicyAsk {
            ttl_ms: span("--ttl", &self.ttl, Bare::Seconds)?,
            // The parser holds it to its bound.
            max_retries: self.max_retries.map(|retries| u32::try_from(retries).unwrap_or(u32::MAX)),
            retry_delay_ms: span("--retry-delay", &self.retry_delay, Bare::Millis)?,
            retry_multiplier: self.retry_multiplier,
            schedule_ms: self.schedule.as_ref().map(delays).transpose()?,
        })
    }
}

fn in_words(route: &RouteDto) -> String {
    table::fields(&[
        ("route", style::bold(route_of(&route.source, &route.destination))),
        ("ttl", duration(route.ttl_ms)),
        ("retries", text(&route.max_retries)),
        ("delays", delays(route)),
        ("status", activity(route.paused)),
        ("declared", text(&route.declared)),
    ])
}

/// A duration the way a setting takes it.
fn duration(ms: u64) -> String {
    quantity::show_duration(Duration::from_millis(ms))
}

/// `1s, then x 2.0`, or the delays one by one.
fn delays(route: &RouteDto) -> String {
    if !route.schedule_ms.is_empty() {
        return route.schedule_ms.iter().map(|ms| duration(*ms)).collect::<Vec<_>>().join(", ");
    }
    let delay = route.retry_delay_ms.map_or_else(|| "-".to_owned(), duration);
    let factor = route.retry_multiplier.map_or_else(|| "-".to_owned(), |factor| format!("{factor:?}"));
    format!("{delay}, then x {factor}")
}
