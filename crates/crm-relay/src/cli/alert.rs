//! `crm-relay alert`.

use clap::Subcommand;
use relay_server::api::{AlertDto, ConditionDto, HealthDto, List};

use super::{
    listing::{Column, View, ago, list, text, when},
    noun::{self, Asked},
};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    output::{pretty, print, say},
    render::style,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// What is not as it should be, what was not, and who is told
    List,
    /// Tell somebody that he can be told, once; exit 1 if that fails
    Test {
        /// Which alert; without it every one
        name: Option<String>,
    },
}

const CONDITIONS: View<ConditionDto> =
    View { path: "/api/v1/conditions", columns: OF_CONDITIONS, nothing: "nothing is wrong, and nothing was lately" };

const OF_CONDITIONS: &[Column<ConditionDto>] = &[
    ("since", |one| when(&one.since)),
    ("until", |one| one.over_at.as_deref().map_or_else(|| style::bad("now"), when)),
    ("severity", |one| text(&one.severity)),
    ("kind", |one| text(&one.kind)),
    ("told to", |one| text(&one.alerts)),
    ("what", |one| text(&one.words)),
];

const ALERTS: View<AlertDto> = View {
    path: "/api/v1/alerts",
    columns: OF_ALERTS,
    nothing: "nobody is told: want an [alert.NAME] in the server's configuration file",
};

const OF_ALERTS: &[Column<AlertDto>] = &[
    ("alert", |one| text(&one.name)),
    ("format", |one| text(&one.format)),
    ("to", |one| text(&one.to)),
    ("from", |one| text(&one.severity)),
    ("told", |one| text(&one.told)),
    ("untold", |one| text(&one.untold)),
    ("waiting", |one| text(&one.waiting)),
    ("last", |one| ago(one.told_at.as_deref())),
    ("error", |one| one.error.as_ref().map_or_else(|| "-".to_owned(), |error| style::bad(text(error)))),
];

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        let api = asked.running().await?;
        match self {
            Self::List => {
                if !asked.is_json()
                    && let Some(relay) = api.get::<HealthDto>("/api/v1/health").await?.relay
                {
                    print(&format!("relay {}\n", text(&relay)))?;
                }
                list(&api, &CONDITIONS, Vec::new(), None, asked.form).await?;
                if !asked.is_json() {
                    print("")?;
                    list(&api, &ALERTS, Vec::new(), None, asked.form).await?;
                }
                Ok(Exit::Done)
            }
            Self::Test { name } => test(&api, name, asked).await,
        }
    }
}

/// Each is told once; one that is not is a no.
async fn test(api: &Api, name: Option<String>, asked: &Asked) -> Outcome {
    let names = match name {
        Some(name) => vec![name],
        None => api.get::<List<AlertDto>>(ALERTS.path).await?.items.into_iter().map(|alert| alert.name).collect(),
    };
    if names.is_empty() {
        return Err(Failure::new(Exit::No, ALERTS.nothing));
    }
    let mut tested = Vec::new();
    for name in names {
        let alert: AlertDto = api.order(&format!("{}/{}/test", ALERTS.path, encode(&name))).await?;
        if !asked.is_json() {
            let AlertDto { name, format, to, error, .. } = &alert;
            let to = format!("{} ({})", text(to), text(format));
            match error {
                None => say(&format!("alert {}: {to} was told", text(name))),
                Some(why) => say(&style::bad(format!("alert {}: {to} was not told: {}", text(name), text(why)))),
            }
        }
        tested.push(alert);
    }
    let exit = if tested.iter().all(|alert| alert.error.is_none()) { Exit::Done } else { Exit::No };
    if asked.is_json() {
        print(&pretty(&List { items: tested, next: None }))?;
    }
    Ok(exit)
}
