//! `crm-relay route`.

use std::time::Duration;

use clap::{Args, Subcommand};
use relay_core::limits;
use serde_json::{Map, Value, json};

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

const COLUMNS: &[Column] = &[
    ("source", |route| text(route, "source")),
    ("destination", |route| text(route, "destination")),
    ("ttl", |route| span(route, "ttl_ms")),
    ("retries", |route| text(route, "max_retries")),
    ("status", activity),
    ("declared", |route| text(route, "declared")),
    ("created", |route| when(route, "created_at")),
];

const ROUTES: Collection =
    Collection { view: View { path: "/api/v1/routes", columns: COLUMNS, nothing: "no routes" }, in_words };

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => ROUTES.list(asked, Vec::new()).await,
            Self::Show(ends) => ROUTES.show(asked, &ends.names()).await,
            Self::Create(Revision { ends, policy }) => {
                let mut body = policy.body()?;
                body.insert("source".to_owned(), json!(ends.source));
                body.insert("destination".to_owned(), json!(ends.destination));
                let made = ROUTES.create(asked, &Value::Object(body)).await?;
                asked.tell(&made, in_words)?;
                if !asked.is_json() {
                    say_others(asked, &ends).await?;
                }
                Ok(Exit::Done)
            }
            Self::Update(Revision { ends, policy }) => {
                let policy = policy.body()?;
                if policy.is_empty() {
                    return Err(nothing_to_change(
                        "--ttl, --max-retries, --retry-delay, --retry-multiplier, --schedule",
                    ));
                }
                ROUTES.update(asked, &ends.names(), &Value::Object(policy)).await
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
    let listed = asked.running().await?.get(ROUTES.view.path).await?;
    let routes = listed.get("items").and_then(Value::as_array).into_iter().flatten();
    let of_source = routes.filter(|route| text(route, "source") == ends.source);
    let others: Vec<String> =
        of_source.map(|route| text(route, "destination")).filter(|to| *to != ends.destination).collect();
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
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        for (name, flag, text, bare) in [
            ("ttl_ms", "--ttl", &self.ttl, Bare::Seconds),
            ("retry_delay_ms", "--retry-delay", &self.retry_delay, Bare::Millis),
        ] {
            if let Some(text) = text {
                let span = quantity::duration(text, bare).map_err(|want| Failure::option(flag, text, want))?;
                body.insert(name.to_owned(), json!(span.as_millis() as u64));
            }
        }
        if let Some(number) = self.max_retries {
            body.insert("max_retries".to_owned(), json!(number));
        }
        if let Some(factor) = self.retry_multiplier {
            body.insert("retry_multiplier".to_owned(), json!(factor));
        }
        if let Some(text) = &self.schedule {
            let delays = server::schedule(text).map_err(|want| Failure::option("--schedule", text, want))?;
            let delays: Vec<u64> = delays.iter().map(|delay| delay.as_millis() as u64).collect();
            body.insert("schedule_ms".to_owned(), json!(delays));
        }
        Ok(body)
    }
}

fn in_words(route: &Value) -> String {
    table::fields(&[
        ("route", style::bold(route_of(route))),
        ("ttl", span(route, "ttl_ms")),
        ("retries", text(route, "max_retries")),
        ("delays", delays(route)),
        ("status", activity(route)),
        ("declared", text(route, "declared")),
    ])
}

/// A duration the way a setting takes it.
fn span(route: &Value, field: &str) -> String {
    route.get(field).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), duration)
}

fn duration(ms: u64) -> String {
    quantity::show_duration(Duration::from_millis(ms))
}

/// `1s, then x 2.0`, or the delays one by one.
fn delays(route: &Value) -> String {
    let listed = route.get("schedule_ms").and_then(Value::as_array);
    let listed: Vec<String> = listed.into_iter().flatten().filter_map(Value::as_u64).map(duration).collect();
    if listed.is_empty() {
        format!("{}, then x {}", span(route, "retry_delay_ms"), text(route, "retry_multiplier"))
    } else {
        listed.join(", ")
    }
}
