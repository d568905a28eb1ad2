//! `crm-relay destination`.

use std::time::Duration;

use clap::Subcommand;
use relay_core::delivery::State;
use relay_server::api::{ClientDto, DestinationDto};

use super::{
    collection::{Collection, Named},
    listing::{Column, View, text, when},
    noun::{self, Asked},
};
use crate::{
    exit::{Exit, Outcome},
    output::say,
    render::{human_duration, style, table, time},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List destinations
    List,
    /// Show a destination
    Show(Named),
    /// Hand out nothing more of it; what comes in waits
    Pause(Named),
    /// Go on
    Resume(Named),
}

const COLUMNS: &[Column<DestinationDto>] = &[
    ("name", |destination| text(&destination.name)),
    ("status", status),
    ("clients", |destination| text(&destination.clients)),
    ("waiting", |destination| count(destination, &WAITING)),
    ("leased", |destination| count(destination, &[State::Leased])),
    ("delivered", |destination| count(destination, &[State::Delivered])),
    ("dead", |destination| count(destination, &State::DEAD_LETTER)),
];

/// The destinations; `status` lists them too.
pub(super) const DESTINATIONS: Collection<DestinationDto> =
    Collection { view: View { path: "/api/v1/destinations", columns: COLUMNS, nothing: "no destinations" }, in_words };

const WAITING: [State; 2] = [State::Ready, State::Scheduled];

impl noun::Verb for Verb {
    async fn run(self, asked: &Asked) -> Outcome {
        match self {
            Self::List => DESTINATIONS.list(asked, Vec::new()).await,
            Self::Show(named) => DESTINATIONS.show(asked, &[&named.name]).await,
            Self::Pause(named) => switch(asked, &named.name, "pause", "is paused").await,
            Self::Resume(named) => switch(asked, &named.name, "resume", "goes on").await,
        }
    }
}

async fn switch(asked: &Asked, name: &str, to: &str, done: &str) -> Outcome {
    DESTINATIONS.order(&asked.running().await?, &[name], to).await?;
    say(&format!("destination {name} {done}"));
    Ok(Exit::Done)
}

/// What holds a destination up.
#[derive(Clone, Copy)]
enum HeldUp {
    Paused,
    NoClient,
    TargetDown,
}

fn held_up_by(destination: &DestinationDto) -> Option<HeldUp> {
    if destination.paused {
        Some(HeldUp::Paused)
    } else if destination.clients == 0 {
        Some(HeldUp::NoClient)
    } else {
        destination.circuit_open.then_some(HeldUp::TargetDown)
    }
}

/// How soon somebody should look at it: what is held up before what is not, then what has most waiting.
pub(super) fn urgency(destination: &DestinationDto) -> (bool, u64) {
    let waiting = WAITING.iter().map(|state| destination.deliveries[*state as usize - 1]).sum();
    (held_up_by(destination).is_some(), waiting)
}

/// `up`, `paused`, `no client`, `target down`.
fn status(destination: &DestinationDto) -> String {
    match held_up_by(destination) {
        Some(HeldUp::Paused) => style::warn("paused"),
        Some(HeldUp::NoClient) => style::bad("no client"),
        Some(HeldUp::TargetDown) => style::bad("target down"),
        None => style::good("up"),
    }
}

/// Why nothing goes there at the moment, and what to type; `None`: it is up.
pub(super) fn held_up(destination: &DestinationDto) -> Option<String> {
    let name = text(&destination.name);
    let step = match held_up_by(destination)? {
        HeldUp::Paused => format!("to go on: crm-relay destination resume {name}"),
        HeldUp::NoClient => "start one where the target is: crm-relay client".to_owned(),
        HeldUp::TargetDown => format!("what it answers: crm-relay destination show {name}"),
    };
    Some(format!("{}; {step}", status(destination)))
}

/// The sum of some states' counts.
fn count(destination: &DestinationDto, states: &[State]) -> String {
    let counts = State::ALL.iter().zip(&destination.deliveries);
    counts.filter(|(state, _)| states.contains(state)).map(|(_, count)| count).sum::<u64>().to_string()
}

fn in_words(destination: &DestinationDto) -> String {
    let age = destination.oldest_due_age_ms;
    let about = table::fields(&[
        ("destination", style::bold(text(&destination.name))),
        ("status", status(destination)),
        ("sources", text(&destination.sources)),
        ("waiting", count(destination, &WAITING)),
        ("leased", count(destination, &[State::Leased])),
        ("delivered", count(destination, &[State::Delivered])),
        ("dead", count(destination, &State::DEAD_LETTER)),
        ("oldest due for", age.map_or_else(|| "-".to_owned(), |ms| human_duration(Duration::from_millis(ms)))),
        ("next expires", text(&destination.next_expiry_at)),
    ]);
    let rows: Vec<Vec<String>> = destination.instances.iter().map(client).collect();
    let mut parts = vec![about];
    if !rows.is_empty() {
        let headings = ["client", "instance", "peer", "token", "held", "slots", "target"];
        parts.push(table::wrapped(&headings, &rows));
    }
    if destination.elsewhere > 0 {
        parts.push(format!("clients at other servers: {}", destination.elsewhere));
    }
    parts.join("\n\n")
}

/// `down since 3m, next try in 12s: connection refused`.
fn down(client: &ClientDto) -> String {
    let since = client.open_since.as_ref().map(|since| format!(" since {}", when(since))).unwrap_or_default();
    let next = match &client.next_try_at {
        Some(at) if style::is_terminal() => format!("next try {}", time::due(at, time::now())),
        Some(at) => format!("next try {}", text(at)),
        None => "a try is under way".to_owned(),
    };
    match &client.error {
        None => format!("down{since}, {next}"),
        Some(error) => format!("down{since}, {next}: {}", text(error)),
    }
}

fn client(client: &ClientDto) -> Vec<String> {
    vec![
        text(&client.label),
        text(&client.instance),
        text(&client.peer),
        text(&client.token),
        text(&client.held),
        text(&client.slots),
        if client.circuit_open { style::bad(down(client)) } else { style::good("up") },
    ]
}
